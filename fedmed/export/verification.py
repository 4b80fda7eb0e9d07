"""Does an exported job train what fedmed trains? Both do, on the rows that the config has here, and are compared.

So are the files that hospitals and server run with what fedmed would export now: code may do more than train.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedmed.export import exported, job_files, site_files
from fedmed.export.exported import Exported
from fedmed.export.fedmed_job import job as jobs
from fedmed.settings import config
from fedmed.settings.config import RunConfig
from fedmed.system import errors

TOLERANCE = 1e-6
_COMPILED = "__pycache__"
_OF_FLOWER = "app/.flwr"  # a note of its own, which it neither sends nor runs
_FILLED_IN = "project.yml"
_PLACEHOLDER = re.compile(r"<[A-Z_]+>")


class Compared(NamedTuple):
    """What came of it.

    Attributes:
        rounds: that both trained.
        largest: the largest difference of any weight.
        moved: the largest change of any weight by training, for comparison.
        changed: files that are not what fedmed exports of these settings, or are not there, and folders of compiled
            code, which would run without being read.
    """

    rounds: int
    largest: float
    moved: float
    changed: list[str]

    @property
    def is_same(self) -> bool:
        """Whether both ended at the same weights, to float32 rounding."""
        return self.largest <= TOLERANCE


def kind_of(folder: pathlib.Path) -> job_files.Kind:
    """Returns what an export is for; UserError where the folder is none, or has no config."""
    if not folder.is_dir():
        raise errors.UserError(f"check-export: there is no folder {str(folder)!r}")
    for kind, place in job_files.PACKAGES.items():
        if (folder / place / jobs.SETTINGS).is_file():
            if not (folder / "config.toml").is_file():
                raise errors.UserError(
                    f"check-export: {str(folder)!r} has no config.toml, which stays with who has exported it; "
                    "check the export there"
                )
            return kind
    raise errors.UserError(f"check-export: {str(folder)!r} holds no job that fedmed has exported to flare or flower")


def compared(folder: pathlib.Path, rounds: int, rows: pathlib.Path | None = None) -> Compared:
    """Trains some rounds by the export's own code, in a process without fedmed, and by fedmed.

    The rows are written as hospitals' files to a private temporary folder, and removed.

    Args:
        folder: the export.
        rounds: that both train, if the config has as many.
        rows: where hospitals' files are written instead, and stay, to rehearse with them; it must not be there yet.

    Raises:
        UserError: the folder is no export, the data are not here, or the export's code refuses them.
    """
    kind = kind_of(folder)
    settings = config.load(folder / "config.toml")
    made = exported.exported(settings)
    if rows is not None:
        _make(rows)
    count = min(rounds, settings.rounds)
    with tempfile.TemporaryDirectory(prefix="fedmed-export-") as held:
        site_file = site_files.write(made, pathlib.Path(rows or held).resolve())
        fresh = pathlib.Path(held) / "fresh"
        fresh.mkdir()
        job_files.write(kind, settings, made, fresh)
        changed = _changed(fresh, folder)
        own = by_export(folder / job_files.PACKAGES[kind], site_file, pathlib.Path(held), count, changed)
    theirs = by_fedmed(settings, made, count)
    start = made.weights.sent
    return Compared(count, _largest(own, theirs), _largest(theirs, start), changed)


def _make(rows: pathlib.Path) -> None:
    try:
        rows.mkdir(mode=0o700)
    except OSError as error:
        raise errors.UserError(f"--rows: {str(rows)!r} cannot be made: {error.strerror}") from None


def _changed(fresh: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """Returns which of an export's files are not as in a fresh one, and what else is where all is sent and run."""
    names = {file.relative_to(fresh).as_posix() for file in fresh.rglob("*") if file.is_file()}
    for place in job_files.RUN:
        found = [file.relative_to(folder) for file in (folder / place).rglob("*") if file.is_file()]
        names |= {_named(file) for file in found if not file.is_relative_to(_OF_FLOWER)}
    return sorted(name for name in names if not _is_same(fresh / name, folder / name))


def _named(file: pathlib.Path) -> str:
    """Returns the file's name, or that of the folder of compiled code that it is in."""
    parts = file.parts
    return "/".join(parts[: parts.index(_COMPILED) + 1] if _COMPILED in parts else parts)


def _is_same(fresh: pathlib.Path, own: pathlib.Path) -> bool:
    if not (fresh.is_file() and own.is_file()):
        return False
    if fresh.name != _FILLED_IN:
        return fresh.read_bytes() == own.read_bytes()
    pattern = r"\S+".join(map(re.escape, _PLACEHOLDER.split(fresh.read_text(encoding="utf-8"))))
    return re.fullmatch(pattern, own.read_text(encoding="utf-8", errors="replace")) is not None


def by_export(
    package: pathlib.Path, site_file: str, place: pathlib.Path, rounds: int, changed: Sequence[str]
) -> list[np.ndarray]:
    """Returns the weights after some rounds of the export's code; it finds no fedmed, and nothing that was compiled.

    Args:
        package: of the export; a copy of it is run.
        site_file: the hospitals' files.
        place: a private folder.
        rounds: that it trains.
        changed: files that are not as exported, to be named where the code fails.
    """
    copied, results = place / "copied", place / "results"
    shutil.copytree(package, copied / package.name, ignore=shutil.ignore_patterns(_COMPILED))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [sys.executable, "-c", _RUN, str(copied), site_file, str(results), str(rounds)]
    done = subprocess.run(words, env=environment, cwd=place, capture_output=True, text=True)
    if done.returncode:
        told = done.stderr.strip().splitlines()
        also = f"; not as fedmed exports them: {', '.join(changed)}" if changed else ""
        raise errors.UserError(f"the export's own code has failed: {told[-1] if told else 'without a word'}{also}")
    return jobs.unpacked((results / "weights.npz").read_bytes()).sent


_RUN = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["fedmed"] = None
from fedmed_job import all_here
sys.exit(all_here.main(sys.argv[2:]))
"""


def by_fedmed(settings: RunConfig, made: Exported, rounds: int) -> list[np.ndarray]:
    """Returns the weights after some rounds of fedmed."""
    from fedmed.engine import attendance
    from fedmed.engine.federation import Federation

    federation = Federation(attendance.with_lanes(settings), made.clients.dataset, made.clients.train)
    try:
        position = federation.start()
        for _ in range(rounds):
            position = federation.round(position).position
        weights = federation.weights(position)
    finally:
        federation.close()
    return [*weights.trainable, *weights.moving]


def _largest(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return max(float(np.abs(np.asarray(one) - other).max(initial=0.0)) for one, other in zip(a, b, strict=True))
