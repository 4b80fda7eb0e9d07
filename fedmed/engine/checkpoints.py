"""Checkpoints: one file, written whole, with a checksum; a damaged one is noticed and the one before it used."""

import hashlib
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fedmed.learning.values import ServerState, Weights
from fedmed.system import files

_NAME, _PREVIOUS = "checkpoint.bin", "checkpoint.previous.bin"


class Progress(NamedTuple):
    """All that a run needs to go on.

    Attributes:
        state: the server's state, NumPy arrays.
        best: the best weights so far.
        facts: plain JSON values: best round and value, evaluations without improvement, counts of refused updates.
    """

    state: ServerState
    best: Weights
    facts: dict[str, Any]


def save(folder: pathlib.Path, progress: Progress) -> None:
    """Writes the checkpoint; the last one stays beside it until the next."""
    buffer = io.BytesIO()
    np.savez(buffer, **_flatten(progress), facts=np.frombuffer(json.dumps(progress.facts).encode(), np.uint8))
    content = buffer.getvalue()
    current = folder / _NAME
    if current.exists():
        current.replace(folder / _PREVIOUS)
    files.write_atomically(current, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def load(folder: pathlib.Path) -> Progress | None:
    """Returns the newest undamaged checkpoint, or None when there is none."""
    for name in (_NAME, _PREVIOUS):
        path = folder / name
        if path.is_file():
            checksum, _, content = path.read_bytes().partition(b"\n")
            if hashlib.sha256(content).hexdigest().encode() == checksum:
                return _restored(content)
    return None


def _flatten(progress: Progress) -> dict[str, np.ndarray]:
    state = progress.state
    groups: Mapping[str, list[Any]] = {
        "trainable": state.weights.trainable,
        "moving": state.weights.moving,
        "first": state.first,
        "second": state.second,
        "best_trainable": progress.best.trainable,
        "best_moving": progress.best.moving,
    }
    arrays = {f"{group}/{i}": np.asarray(a) for group, parts in groups.items() for i, a in enumerate(parts)}
    return {**arrays, "round": np.asarray(state.round)}


def _restored(content: bytes) -> Progress:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}

    def group(name: str) -> list[np.ndarray]:
        count = sum(key.startswith(f"{name}/") for key in arrays)
        return [arrays[f"{name}/{i}"] for i in range(count)]

    weights = Weights(group("trainable"), group("moving"))
    state = ServerState(weights, group("first"), group("second"), np.int32(arrays["round"]))
    best = Weights(group("best_trainable"), group("best_moving"))
    return Progress(state, best, json.loads(arrays["facts"].tobytes()))
