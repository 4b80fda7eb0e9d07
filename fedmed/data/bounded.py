"""Preprocessing of a table under a promise to patients: by bounds that are public, refined by noisy sums if asked.

Names, units, levels and bounds of columns are taken as public knowledge, the rows are not. Whoever lets levels be read
off the data (a table's text columns) makes public that somebody has each of them.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from fedmed.data.examples import Array, Examples, Feature
from fedmed.data.preprocessing import Column, Preprocessing, Recipe, table_of
from fedmed.system import errors

Bounds: TypeAlias = tuple[float, float]

_WHERE = "privacy.bounds"
_LEAST_SHARE = 1 / 50  # of the width: a smaller SD is noise, or blows a column up
_SHOWN = 5
_WIDEST = float(np.finfo(np.float32).max)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def prepare_bounded(features: Sequence[Feature], bounds: Mapping[str, Bounds]) -> Preprocessing:
    """Returns preprocessing that depends on no row: none is given to it. Its mode is "bounds".

    A number is clipped to its bounds, centred at their middle and divided by a quarter of their width (the range rule:
    nearly all of a bell curve lies within 2 SD of its middle). A category gets an output for each of its levels. Each
    column gets an output that says that the value is missing, as whether one ever is would be told by the rows.

    Args:
        features: one a column.
        bounds: of columns by name; those not among them have the bounds of their feature.

    Raises:
        ConfigError: a number has no bounds, or bounds cannot be used.
    """
    known = public_bounds(features, bounds)
    columns = []
    for feature in features:
        if feature.is_category:
            columns.append(Column(feature.name, levels=feature.levels, kept=feature.levels, missing=True))
        else:
            low, high = known[feature.name]
            middle, quarter = low + (high - low) / 2, (high - low) / 4
            columns.append(Column(feature.name, middle, quarter, missing=True, least=low, most=high))
    return Preprocessing("bounds", Recipe(tuple(columns)))


def noisy_moments(
    train_by_client: Mapping[str, Examples],
    features: Sequence[Feature],
    bounds: Mapping[str, Bounds],
    *,
    noise: float,
    rng: np.random.Generator,
) -> Preprocessing:
    """Returns the preprocessing of `prepare_bounded` with numbers scaled to the noisy mean and SD of all patients.

    Each hospital releases its `moments` with noise of SD `noise * sensitivity(numbers)` on each; the recipe is made of
    their sum alone. To a hospital's patient that is one release of this noise multiplier, all patients in it (rate 1):
    `Releases(1.0, noise, 1)`. A patient of several hospitals is in as many releases. The mean is kept within the
    bounds, the SD between 1/50 and half of their width; a column whose count the noise drowns keeps the scale that
    bounds alone give it.

    This simulates a mechanism: the noise is of floating point numbers, which real patients need better than
    (Mironov 2012).

    Args:
        train_by_client: tables, x float64 [n, columns]; `group` names the patient, a row each where it is None.
        features: one a column.
        bounds: as for `prepare_bounded`.
        noise: multiplier >= 0; with 0 nothing is promised.
        rng: of the noise; hospitals draw in the mapping's order.

    Raises:
        ConfigError: as `prepare_bounded`.
        DataError: the examples are no table.
    """
    plain = prepare_bounded(features, bounds)
    numbers = sum(not feature.is_category for feature in features)
    scale = noise * sensitivity(numbers)
    told = [moments(own, plain.shared) + scale * rng.standard_normal((3, numbers)) for own in train_by_client.values()]
    drowned = scale * np.sqrt(len(told))
    refined = iter(np.sum(told, axis=0).T if told else np.zeros((numbers, 3)))
    columns = [column if column.levels else _scaled(column, next(refined), drowned) for column in plain.shared.columns]
    return Preprocessing("federated", Recipe(tuple(columns)))


def sensitivity(numbers: int) -> float:
    """Returns how far one patient, added or removed, moves `moments` in Euclidean length at most.

    To a column a patient adds (1, v, v^2) with |v| <= 1, or nothing: its square is at most 3, that of all columns
    together 3 times their number.
    """
    return float(np.sqrt(3 * numbers))


def moments(examples: Examples, recipe: Recipe) -> Array:
    """Returns one hospital's count, sum and sum of squares over patients, float64 [3, numbers], before any noise.

    Values are clipped to the recipe's bounds, scaled to [-1, 1] by them, and a patient's present ones averaged first.
    """
    places = [place for place, column in enumerate(recipe.columns) if not column.levels]
    limits = np.array([(recipe.columns[place].least, recipe.columns[place].most) for place in places], dtype=np.float64)
    low, high = limits.reshape(-1, 2).T
    x = table_of(examples)[:, places]
    unit = np.clip((np.clip(x, low, high) - low) / (high - low) * 2 - 1, -1, 1)
    mean, present = _by_patient(unit, examples.group)
    return np.stack([present.sum(axis=0), mean.sum(axis=0), (mean**2).sum(axis=0)])


def public_bounds(features: Sequence[Feature], bounds: Mapping[str, Bounds]) -> dict[str, Bounds]:
    """Returns the bounds of each number by its name, the given ones before the feature's own; raises ConfigError."""
    names = [feature.name for feature in features]
    categories = [feature.name for feature in features if feature.is_category]
    for name in bounds:
        if name not in names:
            raise errors.ConfigError(errors.unknown(_WHERE, "column", name, names))
        if name in categories:
            raise errors.ConfigError(f"{_WHERE}.{name}: a category has levels, no bounds; leave it out")
    numbers = [feature for feature in features if not feature.is_category]
    known = {feature.name: bounds.get(feature.name, feature.bounds) for feature in numbers}
    if unknown := [name for name, own in known.items() if own is None]:
        raise errors.ConfigError(_lacking(unknown))
    return {name: _checked(name, own) for name, own in known.items() if own is not None}


