"""The MNIST benchmark's arithmetic: how rounds are read from a curve, and which learning rate is tried and chosen."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def rounds_to_target(curve: Sequence[float], target: float) -> float | None:
    """Returns when the best-so-far accuracy reaches the target, linear between rounds; None when it does not.

    Args:
        curve: test accuracy after round 0, 1, 2, ...
        target: accuracy to reach.
    """
    best = 0.0
    for number, value in enumerate(curve):
        if value >= target:
            return float(number) if number == 0 else number - 1 + (target - best) / (value - best)
        best = max(best, value)
    return None


def next_rate(rate: float, sixths: int) -> float:
    """Returns the rate so many steps up the grid of 10^(1/6), to three digits."""
    return float(f"{10 ** ((round(6 * math.log10(rate)) + sixths) / 6):.3g}")


def chosen_rate(runs: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns the rate with the fewest rounds on seed 0, or None when no rate reached the target."""
    reached = {run["rate"]: run["rounds"] for run in runs if run["seed"] == 0 and run["rounds"] is not None}
    return min(reached, key=lambda rate: reached[rate]) if reached else None


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns the 95 % Student t interval of the mean, or None for a single value."""
    if len(values) < 2:
        return None
    from scipy import stats

    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.fmean(values)
    return mean - half, mean + half
