"""What recalibrating the federated model buys each hospital, and the labelled patients that it takes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedmed.study import estimates, suppression
from fedmed.study.estimates import Rules
from fedmed.study.measures import NET_BENEFIT, Measure, agreement
from fedmed.study.outcomes import FOLDS, Outcomes
from fedmed.study.schema import Estimate, Recalibrated, RecalibrationFound, SeededEstimate
from fedmed.study.sentences import interval, signed

_ABOUT = (
    "At each hospital, {how} is fitted to the federated model's predictions by the outcomes of its tested patients, "
    "dealt into {folds} parts: each part's predictions are moved by the outcomes of the others, so that nobody's "
    "outcome moves their own prediction. Parts move by unlike amounts, which puts the order of patients out a bit; a "
    "hospital that moves everybody alike keeps the federated model's AUROC. That the total fits afterwards is no "
    "wonder; what it is worth, net benefit and log loss say. It takes as many labelled patients as were tested, which "
    "no other arm uses, and only a hospital that collects outcomes can do it. Nothing is trained and nothing is sent."
)
_HOW = {"intercept": "an intercept", "intercept and slope": "an intercept and a slope"}


def recalibration(outcomes: Outcomes, measures: Sequence[Measure], rules: Rules) -> RecalibrationFound | None:
    """Returns what the arm "recalibrated" buys each hospital; None without such an arm."""
    measure = agreement(outcomes.task)
    if not outcomes.recalibrated or measure is None:
        return None
    how = outcomes.arm("recalibrated").settings.study.recalibration
    benefit = next((m for m in measures if m.name == NET_BENEFIT), None)
    hospitals = {
        name: _at(outcomes, name, measure, None if benefit is None else _benefit(outcomes, benefit, name, rules), rules)
        for name in outcomes.hospitals
    }
    about = _ABOUT.format(how=_HOW[how], folds=FOLDS)
    return RecalibrationFound(how, measure.label, None if benefit is None else benefit.threshold, hospitals, about)


class _Benefit(NamedTuple):
    """Net benefit before and after, and by how much it grew."""

    threshold: float
    before: float
    after: float
    grown: Estimate


def _at(outcomes: Outcomes, name: str, measure: Measure, benefit: _Benefit | None, rules: Rules) -> Recalibrated:
    before, after = (
        estimates.performance(outcomes, arm, name, measure, rules.of(False)) for arm in ("federated", "recalibrated")
    )
    labelled, left = _labelled(outcomes, name), sum(outcomes.recalibrated[seed, name].left for seed in outcomes.seeds)
    said = [_agreement(measure, before, after)]
    if left == len(outcomes.seeds):
        said = ["Too few patients to fit it, so that the federated model's predictions stay as they are."]
    else:
        said += [_told(benefit, rules.level)] if benefit is not None else []
        said.append(f"It took the outcomes of {_patients(labelled)}.")
        if left:
            said.append(f"At {left} of {len(outcomes.seeds)} seeds they were too few, and some predictions stay.")
    benefits = (None, None, None) if benefit is None else benefit[1:]
    return Recalibrated(before, after, *benefits, labelled, left, f"{name}: {' '.join(said)}")


def _benefit(outcomes: Outcomes, measure: Measure, name: str, rules: Rules) -> _Benefit | None:
    """Returns the net benefit before and after; None where it is withheld."""
    sides = [estimates.performance(outcomes, arm, name, measure, rules) for arm in ("federated", "recalibrated")]
    before, after = (side.estimate for side in sides)
    grown = estimates.difference(outcomes, "recalibrated", "federated", name, measure, rules)
    if before is None or after is None or grown.estimate is None or measure.threshold is None:
        return None
    told = Estimate(grown.estimate, grown.low, grown.high, grown.method, grown.reason)
    return _Benefit(measure.threshold, before, after, told)


def _labelled(outcomes: Outcomes, name: str) -> int | None:
    """Returns the patients tested, mean over seeds; None where a small count would follow."""
    consortium = outcomes.consortium
    held = consortium.patient[consortium.held[name]]
    if suppression.few(held) or suppression.few_on_a_side(consortium, name, outcomes.seeds):
        return None
    return round(float(np.mean([len(np.unique(consortium.patient[outcomes.rows(s, name)])) for s in outcomes.seeds])))


def _patients(labelled: int | None) -> str:
    return "those tested" if labelled is None else f"the {labelled:,} patients tested at a seed"


def _agreement(measure: Measure, before: SeededEstimate, after: SeededEstimate) -> str:
    told = [_interval(figure) for figure in (before, after)]
    if None in told:
        return f"No figure of {measure.label}: {before.reason or after.reason}."
    return f"{measure.label} {told[0]} before and {told[1]} after."


def _interval(figure: SeededEstimate) -> str | None:
    if figure.estimate is None:
        return None
    within = "" if figure.low is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    return f"{figure.estimate:.2f}{within}"


def _told(benefit: _Benefit, level: float) -> str:
    grown = benefit.grown
    assert grown.estimate is not None
    inside = interval(grown, level)
    if grown.low is not None and grown.high is not None and grown.low <= 0 <= grown.high:
        inside += ", so that nothing gained can be told"
    at = f"Acting at a risk of {100 * benefit.threshold:.3g} %"
    sides = f"net benefit {benefit.before:.3f} before and {benefit.after:.3f} after"
    return f"{at}, {sides} ({signed(grown.estimate)}{inside})."
