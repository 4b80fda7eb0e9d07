"""Files that are cut, changed or exchanged between two commands: checkpoints, logs, what clients keep, results."""

import functools
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.trials import bench
from experiments.trials.bench import Place, Row, Verdict

Rng = np.random.Generator


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: int(rng.integers(0, len(content)))]


def _bit(content: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(0, len(content)))
    return content[:place] + bytes([content[place] ^ (1 << int(rng.integers(8)))]) + content[place + 1 :]


def _block(content: bytes, rng: Rng) -> bytes:
    place, size = int(rng.integers(0, len(content))), int(rng.integers(1, 200))
    return content[:place] + rng.bytes(size) + content[place + size :]


def _more(content: bytes, rng: Rng) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 50)))


def _nothing(content: bytes, rng: Rng) -> bytes:
    del content, rng
    return b""


_WAYS: tuple[Callable[[bytes, Rng], bytes], ...] = (_cut, _bit, _block, _more, _nothing)


def _damaged(path: pathlib.Path, place: Place) -> None:
    """Damages a file in one of five ways, by the trial's number; none leaves it as it was."""
    content = path.read_bytes()
    path.write_bytes(_WAYS[place.number % len(_WAYS)](content, place.rng))
    if path.read_bytes() == content:
        path.write_bytes(content[:-1])


@functools.cache
def _stopped(common: pathlib.Path) -> pathlib.Path:
    """Returns the directory of a run that has two checkpoints and two rounds to go."""
    out = common / "stopped"
    bench.command("run", bench.undisturbed(common) / "trial.toml", "--set", "rounds=4", "--out", out, "--quiet")
    return out


def _copy(place: Place) -> tuple[pathlib.Path, pathlib.Path]:
    whole = bench.undisturbed(place.common)
    return shutil.copytree(_stopped(place.common), place.folder / "out"), whole


def _resumed(out: pathlib.Path, whole: pathlib.Path, *more: str) -> bench.Ended:
    return bench.command("run", whole / "trial.toml", "--out", out, "--quiet", "--resume", *more)


def _gone_on_or_refused(out: pathlib.Path, whole: pathlib.Path, how: str) -> Verdict:
    """Goes on with a run: it must end as the undisturbed one, or be refused with nothing touched."""
    before = bench.content_of(out)
    ended = _resumed(out, whole)
    if ended.status == 0:
        return bench.same_end(ended, out, whole / "out", how)
    return bench.refused_untouched(ended, out, before)


def checkpoint(place: Place) -> Verdict:
    """The newest checkpoint is damaged, in every second trial the one before too."""
    out, whole = _copy(place)
    _damaged(out / "checkpoint.bin", place)
    if place.number % 2:
        _damaged(out / "checkpoint.previous.bin", place)
        before = bench.content_of(out)
        return bench.refused_untouched(_resumed(out, whole), out, before)
    return bench.same_end(_resumed(out, whole), out, whole / "out", "went on from the one before")


def kept(place: Place) -> Verdict:
    """A file that a client kept is damaged, or removed."""
    out, whole = _copy(place)
    files = [path for path in sorted((out / "kept").iterdir()) if path.name != "first.bin"]
    chosen = files[int(place.rng.integers(len(files)))]
    if place.number % 6 == 5:
        chosen.unlink()
    else:
        _damaged(chosen, place)
    return _gone_on_or_refused(out, whole, "went on from the checkpoint before")


def log(place: Place) -> Verdict:
    """rounds.jsonl is damaged, loses or doubles a line, or has two exchanged."""
    out, whole = _copy(place)
    path = out / "rounds.jsonl"
    lines, at = path.read_bytes().splitlines(keepends=True), int(place.rng.integers(4))
    match place.number % 8:
        case 5:
            path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
        case 6:
            path.write_bytes(b"".join([*lines[: at + 1], *lines[at:]]))
        case 7:
            path.write_bytes(b"".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]))
        case _:
            _damaged(path, place)
    return _gone_on_or_refused(out, whole, "the same end")


