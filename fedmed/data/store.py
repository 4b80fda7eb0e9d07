"""Clients' training rows, written once to files that small clients share; only a place crosses to where they train."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fedmed.data.examples import Examples
from fedmed.system import files
from fedmed.system.folders import PrivateFolder

PREFIX = "fedmed-clients-"
"""Of the folder's name."""

_FULL = 64 * 1024
"""Bytes from which a file takes no other client: it is read whole for each client in it."""


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


class Place(NamedTuple):
    """Where a client's rows are: a file, and the byte of it at which they begin."""

    path: pathlib.Path
    offset: int


class ClientStore:
    """A private temporary folder with the clients' files; removed on close, at exit, or by the next run after a crash.

    A client's rows are the little-endian bytes of each field, one field after the other, and never change once written.
    Clients follow one another in a file until it has 64 KiB; one that is larger has a file of its own.

    Attributes:
        folder: of the files.
        layout: the fields of each client's rows.
        places: where they are, by client.
    """

    def __init__(self, clients: Mapping[str, Examples], *, patients: bool = False) -> None:
        """Writes the files; with `patients` each row's patient too, and rows in the order of their patients."""
        self._private = PrivateFolder(PREFIX)
        self.folder = self._private.path
        self._patients, self._files = patients, 0
        self.layout = layout(next(iter(clients.values())), patients=patients)
        self.places: dict[str, Place] = {}
        try:
            self._write_all(clients)
        except BaseException:  # of a disk without room, half of the rows would stay as long as the process
            self.close()
            raise

    def _write_all(self, clients: Mapping[str, Examples]) -> None:
        held: list[bytes] = []
        size = 0
        for client, examples in clients.items():
            content = self._content(examples)
            if held and size + len(content) > _FULL:
                self._write(held)
                held, size = [], 0
            self.places[client] = Place(self._next_path, size)
            held.append(content)
            size += len(content)
        self._write(held)

    def add(self, client: str, examples: Examples) -> None:
        """Writes another client, under a name of its own and to a file of its own, in the same layout."""
        self.places[client] = Place(self._next_path, 0)
        self._write([self._content(examples)])

    @property
    def _next_path(self) -> pathlib.Path:
        return self.folder / f"{self._files:06d}.bin"

    def _write(self, contents: list[bytes]) -> None:
        """Writes the next file."""
        with files.named(self._next_path), self._next_path.open("wb") as file:
            file.writelines(contents)
        self._files += 1

    def _content(self, examples: Examples) -> bytes:
        if self._patients:
            examples = examples.take(np.argsort(patient_numbers(examples), kind="stable"))
        arrays = _arrays(examples, self._patients)
        parts = zip(self.layout, arrays.values(), strict=True)
        little = (np.ascontiguousarray(array, np.dtype(field.dtype).newbyteorder("<")) for field, array in parts)
        return b"".join(array.tobytes() for array in little)

    def close(self) -> None:
        """Removes the folder; may be called twice, and does nothing in a forked child, whose folder it is not."""
        self._private.close()
