"""What one would do instead of federated training, and which of it is better, hospital by hospital."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from fedmed.settings.study import Reference
from fedmed.study import estimates, parallel, plan, suppression
from fedmed.study.estimates import Rules
from fedmed.study.measures import Measure, agreement
from fedmed.study.outcomes import Outcomes, Unit
from fedmed.study.schema import (
    Choice,
    Difference,
    Instead,
    Performance,
    ReferenceArm,
    References,
    SeededEstimate,
)
from fedmed.study.sentences import interval, signed
from fedmed.study.suppression import WITHHELD

_ABOUT = (
    "Boosted trees and a penalised regression of scikit-learn, without federated training: of each hospital's own "
    "rows, and of everybody's in one place. Their settings are tuned by cross-validation by patient inside the "
    "training rows, anew at each seed, while the study's arms have {arms}; all are tested on the same rows. A "
    "hospital with too few patients to tune on predicts its training rows' mean. For each hospital, that of the two "
    "is set against the federated model which did better in cross-validation on its training rows; no test row chose "
    "it. Intervals are not adjusted for the number of hospitals."
)
_ALONE: tuple[Reference, ...] = ("boosting_alone", "regression_alone")
_POOLED: tuple[Reference, ...] = ("boosting_pooled", "regression_pooled")
Outcome: TypeAlias = Literal["federated better", "reference better", "no evidence", "no figure"]
_BESIDE = ("federated", "local")
_WORDS: Mapping[str, str] = {
    "boosting_alone": "boosted trees of the hospital's own rows",
    "regression_alone": "a regression of the hospital's own rows",
    "boosting_pooled": "boosted trees of everybody's rows",
    "regression_pooled": "a regression of everybody's rows",
}


def references(
    outcomes: Outcomes, performed: Mapping[str, Performance], found: Sequence[Measure], rules: Rules
) -> References | None:
    """Returns what one would do instead; None without reference arms, or without a federated one to set them against.

    Args:
        outcomes: with reference arms.
        performed: the study's arms' figures, which are not made again.
        found: what the study scores, the primary metric first.
        rules: of the intervals.
    """
    beside = [arm for arm in outcomes.arms if arm.name in _BESIDE]
    if not outcomes.references or "federated" not in [arm.name for arm in beside]:
        return None
    extra = agreement(outcomes.task)
    shown = [found[0], *(m for m in found[1:] if m.name == "loss"), *([extra] if extra else [])]
    arms = [*outcomes.references, *beside]
    wanted = [(arm.name, unit, m) for unit in outcomes.units for arm in arms for m in shown]
    made = parallel.each(lambda one: _figure(outcomes, performed, *one, rules.of(one[2] == found[0])), wanted)
    known = {(arm, unit, m.name): figure for (arm, unit, m), figure in zip(wanted, made, strict=True)}

    def at(unit: Unit) -> dict[str, dict[str, SeededEstimate]]:
        return {arm.name: {m.name: known[arm.name, unit, m.name] for m in shown} for arm in arms}

    told = [ReferenceArm(a.name, plan.label(a), plan.about(a), a in outcomes.references) for a in arms]
    chosen = parallel.each(lambda name: _chosen(outcomes, name, found[0], rules), outcomes.hospitals)
    hospitals = {
        name: _instead(name, at(name), both, found[0], rules.level)
        for name, both in zip(outcomes.hospitals, chosen, strict=True)
    }
    tuned = outcomes.arms[0].settings.study.tune
    about = _ABOUT.format(arms="a tuned learning rate and else the config's" if tuned else "the config's")
    return References(tuple(told), {m.name: m.label for m in shown}, hospitals, at(None), about)


def _figure(
    outcomes: Outcomes, performed: Mapping[str, Performance], arm: str, unit: Unit, measure: Measure, rules: Rules
) -> SeededEstimate:
    if arm in performed:
        own = performed[arm].all if unit is None else performed[arm].hospitals.get(str(unit), {})
        if measure.name in own:
            return own[measure.name]
    if arm in _ALONE and not measure.of.ranks and _betrays(outcomes, unit):
        return estimates.untold(outcomes)
    return estimates.performance(outcomes, arm, unit, measure, rules)


def _betrays(outcomes: Outcomes, unit: Unit) -> bool:
    """Whether a mean over tested rows would tell of few patients that a hospital's own model was trained on.

    A model that has little to learn from predicts the share with the event, or nearly that, and where all tested have
    it the loss tells that share. A sum over all hospitals tells what one of them has, once the others' are known.
    """
    small = suppression.small_hospitals(outcomes)
    return any(
        name in small
        or suppression.few_on_a_side(outcomes.consortium, name, outcomes.seeds)
        or any(not math.isfinite(_inner(outcomes, arm, seed, name)) for arm in _ALONE for seed in outcomes.seeds)
        for name in (outcomes.hospitals if unit is None else (unit,))
        if isinstance(name, str)
    )


def _inner(outcomes: Outcomes, arm: str, seed: int, hospital: str) -> float:
    result = outcomes.results[arm, seed, hospital if arm in _ALONE else None]
    return result.inner[outcomes.hospitals.index(hospital)]


def inner_loss(outcomes: Outcomes, arm: str, hospital: str) -> float:
    """Returns a reference model's mean loss on a hospital's training rows in cross-validation, over seeds; inf if none.

    Models of everybody's rows are judged by this hospital's, so that they can be compared with those of its own.
    """
    found = [_inner(outcomes, arm, seed, hospital) for seed in outcomes.seeds]
    known = [value for value in found if math.isfinite(value)]
    return float(np.mean(known)) if known else math.inf


def _chosen(outcomes: Outcomes, hospital: str, metric: Measure, rules: Rules) -> tuple[Choice, Choice]:
    alone, pooled = (_choice(outcomes, hospital, arms, metric, rules) for arms in (_ALONE, _POOLED))
    return alone, pooled


def _choice(outcomes: Outcomes, hospital: str, arms: Sequence[Reference], metric: Measure, rules: Rules) -> Choice:
    arm = min(arms, key=lambda one: inner_loss(outcomes, one, hospital))
    if arm in _ALONE and not metric.of.ranks and _betrays(outcomes, hospital):
        told = estimates.told_difference(outcomes, "federated", arm, hospital, metric, None, WITHHELD)
    else:
        told = estimates.difference(outcomes, "federated", arm, hospital, metric, rules)
    return Choice(arm, told, _outcome(told, metric))


def _outcome(told: Difference, metric: Measure) -> Outcome:
    if told.estimate is None:
        return "no figure"
    if told.low is None or told.high is None or told.low <= 0 <= told.high:
        return "no evidence"
    return "federated better" if (told.estimate > 0) == (metric.better == "higher") else "reference better"


def _instead(
    name: str, figures: Mapping[str, Mapping[str, SeededEstimate]], both: tuple[Choice, Choice], metric: Measure,
    level: float,
) -> Instead:  # fmt: skip
    said = " ".join(_sentence(figures, choice, metric, level) for choice in both)
    return Instead(figures, *both, f"{name}: {said}")


def _sentence(
    figures: Mapping[str, Mapping[str, SeededEstimate]], choice: Choice, metric: Measure, level: float
) -> str:
    """Says which of the two is better and by how much, or that the data cannot tell."""
    who, told = _WORDS[choice.arm], choice.difference
    if choice.outcome == "no figure" or told.estimate is None:
        return f"Too few to set the federated model against {who}."
    verb = {
        "federated better": "does better than",
        "reference better": "does worse than",
        "no evidence": "cannot be told from",
    }[choice.outcome]
    of, against = (figures[arm][metric.name].estimate for arm in ("federated", choice.arm))
    shown = "" if of is None or against is None else f"{metric.label} {of:.3f} against {against:.3f}, "
    return f"The federated model {verb} {who} ({shown}difference {signed(told.estimate)}{interval(told, level)})."
