"""Whether joining helps or harms each hospital, said only where its data can tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from fedmed.statistics.evidence import Evidence, above, turned
from fedmed.statistics.intervals import Interval

Outcome: TypeAlias = Literal["gains", "harmed", "no worse", "undecided", "too few events"]
Question: TypeAlias = Literal["ranking", "calibration", "usefulness"]
Claim: TypeAlias = Literal["better", "worse", "open"]

MINIMUM_EVENTS = 10
"""Fewer informative patients than this among those tested, and a hospital gets no figure, no rank and no verdict."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What one hospital's data say to each question.

    Attributes:
        evidence: by question; a question that has no answer here is left out.
        gain: of the primary metric, positive where it is better.
        informative: patients behind it (see `informative_patients`).
    """

    evidence: Mapping[Question, Evidence]
    gain: Interval
    informative: int


@dataclasses.dataclass(frozen=True)
class Answered:
    """One question's answer.

    Attributes:
        claim: better or worse where the adjusted p-value is at most 1 - level, else open.
        p_value: two-sided, of no difference.
        p_adjusted: the same, adjusted for the questions and the hospitals.
        side: which way the estimate points, claimed or not.
    """

    claim: Claim
    p_value: float
    p_adjusted: float
    side: Literal["better", "worse", "neither"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the comparison says for one hospital; everything but the outcome is empty where events are too few.

    Attributes:
        outcome: see `verdicts`.
        questions: the answer to each.
        p_no_worse: one-sided, of being worse by the margin or more in the primary metric, by Holm's procedure.
        detectable: smallest difference of the primary metric that would have been found with 80 % chance, were it the
            only question at the only hospital.
        needed: informative patients with which "no worse" would be told with 80 % chance where nothing differs; None
            where it is told, or more patients are not what is lacking.
    """

    outcome: Outcome
    questions: Mapping[Question, Answered] = dataclasses.field(default_factory=dict)
    p_no_worse: float | None = None
    detectable: float | None = None
    needed: int | None = None


def verdicts(
    hospitals: Mapping[str, Asked | None], *, margin: float, level: float = 0.95, power: float = 0.8
) -> dict[str, Verdict]:
    """Returns each hospital's verdict.

    - "harmed": worse in any question. "gains": better in a question and worse in none.
    - "no worse": neither, and the primary metric is shown to be less than `margin` worse, by one-sided tests at
      (1 - level) / 2 with Holm's procedure over hospitals, and no question's own interval lies on the worse side.
    - "undecided": none of these. "too few events": None was asked.

    Claims are adjusted twice: by Holm's procedure over a hospital's questions, then over hospitals by Benjamini and
    Hochberg's, as families selected by their smallest p-value (Benjamini and Bogomolov 2014). So where nothing differs
    anywhere, the chance of any claim is at most 1 - level; else at most 1 - level of the hospitals with a claim are
    expected to have a false one.

    Args:
        hospitals: what was asked; None where events are too few.
        margin: of the primary metric, above 0, chosen before the data were looked at.
        level: of intervals and claims.
        power: for `needed` and `detectable`.
    """
    asked = {name: own for name, own in hospitals.items() if own is not None}
    within = {name: dict(zip(own.evidence, holm([e.p_value for e in own.evidence.values()]), strict=True))
              for name, own in asked.items()}  # fmt: skip
    smallest = [min(adjusted.values(), default=1.0) for adjusted in within.values()]
    factor = len(smallest) / max(1, selected(smallest, 1 - level))
    no_worse = dict(zip(asked, holm([_not_worse(own.gain, margin) for own in asked.values()]), strict=True))
    found = {}
    for name, own in hospitals.items():
        if own is None:
            found[name] = Verdict("too few events")
            continue
        questions: dict[Question, Answered] = {
            question: _answered(evidence, min(1.0, within[name][question] * factor), 1 - level)
            for question, evidence in own.evidence.items()
        }
        outcome = _outcome(questions, no_worse[name] <= (1 - level) / 2, 1 - level)
        needed = _needed(own, margin, 1 - (1 - level) / len(asked), power) if outcome == "undecided" else None
        smallest_found = detectable_difference(own.gain, alpha=1 - level, power=power)
        found[name] = Verdict(outcome, questions, no_worse[name], smallest_found, needed)
    return found


def _not_worse(gain: Interval, margin: float) -> float:
    """Returns the p-value of being less than the margin worse; no error means that nothing was learned, not all."""
    return above(gain, -margin) if gain.error else 1.0


def _answered(evidence: Evidence, adjusted: float, alpha: float) -> Answered:
    side = evidence.side
    claim: Claim = "open" if adjusted > alpha or side == "neither" else side
    return Answered(claim, evidence.p_value, adjusted, side)


def _outcome(questions: Mapping[Question, Answered], is_no_worse: bool, alpha: float) -> Outcome:
    claims = {own.claim for own in questions.values()}
    if "worse" in claims:
        return "harmed"
    if "better" in claims:
        return "gains"
    doubtful = any(own.side == "worse" and own.p_value <= alpha for own in questions.values())
    return "no worse" if is_no_worse and not doubtful else "undecided"


def _needed(own: Asked, margin: float, level: float, power: float) -> int | None:
    """Returns how many informative patients "no worse" takes, as the standard error falls with their root.

    `level` allows for all hospitals asked, as if this one were the hardest to tell (Holm's first step).
    """
    smallest = detectable_difference(own.gain, alpha=1 - level, power=power)
    if smallest is None:
        return None
    wanted = int(np.ceil(own.informative * (smallest / margin) ** 2))
    return wanted if wanted > own.informative else None


def p_value(interval: Interval) -> float:
    """Returns the two-sided p-value of no difference, from the estimate, its standard error and its df.

    Raises:
        ValueError: the interval carries no standard error.
    """
    one_sided = above(interval)
    return 2 * min(one_sided, above(turned(interval))) if interval.error else float(one_sided == 0.5)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p-values, in the order given: reject those at most alpha (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def selected(p_values: Sequence[float], alpha: float) -> int:
    """Returns how many hypotheses Benjamini and Hochberg's (1995) procedure rejects at this false discovery rate."""
    ordered = np.sort(np.asarray(p_values, dtype=np.float64))
    passed = np.flatnonzero(ordered <= alpha * np.arange(1, len(ordered) + 1) / max(1, len(ordered)))
    return int(passed[-1]) + 1 if len(passed) else 0


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
