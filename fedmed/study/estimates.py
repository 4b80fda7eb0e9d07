"""Numbers for study.json: an arm's measures and what two arms differ by, with intervals or the reason for none."""

import dataclasses
import math
import zlib
from collections.abc import Sequence

import numpy as np

from fedmed.data.examples import Task
from fedmed.statistics import (
    ArmTest,
    Interval,
    PairedTest,
    arm_spread,
    difference_interval,
    difference_spread,
    informative_patients,
    mean_interval,
    p_value,
    scaled_interval,
    undefined,
)
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes, Unit
from fedmed.study.schema import Difference, Estimate, SeededEstimate
from fedmed.study.suppression import MINIMUM_CELL, WITHHELD
from fedmed.system import seeds

_DRAWS_OF_OTHERS = 200  # a standard error to about 5 %, of the few figures without a closed form


TOO_FEW = "too few events: "
"""What the reason for no figure begins with where that is the reason."""

ALIKE = "no interval: the two models do exactly alike on these test patients, in every draw of them"
"""Method of a difference that no draw of the patients changes."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """How intervals are made and when there are none."""

    seed: int
    level: float
    draws: int
    minimum_events: int
    margin: float | None = None

    def of(self, primary: bool) -> "Rules":
        """Returns the rules for the primary metric, or for any other, which does with fewer draws."""
        return self if primary else dataclasses.replace(self, draws=min(self.draws, _DRAWS_OF_OTHERS))

    def rng(self, *words: object) -> np.random.Generator:
        """Returns a generator for a figure, the same whatever else is computed."""
        return seeds.generator(self.seed, "study.bootstrap", zlib.crc32("|".join(map(str, words)).encode()))


def number(value: float | None) -> float | None:
    """Returns a plain float, None for what JSON cannot hold."""
    return None if value is None or not math.isfinite(value) else float(value)


def estimate(interval: Interval | None, reason: str = "") -> Estimate:
    """Returns a figure as study.json tells it, or the reason for none."""
    if interval is None or not math.isfinite(interval.estimate):
        return Estimate(None, None, None, "", reason or "it is not defined")
    return Estimate(float(interval.estimate), number(interval.low), number(interval.high), interval.method, "")


def estimate_difference(interval: Interval | None, reason: str = "") -> Estimate:
    """Returns an Estimate of a difference; one that is 0 in every draw has no interval: 0 to 0 would claim too much."""
    told = estimate(interval, reason)
    if told.estimate == told.low == told.high == 0:
        return dataclasses.replace(told, low=None, high=None, method=ALIKE)
    return told


def performance(outcomes: Outcomes, arm: str, unit: Unit, measure: Measure, rules: Rules) -> SeededEstimate:
    """Returns an arm's Estimate of a measure at a unit, with its value at each seed."""
    tests = outcomes.tests(arm, unit)
    why = withheld(outcomes, tests, rules, measure)
    found = None if why else _interval(outcomes, tests, measure, rules, rules.rng(arm, unit, measure.name))
    by_seed = tuple(_value(outcomes, outcomes.test(arm, seed, unit), measure) for seed in outcomes.seeds)
    if why or informative_patients(outcomes.task, tests, measure.name) < MINIMUM_CELL:
        by_seed = (None,) * len(by_seed)
    return SeededEstimate(**vars(estimate(found, why)), by_seed=by_seed)


def untold(outcomes: Outcomes) -> SeededEstimate:
    """Returns a figure that is withheld, since a small count would follow from it."""
    return SeededEstimate(**vars(estimate(None, WITHHELD)), by_seed=(None,) * len(outcomes.seeds))


def mean_performance(outcomes: Outcomes, arm: str, measure: Measure, rules: Rules) -> Estimate:
    """Returns an arm's Estimate of a measure's plain mean over hospitals, where every hospital has a figure."""
    without = [name for name in outcomes.hospitals if withheld(outcomes, outcomes.tests(arm, name), rules, measure)]
    if without:
        return estimate(None, f"no figure at {', '.join(without)}")
    whole = [s for s in outcomes.seeds if all(len(outcomes.rows(s, name)) for name in outcomes.hospitals)]
    spreads, informative = [], []
    for name in outcomes.hospitals:
        tests = [outcomes.test(arm, seed, name) for seed in whole]
        rng = rules.rng(arm, "mean", measure.name, name)
        spreads.append(arm_spread(measure.of, tests, rng=rng, draws=rules.draws))
        informative.append(informative_patients(outcomes.task, tests, measure.name))
    return estimate(mean_interval(spreads, informative, rules.level, measure.scale))


