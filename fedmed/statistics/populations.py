"""How far hospitals differ in whom they treat and what they record."""

import dataclasses
from collections.abc import Collection
from typing import TypeAlias

import numpy as np

from fedmed.statistics.intervals import Interval, wilson

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class LabelShift:
    """A hospital's labels against those of all other hospitals.

    Attributes:
        rows: the hospital's rows.
        prevalence: share of rows of each class, with Wilson's interval (rows taken as independent).
        distance: total variation distance to the other hospitals, 0 to 1; NaN where there is no other row.
    """

    rows: int
    prevalence: tuple[Interval, ...]
    distance: float


@dataclasses.dataclass(frozen=True)
class ColumnShift:
    """A column at one hospital against all other hospitals; NaN where one side has no value.

    Attributes:
        difference: standardised mean difference, or for categories the total variation distance (0 to 1, unsigned).
        missing: share missing here minus share missing elsewhere.
    """

    difference: float
    missing: float


def label_shift(y: Array, site: Array, classes: int, *, level: float = 0.95) -> dict[str, LabelShift]:
    """Returns how each hospital's label distribution differs from the rest's.

    Args:
        y: [n] class codes.
        site: [n] hospital of each row.
        classes: number of classes.
        level: of the intervals.
    """
    found = {}
    for name in np.unique(site).tolist():
        here = site == name
        counts = np.bincount(y[here], minlength=classes)
        shares = tuple(wilson(int(c), int(here.sum()), level) for c in counts)
        found[str(name)] = LabelShift(int(here.sum()), shares, total_variation(y[here], y[~here], classes))
    return found


def feature_shift(x: Array, site: Array, *, categories: Collection[int] = ()) -> dict[str, tuple[ColumnShift, ...]]:
    """Returns how each hospital's columns differ from the rest's, a value a column.

    Args:
        x: [n, columns] floats, NaN where a value is missing.
        site: [n] hospital of each row.
        categories: columns that hold codes of a category.
    """
    x = np.asarray(x, dtype=np.float64)
    return {
        str(name): tuple(
            _column_shift(x[site == name, k], x[site != name, k], k in categories) for k in range(x.shape[1])
        )
        for name in np.unique(site).tolist()
    }


def total_variation(a: Array, b: Array, classes: int) -> float:
    """Returns half the sum of |difference in share| over classes: 0 alike, 1 nothing in common, NaN without rows.

    Args:
        a: [n] class codes.
        b: [m] class codes.
        classes: number of classes.
    """
    if not len(a) or not len(b):
        return float("nan")
    shares = [np.bincount(codes, minlength=classes) / len(codes) for codes in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def standardised_mean_difference(a: Array, b: Array) -> float:
    """Returns (mean of a - mean of b) / sqrt((variance of a + variance of b) / 2), missing values left out.

    About 0.1 is often called a negligible difference (Austin 2009).

    Args:
        a: [n] values, NaN where missing.
        b: [m] values, NaN where missing.

    Returns:
        The difference in standard deviations: 0 for equal constants, infinite for different ones, NaN where a side
        has fewer than two values.
    """
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    difference = float(a.mean() - b.mean())
    spread = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    if spread > 0:
        return difference / spread
    return 0.0 if difference == 0 else float(np.copysign(np.inf, difference))


def _column_shift(a: Array, b: Array, is_category: bool) -> ColumnShift:
    missing = float(np.isnan(a).mean() - np.isnan(b).mean()) if len(a) and len(b) else float("nan")
    if not is_category:
        return ColumnShift(standardised_mean_difference(a, b), missing)
    here, rest = (values[~np.isnan(values)].astype(np.int64) for values in (a, b))
    levels = 1 + int(max(here.max(initial=0), rest.max(initial=0)))
    return ColumnShift(total_variation(here, rest, levels), missing)
