"""How far predicted risks tell patients with the event from those without: quantiles of either, with no small cell."""

import numpy as np

from fedmed.data.examples import Array
from fedmed.statistics import harrell_davis, informative_patients
from fedmed.study.estimates import Rules
from fedmed.study.outcomes import Outcomes, Unit
from fedmed.study.risks import by_unit
from fedmed.study.schema import OutcomeRisks, RiskSpread
from fedmed.study.suppression import MINIMUM_CELL, left_out, pooled

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)

_ABOUT = (
    "Quantiles of the predicted risks of all seeds' test rows, of patients with the event and of those without "
    "(Harrell and Davis 1982: each is a mean over many rows). None is told beyond which, on either side, fewer than "
    f"{MINIMUM_CELL} patients lie."
)


def risk_spread(outcomes: Outcomes, rules: Rules) -> RiskSpread:
    """Returns quantiles of predicted risk by outcome, of each arm at each unit, for a binary task."""
    arms = {arm.name: by_unit(outcomes, lambda unit, a=arm.name: _at(outcomes, a, unit, rules))
            for arm in outcomes.arms}  # fmt: skip
    return RiskSpread(LEVELS, arms, _ABOUT + left_out(outcomes))


def _at(outcomes: Outcomes, arm: str, unit: Unit, rules: Rules) -> OutcomeRisks | None:
    tests = outcomes.tests(arm, pooled(outcomes, unit))
    if not tests or informative_patients("binary", tests) < rules.minimum_events:
        return None
    y, p = np.concatenate([test.y for test in tests]), np.concatenate([test.p for test in tests])
    patient = np.concatenate([test.patient for test in tests])
    event, no_event = (without_few(p[y == label], patient[y == label]) for label in (1, 0))
    return OutcomeRisks(event, no_event)


def without_few(p: Array, patient: Array) -> tuple[float | None, ...]:
    """Returns the quantiles of LEVELS, None where fewer than 5 patients have a risk on one side of it.

    Args:
        p: [n] predicted risks, at least one.
        patient: [n] the patient of each.
    """
    return tuple(float(value) if _is_inside(p, patient, value) else None for value in harrell_davis(p, LEVELS))


def _is_inside(p: Array, patient: Array, value: float) -> bool:
    return all(len(np.unique(patient[side])) >= MINIMUM_CELL for side in (p < value, p > value))
