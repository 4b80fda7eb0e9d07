"""The program that tries what can befall a run: trials hold, are kept, begin anew when they must, and are told."""

import pathlib

import numpy as np
import pytest

from experiments.trials import bench, course, fault_table, injection
from experiments.trials.bench import Ended, Place, Row, Verdict
from fedmed.system import errors


def test_a_tiny_course_is_kept_and_told(tmp_path: pathlib.Path) -> None:
    path, rows = tmp_path / "f.json", [course.ROWS[name] for name in ("malformed", "kept")]
    found = course.complete(rows, path, seed=0, times=1)
    assert course.missed(rows, found) == []
    assert "| `kept` |" in fault_table.page(course.ROWS, found)
    content = path.read_bytes()
    assert course.complete(rows, path, seed=0, times=1) == found  # of what is done nothing is tried again
    assert path.read_bytes() == content
    assert course.opened(path, seed=1) == {}
    path.write_text("[]")
    with pytest.raises(errors.UserError, match="holds no results of this program"):
        course.opened(path, seed=0)


def test_plugins_that_are_none_are_refused(tmp_path: pathlib.Path) -> None:
    tried = [injection.plugins(Place(tmp_path, tmp_path, np.random.default_rng(0), number)) for number in range(12)]
    assert {verdict.said for verdict in tried} == {"a plugin that is none: refused"}


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
