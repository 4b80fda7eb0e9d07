"""How good an arm is at a hospital, and how much better than another, with what patients and seeds leave open."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from fedmed.statistics.intervals import Interval, student, wilson
from fedmed.statistics.metrics import score
from fedmed.statistics.resampling import Spread, bootstrap

if TYPE_CHECKING:
    from fedmed.data.examples import Task

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class ArmTest:
    """One model's predictions for a hospital's test rows at one seed.

    Attributes:
        y: [n] labels.
        p: predictions as for `metrics.evaluate`.
        patient: [n] identifiers, the same at every seed; row numbers of the data set where each row is a patient.
    """

    y: Array
    p: Array
    patient: Array


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """Two models' predictions for the same test rows of a hospital at one seed.

    Attributes:
        y: [n] labels.
        a: predictions of the arm compared against.
        b: predictions of the arm of interest; a difference is b minus a.
        patient: [n] identifiers, the same at every seed; row numbers of the data set where each row is a patient.
    """

    y: Array
    a: Array
    b: Array
    patient: Array


def informative_patients(task: Task, tests: Sequence[ArmTest] | Sequence[PairedTest]) -> int:
    """Returns how many distinct patients carry the information, over all seeds.

    For a class or a count it is the smaller of two numbers: patients with a row of the most common label, and patients
    with a row of any other (so for a binary label, the rarer of events and non-events). For regression, all patients.
    """
    if not tests:
        return 0
    patient, y = np.concatenate([t.patient for t in tests]), np.concatenate([t.y for t in tests])
    if task == "regression" or not len(y):
        return len(np.unique(patient))
    labels, counts = np.unique(y, return_counts=True)
    common = y == labels[counts.argmax()]
    return min(len(np.unique(patient[common])), len(np.unique(patient[~common])))


def paired_difference(
    task: Task,
    name: str,
    seeds: Sequence[PairedTest],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 1000,
) -> Interval | None:
    """Returns the mean over seeds of (metric of b - metric of a) on a hospital's patients, with its interval.

    The estimand is the expected difference on new patients of this hospital between the models that the two arms
    train on as many patients, over training seeds. The tested patients are few and, with repeated splits, the same at
    several seeds; so they are drawn once for all seeds, with the models held fixed, and the variance of the mean is

        V m / (m - 1)  +  max(0, S^2 - W) / J

    with V the bootstrap variance over patients, m the informative patients, S^2 the variance between the J seeds and
    W the part of S^2 that the test patients explain by themselves. Quantiles are Student's with Satterthwaite's
    degrees of freedom, from m - 1 for the first term and J - 1 for S^2 / J. What training sets of one hospital have
    in common stays out of sight: no estimator sees it from splits of the same patients (Bengio & Grandvalet 2004).

    Chosen by simulation: logistic regressions trained locally against pooled, hospitals of 3000, 1200 and 500
    patients (5 % events in the last), 5 splits of 70 : 30, 800 federations, AUROC and Brier score. 95 % intervals
    held the models' true difference on 100,000 fresh patients 96.0 to 97.6 % of the time, its mean over training
    sets 97.9 to 99.1 %, and told an arm from itself at most 2.2 % of the time. In the same runs percentiles held it
    88 to 94 %, with up to 12 % false findings; `corrected_resampled_t` 96 to 99 %, but 36 to 51 % wider.

    Args:
        task: what kind of label.
        name: a metric of the task.
        seeds: a test for each seed; one seed alone gives no variance of training.
        rng: source of randomness of the bootstrap.
        level: of the interval.
        draws: bootstrap samples; 1000 give the standard error to about 2 %.

    Returns:
        The interval, or None where the metric is not defined at any seed or fewer than 2 patients are informative.
    """
    statistics = [partial(_difference, task, name, t) for t in seeds]
    spread = bootstrap(statistics, [t.patient for t in seeds], draws=draws, rng=rng)
    found = standard_error(spread, informative_patients(task, seeds))
    if found is None:
        return None
    return student(spread.estimate, *found, level, f"{_words(spread)}, Student's t")


def metric_interval(
    task: Task,
    name: str,
    seeds: Sequence[ArmTest],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 1000,
) -> Interval | None:
    """Returns one model's mean metric over seeds with its interval, by the same variance as `paired_difference`.

    The interval is made on the logit scale for metrics in (0, 1) and on the log scale for positive ones, then brought
    back, so it never leaves the metric's range. With 10 events this covers the AUROC at about 95 % where percentiles
    cover 85 to 92 % and BCa 88 to 93 % (400 samples each of binormal scores, AUROC 0.92 and 0.76). Where no draw
    differs, as at an AUROC of 1, it is Wilson's interval of as many trials as there are informative patients.

    Args:
        task: what kind of label.
        name: a metric of the task.
        seeds: a test for each seed.
        rng: source of randomness of the bootstrap.
        level: of the interval.
        draws: bootstrap samples.

    Returns:
        The interval, or None as for `paired_difference`.
    """
    statistics = [partial(score, task, name, t.y, t.p) for t in seeds]
    spread = bootstrap(statistics, [t.patient for t in seeds], draws=draws, rng=rng)
    informative = informative_patients(task, seeds)
    found = standard_error(spread, informative)
    if found is None:
        return None
    x, (error, df) = spread.estimate, found
    scale = _scale(task, name)
    if scale is _LOGIT and (error == 0 or not 0 < x < 1):
        return dataclasses.replace(wilson(round(x * informative), informative, level), estimate=x)
    if scale is _LOG and x <= 0:
        scale = _PLAIN
    inner = student(scale.to(x), error * scale.slope(x), df, level, "")
    low, high = scale.back(inner.low), scale.back(inner.high)
    return Interval(x, low, high, level, f"{_words(spread)}, Student's t{scale.words}", error, df)


def standard_error(spread: Spread, informative: int) -> tuple[float, float] | None:
    """Returns the standard error of a mean over seeds and its degrees of freedom (see `paired_difference`).

    Args:
        spread: bootstrap of the statistic.
        informative: number of informative patients.

    Returns:
        (error, df), None where it cannot be told.
    """
    if informative < 2 or not len(spread.draws):
        return None
    seeds = len(spread.values)
    patients = float(spread.draws.var()) * informative / (informative - 1)
    between = float(spread.values.var(ddof=1)) if seeds > 1 else 0.0
    training = max(0.0, between - spread.within) / seeds
    total = patients + training
    # The training term is as uncertain as S^2 itself, even where most or all of S^2 has been taken off.
    doubt = patients**2 / (informative - 1) + (between / seeds) ** 2 / max(1, seeds - 1)
    return float(np.sqrt(total)), total**2 / doubt if doubt > 0 else float("inf")


def _difference(task: Task, name: str, test: PairedTest, weights: Array) -> Array:
    return score(task, name, test.y, test.b, weights) - score(task, name, test.y, test.a, weights)


def _words(spread: Spread) -> str:
    return f"bootstrap of patients{f' and {len(spread.values)} seeds' if len(spread.values) > 1 else ''}"


class _Scale(NamedTuple):
    to: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    words: str


_PLAIN = _Scale(lambda x: x, lambda z: z, lambda x: 1.0, "")
_LOG = _Scale(lambda x: float(np.log(x)), lambda z: float(np.exp(z)), lambda x: 1 / x, " on the log scale")
_LOGIT = _Scale(
    lambda x: float(np.log(x / (1 - x))),
    lambda z: float(1 / (1 + np.exp(-z))),
    lambda x: 1 / (x * (1 - x)),
    " on the logit scale",
)


def _scale(task: Task, name: str) -> _Scale:
    if name in ("auroc", "auprc", "accuracy") or (task, name) == ("binary", "brier"):
        return _LOGIT
    return _PLAIN if name == "r2" or (task, name) == ("count", "loss") else _LOG
