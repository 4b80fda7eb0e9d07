"""What a curve of losses over rounds tells: that training diverged, or that it was still improving when it ended."""

import math
from collections.abc import Sequence

import numpy as np

FAR = 2.0
"""A loss of so many times the untrained model's, or the least, is no scatter any more."""

STILL = 0.05
"""The share of all improvement above which the last quarter of the rounds shows that more rounds would bring more."""

FEWEST = 12
"""Rounds that must be scored after the start before the last quarter is judged."""

_BEYOND = 2.0  # standard errors
_MEDIAN = 1.2533  # of a median, as many times those of a mean, for normal scatter
_MAD = 1.4826  # a normal SD in median absolute deviations


def has_diverged(losses: Sequence[float | None]) -> bool:
    """Whether the last loss is not finite, or over twice the untrained model's, or over twice the least and no gain.

    A loss that grew from its least is judged against the start too: training on after the best round (overfitting) is
    no divergence as long as the model is better than the untrained one.

    Args:
        losses: from round 0; None (or not a number) where one is not defined.
    """
    if len(losses) < 2:
        return False
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    last = losses[-1]
    if last is None or not math.isfinite(last):
        return bool(known)
    return last > FAR * known[0] or (last > FAR * min(known) and last > known[0])


def still_improving(rounds: Sequence[int], losses: Sequence[float | None]) -> float | None:
    """Returns the share of all improvement that the last quarter of the rounds brought; None where it is no news.

    The loss after three quarters and at the end is the median over the eighth of the rounds before, so that a single
    round decides nothing. It is news where the share is over 5 % and the difference over 2 standard errors by the
    scatter from round to round. A loss that falls as exp(-k * round) is judged so while 4 % of it are left to gain.

    Args:
        rounds: [n] numbers, from 0.
        losses: [n] losses, lower is better; None (or not a number) where one is not defined.
    """
    at = np.asarray(rounds, dtype=np.float64)
    curve = np.array([math.nan if loss is None else loss for loss in losses], dtype=np.float64)
    if len(at) < FEWEST + 1 or not np.isfinite(curve).all():
        return None
    end = at[-1]
    before = curve[(at > end * 5 / 8) & (at <= end * 6 / 8)]
    last = curve[at > end * 7 / 8]
    if not len(before) or not len(last):
        return None
    fall = float(np.median(before) - np.median(last))
    whole = float(curve[0] - np.median(last))
    error = _MEDIAN * _scatter(curve[at > end / 2]) * math.sqrt(1 / len(before) + 1 / len(last))
    if whole <= 0 or fall <= max(STILL * whole, _BEYOND * error):
        return None
    return min(1.0, fall / whole)  # what was lost before and won back is no more than all


def _scatter(curve: np.ndarray) -> float:
    """Returns the SD of a curve about its trend, by the differences from round to round (von Neumann 1941), robust."""
    steps = np.diff(curve)
    return _MAD * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2)
