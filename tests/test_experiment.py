"""Runs from settings to a run directory: they repeat, resume, stop, lock, and leave what they say they leave."""

import contextlib
import fcntl
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tiny

from fedmed.engine import attendance, checkpoints, identity
from fedmed.runs import experiment
from fedmed.settings import config
from fedmed.system import errors

TESTS = pathlib.Path(__file__).parent
CLOCKS = ("seconds", "evaluation_seconds", "memory_mb")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.save_sites(tmp_path_factory.mktemp("data") / "own.npz")


def settings(data: str, /, **changes: Any) -> config.RunConfig:
    base: dict[str, Any] = {
        "data": {"args": {"path": data}},
        "client": {"learning_rate": 0.1, "batch_size": 8},
        "cohort": {"size": 3},
        "rounds": 4,
    }
    return tiny.settings("tiny_models:dropout", **{**base, **changes})


def records(out: pathlib.Path) -> list[dict[str, Any]]:
    """Returns rounds.jsonl without what depends on the clock."""
    lines = [strict(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCKS} for line in lines]


def strict(text: str) -> Any:
    """Reads JSON as other languages do: NaN and Infinity are errors."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def weights_of(out: pathlib.Path, name: str = "weights.npz") -> dict[str, np.ndarray]:
    with np.load(out / name, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def assert_same_run(first: pathlib.Path, second: pathlib.Path) -> None:
    assert records(first) == records(second)
    summaries = [strict((out / "summary.json").read_text()) for out in (first, second)]
    for summary in summaries:
        del summary["seconds"]
    assert summaries[0] == summaries[1]
    for name in ("weights.npz", "weights_best.npz"):
        # By position: the names count on over the models that Keras has made in this process.
        one, two = weights_of(first, name).values(), weights_of(second, name).values()
        assert [value.tobytes() for value in one] == [value.tobytes() for value in two]


@pytest.fixture(scope="module")
def straight(data: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A finished run of four rounds."""
    out = tmp_path_factory.mktemp("straight") / "out"
    experiment.run(settings(data), out)
    return out


# Repeat and resume


def test_the_same_seed_gives_the_same_run(data: str, straight: pathlib.Path, tmp_path: pathlib.Path) -> None:
    experiment.run(settings(data), tmp_path / "again")
    assert_same_run(straight, tmp_path / "again")


