"""The run directory: what a run leaves behind, and the lock that keeps a second run out."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

import numpy as np

from fedmed.engine import identity
from fedmed.learning.values import Weights
from fedmed.settings import config
from fedmed.system import errors, files

_OURS = (".lock", "worker.log")
_ROUNDS = "rounds.jsonl"


class RunDirectory:
    """Locks a directory for one run. Nothing in it changes before `claim`; `close` undoes what an unclaimed one made.

    Attributes:
        folder: its path.
        earlier: the settings of the run that is resumed, as they were; None for a new run.

    Raises:
        UserError: it cannot be made, another run holds it, it holds a run already, or not this config's run.
    """

    def __init__(self, folder: pathlib.Path, settings: config.RunConfig, *, resume: bool, overwrite: bool) -> None:
        if resume and overwrite:
            raise errors.UserError(
                f"{errors.RESUME}, {errors.OVERWRITE}: a run is gone on with or replaced; give one of them"
            )
        self.folder = folder
        self.earlier: config.RunConfig | None = None
        self._settings, self._resume, self._claimed = settings, resume, False
        self._made: list[pathlib.Path] = []
        self._lines = hashlib.sha256()  # of rounds.jsonl
        self._new: list[pathlib.Path] = []
        try:
            self._open()
        except OSError as error:
            self._unmake()
            why = "is not a directory" if isinstance(error, FileExistsError) else f"cannot be written: {error.strerror}"
            raise errors.UserError(f"{folder}: {why}; choose another {errors.OUT}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise errors.UserError(f"{folder}: another run is writing here; choose another {errors.OUT}") from None
        try:
            self._check(overwrite)
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._made = [path for path in [self.folder, *self.folder.parents] if not path.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._is_fresh = not any(self.folder.iterdir())
        self._new = [self.folder / name for name in _OURS if not (self.folder / name).exists()]
        self._lock = open(self.folder / ".lock", "w")  # noqa: SIM115 (held as long as the run lives)

    def _check(self, overwrite: bool) -> None:
        earlier = self.folder / "config.toml"
        if earlier.exists() and self._resume:
            self.earlier = config.load(earlier)
            _check_same(self.earlier, self._settings, self.folder)
        elif earlier.exists() and not overwrite:
            raise errors.UserError(
                f"{self.folder}: holds a run already; add {errors.RESUME} to go on with it, {errors.OVERWRITE} to "
                f"replace it, or choose another {errors.OUT}"
            )
        elif not earlier.exists() and not self._is_fresh and any(p.name not in _OURS for p in self.folder.iterdir()):
            raise errors.UserError(
                f"{self.folder}: is not empty and holds no run of fedmed; choose another {errors.OUT}"
            )

    def claim(self) -> None:
        """Makes the directory this run's: an earlier run in it is removed unless it is resumed."""
        self._claimed = True
        for path in self.folder.iterdir():
            if path.name not in _OURS and (not self._resume or path.name.startswith(".")):
                _remove(path)  # of a resumed run what a kill has left half-written
        files.write_atomically(self.folder / "config.toml", config.dumps(self._settings))

    def records(self) -> list[dict[str, Any]]:
        """Returns the records of rounds 0, 1, ... of rounds.jsonl, as far as they are whole and in order."""
        path = self.folder / _ROUNDS
        lines = path.read_bytes().splitlines() if path.is_file() else []
        found: list[dict[str, Any]] = []
        for line in lines:
            record = _record(line)
            if record is None or record["round"] != len(found):
                break
            found.append(record)
        return found

    def keep_rounds(self, records: Iterable[dict[str, Any]]) -> None:
        """Makes rounds.jsonl hold these records only."""
        text = "".join(map(_line, records))
        files.write_atomically(self.folder / _ROUNDS, text)
        self._lines = hashlib.sha256(text.encode())

    def append_round(self, record: dict[str, Any]) -> None:
        """Adds a line to rounds.jsonl."""
        path, line = self.folder / _ROUNDS, _line(record)
        with files.named(path), path.open("a") as file:
            file.write(line)
        self._lines.update(line.encode())

    @property
    def rounds_sha256(self) -> str:
        """The SHA-256 of rounds.jsonl as it was written."""
        return self._lines.hexdigest()

    def sync_rounds(self) -> None:
        """Makes sure that the lines are on the disk, before a checkpoint counts on them."""
        path = self.folder / _ROUNDS
        with files.named(path), path.open("rb") as file:
            os.fsync(file.fileno())

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file, whole or not at all."""
        files.write_atomically(self.folder / name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_weights(self, name: str, names: Iterable[str], weights: Weights) -> None:
        """Writes weights as .npz, one array a variable, keyed by position and name."""
        buffer = io.BytesIO()
        values = [*weights.trainable, *weights.moving]
        np.savez(buffer, **{f"{i:03d} {n}": np.asarray(v) for i, (n, v) in enumerate(zip(names, values, strict=True))})
        files.write_atomically(self.folder / name, buffer.getvalue())

    def close(self) -> None:
        """Lets go of the lock; a directory that was never claimed is left as it was found."""
        if not self._claimed:
            self._unmake()
        self._lock.close()

    def _unmake(self) -> None:
        for path in self._new:
            path.unlink(missing_ok=True)
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def sha256_of(records: Iterable[dict[str, Any]]) -> str:
    """Returns the SHA-256 of a rounds.jsonl of these records."""
    return hashlib.sha256("".join(map(_line, records)).encode()).hexdigest()


def lanes_of(folder: pathlib.Path) -> int:
    """Returns the lanes of the run in a folder; 0 where there is none to be read, which is said later."""
    with contextlib.suppress(errors.UserError, OSError):
        return config.load(folder / "config.toml").runtime.lanes or 0
    return 0


def checksum(weights: Weights) -> str:
    """Returns the SHA-256 of the weights' float32 bytes, in order."""
    digest = hashlib.sha256()
    for value in [*weights.trainable, *weights.moving]:
        digest.update(np.ascontiguousarray(value, dtype="<f4").tobytes())
    return digest.hexdigest()


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _record(line: bytes) -> dict[str, Any] | None:
    """Returns a line's record; None where it is none: the run was killed while it wrote it, or the file is damaged."""
    try:
        record = json.loads(line)
        json.dumps(record, allow_nan=False)  # a digit that has changed can make a number endless
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("round"), int) else None


def _check_same(earlier: config.RunConfig, now: config.RunConfig, folder: pathlib.Path) -> None:
    """Raises a ConfigError for a setting that may not change, before data are read."""
    changed = identity.settings_of(earlier).difference(identity.settings_of(now))
    if changed:
        raise errors.ConfigError(f"{folder}: cannot resume: {changed}")
