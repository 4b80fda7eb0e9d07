"""How good an arm is at a hospital, and how much better than another, with what patients and seeds leave open."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fedmed.statistics.intervals import Interval, student, wilson
from fedmed.statistics.resampling import Spread
from fedmed.statistics.statistic import arm_spread, difference_spread, statistic
from fedmed.statistics.tested import ArmTest, PairedTest, informative_patients

if TYPE_CHECKING:
    from fedmed.data.examples import Task


def paired_difference(
    task: Task,
    name: str,
    seeds: Sequence[PairedTest],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 1000,
) -> Interval | None:
    """Returns the mean over seeds of (metric of b - metric of a) on a hospital's patients (see `difference_interval`).

    Args:
        task: what kind of label.
        name: a metric of the task.
        seeds: a test for each seed; one seed alone gives no variance of training.
        rng: source of randomness for a metric whose variance has no closed form.
        level: of the interval.
        draws: of patients, for the same.
    """
    found = difference_spread(statistic(task, name), seeds, rng=rng, draws=draws)
    return difference_interval(found, informative_patients(task, seeds, name), level)


def difference_interval(spread: Spread, informative: int, level: float) -> Interval | None:
    """Returns the interval of a mean difference over seeds.

    The estimand is the expected difference on new patients of this hospital between the models that the two arms
    train on as many patients, over training seeds. The tested patients are few and, with repeated splits, the same at
    several seeds; so they come or go in all seeds together, with the models held fixed, and the variance of the mean is

        V m / (m - 1)  +  max(0, S^2 - W) / J

    with V the variance over patients, m the informative patients, S^2 the variance between the J seeds and W the part
    of S^2 that the test patients explain by themselves. Quantiles are Student's with Satterthwaite's degrees of
    freedom, from m - 1 for the first term and J - 1 for S^2 / J. What training sets of one hospital have in common
    stays out of sight: no estimator sees it from splits of the same patients (Bengio & Grandvalet 2004).

    Chosen by simulation: logistic regressions trained locally against pooled, hospitals of 3000, 1200 and 500
    patients (5 % events in the last), 5 splits of 70 : 30, 800 federations, AUROC and Brier score. 95 % intervals
    held the models' true difference on 100,000 fresh patients 96.0 to 97.6 % of the time, its mean over training
    sets 97.9 to 99.1 %, and told an arm from itself at most 2.2 % of the time. In the same runs percentiles held it
    88 to 94 %, with up to 12 % false findings; `corrected_resampled_t` 96 to 99 %, but 36 to 51 % wider.

    Returns:
        The interval, or None where the statistic is not defined at any seed or fewer than 2 patients are informative.
    """
    found = standard_error(spread, informative)
    return None if found is None else student(spread.estimate, *found, level, f"{_words(spread)}, Student's t")


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
        rng: source of randomness for a metric whose variance has no closed form.
        level: of the interval.
        draws: of patients, for the same.

    Returns:
        The interval, or None as for `paired_difference`.
    """
    spread = arm_spread(statistic(task, name), seeds, rng=rng, draws=draws)
    return scaled_interval(spread, informative_patients(task, seeds, name), level, scale_of(task, name))


def scaled_interval(spread: Spread, informative: int, level: float, scale: Scale) -> Interval | None:
    """Returns the interval of a mean over seeds, made on a scale and brought back (see `metric_interval`)."""
    found = standard_error(spread, informative)
    if found is None:
        return None
    x, (error, df) = spread.estimate, found
    if scale is LOGIT and (error == 0 or not 0 < x < 1):
        return dataclasses.replace(wilson(round(x * informative), informative, level), estimate=x)
    if scale is LOG and x <= 0:
        scale = PLAIN
    inner = student(scale.to(x), error * scale.slope(x), df, level, "")
    low, high = scale.back(inner.low), scale.back(inner.high)
    return Interval(x, low, high, level, f"{_words(spread)}, Student's t{scale.words}", error, df)


