"""What is trained, and how: `job.toml` and `initial_weights.toml` beside this file, read into values with fields.

They are TOML because a Flower app carries files of Python, TOML and Markdown only.
"""

import base64
import dataclasses
import io
import pathlib
import tomllib
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

FOLDER = pathlib.Path(__file__).parent
SETTINGS, WEIGHTS = "job.toml", "initial_weights.toml"

Array: TypeAlias = np.ndarray


class JobError(ValueError):
    """The job cannot go on; one line that says where and why, and shows no patient's value."""


@dataclasses.dataclass(frozen=True)
class Change:
    """What makes a column mean the same at all hospitals; of numbers where the column holds numbers, else of words.

    Attributes:
        sites: the hospitals whose rows are changed; all when ().
        missing: values that mean missing.
        old, new: values, and what they become.
        times, plus: a number is multiplied, then added to,
        above, below: where it lies between these.
    """

    sites: tuple[str, ...] = ()
    missing: tuple[Any, ...] = ()
    old: tuple[Any, ...] = ()
    new: tuple[Any, ...] = ()
    times: float = 1.0
    plus: float = 0.0
    above: float = -np.inf
    below: float = np.inf


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a hospital's file that the model learns from.

    Attributes:
        name: in the file's first row.
        levels: of a category, in code order; () for a number.
        kept: the levels that are inputs of the model; the others share one, "other".
        missing: whether an input says that the value is missing.
        changes: made in order, when the file is read.
    """

    name: str
    levels: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    missing: bool = False
    changes: tuple[Change, ...] = ()


@dataclasses.dataclass(frozen=True)
class Label:
    """What is predicted.

    Attributes:
        name: of its column.
        classes: the words of the file for class 0, 1, ...; () for an amount or a count.
        standardised: whether an amount is learned at mean 0 and SD 1, by the hospitals' sums.
        may_be_missing: whether rows without a label are left out; else they are refused.
    """

    name: str
    classes: tuple[str, ...] = ()
    standardised: bool = False
    may_be_missing: bool = False


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a hospital's CSV is written, and words that mean missing beside empty, NA, NaN and null."""

    separator: str = ","
    decimal: str = "."
    missing: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Local:
    """What a hospital does with received weights: `epochs` over its rows, or `steps` batches where it is above 0.

    `batch` is 0 for all rows at once. `pull` is FedProx's mu.
    """

    learning_rate: float
    decay: float
    optimizer: str
    momentum: float
    epochs: int
    steps: int
    batch: int
    pull: float


@dataclasses.dataclass(frozen=True)
class Server:
    """What the server does with the mean update (Reddi et al. 2021); `weighting` is "examples" or "uniform"."""

    optimizer: str
    learning_rate: float
    momentum: float
    beta_2: float
    tau: float
    weighting: str


@dataclasses.dataclass(frozen=True)
class Job:
    """All of it.

    Attributes:
        name: of the config it was exported from.
        made_by: fedmed's version.
        seed: of shuffling and dropout.
        rounds: of training.
        sites: the hospitals by name, in order; the place is a hospital's number.
        task: "binary", "multiclass", "regression" or "count".
        scale: whether the model returns a "mean" or its "link" (logits, log rates).
        preprocessing: "federated", "by_site" or "none": whose sums scale a number.
        minimum: of values behind any sum that a hospital tells; it keeps a sum of fewer to itself.
        architecture: the Keras model, as JSON.
    """

    name: str
    made_by: str
    seed: int
    rounds: int
    sites: tuple[str, ...]
    task: str
    scale: str
    preprocessing: str
    minimum: int
    reading: Reading
    label: Label
    columns: tuple[Column, ...]
    local: Local
    server: Server
    architecture: str

    def learning_rate(self, round_: int) -> float:
        """Returns the hospitals' learning rate in a round, counted from 0."""
        return self.local.learning_rate * self.local.decay**round_


class Weights(NamedTuple):
    """A model's weights, float32 in its own order: what is trained, moving statistics, and what nobody changes."""

    trainable: list[Array]
    moving: list[Array]
    fixed: list[Array]

    @property
    def sent(self) -> list[Array]:
        """What travels."""
        return [*self.trainable, *self.moving]


def load(folder: pathlib.Path = FOLDER) -> Job:
    """Returns the job in a folder."""
    return read(Job, tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8")))


def initial_weights(folder: pathlib.Path = FOLDER) -> Weights:
    """Returns the weights that the job begins with."""
    text = tomllib.loads((folder / WEIGHTS).read_text(encoding="utf-8"))["npz"]
    return unpacked(base64.b64decode(text))


def packed(weights: Weights) -> bytes:
    """Returns the bytes of an .npz file with the arrays trainable_0, ..., moving_0, ..., fixed_0, ..."""
    held = io.BytesIO()
    np.savez(held, **{f"{kind}_{n}": v for kind in Weights._fields for n, v in enumerate(getattr(weights, kind))})
    return held.getvalue()


def unpacked(content: bytes) -> Weights:
    """Returns the weights that `packed` made."""
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        kinds = [[held[f"{kind}_{n}"] for n in range(_count(held.files, kind))] for kind in Weights._fields]
    return Weights(*kinds)


def _count(names: list[str], kind: str) -> int:
    return sum(name.rpartition("_")[0] == kind for name in names)


def read(kind: Any, tree: Any) -> Any:
    """Returns a dataclass of plain tables, lists and values; a field that is not there keeps its default."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return typing.cast(Any, kind)(**{name: read(hints[name], value) for name, value in tree.items()})
    if typing.get_origin(kind) is tuple:
        return tuple(read(typing.get_args(kind)[0], item) for item in tree)
    if typing.get_origin(kind) in (dict, Mapping):
        return dict(tree)
    return float(tree) if kind is float else tree
