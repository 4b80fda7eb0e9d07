"""What recalibrating the federated model buys each hospital, and the labelled patients that it takes."""

from collections.abc import Mapping

import numpy as np

from fedmed.study import estimates, suppression
from fedmed.study.agreement import agreement
from fedmed.study.estimates import Rules
from fedmed.study.measures import Measure
from fedmed.study.outcomes import FOLDS, Outcomes
from fedmed.study.schema import BenefitCurve, Decision, Recalibrated, RecalibrationFound, SeededEstimate

_ABOUT = (
    "At each hospital, {how} is fitted to the federated model's predictions by the outcomes of its tested patients: of "
    "each {folds}th part of them by those of the others, so that no patient's own outcome moves the own prediction. It "
    "takes as many labelled patients as were tested, which no other arm uses, and only a hospital that collects "
    "outcomes can do it. Nothing is trained and nothing is sent."
)
_HOW = {"intercept": "an intercept", "intercept and slope": "an intercept and a slope"}


def recalibration(outcomes: Outcomes, decision: Decision | None, rules: Rules) -> RecalibrationFound | None:
    """Returns what the arm "recalibrated" buys each hospital; None without such an arm."""
    measure = agreement(outcomes.task)
    if not outcomes.recalibrated or measure is None:
        return None
    how = outcomes.arm("recalibrated").settings.study.recalibration
    place = None if decision is None else _nearest(outcomes, decision)
    hospitals = {name: _at(outcomes, name, measure, (decision, place), rules) for name in outcomes.hospitals}
    threshold = None if decision is None or place is None else decision.thresholds[place]
    about = _ABOUT.format(how=_HOW[how], folds=FOLDS)
    return RecalibrationFound(how, measure.label, threshold, hospitals, about)


def _nearest(outcomes: Outcomes, decision: Decision) -> int:
    """Returns the place of the threshold nearest to the share with the event."""
    prevalence = float(np.mean(outcomes.consortium.dataset.examples.y))
    return int(np.abs(np.array(decision.thresholds) - prevalence).argmin())


def _at(
    outcomes: Outcomes, name: str, measure: Measure, decided: tuple[Decision | None, int | None], rules: Rules
) -> Recalibrated:
    before, after = (estimates.performance(outcomes, arm, name, measure, rules.of(False))
                     for arm in ("federated", "recalibrated"))  # fmt: skip
    decision, place = decided
    arms = {} if decision is None else decision.arms
    benefits = [_benefit(arms[arm].hospitals, name, place) if arm in arms else None
                for arm in ("federated", "recalibrated")]  # fmt: skip
    labelled = _labelled(outcomes, name)
    left = sum(outcomes.recalibrated[seed, name].left for seed in outcomes.seeds)
    said = [_agreement(measure, before, after)]
    if decision is not None and place is not None and None not in benefits:
        said.append(_benefits(decision.thresholds[place], *benefits))
    who = "" if labelled is None else f" of the {labelled:,} tested at a seed"
    said.append(f"It took the outcomes{who}.")
    if left:
        seeds = len(outcomes.seeds)
        said.append(f"At {left} of {seeds} seeds too few patients were there to fit it, and predictions stayed.")
    return Recalibrated(before, after, *benefits, labelled, left, f"{name}: {' '.join(said)}")


def _benefit(curves: Mapping[str, BenefitCurve], name: str, place: int | None) -> float | None:
    return curves[name].net_benefit[place] if name in curves and place is not None else None


def _labelled(outcomes: Outcomes, name: str) -> int | None:
    """Returns the patients tested, mean over seeds; None where a small count would follow."""
    consortium = outcomes.consortium
    held = consortium.patient[consortium.held[name]]
    if suppression.few(held) or suppression.few_on_a_side(consortium, name, outcomes.seeds):
        return None
    return round(float(np.mean([len(np.unique(consortium.patient[outcomes.rows(s, name)])) for s in outcomes.seeds])))


def _agreement(measure: Measure, before: SeededEstimate, after: SeededEstimate) -> str:
    told = [_interval(figure) for figure in (before, after)]
    if None in told:
        return f"no figure of {measure.label}, as {before.reason or after.reason}."
    return f"{measure.label} {told[0]} before and {told[1]} after."


def _interval(figure: SeededEstimate) -> str | None:
    if figure.estimate is None:
        return None
    within = "" if figure.low is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    return f"{figure.estimate:.2f}{within}"


def _benefits(threshold: float, before: float | None, after: float | None) -> str:
    text = f"Acting at a risk of {100 * threshold:.3g} %, net benefit {before:.3f} before and {after:.3f} after."
    return text if (after or 0.0) > (before or 0.0) else f"{text[:-1]}: it buys nothing there."