def standard_error(spread: Spread, informative: int) -> tuple[float, float] | None:
    """Returns the standard error of a mean over seeds and its degrees of freedom (see `paired_difference`).

    Args:
        spread: of the statistic.
        informative: number of informative patients.

    Returns:
        (error, df), None where it cannot be told.
    """
    if informative < 2 or not len(spread.values):
        return None
    seeds = len(spread.values)
    patients = spread.variance * informative / (informative - 1)
    between = float(spread.values.var(ddof=1)) if seeds > 1 else 0.0
    training = max(0.0, between - spread.within) / seeds
    total = patients + training
    # The training term is as uncertain as S^2 itself, even where most or all of S^2 has been taken off.
    doubt = patients**2 / (informative - 1) + (between / seeds) ** 2 / max(1, seeds - 1)
    return float(np.sqrt(total)), total**2 / doubt if doubt > 0 else float("inf")


def mean_interval(
    spreads: Sequence[Spread], informative: Sequence[int], level: float, scale: Scale | None = None
) -> Interval | None:
    """Returns the interval of the plain mean over hospitals of a statistic or of a difference.

    As `difference_interval`, for the mean over these very hospitals. Hospitals have no patient in common, so their
    variances over patients add up, each as uncertain as its own informative patients leave it (Satterthwaite 1946);
    the seeds' part is that of the mean, as hospitals share each seed's models.

    Args:
        spreads: of each hospital, at the same seeds.
        informative: patients of each.
        level: of the interval.
        scale: on which it is made and from which it is brought back; None for a difference.

    Returns:
        The interval, or None without hospitals or seeds, or where a hospital has fewer than 2 informative patients.
    """
    if not spreads or min(informative) < 2 or not len(spreads[0].values):
        return None
    k, values = len(spreads), np.mean([spread.values for spread in spreads], axis=0)
    parts = np.array([s.variance * m / (m - 1) for s, m in zip(spreads, informative, strict=True)]) / k**2
    between = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    within = sum(spread.within for spread in spreads) / k**2
    total = float(parts.sum()) + max(0.0, between - within) / len(values)
    doubt = float((parts**2 / (np.array(informative) - 1)).sum()) + (between / len(values)) ** 2 / max(
        1, len(values) - 1
    )
    df = total**2 / doubt if doubt > 0 else float("inf")
    method = f"plain mean of hospitals, {_words(spreads[0])}, Student's t"
    x, error = float(values.mean()), float(np.sqrt(total))
    if scale is None or (scale is LOGIT and not 0 < x < 1) or (scale is LOG and x <= 0):
        return student(x, error, df, level, method)
    inner = student(scale.to(x), error * scale.slope(x), df, level, "")
    low, high = scale.back(inner.low), scale.back(inner.high)
    return Interval(x, low, high, level, f"{method}{scale.words}", error, df)


def _words(spread: Spread) -> str:
    return f"patients{f' and {len(spread.values)} seeds' if len(spread.values) > 1 else ''}"


class Scale(NamedTuple):
    """Where an interval is made symmetric: to it, back from it, and the slope of the way there."""

    to: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    words: str


PLAIN = Scale(lambda x: x, lambda z: z, lambda x: 1.0, "")
LOG = Scale(lambda x: float(np.log(x)), lambda z: float(np.exp(z)), lambda x: 1 / x, " on the log scale")
LOGIT = Scale(
    lambda x: float(np.log(x / (1 - x))),
    lambda z: float(1 / (1 + np.exp(-z))),
    lambda x: 1 / (x * (1 - x)),
    " on the logit scale",
)


def scale_of(task: Task, name: str) -> Scale:
    """Returns the scale on which the interval of a metric of one model is made."""
    if name in ("auroc", "auprc", "accuracy") or (task, name) == ("binary", "brier"):
        return LOGIT
    return PLAIN if name == "r2" or (task, name) == ("count", "loss") else LOG
