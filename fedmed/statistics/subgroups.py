"""Whom a model serves worse: metrics by subgroup, the worst one, and how wide the gap is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fedmed.statistics.intervals import Interval, percentile_interval
from fedmed.statistics.metrics import MINIMUM_EVENTS, evaluate, metric, undefined
from fedmed.statistics.resampling import patient_counts
from fedmed.statistics.statistic import statistic
from fedmed.statistics.tested import ArmTest

if TYPE_CHECKING:
    from fedmed.data.examples import Task

Array: TypeAlias = np.ndarray

_CELLS = 1_000_000  # rows of deals held at once

MINIMUM_PATIENTS = 5
"""A subgroup with fewer patients is not reported at all."""


@dataclasses.dataclass(frozen=True)
class Subgroup:
    """A subgroup's metrics; everything is None where it is suppressed, its size included.

    Attributes:
        name: the group's label.
        patients: distinct patients.
        rows: test rows.
        metrics: as `metrics.evaluate` gives them.
        reasons: why a metric is None; under "suppressed" why there is nothing at all.
    """

    name: str
    patients: int | None
    rows: int | None
    metrics: dict[str, float | None] | None
    reasons: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Gap:
    """The distance between the best and the worst served subgroup in one metric.

    Attributes:
        worst: the worst group.
        best: the best group.
        interval: the gap, never below 0; it is no test, as best minus worst is above 0 even where no group differs.
        p_value: how often a gap at least as wide comes about when group labels are dealt to patients by chance.
    """

    worst: str
    best: str
    interval: Interval
    p_value: float


def by_subgroup(
    task: Task,
    y: Array,
    p: Array,
    group: Array,
    patient: Array,
    *,
    minimum_patients: int = MINIMUM_PATIENTS,
    minimum_events: int = MINIMUM_EVENTS,
) -> tuple[Subgroup, ...]:
    """Returns the metrics of each subgroup, in order of name.

    Groups under `minimum_patients` are suppressed; where those together are fewer than that too, the next smallest
    goes with them, or subtracting the reported groups from all rows would tell of them.

    Args:
        task: what kind of label.
        y: [n] labels.
        p: predictions as for `evaluate`.
        group: [n] subgroup of each row.
        patient: [n] patient of each row.
        minimum_patients: fewest patients that are reported.
        minimum_events: as for `evaluate`.
    """
    group, names = np.asarray(group), np.unique(group).tolist()
    hidden = _suppressed(group, np.asarray(patient), minimum_patients)
    found = []
    for name in names:
        rows = group == name
        if name in hidden:
            reason = f"fewer than {minimum_patients} patients, or needed to hide a group that small"
            found.append(Subgroup(str(name), None, None, None, {"suppressed": reason}))
            continue
        values = evaluate(task, y[rows], p[rows], minimum_events=minimum_events)
        reasons = undefined(task, y[rows], p[rows], minimum_events=minimum_events)
        found.append(Subgroup(str(name), len(np.unique(patient[rows])), int(rows.sum()), values, reasons))
    return tuple(found)


def worst_subgroup(task: Task, name: str, groups: Sequence[Subgroup]) -> Subgroup | None:
    """Returns the reported group with the worst value of a metric, None where no group has one."""
    sign = 1.0 if metric(task, name).better == "higher" else -1.0
    known = [(sign * value, g) for g in groups if g.metrics and (value := g.metrics[name]) is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else None


def subgroup_gap(
    task: Task,
    name: str,
    y: Array,
    p: Array,
    group: Array,
    patient: Array,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 1000,
    minimum_patients: int = MINIMUM_PATIENTS,
    minimum_events: int = MINIMUM_EVENTS,
    site: Array | None = None,
) -> Gap | None:
    """Returns how far the worst subgroup is behind the best, among groups that may be reported.

    The interval is of percentiles over patients drawn with replacement; the p-value deals the group labels anew to
    patients (a patient's rows stay together and take the group of its first row; Efron & Tibshirani 1993, chapter 15).

    Args:
        task: what kind of label.
        name: the metric compared.
        y: [n] labels.
        p: predictions as for `evaluate`.
        group: [n] subgroup of each row.
        patient: [n] patient of each row.
        rng: source of randomness.
        level: of the interval.
        draws: bootstrap samples, and permutations.
        minimum_patients: fewest patients that are reported.
        minimum_events: as for `evaluate`.
        site: [n] the hospital of each row: an AUROC is then of pairs of the same hospital.

    Returns:
        The gap, None where fewer than two groups have the metric.
    """
    limits = {"minimum_patients": minimum_patients, "minimum_events": minimum_events}
    groups = by_subgroup(task, y, p, group, patient, **limits)
    shown = [g.name for g in groups if g.metrics and g.metrics[name] is not None]
    label = np.asarray(group).astype(str)
    kept = np.isin(label, shown)
    who = np.unique(np.asarray(patient)[kept], return_inverse=True)[1]
    test = ArmTest(y[kept], p[kept], who, None if site is None else site[kept])
    label, of = label[kept], statistic(task, name)
    values = {g: float(of.under(test, 1.0 * (label == g))) for g in shown}
    values = {g: value for g, value in values.items() if np.isfinite(value)}
    if len(values) < 2:
        return None
    patients, first = int(who.max()) + 1, np.unique(who, return_index=True)[1]

    def gap(label: Array, weights: Array | float) -> Array:
        scores = np.stack([of.under(test, weights * (label == g)) for g in values])
        return scores.max(axis=0) - scores.min(axis=0)

    drawn = np.concatenate([gap(label, counts[:, who]) for counts in patient_counts(patients, draws, rng)])
    code = np.unique(label, return_inverse=True)[1][first]
    deals = (np.stack([rng.permutation(code) for _ in range(part)])[:, who] for part in _parts(draws, len(who)))
    named = np.unique(label)
    dealt = np.concatenate([gap(named[deal], 1.0) for deal in deals])
    dealt = dealt[np.isfinite(dealt)]
    found = max(values.values()) - min(values.values())
    as_wide = int((dealt >= found - 1e-12).sum())
    sign = 1 if metric(task, name).better == "higher" else -1
    ranked = sorted(values, key=lambda g: sign * values[g])
    return Gap(ranked[0], ranked[-1], percentile_interval(found, drawn, level), (1 + as_wide) / (1 + len(dealt)))


def _parts(draws: int, rows: int) -> list[int]:
    """Returns how many draws are made at a time, so that they fit in memory."""
    step = max(1, _CELLS // max(1, rows))
    return [min(step, draws - start) for start in range(0, draws, step)]


def _suppressed(group: Array, patient: Array, minimum: int) -> set[object]:
    sizes = {name: len(np.unique(patient[group == name])) for name in np.unique(group).tolist()}
    hidden = {name for name, size in sizes.items() if size < minimum}
    shown = sorted((name for name in sizes if name not in hidden), key=lambda name: sizes[name])
    while hidden and shown and sum(sizes[name] for name in hidden) < minimum:
        hidden.add(shown.pop(0))
    return hidden
