"""What a job leaves behind: predictions in row order, a curve, traffic and seconds; no label, no row, no identifier."""

import io
import json
import pathlib
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fedmed.data.examples import Array
from fedmed.system import errors, files

UNFIT = "unfit"
"""Where an algorithm that was tried tells why it is not for the model."""


class Result(NamedTuple):
    """One model's predictions and how it got there.

    Attributes:
        predictions: for each hospital, in the order of the partition, on its test rows; float32.
        rounds: [k] rounds after which the model was scored.
        curve: [k, hospitals + 1] the metric at each hospital and, last, over all; NaN where it is not defined.
        sent: [k, 2] bytes sent until then, to all clients and by all of them.
        refused: clients whose update was not finite, to the number of rounds in which it was not used.
        seconds: of the rounds, scoring left out.
        weight_bytes: size of the model.
        inner: of a reference model, for each hospital its mean loss on the training rows there by cross-validation,
            NaN where it was trained on none; else empty.
        losses: [k] the loss that 0 is best of (see `null_model.LOSS`) over all test rows that the model is for; NaN
            where predictions are not finite.
        told: of an attack, what it found, and of an algorithm that was tried, under UNFIT, why it is not for the model;
            as JSON values; else empty.
        clock: [k] seconds on the virtual clock until then.
        contributions: by client, what it was meant to contribute and did (see `engine.contributions`), as JSON values;
            empty where no scenario and no deadline were asked for.
    """

    predictions: list[Array]
    rounds: Array
    curve: Array
    sent: Array
    refused: dict[str, int]
    seconds: float
    weight_bytes: int
    inner: tuple[float, ...] = ()
    losses: Array = np.zeros(0)
    told: Mapping[str, Any] = MappingProxyType({})
    clock: Array = np.zeros(0)
    contributions: Mapping[str, Any] = MappingProxyType({})


def path_of(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the file of a job."""
    return folder / f"{name}.npz"


def write(path: pathlib.Path, key: str, result: Result) -> None:
    """Writes a result, whole or not at all, for its owner's eyes: predictions are a patient's each."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        key=np.array(key),
        rounds=result.rounds,
        curve=result.curve,
        sent=result.sent,
        refused=np.frombuffer(json.dumps(result.refused).encode(), np.uint8),
        seconds=np.array(result.seconds),
        weight_bytes=np.array(result.weight_bytes),
        inner=np.array(result.inner, np.float64),
        losses=np.asarray(result.losses, np.float64),
        told=np.frombuffer(json.dumps(dict(result.told)).encode(), np.uint8),
        clock=np.asarray(result.clock, np.float64),
        contributions=np.frombuffer(json.dumps(dict(result.contributions)).encode(), np.uint8),
        **{f"p{number:05d}": np.asarray(p, np.float32) for number, p in enumerate(result.predictions)},
    )
    files.write_atomically(path, buffer.getvalue(), files.PRIVATE)


def read(path: pathlib.Path, key: str) -> Result | None:
    """Returns the result of the job with this key; None where there is none, or it is another's, or damaged.

    Raises:
        UserError: a folder is in its place, so that it could not be written either.
    """
    if path.is_dir():
        raise errors.UserError(f"{path}: is a folder, where a model's result is to be; move it away")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if str(archive["key"]) != key:
                return None
            names = sorted(name for name in archive.files if name[0] == "p" and name[1:].isdigit())
            predictions = [archive[name] for name in names]
            return Result(
                predictions,
                rounds=archive["rounds"],
                curve=archive["curve"],
                sent=archive["sent"],
                refused=json.loads(archive["refused"].tobytes()),
                seconds=float(archive["seconds"]),
                weight_bytes=int(archive["weight_bytes"]),
                inner=tuple(archive["inner"].tolist()),
                losses=archive["losses"],
                told=json.loads(archive["told"].tobytes()),
                clock=archive["clock"],
                contributions=json.loads(archive["contributions"].tobytes()),
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