@pytest.fixture(scope="module")
def other_seed(data: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The run that `straight` is, by another seed."""
    out = tmp_path_factory.mktemp("other") / "out"
    experiment.run(settings(data, seed=1), out)
    return out


def test_another_seed_gives_another_run(straight: pathlib.Path, other_seed: pathlib.Path) -> None:
    assert checksum(other_seed) != checksum(straight)


def checksum(out: pathlib.Path) -> str:
    return strict((out / "summary.json").read_text())["weights_sha256"]


def test_an_interrupted_run_goes_on_to_the_same_bits(data: str, tmp_path: pathlib.Path) -> None:
    whole = settings(
        data,
        checkpoint={"every": 2},
        server={"optimizer": "adam", "learning_rate": 0.1},
        client={"learning_rate": 0.1, "optimizer": "momentum"},
    )
    experiment.run(whole, tmp_path / "whole")
    stopped = Interrupting(at=3)  # its checkpoint is of round 2
    with pytest.raises(KeyboardInterrupt):
        experiment.run(whole, tmp_path / "parts", observers=[stopped])
    assert stopped.closed
    assert not (tmp_path / "parts" / "summary.json").exists()
    experiment.run(whole, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_goes_on_where_there_are_fewer_cores(data: str, tmp_path: pathlib.Path) -> None:
    def begun(lanes: int, rounds: int) -> config.RunConfig:
        return settings(data, rounds=rounds, runtime={"name": "local", "lanes": lanes})

    experiment.run(begun(3, 4), tmp_path / "whole")
    experiment.run(begun(3, 2), tmp_path / "parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: {0})
        summary = experiment.run(begun(0, 4), tmp_path / "parts", resume=True)
    assert summary["weights_sha256"] == strict((tmp_path / "whole" / "summary.json").read_text())["weights_sha256"]
    with pytest.raises(errors.UserError, match=r"runtime\.lanes was 3 and is now 1"):
        experiment.run(begun(1, 5), tmp_path / "parts", resume=True)


class Interrupting:
    """An observer that interrupts a run as Ctrl-C would."""

    def __init__(self, at: int) -> None:
        self.at, self.closed = at, False
        self.began: tuple[int, int] | None = None
        self.seen: list[int] = []

    def start(self, total_rounds: int, done: int) -> None:
        self.began = (total_rounds, done)

    def round(self, record: Mapping[str, Any]) -> None:
        self.seen.append(record["round"])
        if record["round"] == self.at:
            raise KeyboardInterrupt

    def close(self) -> None:
        self.closed = True


def test_a_finished_run_can_be_given_more_rounds(data: str, straight: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    experiment.run(settings(data, rounds=2), out)
    watching = Interrupting(at=99)
    experiment.run(settings(data, rounds=4), out, resume=True, observers=[watching])
    assert_same_run(straight, out)
    assert watching.began == (4, 2)
    assert watching.seen == [3, 4]


def test_resuming_a_finished_run_changes_nothing(data: str, straight: pathlib.Path) -> None:
    before = {name: (straight / name).read_bytes() for name in ("summary.json", "rounds.jsonl", "config.toml")}
    summary = experiment.run(settings(data), straight, resume=True)
    assert summary == strict(before["summary.json"].decode())
    assert {name: (straight / name).read_bytes() for name in before} == before


def test_a_run_begins_where_there_is_nothing_to_resume(
    data: str, straight: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    experiment.run(settings(data), out, resume=True)
    assert_same_run(straight, out)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    data: str, straight: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    changes = settings(data, checkpoint={"every": 1})
    with pytest.raises(KeyboardInterrupt):
        experiment.run(changes, out, observers=[Interrupting(at=3)])
    path = out / "checkpoint.bin"
    content, middle = path.read_bytes(), path.stat().st_size // 2
    for damaged in (b"", content[:middle] + b"!!" + content[middle + 2 :], content[:-7]):
        path.write_bytes(damaged)
        assert round_of(out) == 2
    path.unlink()
    assert round_of(out) == 2
    path.write_bytes(content)
    assert round_of(out) == 3
    path.write_bytes(content[:-7])
    with (out / "rounds.jsonl").open("a") as file:
        file.write('{"round": 4, "coh')  # and the line that was being written is cut off, too
    experiment.run(changes, out, resume=True)
    assert_same_run(straight, out)


def round_of(out: pathlib.Path) -> int:
    """Returns the round of the newest undamaged checkpoint."""
    heads = [checkpoints._content(out / name) for name in ("checkpoint.bin", "checkpoint.previous.bin")]
    return next(head for _, head in filter(None, heads))["positions"]["last"]["round"]


def refused(changes: config.RunConfig, out: pathlib.Path) -> str:
    """Returns why a run cannot be resumed, and makes sure that nothing in its directory has changed."""
    before = {path: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file() and path.name != ".lock"}
    with pytest.raises(errors.UserError) as caught:
        experiment.run(changes, out, resume=True)
    assert {path: path.read_bytes() for path in before} == before
    return str(caught.value).removeprefix(f"{out}: cannot resume: ")


@pytest.fixture(scope="module")
def stopped_once(data: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    out = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.raises(KeyboardInterrupt):
        experiment.run(settings(data, checkpoint={"every": 1}), out, observers=[Interrupting(at=3)])
    return out


@pytest.fixture
def stopped(stopped_once: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A run that was stopped after round 3, each round saved."""
    return shutil.copytree(stopped_once, tmp_path / "out")


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_one_before(tmp_path: pathlib.Path) -> None:
    """A kill between the two writes would leave neither."""
    own = tiny.settings(rounds=4)
    with contextlib.closing(tiny.federation(own, tiny.clients())) as federation:
        saving = checkpoints.Checkpoints(tmp_path / "checkpoint.bin", identity.settings_of(own), federation)
        positions = [federation.start(), *(done.position for done in federation.rounds(federation.start()))]
        for position in positions[:2]:
            saving.save(checkpoints.Saved({"last": position}, {}))
        before, newest = (tmp_path / name for name in ("checkpoint.previous.bin", "checkpoint.bin"))
        good = before.read_bytes()
        newest.write_bytes(newest.read_bytes()[:-9])
        again = checkpoints.Checkpoints(newest, identity.settings_of(own), federation)
        assert next(again.saved()).positions["last"].round == 0
        again.save(checkpoints.Saved({"last": positions[2]}, {}))
        assert before.read_bytes() == good
        again.save(checkpoints.Saved({"last": positions[3]}, {}))
        assert [next(again.saved()).positions["last"].round, before.read_bytes() == good] == [3, False]


def test_damaged_checkpoints_do_not_start_a_run_over_in_silence(data: str, stopped: pathlib.Path) -> None:
    for path in stopped.glob("checkpoint*.bin"):
        path.write_bytes(path.read_bytes()[:-9])
    assert refused(settings(data), stopped) == "its checkpoints are damaged; overwrite=True starts anew"
    for path in stopped.glob("checkpoint*.bin"):
        path.unlink()
    lost = refused(settings(data, checkpoint={"every": 2}), stopped)
    assert lost == "its checkpoint is gone; overwrite=True starts anew"


@pytest.mark.parametrize("damage", ["cut", "a number", "an empty object", "a round twice", "bytes", "a digit"])
def test_rounds_that_are_not_on_record_are_not_skipped(damage: str, data: str, stopped: pathlib.Path) -> None:
    path = stopped / "rounds.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    bad = {"cut": lines[1][:30], "a number": b"7\n", "an empty object": b"{}\n", "a round twice": lines[0],
           "bytes": b"\xff\x00\n", "a digit": lines[1].replace(b'"auroc": 0.', b'"auroc": 0.0')}[damage]  # fmt: skip
    assert bad != lines[1]
    path.write_bytes(b"".join([lines[0], bad, *lines[2:]]))
    assert refused(settings(data), stopped) == "rounds.jsonl lacks rounds or is damaged; overwrite=True starts anew"


