"""The run directory: what a run leaves behind, and the lock that keeps a second run out."""

import contextlib
import fcntl
import hashlib
import io
import json
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

import numpy as np

from fedmed.settings import config
from fedmed.system import errors, files
from fedmed.learning.values import Weights

_MAY_CHANGE = ("rounds", "stop", "checkpoint", "study", "arms")  # a run takes no notice of the last two
_OURS = (".lock", "worker.log")


class RunDirectory:
    """Locks a directory for one run. Nothing in it changes before `claim`; `close` undoes what an unclaimed one made.

    Raises:
        UserError: it cannot be made, another run holds it, it holds a run already, or not this config's run.
    """

    def __init__(self, folder: pathlib.Path, settings: config.RunConfig, *, resume: bool, overwrite: bool) -> None:
        if resume and overwrite:
            raise errors.UserError("resume, overwrite: a run is either gone on with or replaced; give one of them")
        self.folder = folder
        self._settings, self._resume, self._claimed = settings, resume, False
        self._made: list[pathlib.Path] = []
        self._new: list[pathlib.Path] = []
        try:
            self._open()
        except OSError as error:
            self._unmake()
            why = "is not a directory" if isinstance(error, FileExistsError) else f"cannot be written: {error.strerror}"
            raise errors.UserError(f"{folder}: {why}; choose another --out") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise errors.UserError(f"{folder}: another run is writing here; choose another --out") from None
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
            _check_same(config.to_tree(config.load(earlier)), config.to_tree(self._settings), self.folder)
        elif earlier.exists() and not overwrite:
            raise errors.UserError(
                f"{self.folder}: holds a run already; add --resume to go on with it, --overwrite to replace it, "
                "or choose another --out"
            )
        elif not earlier.exists() and not self._is_fresh and any(p.name not in _OURS for p in self.folder.iterdir()):
            raise errors.UserError(f"{self.folder}: is not empty and holds no run of fedmed; choose another --out")

    def claim(self) -> None:
        """Makes the directory this run's: an earlier run in it is removed unless it is resumed."""
        self._claimed = True
        if not self._resume:
            self._clear()
        files.write_atomically(self.folder / "config.toml", config.dumps(self._settings))

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name in _OURS:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def keep_rounds(self, last: int) -> list[dict[str, Any]]:
        """Cuts rounds.jsonl after round `last` and returns the records that stay."""
        path = self.folder / "rounds.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        records = [record for record in map(_record, lines) if record is not None and record["round"] <= last]
        files.write_atomically(path, "".join(_line(record) for record in records))
        return records

    def append_round(self, record: dict[str, Any]) -> None:
        """Adds a line to rounds.jsonl."""
        with (self.folder / "rounds.jsonl").open("a") as file:
            file.write(_line(record))

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


def checksum(weights: Weights) -> str:
    """Returns the SHA-256 of the weights' float32 bytes, in order."""
    digest = hashlib.sha256()
    for value in [*weights.trainable, *weights.moving]:
        digest.update(np.ascontiguousarray(value, dtype="<f4").tobytes())
    return digest.hexdigest()


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _record(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None  # the run was killed while it wrote this line; the round is run again


def _check_same(earlier: dict[str, Any], now: dict[str, Any], folder: pathlib.Path) -> None:
    old, new = _flat(earlier), _flat(now)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) and key.split(".")[0] not in _MAY_CHANGE:
            raise errors.ConfigError(
                f"{folder}: cannot resume: {key} was {old.get(key, 'not set')!r} and is now {new.get(key, 'not set')!r}"
            )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
