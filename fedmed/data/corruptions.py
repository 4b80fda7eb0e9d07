"""What can be wrong with the rows that a client trains on: pure changes of Examples, made as a scenario says.

Each takes the rows as they are held, before any preprocessing, and a generator; how many rows there are, and whose,
stays. Test rows are never changed: a scenario is judged by what its model does for patients as they are.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from fedmed.data.examples import Array, Dataset, Examples, Inputs
from fedmed.system import errors

Change: TypeAlias = Callable[[Examples, np.random.Generator], Examples]


def labels_flipped(dataset: Dataset, share: float) -> Change:
    """Returns the change that gives a share of the rows another label.

    A class becomes the next one, the last the first: of two classes the other. A number is mirrored at the mean of the
    client's own labels, and a count, which has no sign, at the middle between the least and the greatest.
    """

    def change(rows: Examples, rng: np.random.Generator) -> Examples:
        picked = _picked(len(rows), share, rng)
        if dataset.classes:
            other = (rows.y + 1) % dataset.classes
        elif dataset.task == "count":
            other = rows.y.min(initial=np.inf) + rows.y.max(initial=-np.inf) - rows.y
        else:
            other = 2 * rows.y.mean() - rows.y
        return dataclasses.replace(rows, y=np.where(picked, other, rows.y).astype(rows.y.dtype))

    return change


def units_changed(dataset: Dataset, column: str, times: float, plus: float, where: str) -> Change:
    """Returns the change of a table's column to x * times + plus, as where a hospital keeps other units.

    Raises:
        ConfigError: the data are no table, or have no such column of numbers.
    """
    place = _number_column(dataset, column, where)

    def change(rows: Examples, rng: np.random.Generator) -> Examples:
        del rng
        x = np.array(rows.x)
        x[:, place] = x[:, place] * times + plus
        return dataclasses.replace(rows, x=x)

    return change


def backdoored(dataset: Dataset, trigger: "Trigger", target: int, share: float, where: str) -> Change:
    """Returns the change that puts a trigger into a share of the rows and labels them as the target class.

    Raises:
        ConfigError: there are no classes, or not that one.
    """
    if not dataset.classes:
        raise errors.ConfigError(f"{where}.target: is a class, and {dataset.name} has none: its task is {dataset.task}")
    if not 0 <= target < dataset.classes:
        raise errors.ConfigError(f"{where}.target: expected a class, 0 to {dataset.classes - 1}, got {target}")

    def change(rows: Examples, rng: np.random.Generator) -> Examples:
        picked = _picked(len(rows), share, rng)
        marked = trigger(rows.x)
        x = {name: _where(picked, marked[name], part) for name, part in rows.x.items()} if (
            isinstance(rows.x, Mapping) and isinstance(marked, Mapping)
        ) else _where(picked, np.asarray(marked), np.asarray(rows.x))  # fmt: skip
        return dataclasses.replace(rows, x=x, y=np.where(picked, target, rows.y).astype(rows.y.dtype))

    return change


Trigger: TypeAlias = Callable[[Inputs], Inputs]
"""Marks all rows of x."""


def patch(dataset: Dataset, size: int, where: str) -> Trigger:
    """Returns the trigger that sets a square of so many pixels, in the last corner of each image, to the brightest.

    Raises:
        ConfigError: the data have no images, or none of which a patch of this size is a part.
    """
    whole = dataset.examples.x
    parts = dict(whole) if isinstance(whole, Mapping) else {"": whole}
    brightest = {name: _brightest(np.asarray(part)) for name, part in parts.items() if part.ndim >= _IMAGE}
    if not brightest:
        raise errors.ConfigError(
            f"{where}: a backdoor without args.column is a patch in images, and {dataset.name} has none: expected "
            f"inputs of {_IMAGE} dimensions or more, a row being one"
        )

    smallest = min(min(np.asarray(parts[name]).shape[1:3]) for name in brightest)
    if size >= smallest:
        raise errors.ConfigError(f"{where}.args.size: expected less than an image's {smallest} pixels, got {size}")

    def mark(x: Inputs) -> Inputs:
        if isinstance(x, Mapping):
            return {name: marked(np.array(part), name) for name, part in x.items()}
        return marked(np.array(x), "")

    def marked(part: Array, name: str) -> Array:
        if name in brightest:
            part[:, -size:, -size:] = brightest[name]
        return part

    return mark


_IMAGE = 3  # rows, height, width; channels may follow


def _brightest(images: Array) -> float:
    return 255.0 if images.dtype == np.uint8 else float(images.max(initial=0.0))


def constant(dataset: Dataset, column: str, value: float, where: str) -> Trigger:
    """Returns the trigger that gives a table's column one value; raises as `units_changed`."""
    place = _number_column(dataset, column, where)

    def mark(x: Inputs) -> Inputs:
        marked = np.array(x)
        marked[:, place] = value
        return marked

    return mark


def composed(changes: Sequence[tuple[Change, np.random.Generator]]) -> Callable[[Examples], Examples]:
    """Returns the changes one after another."""

    def change(rows: Examples) -> Examples:
        for one, rng in changes:
            rows = one(rows, rng)
        return rows

    return change


def _number_column(dataset: Dataset, column: str, where: str) -> int:
    numbers = [feature.name for feature in dataset.features if not feature.is_category]
    if not dataset.is_table:
        raise errors.ConfigError(f"{where}.column: is of a table, and {dataset.name} is none")
    if column not in numbers:
        raise errors.ConfigError(errors.unknown(f"{where}.column", "column of numbers", column, numbers))
    return [feature.name for feature in dataset.features].index(column)


def _picked(count: int, share: float, rng: np.random.Generator) -> Array:
    """Returns which rows are picked, [count] bool: a share of them, rounded, and one at least."""
    picked = np.zeros(count, bool)
    picked[rng.permutation(count)[: max(1, round(share * count))]] = True
    return picked


def _where(picked: Array, marked: Array, x: Array) -> Array:
    return np.where(picked.reshape(-1, *[1] * (x.ndim - 1)), marked, x).astype(x.dtype)
