"""`fedmed budget` prints what is promised to whom, without TensorFlow, and refuses a config that promises nothing."""

import subprocess
import sys

import pytest

from fedmed import cli
from fedmed.reporting import budget_table, tables

CONFIG = "configs/heart_disease_four_hospitals.toml"
PROMISE = ["--set", "privacy.unit=patient", "--set", "privacy.noise_multiplier=4"]


def test_each_hospital_has_its_patients_noise_and_epsilon(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["budget", CONFIG, *PROMISE]) == 0
    lines = capsys.readouterr().out.splitlines()
    cleveland = next(line.split() for line in lines if line.startswith("cleveland"))
    assert cleveland[:3] == ["cleveland", "199", "0.00296"]
    spent = [line.split()[1:] for line in lines if line.startswith("switzerland")][1]
    assert spent == sorted(spent, key=float)
    assert len(spent) == 11  # after each tenth, and one round more
    assert any("Adding or removing one patient" in line for line in lines)


def test_a_promise_to_hospitals_shows_what_a_fixed_cohort_would_cost(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", "privacy.unit=hospital", "--set", "privacy.noise_multiplier=4", "--set", "cohort.size=2"]
    assert cli.main(["budget", CONFIG, *words]) == 0
    out = capsys.readouterr().out
    assert "all hospitals" in out
    assert "Cohorts of a fixed size would cost epsilon" in out


def test_without_a_promise_it_says_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["budget", CONFIG]) == 2
    assert "--set privacy.unit=patient" in capsys.readouterr().err


def test_more_rounds_than_anybody_trains_are_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["budget", CONFIG, *PROMISE, "--set", "rounds=2000000000"]) == 2
    assert capsys.readouterr().err.endswith("rounds: expected a number >= 1 and <= 1000000, got 2000000000\n")


def test_tensorflow_is_not_imported() -> None:
    words = ["budget", CONFIG, *PROMISE]
    code = f"import sys; from fedmed import cli; cli.main({words!r}); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_epsilon_is_rounded_up() -> None:
    assert [budget_table.number(x) for x in (0.1231, 2.001, 3.0, float("inf"))] == ["0.124", "2.01", "3.00", "none"]


def test_a_run_tells_what_it_promises_rounded_up() -> None:
    told = {
        "unit": "patient",
        "promises": {"a": {"epsilon": 2.991, "delta": 0.003}, "b": {"epsilon": 1, "delta": 0.02}},
    }
    assert "patients of each hospital" in tables.promised(told)
    assert tables.promised(told).endswith("epsilon at most 3, delta at most 0.02.")
    quiet = {"unit": "hospital", "promises": {"all hospitals": {"epsilon": None, "delta": 0.02}}}
    assert "nothing is promised" in tables.promised(quiet)
