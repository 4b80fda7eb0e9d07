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

from fedmed.engine.federation import Position
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
    """The checkpoint of one run or model, in a file and the one before it."""

    def __init__(self, path: pathlib.Path, identity: Identity) -> None:
        self._path, self._identity = path, identity
        self._previous = path.with_name(f"{path.stem}.previous{path.suffix}")

    def save(self, saved: Saved) -> None:
        """Writes a checkpoint; the last one stays beside it until the next."""
        arrays, told = {}, {}
        for name, position in saved.positions.items():
            leaves = tf.nest.flatten(position.state)
            arrays |= {f"{name}/{place:05d}": np.asarray(leaf) for place, leaf in enumerate(leaves)}
            told[name] = {"round": position.round, "kept": sorted(position.kept.items())}
        head = {"identity": self._identity._asdict(), "positions": told, "facts": saved.facts}
        buffer = io.BytesIO()
        np.savez(buffer, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
        content = buffer.getvalue()
        if self._path.exists():
            self._path.replace(self._previous)
        files.write_atomically(self._path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)

    def saved(self, like: Nest) -> Iterator[Saved]:
        """Yields the undamaged checkpoints, the newest first.

        Args:
            like: a state, for its structure.

        Raises:
            UserError: one belongs to other settings, data, packages or code.
        """
        for path in self.files():
            found = _content(path)
            if found is not None:
                arrays, head = found
                self._check(path, head)
                yield Saved({name: _position(name, told, arrays, like) for name, told in head["positions"].items()},
                            head["facts"])  # fmt: skip

    def files(self) -> Sequence[pathlib.Path]:
        """Returns the files there are, the newest first."""
        return [path for path in (self._path, self._previous) if path.exists()]

    def remove(self) -> None:
        """Removes them."""
        for path in self.files():
            path.unlink()

    def _check(self, path: pathlib.Path, head: dict[str, Any]) -> None:
        changed = Identity(**head["identity"]).difference(self._identity)
        if changed:
            raise errors.ConfigError(f"{path.parent}: cannot resume: {changed}")


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