def difference(outcomes: Outcomes, of: str, against: str, unit: Unit, measure: Measure, rules: Rules) -> Difference:
    """Returns the Estimate of `of` minus `against` at a unit, with its value at each seed and the p-value."""
    pairs = outcomes.pairs(of, against, unit)
    why = withheld(outcomes, pairs, rules, measure)
    rng = rules.rng(of, against, unit, measure.name)
    found = None if why else paired_interval(outcomes, pairs, measure, rules, rng)
    return told_difference(outcomes, of, against, unit, measure, found, why)


def told_difference(
    outcomes: Outcomes, of: str, against: str, unit: Unit, measure: Measure, found: Interval | None, why: str
) -> Difference:
    """Returns the Estimate of a difference whose interval is at hand."""
    by_seed: list[float | None] = [None] * len(outcomes.seeds)
    informative = informative_patients(outcomes.task, outcomes.tests(of, unit), measure.name)
    if found is not None and informative >= MINIMUM_CELL:
        for place, seed in enumerate(outcomes.seeds):
            a = _value(outcomes, outcomes.test(against, seed, unit), measure)
            b = _value(outcomes, outcomes.test(of, seed, unit), measure)
            by_seed[place] = None if a is None or b is None else b - a
    p = None if found is None or found.error is None else p_value(found)
    told = estimate_difference(found, why)
    error = None if found is None or told.low is None else number(found.error)
    return Difference(**vars(told), p_value=number(p), by_seed=tuple(by_seed), error=error)


def withheld(
    outcomes: Outcomes, tests: Sequence[ArmTest] | Sequence[PairedTest], rules: Rules, measure: Measure
) -> str:
    """Returns why a hospital, or all together, has no figure of a measure, or ""."""
    if not tests:
        return "there are no test rows"
    if _patients(tests) < rules.minimum_events:
        return f"fewer than {rules.minimum_events} patients were tested"
    if informative_patients(outcomes.task, tests, measure.name) < rules.minimum_events:
        return f"{TOO_FEW}fewer than {rules.minimum_events} tested patients {of_whom(outcomes.task, measure.name)}"
    return ""


def of_whom(task: Task, metric: str | None = None) -> str:
    """Returns whose number is too small where there are too few events; "" for regression, where all count."""
    if task == "multiclass":
        return "of some class" if metric == "auroc" else "of the most common class, or of all others"
    return {"binary": "with, or without, the event", "count": "with a count above 0"}.get(task, "")


def _patients(tests: Sequence[ArmTest] | Sequence[PairedTest]) -> int:
    return len(np.unique(np.concatenate([test.patient for test in tests])))


def paired_interval(
    outcomes: Outcomes, pairs: Sequence[PairedTest], measure: Measure, rules: Rules, rng: np.random.Generator
) -> Interval | None:
    """Returns the interval of the mean difference over seeds (see `statistics.difference_interval`)."""
    spread = difference_spread(measure.of, pairs, rng=rng, draws=rules.draws)
    return difference_interval(spread, informative_patients(outcomes.task, pairs, measure.name), rules.level)


def _interval(
    outcomes: Outcomes, tests: Sequence[ArmTest], measure: Measure, rules: Rules, rng: np.random.Generator
) -> Interval | None:
    if measure.scale is None:
        mean = float(np.mean([measure.of.value(t) for t in tests]))
        return Interval(mean, np.nan, np.nan, rules.level, "no interval: in few rows it is biased upwards")
    spread = arm_spread(measure.of, tests, rng=rng, draws=rules.draws)
    return scaled_interval(spread, informative_patients(outcomes.task, tests, measure.name), rules.level, measure.scale)


def _value(outcomes: Outcomes, test: ArmTest, measure: Measure) -> float | None:
    """Returns a measure at one seed, None where it is not defined or would tell of few patients."""
    if len(test.y) < MINIMUM_CELL:
        return None
    ranking = "auroc" if outcomes.task in ("binary", "multiclass") else measure.name
    if undefined(outcomes.task, test.y, test.p).get(ranking):
        return None
    return number(measure.of.value(test))
