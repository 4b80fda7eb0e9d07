"""What a run shows: the bar and plain lines, the table for few and many clients, curves, and TensorBoard events."""

import io
import pathlib
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import page_sample
import pytest

from fedmed.reporting import curves, progress, tables, tensorboard

BINARY = ("accuracy", "loss", "auroc", "auprc", "brier")


def scores(value: float, **others: float | None) -> dict[str, float | None]:
    return {**dict.fromkeys(BINARY, value), **others}


def record(round_: int, value: float, clients: list[str] | None, tested: bool = True) -> dict[str, Any]:
    per_client = None if clients is None else {name: scores(value + 0.01 * i) for i, name in enumerate(clients)}
    return {
        "round": round_,
        "learning_rate": 0.1 if round_ else None,
        "cohort": clients or [],
        "examples": 10 * round_,
        "train": {"loss": 1.0, "accuracy": 0.5} if round_ else None,
        "refused": [],
        "test": {"pooled": scores(value), "clients": per_client} if tested else None,
        "bytes_down": 100,
        "bytes_up": 100,
        "seconds": 0.5,
        "evaluation_seconds": 0.1,
        "memory_mb": 300.0,
    }


def summary(clients: list[str], best_round: int = 3) -> dict[str, Any]:
    def outcome(round_: int, value: float) -> dict[str, Any]:
        own = {
            name: {"train_rows": 1000 + i, "test_rows": 50, **scores(value + 0.001 * i), "undefined": {}}
            for i, name in enumerate(clients)
        }
        over = page_sample.over_clients(own)
        return {"round": round_, "pooled": scores(value), "over_clients": over, "clients": own}

    return {
        "name": "three",
        "missed": [],
        "task": "binary",
        "metric": "auroc",
        "stopped": "rounds",
        "final": outcome(5, 0.7),
        "best": outcome(best_round, 0.75),
        "test": "each client's own rows",
        "refused": {},
        "nothing_learned": False,
        "warnings": [],
        "null": {"pooled": {"loss": 0.7}, "clients": {name: {"loss": 0.7} for name in clients}, "few": []},
        "skill": {"pooled": {"d2": 0.1}, "clients": {name: {"d2": 0.1} for name in clients}},
        "notes": [],
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_rounds_metric_and_time_left() -> None:
    stream = Terminal()
    shown = progress.Progress("auroc", stream=stream)
    shown.start(4, done=1)
    for number in (2, 3):
        shown.round(record(number, 0.8, None))
    shown.close()
    last = stream.getvalue().split("\r")[-1]
    assert "3/4" in last
    assert "auroc 0.8000" in last
    assert "left" in last


def test_elsewhere_there_is_a_plain_line_now_and_then() -> None:
    now = [0.0]
    stream = io.StringIO()
    shown = progress.Progress("auroc", stream=stream, clock=lambda: now[0])
    shown.start(100)
    for number in range(1, 11):
        now[0] += 10
        shown.round(record(number, 0.8, None, tested=number < 3))
    shown.close()
    assert stream.getvalue().splitlines() == [
        "round 3 of 100, auroc 0.8000, 16 min 10 s left",
        "round 6 of 100, auroc 0.8000, 15 min 40 s left",
        "round 9 of 100, auroc 0.8000, 15 min 10 s left",
    ]


def test_quiet_is_silent_even_on_a_terminal() -> None:
    stream = Terminal()
    shown = progress.Progress("auroc", quiet=True, stream=stream)
    shown.start(2)
    shown.round(record(1, 0.8, None))
    shown.close()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.2, "8 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (59.9, "1 min 0 s")]
)
def test_a_duration_is_told_in_two_units(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


def test_each_hospital_has_a_line_and_all_together_have_one() -> None:
    lines = tables.final_table(summary(["urban", "rural", "safety_net"]), width=120)
    header = next(line for line in lines if line.startswith("client"))
    assert header.split("  ")[0] == "client"
    assert "best AUROC" in header
    assert "Brier score" in header
    rows = {line.split()[0]: line.split() for line in lines if line.split()[:1] in (["urban"], ["rural"], ["all,"])}
    assert rows["urban"][1:5] == ["1,000", "50", "0.700", "0.750"]
    assert rows["all,"][2:6] == ["3,003", "150", "0.700", "0.750"]
    assert "Best over all test rows: round 3." in lines


def test_the_worst_client_stands_below_and_the_worst_decile_of_ten() -> None:
    """All figures rise by 0.001 from client to client: an AUROC is worst at the first, a loss at the last."""
    three = tables.final_table(summary(["urban", "rural", "safety_net"]), width=120)
    under = {
        line[:17]: line[17:].split() for line in three if line.startswith(("mean over", "worst client", "worst d"))
    }
    assert under == {  # AUROC, best AUROC, accuracy, log loss, AUPRC, Brier score
        "mean over clients": ["0.701", "0.751", "0.701", "0.701", "0.701", "0.701"],
        "worst client     ": ["0.700", "0.750", "0.700", "0.702", "0.700", "0.702"],
    }
    assert any(line.startswith("Worst client in AUROC: urban; ") for line in three)
    assert any(line.startswith("All, pooled: AUROC there also ranks patients of different clients") for line in three)
    thirty = tables.final_table(summary([f"hospital {k}" for k in range(30)]), width=120)
    decile = next(line for line in thirty if line.startswith("worst decile")).split()[2:]
    assert decile == ["0.701", "0.751", "0.701", "0.728", "0.701", "0.728"]  # of three


def test_a_client_alone_is_not_called_the_worst_and_one_without_a_figure_is_counted() -> None:
    assert not re.search("orst client|different clients", "\n".join(tables.final_table(summary(["x"]))))
    result = summary(["a", "b", "c"])
    clients = result["final"]["clients"]
    clients["a"] |= {"auroc": None}
    clients["b"] |= {"auroc": 0.9}
    result["final"]["over_clients"] = page_sample.over_clients(clients)
    told = next(line for line in tables.final_table(result) if line.startswith("Worst client in AUROC: c; "))
    assert told.endswith(" 1 without a figure, or with 1 to 4 test rows, are left out.")


def test_the_last_round_being_the_best_needs_no_second_column() -> None:
    assert "best" not in "\n".join(tables.final_table(summary(["a", "b"], best_round=5), width=120)).lower()


def test_what_is_undefined_is_said_to_be_with_the_reason_below() -> None:
    result = summary(["cleveland", "switzerland"])
    swiss = result["final"]["clients"]["switzerland"]
    swiss |= {"auroc": None, "undefined": {"auroc": "AUROC: only 0 rows of a class among 16"}}
    lines = tables.final_table(result, width=120)
    assert "undefined" in next(line for line in lines if line.startswith("switzerland"))
    assert "Undefined at switzerland: AUROC: only 0 rows of a class among 16." in lines


def test_a_model_that_keras_cannot_save_is_said_to_be_missing() -> None:
    said = f"No model.keras: {tables.NOT_SAVED}."
    assert said in tables.final_table(summary(["a", "b"]) | {"model_file": None}, width=120)
    assert said not in tables.final_table(summary(["a", "b"]) | {"model_file": "model.keras"}, width=120)


@pytest.mark.parametrize("width", [50, 70, 90, 200])
def test_the_table_fits_the_terminal_and_keeps_the_primary_metric(width: int) -> None:
    lines = tables.final_table(summary(["a", "b", "hospital of a rather long name, in the north"]), width=width)
    header = next(place for place, line in enumerate(lines) if line.startswith("client"))
    assert "AUROC" in lines[header]
    assert max(len(line) for line in lines[header : header + 5]) <= max(width, 66)


def test_a_hundred_clients_are_summed_up_by_quantiles() -> None:
    lines = tables.final_table(summary([f"client_{n:04d}" for n in range(100)]), width=120)
    median = next(line for line in lines if line.startswith("median")).split()
    assert median[1:4] == ["1,050", "50", "0.750"]
    assert len(lines) < 20
    assert any("100 clients" in line for line in lines)


def test_a_shared_test_set_is_not_counted_once_a_client() -> None:
    result = summary(["a", "b"]) | {"test": "the data set's own test rows, reweighted to each client's label mix"}
    lines = tables.final_table(result, width=120)
    assert [line.split()[2] for line in lines if line.startswith(("a ", "b "))] == ["shared", "shared"]


def test_a_name_cannot_command_the_terminal() -> None:
    assert "\x1b" not in "\n".join(tables.final_table(summary(["a\x1b[2J", "b"]), width=120))


def test_wide_characters_stay_aligned() -> None:
    narrow, wide = tables.aligned([["ab", "医"], ["1", "22"]])
    assert (narrow, wide) == ("ab   1", "医  22")


@pytest.mark.parametrize("count", [0, 3, 12, 40])
def test_curves_are_drawn_for_few_and_many_clients(tmp_path: pathlib.Path, count: int) -> None:
    clients = [f"client_{n}" for n in range(count)]
    records = [record(n, 0.5 + 0.05 * n, clients or None, tested=n % 2 == 0) for n in range(6)]
    curves.write_curves(records, summary(clients), tmp_path)
    assert (tmp_path / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(tmp_path / "learning_curves.svg").getroot().tag.endswith("svg")


def test_curves_bear_odd_names_and_undefined_values_and_are_the_same_each_time(tmp_path: pathlib.Path) -> None:
    records = [record(n, 0.5, ["_hidden", "$x_{$", "医院"]) for n in range(3)]
    records[1]["test"]["clients"]["$x_{$"]["auroc"] = None
    files = [tmp_path / "a", tmp_path / "b"]
    for folder in files:
        folder.mkdir()
        curves.write_curves(records, summary(["_hidden", "$x_{$", "医院"]), folder)
    first, second = ((folder / "learning_curves.svg").read_bytes() for folder in files)
    assert first == second


def test_no_evaluation_means_no_picture(tmp_path: pathlib.Path) -> None:
    curves.write_curves([record(1, 0.5, None, tested=False)], summary([]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_scalars_leave_out_what_is_null_and_single_clients_of_many() -> None:
    few = dict(tensorboard.scalars(record(0, 0.5, ["a", "b"])))
    assert few["clients/auroc/b"] == pytest.approx(0.51)
    assert "run/learning_rate" not in few
    assert not any(name.startswith("train/") for name in few)
    many = dict(tensorboard.scalars(record(1, 0.5, [str(n) for n in range(51)])))
    assert not any(name.startswith("clients/") for name in many)
    assert many["test/auroc"] == 0.5


def test_events_written_again_after_a_resume_hold_each_step_once(tmp_path: pathlib.Path) -> None:
    import tensorflow as tf

    records = [record(n, 0.5 + n / 10, ["a"]) for n in range(4)]
    tensorboard.write_events(records[:2], tmp_path)
    tensorboard.write_events(records, tmp_path)
    events = [event for file in tmp_path.iterdir() for event in tf.compat.v1.train.summary_iterator(str(file))]
    steps = [event.step for event in events for value in event.summary.value if value.tag == "test/auroc"]
    assert steps == [0, 1, 2, 3]


def test_events_are_those_of_tf_summary_scalar(tmp_path: pathlib.Path) -> None:
    import tensorflow as tf

    records = [record(n, (0.5, 1e300, float("nan"))[n], ["a"]) for n in range(3)]
    tensorboard.write_events(records, tmp_path / "ours")
    writer: Any = tf.summary.create_file_writer(str(tmp_path / "theirs"))
    with writer.as_default():
        for told in records:
            for name, value in tensorboard.scalars(told):
                tf.summary.scalar(name, np.float64(value), step=told["round"])
    writer.close()
    ours, theirs = (
        [
            (event.step, value.tag, value.metadata, value.tensor.dtype, str(tf.make_ndarray(value.tensor)))
            for file in (tmp_path / by).iterdir()
            for event in tf.compat.v1.train.summary_iterator(str(file))
            for value in event.summary.value
        ]
        for by in ("ours", "theirs")
    )
    assert ours == theirs
