"""The files in which clients keep what they need in later rounds: one a client and round, never changed once written.

A position of a federation says of which round each client's file is. So a round that is repeated after a stop reads
what it read before, whatever was written since.
"""

import hashlib
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from fedmed.learning import keeping
from fedmed.learning.values import Nest
from fedmed.system import errors, files

_FIRST = "first.bin"  # what every client holds before its first round


class KeptFiles:
    """A folder of such files; it is made only for algorithms whose clients keep anything.

    Attributes:
        wanted: whether the algorithm's clients keep anything.
    """

    def __init__(self, folder: pathlib.Path | None, first: Nest) -> None:
        """Takes note of what all clients hold first.

        Args:
            folder: where the files live on; None for a temporary one, which `close` removes.
            first: as NumPy arrays.
        """
        self._first = first
        self.wanted = bool(tf.nest.flatten(first))
        self._own = tempfile.TemporaryDirectory(prefix="fedmed-kept-") if folder is None and self.wanted else None
        self._folder = folder or pathlib.Path(self._own.name if self._own else "")
        self._synced: dict[pathlib.Path, bytes] = {}  # files that are on the disk, to their SHA-256
        self._open = False

    def open(self) -> None:
        """Makes the folder; called before a round, since nothing may be written before it is known that all fits."""
        if self.wanted and not self._open:  # a file that is there already may be of another model
            self._folder.mkdir(parents=True, exist_ok=True)
            content: Any = keeping.serialised(tf.nest.map_structure(tf.convert_to_tensor, self._first)).numpy()
            files.write_atomically(self._folder / _FIRST, content)
            self._open = True

    def close(self) -> None:
        """Removes a temporary folder; may be called twice."""
        if self._own is not None:
            self._own.cleanup()

    def path(self, client: int, round_: int | None) -> str:
        """Returns the file of a client, by its number, after a round; None is before its first."""
        if not self.wanted:
            return ""
        return str(self._folder / (_FIRST if round_ is None else f"{client:06d}-{round_:06d}.bin"))

    def path_to_write(self, client: int, round_: int) -> str:
        """Returns the file that a client is to write after a round; what was there, damaged perhaps, counts no more."""
        path = self.path(client, round_)
        self._synced.pop(pathlib.Path(path), None)
        return path

    def read(self, client: int, round_: int | None) -> Nest:
        """Returns what a client kept after a round, as NumPy arrays; None is before its first."""
        if round_ is None:
            return self._first
        return keeping.to_numpy(pathlib.Path(self.path(client, round_)).read_bytes(), self._first)

    def check(self, rounds: Mapping[int, int], sha256: str) -> None:
        """Raises a UserError where the file of a client and round is missing, or they are not what was written."""
        for client, round_ in rounds.items():
            path = pathlib.Path(self.path(client, round_))
            if self.wanted and not path.is_file():
                raise errors.UserError(f"{path}: is missing, and the federation cannot go on without it")
        if self.sha256(rounds) != sha256:
            raise errors.UserError(
                f"{self._folder}: a file is damaged, and the federation cannot go on without it; "
                f"{errors.OVERWRITE} starts anew"
            )

    def sha256(self, rounds: Mapping[int, int]) -> str:
        """Returns a SHA-256 of the files of these clients and rounds, once they are on the disk."""
        self.sync(rounds)
        digests = [self._synced[path] for path in sorted(self._paths([rounds]))]
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def sync(self, rounds: Mapping[int, int]) -> None:
        """Makes sure that the files of these clients and rounds are on the disk."""
        for path in self._paths([rounds]) - self._synced.keys():
            with files.named(path), path.open("rb") as file:
                os.fsync(file.fileno())
                self._synced[path] = hashlib.file_digest(file, "sha256").digest()

    def keep_only(self, positions: Iterable[Mapping[int, int]]) -> None:
        """Removes the files that none of the positions (client number to round) needs."""
        if not self.wanted or not self._folder.is_dir():
            return
        needed = self._paths(positions) | {self._folder / _FIRST}
        for path in self._folder.iterdir():
            if path not in needed:
                path.unlink(missing_ok=True)
                self._synced.pop(path, None)

    def _paths(self, positions: Iterable[Mapping[int, int]]) -> set[pathlib.Path]:
        if not self.wanted:
            return set()
        return {pathlib.Path(self.path(*pair)) for rounds in positions for pair in rounds.items()}