_FOREIGN: tuple[tuple[str, ...], ...] = (
    ("seed=1",),
    ("client.learning_rate=0.06",),
    ("client.batch_size=9",),
    ("algorithm.name=fedavg",),
    ("model.name=mlp",),
    ("data.test_fraction=0.3",),
    ("scenario=[]",),
    ("data.args.ignore=['stage']",),
    ("stop.metric=accuracy",),
)


def foreign(place: Place) -> Verdict:
    """The checkpoint is another run's, or the data are others; last, the log is another run's."""
    out, whole = _copy(place)
    kind, other = place.number % (len(_FOREIGN) + 3), place.folder / "other"
    if kind < len(_FOREIGN):
        words = [word for override in _FOREIGN[kind] for word in ("--set", override)]
        made = bench.command("run", whole / "trial.toml", *words, "--set", "rounds=4", "--out", other, "--quiet")
        if made.status:
            raise RuntimeError(made.last)
        for name in ("checkpoint.bin", "checkpoint.previous.bin"):
            shutil.copy(other / name, out / name)
    elif kind == len(_FOREIGN):
        lines = (out / "rounds.jsonl").read_text().replace('"round": 1', '"round": 1, "more": 0')
        (out / "rounds.jsonl").write_text(lines)
    else:
        return _other_data(place, flip=kind == len(_FOREIGN) + 1)
    before = bench.content_of(out)
    return bench.refused_untouched(_resumed(out, whole), out, before)


def _other_data(place: Place, *, flip: bool) -> Verdict:
    """One label, or one age, is another than when the run began."""
    rows, out = bench.table(np.random.default_rng(0)), place.folder / "own"
    path = bench.written(place.folder, rows)
    bench.command("run", path, "--set", "rounds=4", "--out", out, "--quiet")
    row = rows[1 + int(place.rng.integers(len(rows) - 1))]
    row[-1 if flip else 2] = str(1 - int(row[-1])) if flip else str(int(row[2]) + 1)
    (place.folder / "patients.csv").write_text(bench.text_of(rows))
    before = bench.content_of(out)
    return bench.refused_untouched(_resumed(out, place.folder), out, before)


def result(place: Place) -> Verdict:
    """The result of a model of a study is damaged, removed, or a folder lies in its place."""
    whole = bench.undisturbed(place.common, "study")
    out = shutil.copytree(whole / "out", place.folder / "out")
    files = sorted((out / "jobs").glob("*.npz"))
    chosen = files[int(place.rng.integers(len(files)))]
    if place.number % 6 == 5:
        chosen.unlink()
        chosen.mkdir()
    else:
        _damaged(chosen, place)
    ended = bench.command("study", whole / "trial.toml", "--out", out, "--quiet")
    if place.number % 6 == 5:
        return Verdict(ended.is_refusal and str(chosen) in ended.err, "refused" if ended.is_refusal else ended.last)
    if ended.status:
        return Verdict(False, ended.last)
    alike: Any = json.loads((out / "study.json").read_text()) == json.loads((whole / "out" / "study.json").read_text())
    return Verdict(alike, "trained again, the same study" if alike else "another study")


ROWS = (
    Row(
        "checkpoints",
        "a checkpoint cut, changed or emptied; in every second trial both",
        "gone on from the one before, or refused",
        60,
        checkpoint,
    ),
    Row("foreign", "a checkpoint of another run, other data, another log", "refused, nothing changed", 24, foreign),
    Row(
        "kept",
        "what a client kept cut, changed, emptied or removed",
        "gone on from the checkpoint before, or refused",
        30,
        kept,
    ),
    Row("logs", "rounds.jsonl cut, changed, a line lost, doubled or exchanged", "the same end, or refused", 60, log),
    Row(
        "results",
        "a result of a study cut, changed, emptied, or a folder there",
        "trained again, or refused",
        12,
        result,
    ),
)
