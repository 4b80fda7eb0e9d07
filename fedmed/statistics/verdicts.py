"""Whether joining helps each hospital, said only where its data can tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from fedmed.statistics.comparison import PairedTest, informative_patients, paired_difference
from fedmed.statistics.intervals import Interval
from fedmed.statistics.metrics import METRICS, metric

if TYPE_CHECKING:
    from fedmed.data.examples import Task

Outcome: TypeAlias = Literal["gains", "no evidence", "harmed", "too few events"]

MINIMUM_EVENTS = 10
"""Fewer informative patients than this among those tested, and a hospital gets no figure, no rank and no verdict."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the comparison says for one hospital; every number is None where there are too few events.

    Attributes:
        outcome: gains or harmed when the Holm-adjusted p-value is at most 1 - level, by the sign of the difference.
        reason: why there is no figure, or "".
        interval: b minus a at this hospital alone, not adjusted: it may leave out 0 where the outcome is no evidence.
        p_value: two-sided, of no difference.
        p_adjusted: the same by Holm's procedure over the hospitals that have a figure.
        detectable: smallest difference, in the metric's units, found with the power asked for at the strictest step
            of Holm's procedure.
    """

    outcome: Outcome
    reason: str = ""
    interval: Interval | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    detectable: float | None = None


def verdicts(
    task: Task,
    name: str,
    hospitals: Mapping[str, Sequence[PairedTest]],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    power: float = 0.8,
    minimum_events: int = MINIMUM_EVENTS,
    draws: int = 1000,
) -> dict[str, Verdict]:
    """Returns each hospital's verdict on arm b against arm a in one metric, the primary one.

    The chance that any hospital for which nothing differs is told that it gains or is harmed is at most 1 - level
    (Holm 1979), as far as the intervals of `paired_difference` hold.

    Args:
        task: what kind of label.
        name: the primary metric; its better direction decides what a gain is.
        hospitals: each hospital's tests, one a seed.
        rng: source of randomness of the bootstrap.
        level: of the intervals; 1 - level is the risk of a wrong verdict over all hospitals.
        power: chance with which the detectable difference would be found.
        minimum_events: informative patients needed (see `informative_patients`).
        draws: bootstrap samples.
    """
    sign = 1.0 if metric(task, name).better == "higher" else -1.0
    found = {
        hospital: paired_difference(task, name, seeds, rng=rng, level=level, draws=draws)
        if informative_patients(task, seeds) >= minimum_events
        else None
        for hospital, seeds in hospitals.items()
    }
    told = {hospital: interval for hospital, interval in found.items() if interval is not None}
    p_values = {hospital: p_value(interval) for hospital, interval in told.items()}
    adjusted = dict(zip(told, holm(list(p_values.values())), strict=True))
    strictest = (1 - level) / max(1, len(told))
    result = {}
    for hospital, interval in found.items():
        if interval is None:
            result[hospital] = Verdict("too few events", _too_few(task, name, minimum_events))
            continue
        outcome = _outcome(sign * interval.estimate, adjusted[hospital], 1 - level)
        smallest = detectable_difference(interval, alpha=strictest, power=power)
        result[hospital] = Verdict(outcome, "", interval, p_values[hospital], adjusted[hospital], smallest)
    return result


def p_value(interval: Interval) -> float:
    """Returns the two-sided p-value of no difference, from the estimate, its standard error and its df.

    Raises:
        ValueError: the interval carries no standard error.
    """
    from scipy.stats import norm, t

    if interval.error is None:
        raise ValueError(f"p_value: an interval by {interval.method} has no standard error")
    if interval.error == 0:
        return 1.0 if interval.estimate == 0 else 0.0
    distribution = t(interval.df) if np.isfinite(interval.df) else norm
    return float(2 * distribution.sf(abs(interval.estimate) / interval.error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p-values, in the order given: reject those at most alpha (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def detectable_difference(interval: Interval, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Returns the smallest true difference that a two-sided test at alpha would have found with this power.

    It is (t of 1 - alpha/2 + t of power) standard errors, with the interval's df (Bloom 1995, minimum detectable
    effect). It says how much the data could tell; it is not the power to find the difference that was observed.

    Args:
        interval: whose standard error to use.
        alpha: risk of a false finding.
        power: chance of finding the difference.

    Returns:
        A positive difference in the metric's units, None where the interval has no standard error above 0.
    """
    from scipy.stats import norm, t

    if not interval.error:
        return None
    distribution = t(interval.df) if np.isfinite(interval.df) else norm
    return float(interval.error * (distribution.ppf(1 - alpha / 2) + distribution.ppf(power)))


def _outcome(gain: float, adjusted: float, alpha: float) -> Outcome:
    if adjusted > alpha or gain == 0:
        return "no evidence"
    return "gains" if gain > 0 else "harmed"


def _too_few(task: Task, name: str, minimum_events: int) -> str:
    labels = {m.name: m.label for m in METRICS[task]}
    kind = "patients" if task == "regression" else "patients with or without the event"
    return f"{labels[name]}: fewer than {minimum_events} {kind} among those tested, or not defined for them"
