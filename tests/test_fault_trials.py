"""The program that tries what can befall a run: trials hold, are kept, begin anew when they must, and are told."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments.trials import bench, fault_table, injection, malformed
from experiments.trials.bench import Ended, Place, Row, Verdict

ROOT = pathlib.Path(__file__).parent.parent


def place(folder: pathlib.Path, number: int) -> Place:
    own = folder / str(number)
    own.mkdir()
    return Place(own, folder, np.random.default_rng(number), number)


def test_odd_files_and_plugins_that_are_none_are_refused_or_taken(tmp_path: pathlib.Path) -> None:
    # 6 and 4: a table and arrays; 11 and 19: settings; injection's 3 and 7: plugins
    odd = [malformed.malformed(place(tmp_path, number)) for number in (4, 5, 8, 10)]
    odd += [injection.injected(place(tmp_path, number)) for number in (3, 7, 11)]
    assert [verdict for verdict in odd if not verdict.held] == []
    assert "a plugin that is none: refused" in {verdict.said for verdict in odd}


def test_what_is_no_refusal_is_told_from_one() -> None:
    assert Ended(2, "", "fedmed: wrong\n").is_refusal
    for other in (
        Ended(2, "", "fedmed: wrong\nand more\n"),
        Ended(2, "half a table\n", "fedmed: wrong\n"),
        Ended(1, "", "fedmed: wrong\n"),
        Ended(None, "", "KeyError: 'x'\n"),
        Ended(2, "", f"fedmed: {'x' * 5000}\n"),
    ):
        assert not other.is_refusal


def test_a_command_that_ends_in_a_traceback_has_no_status() -> None:
    assert bench.command("list").status == 0
    assert bench.command("nothing").is_refusal


def test_the_page_counts_what_held_and_names_what_did_not() -> None:
    def never(place: Place) -> Verdict:
        raise AssertionError(place)

    rows = {name: Row(name, "it is cut", "noticed", 3, never) for name in ("one", "two")}
    told = {"seed": 0, "code": "x", "machine": "2 cores, a processor"}
    trials = [[True, "refused", 1.5], [False, "went on", 2.0], [True, "refused", 1.0]]
    page = fault_table.page(rows, {"one": {"of": told, "trials": trials}})
    assert "| `one` | it is cut | noticed | 2 of 3 | 3 | 4 |" in page
    assert "- `one`: refused (2).\n" in page
    assert "What did not hold:\n\n- `one`: went on\n" in page
    assert "two" not in page
    assert "Machine: 2 cores, a processor; seed 0." in page


@pytest.mark.slow
def test_trials_are_kept_and_a_changed_seed_begins_anew(tmp_path: pathlib.Path) -> None:
    results = tmp_path / "f.json"
    command = [sys.executable, "-m", "experiments.faults", "--rows=malformed,logs", f"--results={results}"]

    def ran(*more: str) -> dict[str, list[list[object]]]:
        subprocess.run([*command, *more], cwd=ROOT, check=True, capture_output=True)
        return {name: row["trials"] for name, row in json.loads(results.read_text())["rows"].items()}

    first = ran("--times=1")
    assert [len(trials) for trials in first.values()] == [1, 1]
    more = ran("--times=2")
    assert {name: trials[:1] for name, trials in more.items()} == first
    assert ran("--times=1") == more
    assert ran("--times=1", "--seed=1").keys() == first.keys()
    assert json.loads(results.read_text())["rows"]["logs"]["of"]["seed"] == 1
    assert "| `logs` |" in (tmp_path / "f.md").read_text()
