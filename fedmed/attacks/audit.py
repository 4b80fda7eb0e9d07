"""Can one run refute a promise of differential privacy? Canaries are in by coin toss, and guessed afterwards."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.stats import binom

Array: TypeAlias = np.ndarray

Step = Callable[[Array, int], Array]
"""(inside [m] bool, seed) -> [m] float: what the step under audit lets out, higher for canaries that were in."""

GUESSED = (0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.8)
"""Shares of the canaries that are guessed, fixed beforehand; the best bound of all is reported. As many are guessed in
as out, though the coins never fall just so: of all canaries some guesses would be wrong even without noise."""
_MOST = 50.0  # epsilon beyond which nothing is looked for


@dataclasses.dataclass(frozen=True)
class Audit:
    """What one run says of a promise (epsilon, delta), where a patient is added or removed.

    Attributes:
        bound: epsilon is at least this, at the confidence; 0 where the guesses are no better than chance.
        claim: the epsilon that was promised.
        ceiling: the bound if all guesses were right. A claim above it cannot be refuted with so many canaries.
        canaries: how many there were.
        guesses: how many of them were guessed, where the bound is best.
        right: how many of these were guessed right.
        delta: of the promise.
        confidence: of the bound, over all of GUESSED together.
    """

    bound: float
    claim: float
    ceiling: float
    canaries: int
    guesses: int
    right: int
    delta: float
    confidence: float

    @property
    def refuted(self) -> bool:
        """Whether the bound exceeds the claim."""
        return self.bound > self.claim

    @property
    def finding(self) -> str:
        """The result in a sentence. That nothing was found is never proof that the promise holds."""
        seen = f"{self.right:,} of {self.guesses:,} guesses right, {self.canaries:,} canaries"
        known = f"epsilon is at least {self.bound:.2f} ({seen}, confidence {self.confidence:.0%})"
        if self.refuted:
            return f"The promise of epsilon {self.claim:.2f} is broken: {known}."
        limit = "" if self.claim < self.ceiling else ", so that this claim could not have been refuted"
        return (
            f"The promise of epsilon {self.claim:.2f} is not refuted: {known}; "
            f"this audit cannot show more than {self.ceiling:.2f}{limit}."
        )


def audit(
    step: Step, claim: float, delta: float, canaries: int, rng: np.random.Generator, confidence: float = 0.95
) -> Audit:
    """Runs a step once, with each canary in by a fair coin, and bounds its epsilon from below.

    Steinke, Nasr & Jagielski 2023 ("Privacy auditing with one (1) training run"), algorithm 1: the canaries of highest
    value are guessed in, as many of lowest value out. The values may come of any number of steps.

    Args:
        step: run once. A canary that is in must count as one patient, and leave a mark that others do not blur:
            `canaries.client_step` makes such a step of a client's own computation.
        claim: the epsilon promised, where one patient is added or removed.
        delta: of the promise.
        canaries: m, at least 40. With 200 no epsilon above 3.4 can be refuted, with 1,000 none above 5.0 (delta 1e-5).
        rng: of the coins and of the step's seed.
        confidence: of the bound.

    Raises:
        ValueError: the step returned values of another shape, or such as are not finite.
    """
    if canaries < 40:
        raise ValueError(f"canaries: expected at least 40, got {canaries}")
    inside = rng.random(canaries) < 0.5
    values = np.asarray(step(inside, int(rng.integers(2**31 - 1))), dtype=np.float64)
    if values.shape != (canaries,) or not np.isfinite(values).all():
        raise ValueError(f"step: expected {canaries} finite values, got shape {values.shape}")
    return judged(inside, values, claim, delta, confidence)


def judged(inside: Array, values: Array, claim: float, delta: float, confidence: float = 0.95) -> Audit:
    """Returns the audit of coins [m] bool and values [m]; at each of GUESSED a share of 1 - confidence is spent."""
    canaries, order = len(inside), np.argsort(values, kind="stable")
    each = _confidence_of_each(confidence)
    tried = []
    for guesses in guess_counts(canaries):
        half = guesses // 2
        right = int(inside[order[canaries - half :]].sum() + (~inside[order[:half]]).sum())
        tried.append((lower_bound(canaries, guesses, right, delta, each), guesses, right))
    bound, guesses, right = max(tried, key=lambda one: one[0])
    limit = ceiling(canaries, delta, confidence)
    return Audit(bound, claim, limit, canaries, guesses, right, delta, confidence)


def guess_counts(canaries: int) -> list[int]:
    """Returns the even numbers of canaries that GUESSED stands for."""
    return sorted({2 * max(1, int(share * canaries / 2)) for share in GUESSED})


def ceiling(canaries: int, delta: float, confidence: float = 0.95) -> float:
    """Returns the bound that an audit gives when every guess is right: it can show no more."""
    each = _confidence_of_each(confidence)
    return max(lower_bound(canaries, count, count, delta, each) for count in guess_counts(canaries))


def _confidence_of_each(confidence: float) -> float:
    return 1 - (1 - confidence) / len(GUESSED)


@functools.lru_cache(4096)
def lower_bound(canaries: int, guesses: int, right: int, delta: float, confidence: float) -> float:
    """Returns the largest epsilon under which so many right guesses would be too rare to believe; 0 if there is none.

    Args:
        canaries: m, each in by a fair coin.
        guesses: r, made of m; the other canaries are abstained from.
        right: v, of the r.
        delta: of the promise.
        confidence: of the bound, for one number of guesses fixed beforehand.
    """
    if not 0 <= right <= guesses <= canaries:
        raise ValueError(f"expected right <= guesses <= canaries, got {right}, {guesses}, {canaries}")
    low, high = 0.0, _MOST
    if p_value(canaries, guesses, right, low, delta) >= 1 - confidence:
        return 0.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        if p_value(canaries, guesses, right, middle, delta) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Bounds the chance of at least so many right guesses under (epsilon, delta) (Steinke et al. 2023, theorem 5.2).

    With W ~ Binomial(r, 1 / (1 + e^-epsilon)) it is P[W >= v] + 2 m delta max_i P[v - i <= W < v] / i, at most 1.
    """
    chance = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, chance))
    if delta == 0 or right == 0:
        return min(1.0, tail)
    below = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), guesses, chance))
    worst = float((below / np.arange(1, right + 1)).max())
    return min(1.0, tail + 2 * canaries * delta * worst)
