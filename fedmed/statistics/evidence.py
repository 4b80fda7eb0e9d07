"""What a comparison says to one question: p-values for better and for worse, each claimed in its direction only."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from fedmed.statistics.intervals import Interval


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Two-sided p-values of the two things that could be claimed; at least one of them is 1.

    Attributes:
        better: of the claim that the arm of interest is better.
        worse: of the claim that it is worse.
    """

    better: float
    worse: float

    @property
    def p_value(self) -> float:
        """The smaller one: the two-sided p-value of no difference."""
        return min(self.better, self.worse)

    @property
    def side(self) -> Literal["better", "worse", "neither"]:
        """Which way it points."""
        if self.better == self.worse:
            return "neither"
        return "better" if self.better < self.worse else "worse"


def of_difference(gain: Interval) -> Evidence:
    """Returns the evidence of a difference, by its estimate's standard error and Student's quantiles.

    Args:
        gain: of the arm of interest less the other's, positive where it is better.

    Raises:
        ValueError: the interval has no standard error.
    """
    return Evidence(min(1.0, 2 * above(gain)), min(1.0, 2 * above(turned(gain))))


def of_distances(difference: Interval, total: Interval) -> Evidence:
    """Returns the evidence on whose calibration is nearer to 0, from f - l and f + l.

    f and l are the two arms' distances with their signs, as log(observed / expected); better is |f| < |l|. As |f| > |l|
    means that f - l and f + l have the same sign, worse is claimed where both are told from 0 to the same side, and
    better where they are told to opposite sides: an intersection-union test for each side (Berger 1982), doubled for
    the two sides. So nothing is claimed of arms that are both calibrated, or off by as much in opposite directions.

    Args:
        difference: f - l.
        total: f + l.
    """
    up, down, high, low = above(difference), above(turned(difference)), above(total), above(turned(total))
    worse = 2 * min(max(up, high), max(down, low))
    better = 2 * min(max(down, high), max(up, low))
    return Evidence(min(1.0, better), min(1.0, worse))


def above(interval: Interval, margin: float = 0.0) -> float:
    """Returns the one-sided p-value of the claim that the quantity is above a margin.

    Raises:
        ValueError: the interval has no standard error.
    """
    from scipy.special import ndtr, stdtr

    if interval.error is None:
        raise ValueError(f"p_value: an interval by {interval.method} has no standard error")
    apart = interval.estimate - margin
    if interval.error == 0:
        return 0.0 if apart > 0 else 1.0 if apart < 0 else 0.5
    below = -apart / interval.error
    return float(stdtr(interval.df, below) if np.isfinite(interval.df) else ndtr(below))


def turned(interval: Interval) -> Interval:
    """Returns the interval of the quantity with its sign changed."""
    return dataclasses.replace(interval, estimate=-interval.estimate, low=-interval.high, high=-interval.low)
