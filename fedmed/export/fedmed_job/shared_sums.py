"""The first round: each hospital tells sums over its training rows, and all of them together say how to scale.

The formulas are those of `fedmed run`, in float64, so that the same rows give the same numbers.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from .job import Array, Column, Job, JobError
from .site_rows import Rows

Sums = dict[str, Array]
"""What a hospital tells: `rows` [1]; `present`, `total` and `squares` (deviations from its own mean) of each column
and, last, of the label; `levels`, the rows of each level, one category after the other."""

_OWN_SCALE_FROM = 5
_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """What becomes of a column: a number is (value - mean) / scale; a category an input for each level kept."""

    mean: float = 0.0
    scale: float = 1.0
    kept: tuple[str, ...] = ()
    missing: bool = False


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How rows become the model's inputs, and on what scale the label is learned. It holds aggregates only."""

    columns: tuple[Scaled, ...]
    label: Scaled = Scaled()

    def to_json(self) -> str:
        """Returns the recipe as text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Returns the recipe that `to_json` wrote."""
        tree = json.loads(text)
        return cls(tuple(map(_scaled, tree["columns"])), _scaled(tree["label"]))


def _scaled(tree: dict[str, Any]) -> Scaled:
    return Scaled(**{**tree, "kept": tuple(tree["kept"])})


@np.errstate(over="ignore", invalid="ignore")  # `fitted` refuses what overflows
def site_sums(job: Job, rows: Rows) -> Sums:
    """Returns what a hospital tells of its training rows.

    Of a column with 1 to `job.minimum` - 1 values it tells nothing, as if all were missing, and of a level with as few
    rows that it has none: they would tell of single patients. What is not scaled has no sums.
    """
    number = np.array([*(_is_scaled(job, column) for column in job.columns), job.label.standardised])
    x = np.concatenate([rows.x, rows.y.astype(np.float64)[:, None]], axis=1)
    here = ~np.isnan(x)
    here &= here.sum(axis=0) >= job.minimum
    present = here.sum(axis=0)
    total = np.where(here & number, x, 0.0).sum(axis=0)
    mean = total / np.maximum(present, 1)
    squares = (np.where(here & number, x - mean, 0.0) ** 2).sum(axis=0)
    counts = [_level_counts(column, rows.x[:, place]) for place, column in enumerate(job.columns)]
    levels = np.concatenate([np.zeros(0, np.int64), *counts])
    told = np.where(levels >= job.minimum, levels, 0)
    return {"rows": np.array([len(rows.y)]), "present": present, "total": total, "squares": squares, "levels": told}


def _level_counts(column: Column, codes: Array) -> Array:
    """Returns the rows of each level; none of a number's column, whose values are no codes."""
    if not column.levels:
        return np.zeros(0, np.int64)
    return np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(column.levels))[: len(column.levels)]


def fitted(job: Job, told: Sequence[Sums]) -> tuple[Recipe, list[str]]:
    """Returns the recipe, and in words where the hospitals' sums call for other inputs than the job was made with.

    The model's inputs are the job's own all the same; only mean and SD are what the sums say.

    Raises:
        JobError: a column is so large that it cannot be scaled.
    """
    pooled = _combined(told)
    check_size(job, pooled, "sums")
    mean, scale = _mean_and_scale(pooled)
    found = _inputs(job, pooled)
    columns = tuple(
        Scaled(
            mean=float(mean[place]) if _is_scaled(job, column) else 0.0,
            scale=float(scale[place]) if _is_scaled(job, column) else 1.0,
            kept=column.kept,
            missing=column.missing,
        )
        for place, column in enumerate(job.columns)
    )
    label = Scaled(float(mean[-1]), float(scale[-1])) if job.label.standardised else Scaled()
    return Recipe(columns, label), differences(job, found)


def input_names(job: Job) -> list[str]:
    """Returns what each of the model's inputs is, in order."""
    names = []
    for column in job.columns:
        names += [f"{column.name} = {level}" for level in column.kept] if column.levels else [column.name]
        names += [f"{column.name} = another"] if len(column.kept) < len(column.levels) else []
        names += [f"{column.name} is missing"] if column.missing else []
    return names


def _is_scaled(job: Job, column: Column) -> bool:
    return not column.levels and job.preprocessing != "none"


