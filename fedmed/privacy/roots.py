"""Where a falling or rising quantity meets a target: the least noise, the most steps."""

import math
from collections.abc import Callable

TOLERANCE = 1e-3
"""Relative, of what `least` returns."""


def least(
    spent: Callable[[float], float], target: float, low: float, high: float, limits: tuple[float, float]
) -> float:
    """Returns about the least number within the limits at which a falling function does not exceed the target.

    By Brent's method on logarithms, near which what is spent is a straight line; some four evaluations. The answer may
    be short by the tolerance; the upper limit where even that exceeds the target.

    Args:
        spent: non-negative, falling, and dear to evaluate where it is large; it should remember its answers.
        target: > 0.
        low: where the number may well be, at least; widened as need be.
        high: at most.
        limits: nothing is evaluated beyond them.
    """
    from scipy import optimize  # as slow to import as NumPy is

    low, high = max(low, limits[0]), min(high, limits[1])
    while low > limits[0] and spent(low) <= target:
        low, high = max(low / 2, limits[0]), low
    while high < limits[1] and spent(high) > target:
        low, high = high, min(2 * high, limits[1])
    if spent(low) <= target:
        return low
    if spent(high) > target:
        return high

    def excess(logarithm: float) -> float:
        return math.log(max(spent(math.exp(logarithm)), 1e-12) / target)

    root = optimize.brentq(excess, math.log(low), math.log(high), xtol=TOLERANCE)
    return math.exp(root)  # pyright: ignore[reportArgumentType]


def largest(fits: Callable[[int], bool], start: int, most: int) -> int:
    """Returns the largest whole number up to `most` that fits, sought outwards from `start`; 0 is taken to fit.

    Where a number fits, so must all smaller ones.
    """
    low, high, reach = start, start + 1, 1
    while low > 0 and not fits(low):
        low, high, reach = max(low - reach, 0), low, 2 * reach
    while high <= most and fits(high):
        low, high, reach = high, min(high + reach, most + 1), 2 * reach
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
