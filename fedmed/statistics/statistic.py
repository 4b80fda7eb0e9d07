"""A statistic of one model's test, and how it varies over seeds and patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fedmed.statistics.influence import BY_BOOTSTRAP, Influence, of_metric
from fedmed.statistics.metrics import score
from fedmed.statistics.resampling import Spread, bootstrap, spread_of
from fedmed.statistics.tested import ArmTest, PairedTest

if TYPE_CHECKING:
    from fedmed.data.examples import Task

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class Statistic:
    """Something that rows of one test score, and how it varies with them.

    Attributes:
        score: (y [n], p, weights [..., n] or None) to [...] values, NaN where not defined.
        influence: (y, p, site) to the value and each row's influence; None for what has no closed form, whose
            variance is found by drawing patients.
        ranks: whether it compares rows with each other, and so must not compare those of different hospitals.
    """

    score: Callable[[Array, Array, Array | None], Array]
    influence: Callable[[Array, Array, Array | None], Influence] | None = None
    ranks: bool = False

    def value(self, test: ArmTest) -> float:
        """Returns the statistic; NaN where it is not defined."""
        if self.influence is not None:
            return self.influence(test.y, test.p, test.site).value
        return float(self.under(test, np.ones(len(test.y))))

    def under(self, test: ArmTest, weights: Array) -> Array:
        """Returns the statistic under weights [..., n]: of what ranks, the mean over hospitals, weighed by events."""
        if test.site is None or not self.ranks:
            return self.score(test.y, test.p, weights)
        total, counted = np.zeros(weights.shape[:-1]), np.zeros(weights.shape[:-1])
        for site in np.unique(test.site):
            here = test.site == site
            own = self.score(test.y[here], test.p[here], weights[..., here])
            share = (weights[..., here] * (test.y[here] == 1)).sum(axis=-1)
            known = np.isfinite(own) & (share > 0)
            total, counted = total + np.where(known, own * share, 0.0), counted + np.where(known, share, 0.0)
        return np.divide(total, counted, out=np.full(np.shape(total), np.nan), where=counted > 0)


def statistic(task: Task, name: str) -> Statistic:
    """Returns a metric of the task as a Statistic."""
    closed = None if name in BY_BOOTSTRAP else partial(of_metric, task, name)
    return Statistic(partial(score, task, name), closed, ranks=name in ("auroc", "auprc"))


def difference_spread(of: Statistic, pairs: Sequence[PairedTest], *, rng: np.random.Generator, draws: int) -> Spread:
    """Returns how b's statistic less a's varies, over seeds and patients."""
    patients = [pair.patient for pair in pairs]
    if of.influence is not None:
        return spread_of([_influence(of, pair.arms[1]).minus(_influence(of, pair.arms[0])) for pair in pairs], patients)
    both = [pair.arms for pair in pairs]
    return bootstrap(
        [lambda w, t=t: of.under(t[1], w) - of.under(t[0], w) for t in both], patients, draws=draws, rng=rng
    )


def arm_spread(of: Statistic, tests: Sequence[ArmTest], *, rng: np.random.Generator, draws: int) -> Spread:
    """Returns how a statistic of one model varies, over seeds and patients."""
    patients = [test.patient for test in tests]
    if of.influence is not None:
        return spread_of([_influence(of, test) for test in tests], patients)
    return bootstrap([partial(of.under, test) for test in tests], patients, draws=draws, rng=rng)


def _influence(of: Statistic, test: ArmTest) -> Influence:
    assert of.influence is not None
    return of.influence(test.y, test.p, test.site)
