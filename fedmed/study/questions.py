"""The three questions of the first screen: does it rank better, is it calibrated, is it useful."""

from collections.abc import Callable, Sequence

import numpy as np

from fedmed.data.examples import Array
from fedmed.statistics import (
    Asked,
    Evidence,
    Influence,
    Interval,
    PairedTest,
    Question,
    difference_interval,
    influence,
    informative_patients,
    of_difference,
    of_distances,
    score,
)
from fedmed.statistics.evidence import turned
from fedmed.statistics.resampling import spread_of
from fedmed.study import estimates
from fedmed.study.estimates import Rules
from fedmed.study.measures import NET_BENEFIT, RATIO, Measure
from fedmed.study.outcomes import Outcomes

_SHARE_OF_NULL = 0.02
_MARGIN = 0.02
_BOUNDED = ("auroc", "auprc", "accuracy", "r2")


def measured(measures: Sequence[Measure]) -> dict[Question, Measure]:
    """Returns by which measure each question is told, as far as the task has one; the first measure is the primary."""
    known = {measure.name: measure for measure in measures}
    wanted: tuple[tuple[Question, str], ...] = (
        ("ranking", measures[0].name),
        ("calibration", RATIO if RATIO in known else "intercept" if "intercept" in known else "loss"),
        ("usefulness", NET_BENEFIT),
    )
    found: dict[Question, Measure] = {}
    for question, name in wanted:
        if name in known and known[name] not in found.values():
            found[question] = known[name]
    return found


def ask(
    outcomes: Outcomes, of: str, against: str, hospital: str, measures: Sequence[Measure], rules: Rules
) -> tuple[Asked | None, Interval | None, str]:
    """Returns what a hospital's data say to each question, the primary difference, and why there is nothing."""
    pairs = outcomes.pairs(of, against, hospital)
    primary = measures[0]
    why = estimates.withheld(outcomes, pairs, rules, primary)
    told = None if why else estimates.paired_interval(outcomes, pairs, primary, rules, rules.rng(of, against, hospital))
    if told is None:
        return None, None, why or "it is not defined"
    evidence: dict[Question, Evidence] = {}
    for question, measure in measured(measures).items():
        if measure is primary:
            evidence[question] = of_difference(_gain(measure, told))
        elif measure.better != "target":
            other = estimates.paired_interval(outcomes, pairs, measure, rules, rules.rng(of, against, measure.name))
            if other is not None:
                evidence[question] = of_difference(_gain(measure, other))
        elif (found := _distances(outcomes, pairs, measure, rules)) is not None:
            evidence[question] = of_distances(*found)
    return Asked(evidence, _gain(primary, told), informative_patients(outcomes.task, pairs, primary.name)), told, ""


def _gain(measure: Measure, difference: Interval) -> Interval:
    return difference if measure.better == "higher" else turned(difference)


def _distances(
    outcomes: Outcomes, pairs: Sequence[PairedTest], measure: Measure, rules: Rules
) -> tuple[Interval, Interval] | None:
    """Returns the difference and the sum of two arms' signed distances from perfect calibration."""
    of: Callable[[Array, Array], Influence] = influence.log_ratio if measure.name == RATIO else _residual
    sides = [(of(pair.y, pair.b), of(pair.y, pair.a)) for pair in pairs]
    patients = [pair.patient for pair in pairs]
    informative = informative_patients(outcomes.task, pairs)
    apart = spread_of([b.minus(a) for b, a in sides], patients)
    total = spread_of([Influence(b.value + a.value, b.rows + a.rows) for b, a in sides], patients)
    found = [difference_interval(spread, informative, rules.level) for spread in (apart, total)]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _residual(y: Array, p: Array) -> Influence:
    return influence.mean(y - p)


def margin(outcomes: Outcomes, measure: Measure, rules: Rules) -> float:
    """Returns by how much the primary metric may be worse and still count as no worse.

    The config's `study.margin`; by default 0.02 of what lies between 0 and 1, else 0.02 of what predicting the mean of
    all labels would score, which no model has a part in.
    """
    if rules.margin is not None:
        return rules.margin
    if measure.name in _BOUNDED:
        return _MARGIN
    y = outcomes.consortium.dataset.examples.y
    if outcomes.task == "multiclass":
        p = np.tile(np.bincount(y, minlength=outcomes.consortium.dataset.classes) / len(y), (len(y), 1))
    else:
        p = np.full(len(y), float(np.mean(y)))
    return float(f"{_SHARE_OF_NULL * abs(float(score(outcomes.task, measure.name, y, p))):.2g}")
