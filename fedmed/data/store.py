"""Each client's training rows, written once to a file of its own; only the path crosses to where training runs."""

import atexit
import contextlib
import dataclasses
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping

import numpy as np

from fedmed.data.examples import Examples
from fedmed.system import errors, files

_PREFIX = "fedmed-clients-"


@dataclasses.dataclass(frozen=True)
class Field:
    """One array of a client's file: an input's name ("" when x is a single array, "y" for labels), dtype, row shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


PATIENT = "#patient"
"""The field of each row's patient, int32 from 0; no input has such a name."""


def layout(examples: Examples, *, patients: bool = False) -> tuple[Field, ...]:
    """Returns the fields of a client's file: inputs, patients where they are wanted, labels last."""
    return tuple(Field(name, array.dtype.name, array.shape[1:]) for name, array in _arrays(examples, patients).items())


def _arrays(examples: Examples, patients: bool) -> dict[str, np.ndarray]:
    inputs = dict(examples.x) if isinstance(examples.x, Mapping) else {"": examples.x}
    return {**inputs, **({PATIENT: patient_numbers(examples)} if patients else {}), "y": examples.y}


def patient_numbers(examples: Examples) -> np.ndarray:
    """Returns each row's patient, [n] int32 from 0; a row without one is a patient of its own."""
    if examples.group is None:
        return np.arange(len(examples), dtype=np.int32)
    return np.unique(examples.group, return_inverse=True)[1].astype(np.int32)


def patient_counts(train: Mapping[str, Examples]) -> dict[str, int]:
    """Returns each client's number of patients."""
    return {client: int(patient_numbers(rows).max(initial=-1)) + 1 for client, rows in train.items()}


class ClientStore:
    """A private temporary folder with one file a client; removed on close, at exit, or by the next run after a crash.

    The file is the little-endian bytes of each field, one field after the other. The folder is locked as long as its
    owner lives: a process id would say nothing to a process of another container that shares the temporary folder.
    """

    def __init__(self, clients: Mapping[str, Examples], *, patients: bool = False) -> None:
        """Writes the files; with `patients` each row's patient too, and rows in the order of their patients."""
        _check_folder()
        remove_abandoned()
        self.folder, self._lock = _locked_folder()
        self._owner = os.getpid()
        atexit.register(self.close)
        self._patients = patients
        self.layout = layout(next(iter(clients.values())), patients=patients)
        self.paths = {client: self.folder / f"{number:06d}.bin" for number, client in enumerate(clients)}
        try:
            for client, examples in clients.items():
                self._write(self.paths[client], examples)
        except BaseException:  # of a disk without room, half of the rows would stay as long as the process
            self.close()
            raise

    def add(self, client: str, examples: Examples) -> None:
        """Writes another file, under a name of its own, in the same layout."""
        self.paths[client] = self.folder / f"{len(self.paths):06d}.bin"
        self._write(self.paths[client], examples)

    def _write(self, path: pathlib.Path, examples: Examples) -> None:
        if self._patients:
            examples = examples.take(np.argsort(patient_numbers(examples), kind="stable"))
        arrays = _arrays(examples, self._patients)
        with files.named(path), path.open("wb") as file:
            for field, array in zip(self.layout, arrays.values(), strict=True):
                little = np.dtype(field.dtype).newbyteorder("<")
                file.write(np.ascontiguousarray(array, dtype=little).tobytes())

    def close(self) -> None:
        """Removes the folder; may be called twice, and does nothing in a forked child, whose folder it is not."""
        atexit.unregister(self.close)
        if os.getpid() == self._owner and self._lock in _LOCKS:
            shutil.rmtree(self.folder, ignore_errors=True)
            _LOCKS.remove(self._lock)
            os.close(self._lock)


_LOCKS: set[int] = set()
"""Open folders that this process has locked; programs that it starts do not get them (close-on-exec)."""


def _close_locks() -> None:
    while _LOCKS:
        os.close(_LOCKS.pop())


os.register_at_fork(after_in_child=_close_locks)  # or a child that outlives its parent would keep the lock


def _check_folder() -> None:
    """Raises a UserError where Python would take another folder for rows than the one that was asked for."""
    asked = os.environ.get("TMPDIR")
    if asked and not os.access(asked, os.W_OK | os.X_OK):
        raise errors.UserError(
            f"TMPDIR: {asked!r} is no folder that can be written to, and clients' rows would go to "
            f"{tempfile.gettempdir()!r}; make it, or set TMPDIR to another"
        )


def _locked_folder() -> tuple[pathlib.Path, int]:
    """Makes a folder and locks it; it gets its name only then, since one without a lock is taken for abandoned."""
    made = pathlib.Path(tempfile.mkdtemp(prefix=f".{_PREFIX}"))
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):  # a file system that has no locks has none for whoever would remove it either
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _LOCKS.add(lock)
    return made.rename(made.with_name(made.name.removeprefix("."))), lock


def remove_abandoned() -> None:
    """Removes client folders that nobody has locked: their process was killed before it could clean up."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
