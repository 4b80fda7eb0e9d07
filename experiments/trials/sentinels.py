"""A planted number, name and rare level of one patient are looked for in all that a command leaves and says."""

import pathlib
import struct
import zipfile
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from experiments.trials import bench
from experiments.trials.bench import Place, Row, Verdict


class Sentinel(NamedTuple):
    """What one patient has, and nobody else."""

    number: float
    level: str
    patient: str


def _planted(rng: np.random.Generator) -> tuple[Sentinel, list[list[str]]]:
    """Returns a sentinel, and a table in which one patient has it."""
    rows = bench.table(rng, 180)
    word = "".join("bcdfghjklmnpqrstvwxz"[k] for k in rng.integers(20, size=9))
    sentinel = Sentinel(round(float(rng.uniform(11, 13)), 6), f"{word}osis", f"{word[::-1]}-7")
    row = rows[1 + int(rng.integers(180))]
    row[1], row[3], row[5] = sentinel.patient, str(sentinel.number), sentinel.level
    return sentinel, rows


def _needles(sentinel: Sentinel) -> dict[str, list[bytes]]:
    number, whole = sentinel.number, str(sentinel.number)
    return {
        "number": [whole.encode(), f"{number:.4f}".encode(), struct.pack("<d", number), struct.pack("<f", number)],
        "level": [sentinel.level.encode()],
        "patient": [sentinel.patient.encode()],
    }


def _contents(folder: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields names and bytes of the files below a folder, and of what lies in those that are archives."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        yield path.name, content
        start = content.find(b"PK\x03\x04")  # a checkpoint has its checksum before
        if 0 <= start < 100:
            inner = path.with_name(f"{path.name}.inner")
            inner.write_bytes(content[start:])
            with zipfile.ZipFile(inner) as archive:
                for member in archive.namelist():
                    yield f"{path.name}/{member}", archive.read(member)
            inner.unlink()


def _found(sentinel: Sentinel, out: pathlib.Path, ended: bench.Ended, levels: Collection[str]) -> str:
    """Returns where something of the sentinel is, "" for nowhere; what is a level may be among the names of levels."""
    said = f"{ended.out}\n{ended.err}".encode()
    for name, content in [("what it said", said), *_contents(out)]:
        for what, needles in _needles(sentinel).items():
            if what in levels and name == "preprocessing.json":
                continue  # without which nobody could use the model
            if any(needle in content for needle in needles):
                return f"{what} in {name}"
    return ""


def _told(place: Place, words: tuple[str, ...]) -> Verdict:
    sentinel, rows = _planted(place.rng)
    data = place.folder / "data"
    data.mkdir()
    path, out = bench.written(data, rows), place.folder / "out"
    directory = [] if words[0] == "data" else ["--out", out]
    ended = bench.command(words[0], path, *words[1:], *directory)
    out.mkdir(exist_ok=True)
    levels = ("level", "number") if "data.args.categories=['chol']" in words else ("level",)
    where = _found(sentinel, out, ended, levels)
    if ended.status not in (0, 2):
        return Verdict(False, ended.last)
    files = sum(1 for path in out.rglob("*") if path.is_file())
    return Verdict(not where, where or f"{words[0]}: status {ended.status}, nothing in {files} files")


_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("run",),
    ("study",),
    ("data",),
    ("run", "--set", "algorithm.name=fedavg", "--set", "model.name=mlp"),
    ("run", "--set", "data.args.label=stage"),  # one patient's level as a class
    ("run", "--set", "data.args.label=patient", "--set", "data.args.group=none"),
    ("run", "--set", "data.args.label=chol", "--set", "algorithm.name=fedavg"),
    ("run", "--set", "data.args.positive=nobody"),
    ("run", "--set", "data.args.task=count", "--set", "data.args.label=chol"),
    ("run", "--set", "data.args.categories=['chol']"),
    ("run", "--set", "data.harmonise=[{ column = 'stage', times = 2.0 }]"),
    ("run", "--set", "data.harmonise=[{ column = 'age', recode = { a = 'b' } }]"),
    ("tune", "--quiet"),
)


def sentinel(place: Place) -> Verdict:
    """One of the commands is given the planted table."""
    return _told(place, _COMMANDS[place.number % len(_COMMANDS)])


ROWS = (
    Row(
        "sentinels",
        "one patient's number, name and rare level, planted",
        "in no file and no message (levels: preprocessing.json apart)",
        26,
        sentinel,
    ),
)
