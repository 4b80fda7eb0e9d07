"""Releases of noisy sums, and what dp-accounting says of them; its only importer.

It takes over a second to import, so functions do, when they are called.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from fedmed.system import errors

if TYPE_CHECKING:
    from dp_accounting import DpEvent

GRID = 1e-4
"""Spacing of privacy losses, to which PLD rounds them up, in an epsilon that is told."""
LEAST_NOISE, MOST_NOISE = 1e-3, 1e4
"""Less noise is counted as none (its epsilon would be 10^5), more as this much: beyond, RDP is lost in rounding."""
LARGE = 30.0
"""An epsilon beyond this promises nothing. PLD would take minutes and gigabytes for it, RDP does not."""

_FEW_ORDERS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


@dataclasses.dataclass(frozen=True)
class Releases:
    """Noisy sums over units of which each is in each sum by a draw of its own (Poisson sampling).

    Attributes:
        rate: probability of a unit to be in a sum, in (0, 1]; 1 is no sampling.
        noise: SD of the Gaussian noise divided by the clip, the most that a unit moves the sum; 0 promises nothing.
        steps: how many such sums are released.

    Raises:
        UserError: a number is out of range.
    """

    rate: float
    noise: float
    steps: int

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise errors.UserError(f"privacy: expected a sampling rate > 0 and <= 1, got {self.rate!r}")
        if not 0 <= self.noise < math.inf:
            raise errors.UserError(f"privacy: expected a noise multiplier >= 0, got {self.noise!r}")
        if self.steps < 0:
            raise errors.UserError(f"privacy: expected a number of steps >= 0, got {self.steps!r}")


Gathered: TypeAlias = tuple[Releases, ...]
"""Releases told in one way, whatever the order they were given in; see `gathered`."""


def gathered(releases: Sequence[Releases]) -> Gathered:
    """Returns the same releases with alike ones together, sorted, without those of no step, noise within its limits."""
    steps: dict[tuple[float, float], int] = {}
    for one in releases:
        noise = 0.0 if one.noise < LEAST_NOISE else min(one.noise, MOST_NOISE)
        key = (float(one.rate), float(noise))
        steps[key] = steps.get(key, 0) + int(one.steps)
    return tuple(Releases(*key, count) for key, count in sorted(steps.items()) if count)


@functools.lru_cache(maxsize=4096)
def by_pld(releases: Gathered, delta: float, grid: float) -> float:
    """Returns epsilon by privacy loss distributions, losses rounded up to a grid of this spacing; RDP's beyond LARGE.

    Neighbours are data sets of which one has a unit more (add-or-remove-one).
    """
    if not releases or _without_noise(releases):
        return math.inf if releases else 0.0
    from dp_accounting import pld

    if (_rdp(releases, delta, _FEW_ORDERS) or 0.0) > LARGE and (loose := by_rdp(releases, delta)) > LARGE:
        return loose
    accountant = pld.PLDAccountant(value_discretization_interval=grid)
    return float(accountant.compose(_event(releases)).get_epsilon(delta))


@functools.lru_cache(maxsize=4096)
def by_rdp(releases: Gathered, delta: float) -> float:
    """Returns epsilon by Rényi divergences, add-or-remove-one; PLD's where rounding spoils divergences of nearly 0."""
    if not releases or _without_noise(releases):
        return math.inf if releases else 0.0
    by_divergence = _rdp(releases, delta, None)
    return by_pld(releases, delta, GRID) if by_divergence is None else by_divergence


def of_fixed_cohort(cohort: int, clients: int, noise: float, steps: int, delta: float) -> float:
    """Returns epsilon by Rényi divergences for cohorts drawn without replacement, replace-one; noise >= LEAST_NOISE.

    The noise is relative to what replacing a unit moves the sum by.
    """
    import dp_accounting
    from dp_accounting import rdp

    gaussian = dp_accounting.GaussianDpEvent(noise)
    round_ = dp_accounting.SampledWithoutReplacementDpEvent(clients, cohort, gaussian)
    accountant = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    return float(accountant.compose(round_, steps).get_epsilon(delta))


def _without_noise(releases: Gathered) -> bool:
    return any(one.noise == 0 for one in releases)


def _rdp(releases: Gathered, delta: float, orders: Sequence[float] | None) -> float | None:
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant(orders)
    try:
        return float(accountant.compose(_event(releases)).get_epsilon(delta))
    except ValueError:  # a divergence of nearly 0 was rounded to below 0, as of noise 8,000 at a rate of 1e-5
        return None


def _event(releases: Gathered) -> "DpEvent":
    import dp_accounting

    def one(release: Releases) -> "DpEvent":
        gaussian = dp_accounting.GaussianDpEvent(release.noise)
        sampled = gaussian if release.rate == 1 else dp_accounting.PoissonSampledDpEvent(release.rate, gaussian)
        return dp_accounting.SelfComposedDpEvent(sampled, release.steps)

    return dp_accounting.ComposedDpEvent([one(release) for release in releases])