def _inputs(job: Job, pooled: Sums) -> list[tuple[tuple[str, ...], bool]]:
    """Returns of each column the levels that some row holds, and whether a value is missing anywhere."""
    found, start = [], 0
    for place, column in enumerate(job.columns):
        counts = pooled["levels"][start : start + len(column.levels)]
        start += len(column.levels)
        held = tuple(level for level, count in zip(column.levels, counts, strict=True) if count)
        found.append((held, bool(pooled["present"][place] < pooled["rows"][0])))
    return found


def differences(job: Job, found: Sequence[tuple[tuple[str, ...], bool]]) -> list[str]:
    """Returns a line for each column in which the hospitals' rows call for other inputs than the job's."""
    lines = []
    for column, (held, missing) in zip(job.columns, found, strict=True):
        if missing and not column.missing:
            lines.append(f"{column.name!r} has missing values, which the job was made without: they count as the mean")
        if column.missing and not missing:
            lines.append(f"{column.name!r} has no missing values, so one input is always 0")
        if gone := [level for level in column.kept if level not in held]:
            lines.append(f"{column.name!r}: {len(gone)} of its levels are in too few rows or in none")
    return lines


def _combined(told: Sequence[Sums]) -> Sums:
    """Returns the sums over all hospitals' rows together (Chan, Golub and LeVeque 1979)."""
    stacked = {name: np.stack([sums[name] for sums in told]) for name in told[0]}
    present, total = stacked["present"], stacked["total"]
    mean = total.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    between = present * (total / np.maximum(present, 1) - mean) ** 2
    pooled = {name: values.sum(axis=0) for name, values in stacked.items()}
    return {**pooled, "squares": pooled["squares"] + between.sum(axis=0)}


def own_scale(job: Job, recipe: Recipe, own: Sums) -> Recipe:
    """Returns the recipe with which a hospital scales its numbers: in mode "by_site" by its own sums, if they allow."""
    if job.preprocessing != "by_site":
        return recipe
    mean, scale = _mean_and_scale(own)
    varies = (own["present"] >= _OWN_SCALE_FROM) & ~_constant(own)
    columns = [
        dataclasses.replace(scaled, mean=float(mean[place]), scale=float(scale[place]))
        if varies[place] and not job.columns[place].levels
        else scaled
        for place, scaled in enumerate(recipe.columns)
    ]
    return dataclasses.replace(recipe, columns=tuple(columns))


def applied(job: Job, recipe: Recipe, x: Array) -> Array:
    """Returns the model's inputs, float32 [n, d], of rows x, float64 [n, columns]."""
    parts = [_outputs(c, recipe.columns[place], x[:, place]) for place, c in enumerate(job.columns)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _outputs(column: Column, scaled: Scaled, values: Array) -> Array:
    absent = np.isnan(values)
    if not column.levels:
        outputs = [np.where(absent, 0.0, (values - scaled.mean) / scaled.scale)]
    else:
        outputs = [values == column.levels.index(level) for level in scaled.kept]
        if len(scaled.kept) < len(column.levels):
            outputs.append(~absent & ~np.any(outputs, axis=0) if outputs else ~absent)
    return np.stack([*outputs, *([absent] if scaled.missing else [])], axis=1).astype(np.float64)


def check_size(job: Job, sums: Sums, where: str) -> None:
    """Raises a JobError, which says where, for a column with a value so large that it cannot be scaled."""
    count = np.maximum(sums["present"], 1)
    size = np.abs(sums["total"] / count) + np.sqrt(sums["squares"] / count)
    names = [*(column.name for column in job.columns), job.label.name]
    if wild := [name for name, own in zip(names, size, strict=True) if not own < _LARGEST]:
        raise JobError(
            f"{where}: {', '.join(map(repr, wild[:5]))}: a value is so large that the column cannot be scaled"
        )


def _mean_and_scale(sums: Sums) -> tuple[Array, Array]:
    count = np.maximum(sums["present"], 1)
    return sums["total"] / count, np.where(_constant(sums), 1.0, np.sqrt(sums["squares"] / count))


def _constant(sums: Sums) -> Array:
    """Returns which columns do not vary beyond rounding."""
    count, eps = np.maximum(sums["present"], 1), np.finfo(np.float64).eps
    variance, mean = sums["squares"] / count, sums["total"] / count
    return variance <= count * eps * variance + (count * mean * eps) ** 2
