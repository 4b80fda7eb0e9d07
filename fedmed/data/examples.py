"""The one kind of value that every data set becomes."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

Task: TypeAlias = Literal["binary", "multiclass", "regression", "count"]
Array: TypeAlias = np.ndarray
Inputs: TypeAlias = np.ndarray | Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Feature:
    """A column of a table.

    Attributes:
        name: of the column.
        unit: of its numbers, "" when they have none.
        levels: of a category, in code order; () for a number.
        bounds: the least and the greatest number that is plausible, in the unit: public knowledge, such as what a
            living patient can have, and never worked out from these data; None where none is known.
    """

    name: str
    unit: str = ""
    levels: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None

    @property
    def is_category(self) -> bool:
        return bool(self.levels)


@dataclasses.dataclass(frozen=True)
class Examples:
    """A data set or a slice of one.

    Attributes:
        x: [n, ...] in storage dtype (uint8 pixels stay uint8); a mapping of such arrays for models with several
            inputs. A table is float64 [n, columns]: NaN where a value is missing, the level's code for a category.
        y: [n] labels: int64 codes for classification, float32 for regression and counts.
        site: [n] strings, the natural client (hospital), or None.
        group: [n] strings or integers, the unit of privacy and of splitting (patient), or None (a row each).
    """

    x: Inputs
    y: Array
    site: Array | None = None
    group: Array | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Array) -> "Examples":
        """Returns the given rows, in the given order."""
        pick = _picker(rows)
        x = {k: v[rows] for k, v in self.x.items()} if isinstance(self.x, Mapping) else self.x[rows]
        return Examples(x=x, y=self.y[rows], site=pick(self.site), group=pick(self.group))


def joined(parts: Sequence[Examples]) -> Examples:
    """Puts examples one after the other: x, y, and patients where all have them."""
    inputs = [part.x for part in parts]
    x = (
        {name: np.concatenate([part[name] for part in inputs if isinstance(part, Mapping)]) for name in inputs[0]}
        if isinstance(inputs[0], Mapping)
        else np.concatenate([np.asarray(part) for part in inputs])
    )
    groups = [part.group for part in parts if part.group is not None]
    group = np.concatenate(groups) if len(groups) == len(parts) else None
    return Examples(x, np.concatenate([part.y for part in parts]), group=group)


def _picker(rows: Array) -> Callable[[Array | None], Array | None]:
    return lambda array: None if array is None else array[rows]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Examples and what must be known to use them.

    Attributes:
        name: registered name.
        examples: the rows to be partitioned among clients.
        task: decides loss and metrics.
        classes: number of classes (2 for binary), 0 for regression and counts.
        class_names: a name for each class, or ().
        features: one a column when x is a table, else ().
        test: the data set's own test rows (MNIST), shared by all clients, or None: each client then splits its rows.
        truth: hidden truth of synthetic data, row-aligned ("risk_true", "y_true"); for scoring only, no model sees it.
        site_test_fraction: a site's own share of test rows where a published split fixes it, keyed by site.
        rows_left_out: how many rows of the file are not among the examples, because they have no label.
        notes: sentences on how the data were taken where another way may have been meant; no value of a row.
    """

    name: str
    examples: Examples
    task: Task
    classes: int
    class_names: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    test: Examples | None = None
    truth: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    site_test_fraction: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rows_left_out: int = 0
    notes: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        return bool(self.features)

    def checksums(self) -> dict[str, str]:
        """Returns the SHA-256 of each array, by name, so that a result can be tied to its data."""
        parts = {"train": self.examples} | ({"test": self.test} if self.test is not None else {})
        return {
            f"{part}.{name}": array_checksum(array)
            for part, examples in parts.items()
            for name, array in _arrays(examples).items()
        }


def _arrays(examples: Examples) -> dict[str, Array]:
    x = examples.x if isinstance(examples.x, Mapping) else {"x": examples.x}
    optional = {"site": examples.site, "group": examples.group}
    return {**x, "y": examples.y, **{k: v for k, v in optional.items() if v is not None}}


def array_checksum(array: Array) -> str:
    """Returns the SHA-256 of an array's dtype, shape and values (strings by their text)."""
    plain = array.astype(str) if array.dtype == object else array
    digest = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode())
    digest.update(np.ascontiguousarray(plain).tobytes())
    return digest.hexdigest()


Partition: TypeAlias = Callable[[Examples, np.random.Generator], Mapping[str, Array]]
"""Client id to the rows it holds; every row goes to exactly one client."""