def test_a_last_line_that_is_lost_falls_back_to_the_checkpoint_before(
    data: str, stopped: pathlib.Path, straight: pathlib.Path
) -> None:
    lines = (stopped / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    (stopped / "rounds.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    experiment.run(settings(data), stopped, resume=True)
    assert_same_run(straight, stopped)


def test_a_run_is_not_gone_on_with_to_fewer_rounds_than_are_done(data: str, stopped: pathlib.Path) -> None:
    told = refused(settings(data, rounds=2), stopped)
    assert told == "rounds is 2, and 3 are done; allowed: rounds >= 3"


def test_a_finished_run_without_its_checkpoint_is_not_started_over(data: str, tmp_path: pathlib.Path) -> None:
    experiment.run(settings(data), tmp_path / "out")
    (tmp_path / "out" / "checkpoint.bin").unlink()
    assert refused(settings(data), tmp_path / "out") == "its checkpoint is gone; overwrite=True starts anew"


def test_a_run_that_ended_before_its_first_checkpoint_was_written_begins_anew(
    data: str, straight: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out, changes = tmp_path / "out", settings(data, checkpoint={"every": 1})
    with pytest.raises(KeyboardInterrupt):
        experiment.run(changes, out, observers=[Interrupting(at=1)])
    (out / "checkpoint.bin").unlink()  # as of a disk that was full then: round 1 is on record already
    experiment.run(changes, out, resume=True)
    assert_same_run(straight, out)


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew_with_more_of_them(
    data: str, straight: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """None was due by the interval it had, whatever the new one is."""
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        experiment.run(settings(data, checkpoint={"every": 100}), out, observers=[Interrupting(at=3)])
    assert not (out / "checkpoint.bin").exists()
    experiment.run(settings(data, checkpoint={"every": 1}), out, resume=True)
    assert_same_run(straight, out)


def test_a_refused_resume_is_one_line_without_what_is_told_of_the_data(data: str, stopped: pathlib.Path) -> None:
    told: list[Any] = []
    with pytest.raises(errors.UserError):
        experiment.run(settings(data, rounds=2), stopped, resume=True, tell=told.append)
    assert not told
    experiment.run(settings(data), stopped, resume=True, tell=told.append)
    assert len(told) == 1


def test_changed_data_are_not_gone_on_with(data: str, stopped: pathlib.Path) -> None:
    with np.load(data) as archive:
        arrays = dict(archive)
    pathlib.Path(data).rename(f"{data}.kept")
    try:
        np.savez(data, **{**arrays, "y": 1 - arrays["y"]})
        assert refused(settings(data), stopped) == "the data have changed (train.y)"
    finally:
        pathlib.Path(f"{data}.kept").replace(data)


def test_a_checkpoint_of_another_run_is_not_gone_on_with(
    data: str, stopped: pathlib.Path, other_seed: pathlib.Path
) -> None:
    (stopped / "checkpoint.bin").write_bytes((other_seed / "checkpoint.bin").read_bytes())
    assert refused(settings(data), stopped) == "seed was 1 and is now 0"


def test_another_metric_is_not_held_against_the_best_value_of_the_first(data: str, stopped: pathlib.Path) -> None:
    changed = refused(settings(data, stop={"metric": "accuracy", "target": 0.9}), stopped)
    assert changed == "stop.metric was 'auroc' and is now 'accuracy'"
    experiment.run(settings(data, stop={"metric": "auroc"}), stopped, resume=True)  # which it was all the time


def test_changed_code_is_not_gone_on_with(data: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "edited_model.py"
    code.write_text("from tiny_models import linear\n\n\ndef build(spec):\n    return linear(spec)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    changes = tiny.settings("edited_model:build", data={"args": {"path": data}}, checkpoint={"every": 1})
    with pytest.raises(KeyboardInterrupt):
        experiment.run(changes, tmp_path / "out", observers=[Interrupting(at=1)])
    code.write_text(code.read_text() + "# another model now\n")
    assert refused(changes, tmp_path / "out") == "the code of edited_model has changed"


def with_drop_outs(data: str) -> config.RunConfig:
    return settings(data, algorithm={"name": "scaffold"}, cohort={"size": 3},
                    scenario=[{"name": "absent", "chance": 0.4}], checkpoint={"every": 1}, rounds=6)  # fmt: skip


@pytest.fixture(scope="module")
def dropping_out(data: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A finished run of SCAFFOLD in which clients dropped out."""
    out = tmp_path_factory.mktemp("scaffold") / "out"
    experiment.run(with_drop_outs(data), out)
    lines = records(out)
    assert any(line["absent"] for line in lines)
    assert all(line["bytes_up"] <= line["bytes_down"] for line in lines)
    return out


@pytest.mark.parametrize("at", [4, *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 2, 5))])
def test_scaffold_with_drop_outs_goes_on_to_the_same_bits(
    at: int, data: str, dropping_out: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        experiment.run(with_drop_outs(data), out, observers=[Interrupting(at=at)])
    experiment.run(with_drop_outs(data), out, resume=True)
    assert_same_run(dropping_out, out)
    kept = {path.name for path in (dropping_out / "kept").iterdir()}
    assert len(kept) <= 1 + 4 * 4  # the first, and of each client those of the last and best round of two checkpoints


@pytest.mark.parametrize(
    ("algorithm", "optimizer"),
    [
        ({"name": "feddyn", "args": {"alpha": 1}}, "sgd"),
        pytest.param({"name": "mimelite", "args": {"base": "adam"}}, "sgd", marks=pytest.mark.slow),
        ({"name": "fedavg_moments"}, "adam"),
        pytest.param({"name": "qffl", "args": {"q": 2}}, "sgd", marks=pytest.mark.slow),
    ],
    ids=["feddyn", "mimelite", "fedavg_moments", "qffl"],
)
def test_what_a_server_keeps_goes_on_to_the_same_bits(
    algorithm: dict[str, Any], optimizer: str, data: str, tmp_path: pathlib.Path
) -> None:
    local = {"learning_rate": 0.1, "batch_size": 8, "optimizer": optimizer}
    whole = settings(data, client=local, algorithm=algorithm, checkpoint={"every": 1})
    experiment.run(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        experiment.run(whole, tmp_path / "parts", observers=[Interrupting(at=2)])
    experiment.run(whole, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_the_checkpoint_before_has_all_that_its_clients_kept(
    data: str, dropping_out: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        experiment.run(with_drop_outs(data), tmp_path / "parts", observers=[Interrupting(at=3)])
    path = tmp_path / "parts" / "checkpoint.bin"
    path.write_bytes(path.read_bytes()[:-9])
    experiment.run(with_drop_outs(data), tmp_path / "parts", resume=True)
    assert_same_run(dropping_out, tmp_path / "parts")


def test_damage_to_what_clients_kept_is_noticed(data: str, dropping_out: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        experiment.run(with_drop_outs(data), out, observers=[Interrupting(at=3)])
    newest = max((path for path in (out / "kept").iterdir()), key=lambda path: path.name.partition("-")[2])
    content = newest.read_bytes()
    newest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    shutil.copytree(out, tmp_path / "both")
    experiment.run(with_drop_outs(data), out, resume=True)  # from the checkpoint before
    assert_same_run(dropping_out, out)
    for path in (tmp_path / "both" / "kept").glob("0*"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(errors.UserError, match="kept: a file is damaged, and the federation cannot go on without it"):
        experiment.run(with_drop_outs(data), tmp_path / "both", resume=True)


def start(data: str, out: pathlib.Path, *overrides: str) -> "subprocess.Popen[bytes]":
    """Starts `fedmed run` in a process of its own."""
    path = out.with_suffix(".toml")
    path.write_text(config.dumps(settings(data, rounds=12, checkpoint={"every": 3}, runtime={"name": "tff"})))
    sets = [word for override in overrides for word in ("--set", override)]
    environment = dict(os.environ, PYTHONPATH=str(TESTS))
    command = [sys.executable, "-m", "fedmed", "run", str(path), *sets, "--out", str(out), "--quiet"]
    return subprocess.Popen(command, env=environment, cwd=TESTS.parent)


def wait_for_round(out: pathlib.Path, number: int, process: "subprocess.Popen[bytes]") -> None:
    """Waits until rounds.jsonl has a round; a minute at most."""
    for _ in range(6000):
        path = out / "rounds.jsonl"
        if path.exists() and len(path.read_text().splitlines()) > number:
            return
        assert process.poll() is None, "the run ended before it was to be killed"
        time.sleep(0.01)
    raise AssertionError("the run did not get so far")


@pytest.mark.slow
def test_a_killed_run_on_tff_goes_on_to_the_same_bits(data: str, tmp_path: pathlib.Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(data, whole).wait() == 0
    process = start(data, killed)
    wait_for_round(killed, 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "summary.json").exists()
    done = experiment.run(config.load(killed / "config.toml"), killed, resume=True)
    assert done["rounds"] == 12
    assert_same_run(whole, killed)


# Cohorts and lanes


def test_a_cohort_depends_on_seed_and_round_alone() -> None:
    names = [f"c{i}" for i in range(20)]
    drawn = [attendance.cohort(3, round_, names, 5) for round_ in range(10)]
    assert drawn == [attendance.cohort(3, round_, names, 5) for round_ in range(10)]
    assert len({tuple(cohort) for cohort in drawn}) > 5
    assert attendance.cohort(4, 0, names, 5) != drawn[0]
    for cohort in drawn:
        assert len(set(cohort)) == 5
        assert cohort == sorted(cohort, key=names.index)


def test_every_client_is_as_likely_to_be_drawn() -> None:
    names = list("abcdef")
    counts = np.zeros(6)
    for round_ in range(600):
        for client in attendance.cohort(0, round_, names, 2):
            counts[names.index(client)] += 1
    assert counts.sum() == 1200
    assert np.abs(counts - 200).max() < 5 * math.sqrt(600 / 3 * 2 / 3)


def test_all_clients_are_a_cohort_of_all() -> None:
    assert attendance.cohort(0, 5, ["b", "a"], 2) == ["b", "a"]


@pytest.mark.parametrize(
    ("cohort", "clients", "size"),
    [({}, 7, 7), ({"size": 3}, 7, 3), ({"fraction": 0.5}, 7, 4), ({"fraction": 0.01}, 7, 1), ({"fraction": 1.0}, 7, 7)],
)
def test_the_size_of_a_cohort(cohort: dict[str, Any], clients: int, size: int) -> None:
    assert attendance.cohort_size(config.Cohort(**cohort), clients) == size


def test_more_clients_than_there_are_is_told_in_one_line(data: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.ConfigError, match=r"^cohort.size: expected at most 4 \(all clients\), got 5$"):
        experiment.run(settings(data, cohort={"size": 5}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_lanes_hold_every_position_once_and_are_balanced(count: int) -> None:
    rng = np.random.default_rng(count)
    for clients in (1, 2, 5, 40):
        costs = [int(cost) for cost in rng.integers(0, 100, clients)]
        dealt = attendance.lanes(costs, count)
        assert sorted(position for lane in dealt for position in lane) == list(range(clients))
        assert all(lane and lane == sorted(lane) for lane in dealt)
        assert len(dealt) == min(count, clients)
        loads = [sum(max(1, costs[p]) for p in lane) for lane in dealt]
        assert max(loads) - min(loads) <= max(1, *costs)  # greedy's bound: one client more or less
        assert dealt == attendance.lanes(costs, count)


def test_lanes_by_hand() -> None:
    assert attendance.lanes([5, 9, 4, 3], 2) == [[1, 3], [0, 2]]


# The directory


def test_a_second_run_in_one_directory_is_kept_out(data: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for resume, overwrite in ((False, False), (True, False), (False, True)):
            with pytest.raises(errors.UserError, match=r"another run is writing here; choose another out$"):
                experiment.run(settings(data), out, resume=resume, overwrite=overwrite)
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_a_run_is_not_replaced_unless_asked(data: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    first = experiment.run(settings(data, rounds=1), out)
    with pytest.raises(errors.UserError, match="holds a run already; add resume=True to go on with it, overwrite=True"):
        experiment.run(settings(data, rounds=1), out)
    (out / "stale.txt").write_text("of the earlier run")
    second = experiment.run(settings(data, rounds=2, seed=5), out, overwrite=True)
    assert second["weights_sha256"] != first["weights_sha256"]
    assert len(records(out)) == 3
    assert not (out / "stale.txt").exists()
    assert len(list((out / "tensorboard").iterdir())) == 1


def test_a_folder_that_holds_something_else_is_left_alone(data: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(errors.UserError, match="is not empty and holds no run of fedmed"):
        experiment.run(settings(data), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"client": {"learning_rate": 0.2}}, r"cannot resume: client.learning_rate was 0.1 and is now 0.2$"),
        ({"seed": 1}, r"cannot resume: seed was 0 and is now 1$"),
        ({"runtime": {"lanes": 3}}, r"cannot resume: runtime.lanes was 2 and is now 3$"),
        ({"aggregation": {"clip_norm": 1.0}}, r"cannot resume: aggregation.clip_norm was not set and is now 1.0$"),
    ],
)
def test_resuming_with_other_settings_is_told_in_one_line(
    changes: dict[str, Any], message: str, data: str, straight: pathlib.Path
) -> None:
    merged = {"client": {"learning_rate": 0.1, "batch_size": 8, **changes.pop("client", {})}, **changes}
    before = (straight / "summary.json").read_bytes()
    with pytest.raises(errors.ConfigError, match=message):
        experiment.run(settings(data, **merged), straight, resume=True)
    assert (straight / "summary.json").read_bytes() == before


def test_an_error_of_the_model_leaves_an_earlier_run_and_no_new_directory(
    data: str, straight: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    broken = tiny.settings("tiny_models:raising", data={"args": {"path": data}})
    with pytest.raises(errors.ModelError):
        experiment.run(broken, tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []
    before = {path.name for path in straight.iterdir()}
    with pytest.raises(errors.ModelError):
        experiment.run(broken, straight, overwrite=True)
    assert {path.name for path in straight.iterdir()} == before


# Stopping and the best weights


def test_a_target_stops_the_run(data: str, straight: pathlib.Path, tmp_path: pathlib.Path) -> None:
    losses = [record["test"]["pooled"]["loss"] for record in records(straight)]
    first = next(i for i, loss in enumerate(losses) if i and loss < min(losses[:i]))  # the first that improves
    stop = {"metric": "loss", "target": losses[first]}
    done = experiment.run(settings(data, stop=stop, checkpoint={"every": 100}), tmp_path / "out")
    assert (done["stopped"], done["rounds"], done["best"]["round"]) == ("target", first, first)
    again = experiment.run(settings(data, stop=stop, checkpoint={"every": 100}), tmp_path / "out", resume=True)
    assert again["rounds"] == first


def test_a_target_that_the_untrained_model_meets_is_met_when_resumed_too(data: str, tmp_path: pathlib.Path) -> None:
    out, stop = tmp_path / "out", {"metric": "loss", "target": 100.0}
    done = experiment.run(settings(data, stop=stop), out)
    assert (done["stopped"], done["rounds"], done["best"]["round"]) == ("target", 0, 0)
    again = experiment.run(settings(data, stop=stop), out, resume=True)
    assert {**again, "seconds": 0} == {**done, "seconds": 0}
    further = experiment.run(settings(data, stop={"metric": "loss"}), out, resume=True)  # without a target it goes on
    assert further["stopped"] == "rounds"


def test_patience_stops_a_run_that_gets_worse_and_the_best_weights_are_kept(data: str, tmp_path: pathlib.Path) -> None:
    """A server that walks the wrong way: each round is worse, so the untrained model stays the best."""
    changes = settings(
        data,
        rounds=9,
        client={"learning_rate": 50.0, "batch_size": 8},
        stop={"metric": "loss", "patience": 2},
    )
    done = experiment.run(changes, tmp_path / "out")
    best, scores = done["best"]["round"], [r["test"]["pooled"]["loss"] for r in records(tmp_path / "out")]
    assert done["stopped"] == "patience"
    assert done["rounds"] == best + 2
    assert scores[best] == min(scores)
    assert done["best"]["pooled"]["loss"] == pytest.approx(min(scores), rel=1e-6)
    assert done["final"]["pooled"]["loss"] == pytest.approx(scores[-1], rel=1e-6)
    final, kept = weights_of(tmp_path / "out"), weights_of(tmp_path / "out", "weights_best.npz")
    assert any(not np.array_equal(final[key], kept[key]) for key in final)


def test_rounds_evaluation_decay_and_lanes_are_as_asked(data: str, tmp_path: pathlib.Path) -> None:
    changes = settings(
        data,
        rounds=3,
        evaluation={"every": 2},
        client={"learning_rate": 0.4, "learning_rate_decay": 0.5},
        runtime={"lanes": 0},
    )
    experiment.run(changes, tmp_path / "out")
    lines = records(tmp_path / "out")
    assert [line["round"] for line in lines if line["test"]] == [0, 2, 3]  # before the first, every 2, after the last
    assert [line["learning_rate"] for line in lines] == [None, 0.4, 0.2, 0.1]
    lanes = config.load(tmp_path / "out" / "config.toml").runtime.lanes
    assert lanes == len(os.sched_getaffinity(0))  # what was left to the machine is written down


def test_an_unknown_metric_is_told_in_one_line(data: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.ConfigError, match=r"^stop.metric: unknown metric of a binary task 'acuracy'.*accuracy"):
        experiment.run(settings(data, stop={"metric": "acuracy"}), tmp_path / "out")


# What is left behind


def test_the_files_of_a_run(straight: pathlib.Path) -> None:
    names = {path.name for path in straight.iterdir()}
    assert {"config.toml", "rounds.jsonl", "summary.json", "weights.npz", "weights_best.npz", "model.keras"} <= names
    assert "tensorboard" in names
    assert any(name.endswith(".svg") for name in names)
    assert not [name for name in names if name.startswith(".") and name != ".lock"]


def test_the_resolved_config_reads_back_to_the_run(data: str, straight: pathlib.Path) -> None:
    assert config.load(straight / "config.toml") == settings(data)


def test_the_lines_of_rounds_jsonl(straight: pathlib.Path) -> None:
    lines = [strict(line) for line in (straight / "rounds.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [0, 1, 2, 3, 4]
    bytes_of_weights = strict((straight / "summary.json").read_text())["weights_bytes"]
    assert bytes_of_weights == 4 * sum(value.size for value in weights_of(straight).values())
    held = {"a": 30, "b": 22, "c": 15, "d": 7}
    for line in lines:
        assert line["bytes_down"] == line["bytes_up"] == len(line["cohort"]) * bytes_of_weights
        assert line["refused"] == []
        assert set(line["test"]["pooled"]) == {"accuracy", "loss", "auroc", "auprc", "brier"}
        assert set(line["test"]["clients"]) == set(held)
        assert all(line[clock] >= 0 for clock in CLOCKS)
        assert line["memory_mb"] > 10
    for line in lines[1:]:
        assert len(line["cohort"]) == 3
        assert set(line["train"]) == {"loss", "accuracy"}
        assert 0 <= line["train"]["accuracy"] <= 1
    assert lines[0]["train"] is None
    assert lines[0]["cohort"] == []


def test_the_summary(straight: pathlib.Path) -> None:
    summary = strict((straight / "summary.json").read_text())
    assert summary["schema"] == 1
    assert (summary["task"], summary["metric"], summary["rounds"], summary["stopped"]) == (
        "binary",
        "auroc",
        4,
        "rounds",
    )
    assert summary["seed"] == 0
    assert {"python", "numpy", "tensorflow-federated"} <= set(summary["versions"])
    assert all(len(value) == 64 for value in summary["data"]["checksums"].values())
    lines = records(straight)
    for way in ("bytes_down", "bytes_up"):
        assert summary["traffic"][way] == sum(line[way] for line in lines) == 12 * summary["weights_bytes"]
    for outcome in ("final", "best"):
        assert set(summary[outcome]["clients"]) == {"a", "b", "c", "d"}
        for client in summary[outcome]["clients"].values():
            assert {"train_rows", "test_rows", "accuracy", "loss", "auroc", "auprc", "brier", "undefined"} == set(
                client
            )
    rows = [(client["train_rows"], client["test_rows"]) for client in summary["final"]["clients"].values()]
    assert [sum(pair) for pair in rows] == [40, 30, 20, 10]
    assert summary["final"]["pooled"] == pytest.approx(lines[-1]["test"]["pooled"])
    assert summary["final"]["over_clients"] == lines[-1]["test"]["over_clients"]
    told = [c["loss"] for c in summary["final"]["clients"].values() if c["test_rows"] >= 5]
    assert summary["final"]["over_clients"]["loss"]["value"] == max(told)
    assert summary["final"]["over_clients"]["loss"]["mean"] == pytest.approx(np.mean(told))
    assert summary["final"]["over_clients"]["loss"]["without"] == 4 - len(told)
    best = max(lines, key=lambda line: line["test"]["pooled"]["auroc"])
    assert summary["best"]["round"] == best["round"]


def test_the_saved_model_holds_the_final_weights(straight: pathlib.Path) -> None:
    import tensorflow as tf

    saved = tf.keras.models.load_model(straight / "model.keras", compile=False)
    tiny.assert_same([v.numpy() for v in saved.variables], list(weights_of(straight).values()))


def test_heart_disease_reports_what_switzerland_cannot_tell(tmp_path: pathlib.Path) -> None:
    changes = config.parse(
        {
            "name": "heart",
            "data": {"name": "heart_disease"},
            "model": {"name": "logistic_regression"},
            "client": {"learning_rate": 0.1, "batch_size": 16},
            "rounds": 2,
            "runtime": {"name": "local", "lanes": 2},
        }
    )
    summary = experiment.run(changes, tmp_path / "out")
    clients = summary["final"]["clients"]
    assert [client["train_rows"] for client in clients.values()] == [199, 172, 30, 85]
    assert clients["switzerland"]["auroc"] is None
    reason = clients["switzerland"]["undefined"]["auroc"]
    assert reason
    assert "\n" not in reason
    assert clients["cleveland"]["undefined"] == {}
    assert clients["cleveland"]["auroc"] > 0.7
    assert strict((tmp_path / "out" / "summary.json").read_text()) == summary
    assert (tmp_path / "out" / "preprocessing.json").is_file()


def test_a_client_that_cannot_be_averaged_is_named_and_the_run_goes_on(tmp_path: pathlib.Path) -> None:
    x = np.asarray(tiny.site_rows().x)
    x[-10:, 0] = 1e30  # client "d"
    path = tiny.save_sites(tmp_path / "own.npz", {"x": x})
    out = tmp_path / "out"
    linear = tiny.settings("tiny_models:flat_start", data={"args": {"path": path}}, rounds=2)
    summary = experiment.run(linear, out)
    assert summary["refused"] == {"d": 2}
    lines = records(out)
    assert [line["refused"] for line in lines] == [[], ["d"], ["d"]]
    trained = sum(summary["final"]["clients"][client]["train_rows"] for client in "abc")
    assert [line["examples"] for line in lines[1:]] == [trained, trained]
    assert all(np.isfinite(value).all() for value in weights_of(out).values())


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (
            {"scenario": [{"name": "absent"}]},
            "Nothing was learned: no client was there in any round (never joined).",
        ),
        (
            {"client": {"learning_rate": 1e30}},
            "Nothing was learned: no update of any client was finite; a smaller clie",
        ),
        ({"client": {"learning_rate": 50.0}}, "Training diverged: log loss "),
    ],
)
def test_a_run_that_learns_nothing_or_gets_worse_says_so(
    changes: dict[str, Any], warning: str, data: str, tmp_path: pathlib.Path
) -> None:
    summary = experiment.run(settings(data, **changes), tmp_path / "out")
    assert summary["nothing_learned"] == warning.startswith("Nothing")
    assert [text[: len(warning)] for text in summary["warnings"]] == [warning]
    assert "Warning." in (tmp_path / "out" / "report.md").read_text()


def test_a_run_that_learns_has_no_warning(straight: pathlib.Path) -> None:
    summary = strict((straight / "summary.json").read_text())
    assert (summary["nothing_learned"], summary["warnings"]) == (False, [])
    assert "Warning." not in (straight / "report.md").read_text()


def test_a_run_that_diverges_still_ends_with_strict_json(tmp_path: pathlib.Path) -> None:
    """Scores beyond float32 are written as they are where they are numbers, and as null where they are none."""
    own = tiny.rows(60, seed=0, features=4)
    y = np.asarray(own.x)[:, 0] * 1e6 + 0.25
    np.savez(tmp_path / "own.npz", x=np.asarray(own.x), y=y, site=np.repeat(["a", "b"], 30))
    wild = tiny.settings(
        "tiny_models:linear",
        data={"args": {"path": str(tmp_path / "own.npz")}},
        client={"learning_rate": 1e5},
        rounds=5,
    )
    summary = experiment.run(wild, tmp_path / "out")
    assert strict((tmp_path / "out" / "summary.json").read_text()) == summary
    assert len(records(tmp_path / "out")) == 6


def test_a_temporary_folder_that_is_not_there_is_told_and_nothing_goes_elsewhere(
    data: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    with pytest.raises(errors.UserError, match=r"TMPDIR: '.*none' is no folder that can be written to"):
        experiment.run(settings(data), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_clients_files_are_gone_after_a_run(data: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        experiment.run(settings(data), tmp_path / "out", observers=[Interrupting(at=1)])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_killed_runs_files_are_removed_by_the_next_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedmed.data import store
    from fedmed.system import folders

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("fedmed-clients-abandoned", "fedmed-clients-others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "000000.bin").touch()
    (tmp_path / "fedmed-clients-notes.txt").touch()
    others = os.open(tmp_path / "fedmed-clients-others", os.O_RDONLY)  # of a process that cannot be seen from here
    fcntl.flock(others, fcntl.LOCK_EX)
    mine = store.ClientStore({"a": tiny.rows(3, seed=0)})
    folders.remove_abandoned(store.PREFIX)
    assert {path.name for path in tmp_path.iterdir()} == {
        mine.folder.name, "fedmed-clients-others", "fedmed-clients-notes.txt"
    }  # fmt: skip
    os.close(others)
    mine.close()
    mine.close()
    folders.remove_abandoned(store.PREFIX)
    assert {path.name for path in tmp_path.iterdir()} == {"fedmed-clients-notes.txt"}


OWNER = """
import os, subprocess, sys, time
from fedmed.data import store
import tiny
mine = store.ClientStore({"a": tiny.rows(3, seed=0)})
started = subprocess.Popen(["sleep", "100"], stdout=subprocess.DEVNULL, close_fds=False)
forked = os.fork()
if forked == 0:
    os.close(1)
    mine.close()  # not its own
    time.sleep(100)
print(mine.folder, started.pid, forked, flush=True)
time.sleep(100)
"""


@pytest.mark.slow
def test_a_killed_runs_children_do_not_keep_its_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedmed.data import store
    from fedmed.system import folders

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environment = dict(os.environ, TMPDIR=str(tmp_path), PYTHONPATH=f"{TESTS}:{TESTS.parent}")
    with subprocess.Popen([sys.executable, "-c", OWNER], env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder, *children = owner.stdout.readline().split()
        try:
            folders.remove_abandoned(store.PREFIX)
            assert pathlib.Path(folder, "000000.bin").is_file()
            owner.kill()
            owner.wait(timeout=10)
            folders.remove_abandoned(store.PREFIX)
            assert not pathlib.Path(folder).exists()
        finally:
            for child in children:
                os.kill(int(child), signal.SIGKILL)


@pytest.mark.slow
def test_it_runs_under_absl_before_tensorflow_is_imported(tmp_path: pathlib.Path) -> None:
    program = (
        "import sys, fedmed\nfrom absl import app\n"
        "app.run(lambda _: fedmed.run('configs/digits_fedavg.toml', sys.argv[1], overrides=['rounds=1']) and None)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], check=True)
    assert (tmp_path / "run" / "summary.json").exists()