def _lacking(names: Sequence[str]) -> str:
    listed = errors.first_few([repr(name) for name in names], _SHOWN)
    key = names[0] if _BARE.fullmatch(names[0]) else json.dumps(names[0], ensure_ascii=False)
    return (
        f"{_WHERE}: no plausible range is known of {listed}; scaling by the data would tell of patients, so write what "
        f"is known without them: {_WHERE} = {{ {key} = [low, high], ... }}, as age = [18, 100]"
    )


def _checked(name: str, bounds: Bounds) -> Bounds:
    low, high = map(float, bounds)
    if not (low < high and max(-low, high, high - low) < _WIDEST):
        raise errors.ConfigError(f"{_WHERE}.{name}: expected [low, high] with low < high, got {list(bounds)!r}")
    return low, high


def _by_patient(unit: Array, group: Array | None) -> tuple[Array, Array]:
    """Returns float64 [patients, columns] the mean of a patient's present values, 0 without, and whether there is one.

    Rounding does not take a mean out of [-1, 1].
    """
    here = ~np.isnan(unit)
    if group is None:
        return np.where(here, unit, 0.0), here
    patient = np.unique(group, return_inverse=True)[1]
    count, total = np.zeros((2, int(patient.max(initial=-1)) + 1, unit.shape[1]))
    np.add.at(count, patient, here)
    np.add.at(total, patient, np.where(here, unit, 0.0))
    return np.clip(total / np.maximum(count, 1), -1, 1), count > 0


def _scaled(column: Column, told: Array, drowned: float) -> Column:
    """Returns the column with the scale that noisy count, sum and squares on [-1, 1] call for."""
    count, total, squares = map(float, told)
    if column.least is None or column.most is None or count <= drowned:
        return column
    mean = float(np.clip(total / count, -1, 1))
    sd = float(np.sqrt(np.clip(squares / count - mean**2, (2 * _LEAST_SHARE) ** 2, 1)))
    half = (column.most - column.least) / 2
    return dataclasses.replace(column, mean=column.least + half + mean * half, scale=sd * half)
