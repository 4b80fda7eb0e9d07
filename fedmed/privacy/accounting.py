"""What releases of noisy sums reveal of one unit (a patient, or a hospital): epsilon at a delta, by dp-accounting.

Neighbours are data sets of which one has a unit more (add-or-remove-one), unless it says otherwise. Every epsilon is an
upper bound. Some answers take seconds; they are kept, see `cache`.
"""

import dataclasses
import functools
import importlib.metadata
import math
from collections.abc import Callable, Sequence

from fedmed.privacy import cache, losses, roots
from fedmed.privacy.losses import GRID, LARGE, LEAST_NOISE, MOST_NOISE, Gathered, Releases, gathered
from fedmed.system import errors

__all__ = [
    "LARGE",
    "Releases",
    "default_delta",
    "epsilon",
    "epsilon_at_most",
    "epsilon_fixed_cohort",
    "epsilon_rdp",
    "max_steps",
    "noise_for",
]

MOST_STEPS = 1_000_000

_COARSE_GRID = 1e-3  # for searching only: it overstates, by 0.4 % in 14,000 steps
_METHOD = 1  # raised when answers come to be found otherwise, so that kept ones are not taken for them
_ENOUGH = 0.995


def default_delta(units: int) -> float:
    """Returns units ** -1.1, less than one in a unit; for a single one, whom 1 would promise nothing, that of two."""
    return float(max(units, 2)) ** -1.1


def epsilon(releases: Sequence[Releases], delta: float) -> float:
    """Returns what all the releases together reveal, by privacy loss distributions (PLD; Koskela et al. 2020).

    Nothing released is 0, anything without noise inf. Where RDP says more than LARGE, its answer is taken.

    Raises:
        UserError: delta is not in (0, 1).
    """
    _check(delta)
    return _epsilon(gathered(releases), delta)


def epsilon_at_most(releases: Sequence[Releases], delta: float) -> float:
    """Returns an epsilon on a coarser grid: found ten times as fast, and above `epsilon` by less than 1 %.

    Raises:
        UserError: delta is not in (0, 1).
    """
    _check(delta)
    known = gathered(releases)
    return _kept("epsilon_at_most", (_told(known), delta), lambda: losses.by_pld(known, delta, _COARSE_GRID))


def epsilon_rdp(releases: Sequence[Releases], delta: float) -> float:
    """Returns what all the releases together reveal, by Rényi divergences (RDP; Mironov 2017): quick, and looser.

    Raises:
        UserError: delta is not in (0, 1).
    """
    _check(delta)
    known = gathered(releases)
    return _kept("epsilon_rdp", (_told(known), delta), lambda: losses.by_rdp(known, delta))


def epsilon_fixed_cohort(cohort: int, clients: int, noise: float, steps: int, delta: float) -> float:
    """Returns what rounds of exactly `cohort` of `clients` units, drawn without replacement, reveal; by RDP.

    Neighbours are data sets in which one unit is *replaced* by another (Wang, Balle and Kasiviswanathan 2019, theorem
    27), so how many there are is public. Replacing one moves a sum by up to 2 clips, hence the noise counts half. That
    is dear: 50 of 1,000 in 100 rounds of noise 1 reveal 30.3, where Poisson sampling at 1 in 20 reveals 2.4.

    Args:
        cohort: units in each round.
        clients: units there are.
        noise: SD of the Gaussian noise divided by the clip (not by 2 clips).
        steps: rounds.
        delta: in (0, 1).

    Raises:
        UserError: a number is out of range.
    """
    _check(delta)
    if not 1 <= cohort <= clients:
        raise errors.UserError(f"privacy: expected a cohort of 1 to {clients} clients, got {cohort!r}")
    known = gathered([Releases(cohort / clients, noise / 2, steps)])
    if not known or known[0].noise == 0:
        return math.inf if known else 0.0
    question = (cohort, clients, known[0].noise, steps, delta)
    return _kept("epsilon_fixed_cohort", question, lambda: losses.of_fixed_cohort(*question))


