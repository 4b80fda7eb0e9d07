"""The programs under experiments/: wrong flags end in one line and status 2; the MNIST benchmark's arithmetic."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from experiments import attack_tables, personal_tables
from experiments.mnist_cells import CELLS
from experiments.mnist_figures import chosen_rate, interval, next_rate, rounds_to_target
from fedmed.settings import config

_STOPPED = """
import os, signal, time
from experiments import programs

def main(argv):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(9)

programs.run(main)
"""
_MNIST = pathlib.Path("experiments/results/mnist_benchmark.json")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("round_speed --rounds=0", "--rounds=0"),
        ("round_speed --contenders=fedmed,ttf", "did you mean 'tff'"),
        ("round_speed --json=pyproject.toml/x.json", "--json: cannot write in 'pyproject.toml'"),
        ("mnist_benchmark --results=pyproject.toml/x.json", "--results: cannot write in"),
        ("mnist_benchmark --sedes=1", "Did you mean: seeds"),
        ("tuning --problems=digit", "--problems: unknown problem 'digit' (did you mean 'digits'?)"),
        ("promises --only=hospital", "--only: unknown setting 'hospital'"),
        ("attacks --rules=medain", "--rules: unknown rule 'medain' (did you mean 'median'?)"),
        ("personal --only=hart", "--only: unknown population 'hart' (did you mean 'heart'?)"),
        ("faults --rows=endigs", "--rows: unknown row 'endigs' (did you mean 'endings'?)"),
        ("faults --times=0", "--times=0"),
        ("cluster --only=hots", "--only: unknown part 'hots' (did you mean 'hosts'?)"),
        ("mnist_benchmark --cells=cnn-iid-C0.1-E5-B5", "cnn-iid-C0.1-E5-B50"),
        # these import TensorFlow before they look at their flags
        pytest.param("audits --results=pyproject.toml/x.json", "--results: cannot write in", marks=pytest.mark.slow),
        pytest.param("robust_rules --seeds=0", "--seeds=0", marks=pytest.mark.slow),
        pytest.param("private_speed --pairs=1", "--pairs=1", marks=pytest.mark.slow),
        pytest.param("inversion --results=pyproject.toml/x", "--results: cannot write in", marks=pytest.mark.slow),
    ],
)
def test_wrong_flags_end_in_one_line(command: str, words: str) -> None:
    ended = subprocess.run([sys.executable, "-m", *f"experiments.{command}".split()], capture_output=True, text=True)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert words in ended.stderr


def test_a_program_that_is_stopped_ends_in_one_line() -> None:
    words = [sys.executable, "-c", _STOPPED]
    ended = subprocess.run(words, capture_output=True, text=True, cwd=pathlib.Path(__file__).parent.parent)
    assert (ended.returncode, ended.stderr) == (130, "-c: stopped; the same command goes on with what it kept\n")


def test_rounds_are_read_from_the_best_so_far_and_interpolated() -> None:
    assert rounds_to_target([0.1, 0.9, 0.8, 0.98], 0.94) == pytest.approx(2.5)  # from 0.9, the best so far, to 0.98
    assert rounds_to_target([0.1, 0.5], 0.94) is None
    assert rounds_to_target([0.95], 0.94) == 0.0


def test_the_grid_is_the_papers() -> None:
    assert [next_rate(0.1, sixths) for sixths in (-2, -1, 1, 2)] == [0.0464, 0.0681, 0.147, 0.215]
    assert next_rate(0.147, 1) == 0.215


@pytest.mark.parametrize(
    ("name", "cell"),
    [("mnist_mcmahan_iid", "cnn-iid-C0.1-E5-B10"), ("mnist_mcmahan_noniid", "cnn-noniid-C0.1-E5-B10")],
)
def test_a_config_that_ships_is_a_run_whose_rounds_are_on_record(name: str, cell: str) -> None:
    shipped = config.load(pathlib.Path(f"configs/{name}.toml"))
    rate, best = shipped.client.learning_rate, chosen_rate(json.loads(_MNIST.read_text())["cells"][cell])
    tried = next(one for one in CELLS if one.name == cell).settings(rate, shipped.seed, shipped.rounds)
    assert shipped == config.parse(tried | {"name": shipped.name})
    assert rate == best


def test_the_rate_with_the_fewest_rounds_on_seed_0_is_chosen() -> None:
    runs = [
        {"rate": 0.1, "seed": 0, "rounds": 40.0},
        {"rate": 0.2, "seed": 0, "rounds": 30.0},
        {"rate": 0.3, "seed": 0, "rounds": None},
        {"rate": 0.1, "seed": 1, "rounds": 1.0},
    ]
    assert chosen_rate(runs) == 0.2
    assert chosen_rate(runs[2:3]) is None


def test_the_interval_is_students() -> None:
    assert interval([33.1, 34.6, 35.6]) == pytest.approx((31.31, 37.56), abs=0.01)  # t .975 with 2 degrees: 4.303
    assert interval([1.0]) is None


def _difference(of: str, against: str, *values: float | None) -> dict[str, Any]:
    estimate, low, high = values
    told = {"estimate": estimate, "low": low, "high": high, "reason": "" if estimate is not None else "one class only"}
    measures = {"measures": {"auroc": told}}
    return {"of": of, "against": against, "hospitals": {"a": measures}, "all": measures}


def test_a_table_of_models_of_ones_own_has_a_hospital_a_row_and_an_arm_a_column() -> None:
    study = {
        "metric": {"name": "auroc"},
        "design": {"arms": [{"name": "federated"}, {"name": "local"}, {"name": "ditto"}, {"name": "apfl"}]},
        "hospitals": [{"id": "a"}],
        "comparisons": [
            _difference("federated", "local", 0.1, 0.0, 0.2),
            _difference("ditto", "federated", 0.01, -0.02, 0.0404),
            _difference("apfl", "federated", None, None, None),
        ],
    }
    assert personal_tables.table(study, "federated", "FedAvg") == [
        "",
        "| less FedAvg | ditto | apfl |",
        "|---|---|---|",
        "| a | +0.010 (-0.020 to +0.040) | none: one class only |",
        "| all rows together | +0.010 (-0.020 to +0.040) | none: one class only |",
    ]


@pytest.mark.slow
def test_a_small_study_of_models_of_ones_own_leaves_a_table(tmp_path: pathlib.Path) -> None:
    small = [
        "--only=heart",
        "--seeds=1",
        "--rounds=2",
        "--draws=100",
        f"--out={tmp_path}",
        f"--results={tmp_path}/t.md",
    ]
    subprocess.run([sys.executable, "-m", "experiments.personal", *small], check=True, capture_output=True, text=True)
    page = (tmp_path / "t.md").read_text()
    assert "| less FedAvg | fine_tuned | fedper | fedrep | ditto | apfl |" in page
    assert page.count("| cleveland |") == 2


def _attacks(*cells: tuple[str, float]) -> dict[str, Any]:
    told = {key: {"accuracy": accuracy, "backdoor": 100 - accuracy, "curve": [accuracy]} for key, accuracy in cells}
    own = {"rounds": 5, "model": {"name": "m"}, "client": {"epochs": 1, "batch_size": 2}}
    return {"config": own, "machine": "here", "rates": {"alike": 0.1}, "cells": told}


def test_a_table_of_attacks_has_an_attack_a_row_and_a_rule_a_column() -> None:
    found = _attacks(
        ("alike/nobody/0/mean/0", 95.0),
        ("alike/nobody/0/mean/1", 97.0),
        ("alike/nobody/0.2/krum/0", 92.0),
        ("alike/backdoor/0.2/mean/0", 30.0),
        ("alike/backdoor/0.2/mean/1", 50.0),
        ("alike/backdoor/0.2/krum/0", 95.0),
        ("alike/label_flip/0.2/mean/0", 20.0),
        ("alike/label_flip/0.2/krum/0", 90.0),
        ("alike/boost_10/0.2/mean/0", 10.0),
    )
    page = attack_tables.page(found)
    assert "| attack | corrupted | mean | krum |" in page
    assert "| nobody corrupted | 0 %, told 20 % | 96.0 | 92.0 |" in page
    assert "| backdoor | 20 % | 30.0 to 50.0 | 95.0 to 95.0 |" in page
    assert "| 10 times as long | 20 % | 10.0 | - |" in page
    told = " ".join(page.split())
    assert "of 96.0 % accuracy the mean loses more than 2 points in 2 of 2 attacks by shares" in told
    assert "76.0 at worst (labels flipped, 20 %)" in told
    assert "nobody corrupted in 1 of 2, and loses at most 6.0. `krum` loses least at its worst: 6.0 points" in told
    assert "Backdoor: at 20 % the mean loses 56.0 points; the least that any rule loses is 1.0 (`krum`)." in told
    assert "on 60.0 % of images by the mean at 20 %, and on 5.0 % at least (`krum`, of 95.0 % accuracy)" in told
    assert "is 6.0 (`krum`). No rule stays within 2 points at 20 %." in told


@pytest.mark.slow
def test_a_few_attacks_leave_tables_and_are_not_run_again(tmp_path: pathlib.Path) -> None:
    few = "--splits=unlike --rules=mean,krum --attacks=backdoor_boost_10 --seeds=1 --rounds=2 --rate=0.4"
    command = [sys.executable, "-m", "experiments.attacks", *few.split(), f"--results={tmp_path}/a.json"]
    subprocess.run(command, check=True, capture_output=True)
    kept = (tmp_path / "a.json").read_bytes()
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "a.json").read_bytes() == kept
    assert (tmp_path / "a.md").read_text().count("| backdoor, 10 times as long | 20 % |") == 3
    other = subprocess.run([*command, "--rounds=3"], capture_output=True, text=True)
    assert other.returncode == 2
    assert "holds cells of other settings" in other.stderr
