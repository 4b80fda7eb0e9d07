"""Checkpoints: one file, written whole, with a checksum and what it belongs to; the one before stays beside it."""

import hashlib
import io
import json
import pathlib
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedmed.engine.federation import Federation, Position
from fedmed.engine.identity import Identity
from fedmed.learning.values import Nest
from fedmed.system import errors, files


class Saved(NamedTuple):
    """All that is needed to go on.

    Attributes:
        positions: where the federation stands, and others that are needed later (the best one), by name.
        facts: plain JSON values of whoever saved it.
    """

    positions: dict[str, Position]
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoint of one federation's training, in a file and the one before it.

    It commits what clients keep too: their files are on the disk before a checkpoint counts on them, and those that
    neither of the two checkpoints needs are removed after.
    """

    def __init__(self, path: pathlib.Path, identity: Identity, federation: Federation) -> None:
        self._path, self._identity, self._federation = path, identity, federation
        self._needed: list[Position] = []  # by the checkpoint that was last written, or gone on from
        self._is_passed_over = False

    def save(self, saved: Saved) -> None:
        """Writes a checkpoint; the last one stays beside it until the next.

        A newest one that could not be gone on from is overwritten: a kill meanwhile leaves the one before, which could.
        """
        positions = list(saved.positions.values())
        self._federation.secure(positions)
        if self._path.exists() and not self._is_passed_over:
            self._path.replace(_previous(self._path))
        files.write_atomically(self._path, self._written(saved))
        self._federation.forget_others([*positions, *self._needed])
        self._needed, self._is_passed_over = positions, False

    def _written(self, saved: Saved) -> bytes:
        arrays, told = {}, {}
        for name, position in saved.positions.items():
            leaves = tf.nest.flatten(position.state)
            arrays |= {f"{name}/{place:05d}": np.asarray(leaf) for place, leaf in enumerate(leaves)}
            kept = {"kept": sorted(position.kept.items()), "kept_sha256": self._federation.kept_sha256(position)}
            told[name] = {"round": position.round, **kept}
        head = {"identity": self._identity._asdict(), "positions": told, "facts": saved.facts}
        buffer = io.BytesIO()
        np.savez(buffer, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
        content = buffer.getvalue()
        return hashlib.sha256(content).hexdigest().encode() + b"\n" + content

    def saved(self) -> Iterator[Saved]:
        """Yields the checkpoints that are whole, the newest first.

        Raises:
            ConfigError: one belongs to other settings, data, packages or code.
            UserError: what clients kept until one is gone or damaged, and no other is left.
        """
        trouble: errors.UserError | None = None
        like = self._federation.start().state
        for path in self.files():
            found = _content(path)
            if found is None:
                continue
            arrays, head = found
            changed = Identity(**head["identity"]).difference(self._identity)
            if changed:
                raise errors.ConfigError(f"{path.parent}: cannot resume: {changed}")
            positions = {name: _position(name, told, arrays, like) for name, told in head["positions"].items()}
            try:
                for name, position in positions.items():
                    self._federation.check(position, head["positions"][name]["kept_sha256"])
            except errors.UserError as error:
                trouble = trouble or error
                continue
            self._needed, self._is_passed_over = list(positions.values()), path != self._path
            yield Saved(positions, head["facts"])
        if trouble is not None:
            raise trouble

    def files(self) -> Sequence[pathlib.Path]:
        """Returns the files there are, the newest first."""
        return files_of(self._path)


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the checkpoint at a path and the one before it, as far as they are there."""
    return [file for file in (path, _previous(path)) if file.exists()]


def _previous(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _content(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Returns a file's arrays and head, None when it is damaged."""
    try:
        checksum, _, content = path.read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != checksum:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return arrays, json.loads(arrays.pop("head").tobytes())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _position(name: str, told: dict[str, Any], arrays: dict[str, np.ndarray], like: Nest) -> Position:
    leaves = [array for key, array in sorted(arrays.items()) if key.startswith(f"{name}/")]
    state = tf.nest.pack_sequence_as(like, leaves)
    return Position(told["round"], state, {int(client): int(round_) for client, round_ in told["kept"]})
