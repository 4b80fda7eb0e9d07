"""Means over hospitals and paired differences of arms, with the words that Holm's procedure allows a family of them."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from fedmed.statistics import (
    ArmTest,
    Interval,
    PairedTest,
    arm_spread,
    difference_spread,
    holm,
    informative_patients,
    mean_interval,
    p_value,
)
from fedmed.statistics.loss_curves import has_diverged
from fedmed.statistics.resampling import Spread
from fedmed.statistics.worst_served import worst_served
from fedmed.study import estimates, parallel
from fedmed.study.estimates import Rules
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema.contested import Contrast, Judged, Word, Worst
from fedmed.study.schema.shapes import Estimate, SeededEstimate, TestedDifference

Key = TypeVar("Key", bound=Hashable)


def with_figures(outcomes: Outcomes, arm: str, metric: Measure, rules: Rules) -> tuple[str, ...]:
    """Returns the hospitals at which an arm has a figure of a metric."""
    tests = {name: outcomes.tests(arm, name) for name in outcomes.hospitals}
    return tuple(name for name, own in tests.items() if not estimates.withheld(outcomes, own, rules, metric))


def diverged(outcomes: Outcomes, arm: str) -> tuple[int, ...]:
    """Returns the seeds at which an arm's predictions are not all numbers."""
    return tuple(s for s in outcomes.seeds if not np.isfinite(outcomes.predictions(arm, s, None)).all())


def lost(outcomes: Outcomes, arm: str) -> tuple[int, ...]:
    """Returns the seeds at which an arm's training diverged, by its predictions or by its losses."""
    by_losses = {
        seed
        for (name, seed, _), result in outcomes.results.items()
        if name == arm and has_diverged(result.losses.tolist())
    }
    return tuple(seed for seed in outcomes.seeds if seed in {*by_losses, *diverged(outcomes, arm)})


class Judge:
    """Figures of arms, and differences with the words that their tests allow.

    Args:
        outcomes: the arms'.
        metric: the primary one.
        rules: of the intervals.
        over: the hospitals that means are over: those with a figure.
        arms: whose figures are wanted; default all.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        metric: Measure,
        rules: Rules,
        over: tuple[str, ...],
        arms: Sequence[str] | None = None,
    ) -> None:
        self._outcomes, self._metric, self._rules, self._over = outcomes, metric, rules, over
        chosen = [arm.name for arm in outcomes.arms] if arms is None else arms
        wanted = [(arm, name) for arm in chosen for name in outcomes.hospitals]
        made = parallel.each(lambda one: estimates.performance(outcomes, *one, metric, rules), wanted)
        self._figures = dict(zip(wanted, made, strict=True))

    def figures(self, arm: str) -> dict[str, SeededEstimate]:
        """Returns an arm's figure at each hospital."""
        return {name: self._figures[arm, name] for name in self._outcomes.hospitals}

    def mean(self, arm: str) -> Estimate:
        """Returns an arm's mean over the hospitals with a figure."""
        return estimates.estimate(self._mean(arm, None), _NOWHERE)

    def contrasts(self, pairs: Sequence[tuple[str, str]]) -> tuple[Contrast, ...]:
        """Returns differences with their words; the means are one family of tests, the hospitals' another."""
        outcomes, metric, rules = self._outcomes, self._metric, self._rules
        wanted = [(*pair, name) for pair in pairs for name in outcomes.hospitals]
        made = parallel.each(lambda one: estimates.difference(outcomes, *one, metric, rules), wanted)
        at = judged(dict(zip(wanted, made, strict=True)), metric, rules.level)
        means = self.means(pairs)
        return tuple(
            Contrast(*pair, means[pair], {name: at[*pair, name] for name in outcomes.hospitals}) for pair in pairs
        )

    def means(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Judged]:
        """Returns the differences of means over hospitals of pairs of arms, one family of tests."""
        found = parallel.each(lambda pair: _tested(self._mean(*pair)), pairs)
        return judged(dict(zip(pairs, found, strict=True)), self._metric, self._rules.level)

    def _mean(self, of: str, against: str | None) -> Interval | None:
        """Returns the mean over hospitals of an arm's metric, or of its difference, at seeds where all have one."""
        sides = [of, *([] if against is None else [against])]
        by_seed = {
            seed: [self._outcomes.test(arm, seed, name) for name in self._over for arm in sides]
            for seed in self._outcomes.seeds
        }
        whole = [s for s, tests in by_seed.items() if all(self._is_told(test) for test in tests)]
        if not whole or not self._over:
            return None
        spreads, informative = [], []
        for name in self._over:
            tests = [self._outcomes.test(of, seed, name) for seed in whole]
            others = None if against is None else [self._outcomes.test(against, seed, name) for seed in whole]
            spreads.append(self._spread(tests, others, self._rules.rng(of, against, "mean", name)))
            informative.append(informative_patients(self._outcomes.task, tests, self._metric.name))
        scale = self._metric.scale if against is None else None
        return mean_interval(spreads, informative, self._rules.level, scale)

    def _is_told(self, test: ArmTest) -> bool:
        return bool(len(test.y)) and math.isfinite(self._metric.of.value(test))

    def _spread(self, tests: Sequence[ArmTest], others: Sequence[ArmTest] | None, rng: np.random.Generator) -> Spread:
        if others is None:
            return arm_spread(self._metric.of, tests, rng=rng, draws=self._rules.draws)
        pairs = [PairedTest(b.y, a.p, b.p, b.patient) for a, b in zip(others, tests, strict=True)]
        return difference_spread(self._metric.of, pairs, rng=rng, draws=self._rules.draws)


_NOWHERE = "no hospital has a figure"


def _tested(interval: Interval | None) -> TestedDifference:
    told = estimates.estimate_difference(interval, _NOWHERE)
    p = None if interval is None or interval.error is None else estimates.number(p_value(interval))
    return TestedDifference(**vars(told), p_value=p)


def judged(found: Mapping[Key, TestedDifference], metric: Measure, level: float) -> dict[Key, Judged]:
    """Returns a family of differences with p-values by Holm's procedure (1979) and the words that these allow.

    Args:
        found: the family; one that is not tested is no part of it.
        metric: of the differences, positive where the value of the compared arm is larger.
        level: 1 - level is the chance of any wrong word in the family, at most.
    """
    tested = [key for key, own in found.items() if own.p_value is not None]
    adjusted = dict(zip(tested, holm([float(found[key].p_value or 0.0) for key in tested]), strict=True))
    return {key: _judged(own, adjusted.get(key), metric, 1 - level) for key, own in found.items()}


def _judged(own: TestedDifference, adjusted: float | None, metric: Measure, alpha: float) -> Judged:
    word: Word = "undecided"
    if own.estimate is None:
        word = "no figure"
    elif adjusted is not None and adjusted <= alpha and own.estimate != 0:
        word = "better" if (own.estimate > 0) == (metric.better == "higher") else "worse"
    base = {name: getattr(own, name) for name in ("estimate", "low", "high", "method", "reason", "p_value")}
    return Judged(**base, p_adjusted=adjusted, word=word)


def worst(figures: Mapping[str, SeededEstimate], metric: Measure) -> Worst | None:
    """Returns whom figures serve worst; None where no hospital has one."""
    better = "lower" if metric.better == "lower" else "higher"
    found = worst_served({name: own.estimate for name, own in figures.items()}, better)
    return None if found is None else Worst(found.worst, found.value, found.worst_decile)