def noise_for(rate: float, steps: int, target_epsilon: float, delta: float, also: Sequence[Releases] = ()) -> float:
    """Returns the least noise multiplier (within 1 %) whose `epsilon` does not exceed the target; it never does.

    A delta so large that it covers a unit's being sampled at all has epsilon 0 at any noise; then it is some small one.

    Args:
        rate: sampling rate, in (0, 1].
        steps: releases; 0 need no noise.
        target_epsilon: > 0.
        delta: in (0, 1).
        also: what else is released of the same units.

    Raises:
        UserError: no noise is enough, `also` reveals more than the target by itself, or a number is out of range.
    """
    others = gathered(also)
    _check_budget(others, target_epsilon, delta)
    if not gathered([Releases(rate, 0.0, steps)]):
        return 0.0
    question = (rate, steps, target_epsilon, delta, _told(others))
    return _kept("noise_for", question, lambda: _noise_for(rate, steps, target_epsilon, delta, others))


def max_steps(rate: float, noise: float, target_epsilon: float, delta: float, also: Sequence[Releases] = ()) -> int:
    """Returns how many releases fit a budget, at most MOST_STEPS; see `noise_for`, also for what it raises."""
    others = gathered(also)
    _check_budget(others, target_epsilon, delta)
    if gathered([Releases(rate, noise, 1)])[0].noise == 0:
        return 0

    def fits(grid: float, steps: int) -> bool:
        return losses.by_pld(gathered([*others, Releases(rate, noise, steps)]), delta, grid) <= target_epsilon

    def answer() -> int:
        about = roots.largest(functools.partial(fits, _COARSE_GRID), 1, MOST_STEPS)
        return roots.largest(functools.partial(fits, GRID), about, MOST_STEPS)

    return int(_kept("max_steps", (rate, noise, target_epsilon, delta, _told(others)), answer))


def _noise_for(rate: float, steps: int, target: float, delta: float, others: Gathered) -> float:
    """RDP says whereabouts the noise is, PLD on a coarse grid where, PLD on the grid of `epsilon` has the last word."""

    def released(noise: float) -> Gathered:
        return gathered([*others, Releases(rate, noise, steps)])

    def by_rdp(noise: float) -> float:
        return losses.by_rdp(released(noise), delta)

    def coarse(noise: float) -> float:
        return losses.by_pld(released(noise), delta, _COARSE_GRID)

    def fine(noise: float) -> float:
        return losses.by_pld(released(noise), delta, GRID)

    if fine(MOST_NOISE) > target:
        raise errors.UserError(
            f"privacy: epsilon {target:g} at delta {delta:.3g} cannot be met in {steps:,} steps of sampling rate "
            f"{rate:.3g}, even with noise {MOST_NOISE:g}; take fewer steps, or allow a larger epsilon"
        )
    limits = (LEAST_NOISE, MOST_NOISE)
    roughly = roots.least(by_rdp, target, *limits, limits)
    noise = roots.least(coarse, target, 0.75 * roughly, 1.02 * roughly, limits)
    if 0 < fine(noise) < _ENOUGH * target:  # the coarse grid overstates what many steps reveal
        noise = roots.least(fine, target, 0.95 * noise, noise, limits)
    while fine(noise) > target:
        noise = min(noise * (1 + roots.TOLERANCE), MOST_NOISE)
    return noise


def _check(delta: float) -> None:
    if not 0 < delta < 1:
        raise errors.UserError(f"privacy: expected a delta > 0 and < 1, got {delta!r}")


def _check_budget(others: Gathered, target: float, delta: float) -> None:
    _check(delta)
    if not 0 < target < math.inf:
        raise errors.UserError(f"privacy: expected an epsilon > 0, got {target!r}")
    if (spent := _epsilon(others, delta)) > target:
        raise errors.UserError(
            f"privacy: epsilon {target:g} at delta {delta:.3g} is exceeded before a step is taken: what else is "
            f"released reveals {spent:.4g}; give that more noise, or allow a larger epsilon"
        )


@functools.lru_cache(maxsize=4096)
def _epsilon(known: Gathered, delta: float) -> float:
    return _kept("epsilon", (_told(known), delta), lambda: losses.by_pld(known, delta, GRID))


def _kept(name: str, inputs: Sequence[object], answer: Callable[[], float]) -> float:
    return cache.remembered([_METHOD, importlib.metadata.version("dp-accounting"), name, *inputs], answer)


def _told(known: Gathered) -> tuple[tuple[float, ...], ...]:
    return tuple(dataclasses.astuple(one) for one in known)
