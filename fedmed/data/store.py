"""Each client's training rows, written once to a file of its own; only the path crosses to where training runs."""

import atexit
import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping

import numpy as np
import psutil

from fedmed.data.examples import Examples

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


def layout(examples: Examples) -> tuple[Field, ...]:
    """Returns the fields of a client's file, inputs first, labels last."""
    inputs = examples.x if isinstance(examples.x, Mapping) else {"": examples.x}
    return tuple(Field(name, array.dtype.name, array.shape[1:]) for name, array in [*inputs.items(), ("y", examples.y)])


class ClientStore:
    """A private temporary folder with one file a client; removed on close, at exit, or by the next run after a crash.

    The file is the little-endian bytes of each field, one field after the other.
    """

    def __init__(self, clients: Mapping[str, Examples]) -> None:
        remove_abandoned()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        atexit.register(self.close)
        self.layout = layout(next(iter(clients.values())))
        self.paths = {client: self.folder / f"{number:06d}.bin" for number, client in enumerate(clients)}
        for client, examples in clients.items():
            self._write(self.paths[client], examples)

    def _write(self, path: pathlib.Path, examples: Examples) -> None:
        inputs = examples.x if isinstance(examples.x, Mapping) else {"": examples.x}
        with path.open("wb") as file:
            for field, array in zip(self.layout, [*inputs.values(), examples.y], strict=True):
                little = np.dtype(field.dtype).newbyteorder("<")
                file.write(np.ascontiguousarray(array, dtype=little).tobytes())

    def close(self) -> None:
        """Removes the folder; may be called twice."""
        atexit.unregister(self.close)
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_abandoned() -> None:
    """Removes client folders whose process is gone (it was killed before it could clean up)."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(ValueError, OSError):
            owner = int(folder.name.removeprefix(_PREFIX).split("-")[0])
            if not psutil.pid_exists(owner) and folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
