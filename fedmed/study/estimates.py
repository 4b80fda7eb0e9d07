"""Numbers for study.json: an arm's measures and what two arms differ by, with intervals or the reason for none."""

import dataclasses
import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from fedmed.data.examples import Array, Task
from fedmed.statistics import ArmTest, Interval, PairedTest, informative_patients, metric_interval, p_value, undefined
from fedmed.statistics import paired_difference as metric_difference
from fedmed.statistics.comparison import standard_error
from fedmed.statistics.intervals import student, wilson
from fedmed.statistics.resampling import bootstrap
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes, Unit
from fedmed.study.schema import Difference, Estimate, SeededEstimate
from fedmed.study.suppression import MINIMUM_CELL, WITHHELD, tests_betray
from fedmed.system import seeds

_DRAWS_OF_OTHERS = 400  # a standard error to about 4 %; verdicts are by the primary metric alone
_DRAWS_OF_FITS = 300  # calibration is fitted anew in each


ALIKE = "no interval: the two models do exactly alike on these test patients, in every draw of them"
"""Method of a difference that no draw of the patients changes."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """How intervals are made and when there are none."""

    seed: int
    level: float
    draws: int
    minimum_events: int

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
    why = withheld(outcomes, tests, measure, rules)
    found = None if why else _interval(outcomes, tests, measure, rules, rules.rng(arm, unit, measure.name))
    by_seed = tuple(_value(outcomes, outcomes.test(arm, seed, unit), measure) for seed in outcomes.seeds)
    few = bool(why) or informative_patients(outcomes.task, tests) < MINIMUM_CELL
    return SeededEstimate(**vars(estimate(found, why)), by_seed=(None,) * len(by_seed) if few else by_seed)


def mean_performance(outcomes: Outcomes, arm: str, measure: Measure, rules: Rules) -> Estimate:
    """Returns an arm's Estimate of a measure's plain mean over hospitals, where every hospital has a figure."""
    without = [name for name in outcomes.hospitals if withheld(outcomes, outcomes.tests(arm, name), measure, rules)]
    if without:
        return estimate(None, f"no figure at {', '.join(without)}")
    whole = [s for s in outcomes.seeds if all(len(outcomes.rows(s, name)) for name in outcomes.hospitals)]
    tests = [outcomes.test(arm, seed, None) for seed in whole]
    scores = [_mean_over(outcomes, seed, test, measure) for seed, test in zip(whole, tests, strict=True)]
    rng = rules.rng(arm, "mean", measure.name)
    spread = bootstrap(scores, [test.patient for test in tests], draws=rules.draws, rng=rng)
    found = standard_error(spread, informative_patients(outcomes.task, tests))
    if found is None:
        return estimate(None)
    return estimate(student(spread.estimate, *found, rules.level, "bootstrap of patients and seeds"))


def _mean_over(outcomes: Outcomes, seed: int, test: ArmTest, measure: Measure) -> Callable[[Array], Array]:
    ends = np.cumsum([len(outcomes.rows(seed, name)) for name in outcomes.hospitals])
    parts = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return lambda w: np.mean([measure.score(test.y[part], test.p[part], w[..., part]) for part in parts], axis=0)


def difference(outcomes: Outcomes, of: str, against: str, unit: Unit, measure: Measure, rules: Rules) -> Difference:
    """Returns the Estimate of `of` minus `against` at a unit, with its value at each seed and the p-value."""
    pairs = outcomes.pairs(of, against, unit)
    why = withheld(outcomes, pairs, measure, rules)
    rng = rules.rng(of, against, unit, measure.name)
    found = None if why else paired_interval(outcomes, pairs, measure, rules, rng)
    return told_difference(outcomes, of, against, unit, measure, found, why)


def told_difference(
    outcomes: Outcomes, of: str, against: str, unit: Unit, measure: Measure, found: Interval | None, why: str
) -> Difference:
    """Returns the Estimate of a difference whose interval is at hand."""
    by_seed: list[float | None] = [None] * len(outcomes.seeds)
    if found is not None and informative_patients(outcomes.task, outcomes.tests(of, unit)) >= MINIMUM_CELL:
        for place, seed in enumerate(outcomes.seeds):
            a = _value(outcomes, outcomes.test(against, seed, unit), measure)
            b = _value(outcomes, outcomes.test(of, seed, unit), measure)
            by_seed[place] = None if a is None or b is None else b - a
    p = None if found is None or found.error is None else p_value(found)
    return Difference(**vars(estimate_difference(found, why)), p_value=number(p), by_seed=tuple(by_seed))


def withheld(
    outcomes: Outcomes, tests: Sequence[ArmTest] | Sequence[PairedTest], measure: Measure, rules: Rules
) -> str:
    """Returns why there is no figure, or ""."""
    if not tests:
        return "there are no test rows"
    if _patients(tests) < rules.minimum_events:
        return f"fewer than {rules.minimum_events} patients were tested"
    if measure.ranks and informative_patients(outcomes.task, tests) < rules.minimum_events:
        return f"too few events: fewer than {rules.minimum_events} tested patients with, or without, the event"
    if not measure.ranks and tests_betray(outcomes, tests):
        return WITHHELD  # where a model calls nobody, the accuracy is the share without the event
    return ""


def _patients(tests: Sequence[ArmTest] | Sequence[PairedTest]) -> int:
    return len(np.unique(np.concatenate([test.patient for test in tests])))


def _informative(task: Task, tests: Sequence[ArmTest] | Sequence[PairedTest]) -> int:
    """Returns the patients that carry the information: all of them where their outcome is the same."""
    found = informative_patients(task, tests)
    return found if found > 1 else _patients(tests)


def paired_interval(
    outcomes: Outcomes, pairs: Sequence[PairedTest], measure: Measure, rules: Rules, rng: np.random.Generator
) -> Interval | None:
    """Returns the interval of the mean difference over seeds (see `statistics.paired_difference`)."""
    if measure.metric and informative_patients(outcomes.task, pairs) > 1:
        return metric_difference(outcomes.task, measure.name, pairs, rng=rng, level=rules.level, draws=rules.draws)
    scores = [
        lambda w, t=t: measure.score(t.y, t.b, w) - measure.score(t.y, t.a, w)
        for t in pairs
    ]  # fmt: skip
    spread = bootstrap(scores, [t.patient for t in pairs], draws=rules.draws, rng=rng)
    found = standard_error(spread, _informative(outcomes.task, pairs))
    return None if found is None else student(spread.estimate, *found, rules.level, "bootstrap of patients and seeds")


def _interval(
    outcomes: Outcomes, tests: Sequence[ArmTest], measure: Measure, rules: Rules, rng: np.random.Generator
) -> Interval | None:
    if measure.scale == "none":
        mean = float(np.mean([measure.score(t.y, t.p, None) for t in tests]))
        return Interval(mean, np.nan, np.nan, rules.level, "no interval: in few rows it is biased upwards")
    if measure.metric and informative_patients(outcomes.task, tests) > 1:
        return metric_interval(outcomes.task, measure.name, tests, rng=rng, level=rules.level, draws=rules.draws)
    draws = min(rules.draws, _DRAWS_OF_FITS) if measure.better == "target" else rules.draws
    scores = [lambda w, t=t: measure.score(t.y, t.p, w) for t in tests]
    spread = bootstrap(scores, [t.patient for t in tests], draws=draws, rng=rng)
    informative = _informative(outcomes.task, tests)
    found = standard_error(spread, informative)
    if found is None:
        return None
    plain = student(spread.estimate, *found, rules.level, "bootstrap of patients and seeds")
    return _on_logit(plain, informative) if measure.scale == "logit" or measure.name == "accuracy" else plain


def _on_logit(plain: Interval, informative: int) -> Interval:
    """Returns the interval made on the logit scale, so that it stays within 0 and 1."""
    x, error = plain.estimate, plain.error or 0.0
    if error == 0 or not 0 < x < 1:
        return dataclasses.replace(wilson(round(x * informative), informative, plain.level), estimate=x)
    inner = student(math.log(x / (1 - x)), error / (x * (1 - x)), plain.df, plain.level, "")
    low, high = (1 / (1 + math.exp(-z)) for z in (inner.low, inner.high))
    return Interval(x, low, high, plain.level, f"{plain.method}, logit scale", error, plain.df)


def _value(outcomes: Outcomes, test: ArmTest, measure: Measure) -> float | None:
    """Returns a measure at one seed, None where it is not defined or would tell of few patients."""
    if len(test.y) < MINIMUM_CELL:
        return None
    ranking = "auroc" if outcomes.task in ("binary", "multiclass") else measure.name
    if undefined(outcomes.task, test.y, test.p).get(ranking if measure.ranks else measure.name):
        return None
    return number(float(measure.score(test.y, test.p, None)))
