"""The shape of a column of positive numbers at a site: its quantiles, read on the log scale."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from fedmed.data.examples import Array
from fedmed.data.faults.readings import Reading, Sites

ENOUGH = 20
WIDTH = 1.349
"""The middle half of a normal distribution in standard deviations."""

_DISTINCT = 8
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LEAST = 1e-300


@dataclasses.dataclass(frozen=True)
class Shape:
    """A column at some sites.

    Attributes:
        sites: their places.
        rows: of them together.
        quantiles: [5] at 5, 25, 50, 75 and 95 %, all > 0.
        decimals: that values are written with, 4 for four and more.
    """

    sites: tuple[int, ...]
    rows: int
    quantiles: Array
    decimals: int

    def mapped(self, times: float, plus: float = 0.0) -> "Shape":
        """Returns the shape in another unit, in which what is not positive is 1e-300."""
        return dataclasses.replace(self, quantiles=np.maximum(self.quantiles * times + plus, _LEAST))

    @property
    def is_positive(self) -> bool:
        """Whether all of it stayed positive in the other unit."""
        return bool(self.quantiles[0] > _LEAST)

    @property
    def middle(self) -> float:
        """Log of the median."""
        return float(np.log(self.quantiles[2]))

    @property
    def spread(self) -> float:
        """Standard deviation of the log, by the middle half."""
        return max(float(np.log(self.quantiles[3] / self.quantiles[1])) / WIDTH, 1e-6)

    def lies_apart(self, other: "Shape") -> bool:
        """Returns whether the middle nine tenths of the two do not touch."""
        low, high = sorted((self, other), key=lambda shape: shape.middle)
        return bool(high.quantiles[0] > low.quantiles[4])

    def unlike(self, other: "Shape") -> float:
        """Returns by which factor, as a log, the middle half or the middle nine tenths is wider than the other's."""
        half, most = (np.log(self.quantiles[-k] / self.quantiles[k - 1]) for k in (2, 1))
        half_there, most_there = (np.log(other.quantiles[-k] / other.quantiles[k - 1]) for k in (2, 1))
        return max(abs(math.log(max(half, 1e-6) / max(half_there, 1e-6))), abs(math.log(most / most_there)))


def shapes(reading: Reading, sites: Sites) -> list[Shape]:
    """Returns the shape of a column of numbers at each site that has enough positive readings of it."""
    found = []
    for site, rows in enumerate(sites.sampled if not reading.feature.is_category else ()):
        own = reading.values[rows]
        own = own[~np.isnan(own)]
        positive = own[own > 0]
        if len(positive) < max(ENOUGH, 0.8 * len(own)) or len(np.unique(positive)) < _DISTINCT:
            continue
        quantiles = np.quantile(positive, _QUANTILES)
        if quantiles[3] > quantiles[1]:
            found.append(Shape((site,), len(positive), quantiles, _decimals(positive[:400])))
    return found


def groups(each: Sequence[Shape], *, by_gap: bool) -> list[list[Shape]]:
    """Returns the sites in groups that are linked one to the next, the largest group first.

    Args:
        each: a shape a site, at least one.
        by_gap: whether groups must lie wholly apart; else their medians must.
    """
    ordered = sorted(each, key=lambda shape: shape.middle)
    found = [[ordered[0]]]
    for before, after in itertools.pairwise(ordered):
        step, wide = after.middle - before.middle, max(before.spread, after.spread)
        edge = before.quantiles[4] * math.exp(0.5 * min(before.spread, after.spread))
        if (step > 2 * wide and after.quantiles[0] > edge) if by_gap else step > 1.3 * wide:
            found.append([])
        found[-1].append(after)
    return sorted(found, key=lambda group: (len(group), sum(shape.rows for shape in group)), reverse=True)


def joined(group: Sequence[Shape]) -> Shape:
    """Returns the shape of a group, in each quantile its median site's, so that one odd site does not count."""
    quantiles = np.exp(np.median([np.log(shape.quantiles) for shape in group], axis=0))
    places = sorted(site for shape in group for site in shape.sites)
    decimals = sorted(shape.decimals for shape in group)[len(group) // 2]
    return Shape(tuple(places), sum(shape.rows for shape in group), quantiles, decimals)


def _decimals(values: Array) -> int:
    """Returns with how many decimals all but a few of the values are written."""
    for digits in range(4):
        if np.mean(np.abs(np.round(values, digits) - values) < 1e-9 * values) > 0.97:
            return digits
    return 4
