"""What the study says to a hospital, in a few plain sentences with the numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fedmed.statistics import ENOUGH_SEEDS, Outcome, Question, says_nothing
from fedmed.study import estimates
from fedmed.study.measures import NET_BENEFIT, Measure
from fedmed.study.schema import AnsweredQuestion, Difference, Estimate, HospitalComparison, SeededEstimate

QUESTIONS: Mapping[Question, str] = {
    "ranking": "in the primary metric",
    "calibration": "in calibration",
    "usefulness": "in usefulness",
}

Figures = Mapping[str, SeededEstimate]


class Words(NamedTuple):
    """How a comparison is told.

    Attributes:
        arms: what the two are called, the compared one first.
        measures: by name.
        level: of intervals.
        margin: of no worse.
        informative: whom events are counted by.
    """

    arms: tuple[str, str]
    measures: Mapping[str, Measure]
    level: float
    margin: float
    informative: str


def hospital(name: str, own: HospitalComparison, figures: tuple[Figures, Figures], words: Words) -> str:
    """Returns the verdict for a hospital and the figures of each question."""
    if own.outcome == "too few events":
        return f"{name}: too few events to say ({own.reason.replace(estimates.TOO_FEW, '')})."
    first = own.measures[next(iter(own.measures))]
    if first.method == estimates.ALIKE and not _claimed(own):
        return (
            f"{name}: {own.outcome}. The two models score on these test patients exactly alike, so nothing can be "
            "said of others from so few."
        )
    facts = [_fact(own, answered, figures, words) for answered in own.questions.values()]
    return " ".join([f"{name}: {_verdict(own)}.", *facts, *_remarks(own, words)])


def _claimed(own: HospitalComparison) -> list[str]:
    return [QUESTIONS[question] for question, answer in own.questions.items() if answer.claim != "open"]


def _verdict(own: HospitalComparison) -> str:
    claims = _claimed(own)
    if own.outcome == "harmed":
        claims = [QUESTIONS[question] for question, answer in own.questions.items() if answer.claim == "worse"]
    return f"{own.outcome} {' and '.join(claims)}" if own.outcome in ("gains", "harmed") else own.outcome


def _fact(own: HospitalComparison, answered: AnsweredQuestion, figures: tuple[Figures, Figures], words: Words) -> str:
    measure = words.measures[answered.measure]
    label = measure.label[:1].upper() + measure.label[1:]
    sides = [side.get(measure.name) for side in figures]
    told = own.measures.get(measure.name)
    digits = _digits(told) if told else 2
    both = [f"{_value(side, digits, told is None)} ({arm})" for side, arm in zip(sides, words.arms, strict=True)]
    text = f"{label} {both[0]} against {both[1]}"
    if told is None or told.estimate is None:
        return f"{text}."
    return f"{text}: {signed(told.estimate, digits)}{_span(told, measure, sides, digits)}."


def _span(told: Difference, measure: Measure, sides: Sequence[SeededEstimate | None], digits: int) -> str:
    if told.low is None or told.high is None:
        return ""
    values = [abs(side.estimate) for side in sides if side is not None and side.estimate is not None]
    scale = 1.0 if measure.name == NET_BENEFIT else max(values, default=1.0)
    if says_nothing(told.low, told.high, scale, len(told.by_seed)):
        return f" (no interval: it takes at least {ENOUGH_SEEDS} seeds)"
    return f" ({signed(told.low, digits)} to {signed(told.high, digits)})"


def _value(side: SeededEstimate | None, digits: int, interval: bool) -> str:
    if side is None or side.estimate is None:
        return "not told"
    span = f", {side.low:.{digits}f} to {side.high:.{digits}f}" if interval and side.low is not None else ""
    return f"{side.estimate:.{digits}f}{span}"


def _remarks(own: HospitalComparison, words: Words) -> list[str]:
    said = []
    metric = words.measures[next(iter(own.measures))]
    if own.outcome == "no worse":
        said.append(f"Less than {words.margin:g} worse in {metric.label}, the margin.")
    if own.outcome == "undecided" and own.needed is not None:
        said.append(
            f"About {_round(own.needed):,} tested {words.informative} would decide whether {metric.label} is less than "
            f"{words.margin:g} worse."
        )
    alpha = 1 - words.level
    near = [a for a in own.questions.values() if a.claim == "open" and a.p_value <= alpha]
    by_side = {
        side: " and ".join(words.measures[a.measure].label for a in near if a.side == side)
        for side in ("better", "worse")
    }
    told = [f"{labels} would be told {side}" for side, labels in by_side.items() if labels]
    if told:
        said.append(
            f"By itself {' and '.join(told)}; it is not once it is allowed for that several questions were asked at "
            "several hospitals."
        )
    return said


def signed(value: float, digits: int = 3) -> str:
    """Returns a difference with its sign; what is zero in these digits has none."""
    text = f"{value:+z.{digits}f}"
    return text if text.strip("+0.") else text[1:]


def interval(told: Estimate, level: float) -> str:
    """Returns ", 95 % interval -0.01 to +0.02" of a difference, "" where it has none."""
    if told.low is None or told.high is None:
        return ""
    return f", {100 * level:g} % interval {signed(told.low)} to {signed(told.high)}"


def _round(count: int) -> int:
    """Returns a count to two digits."""
    return int(float(f"{count:.2g}"))


def _digits(told: Estimate) -> int:
    """Returns decimals that show the interval's half width, at least 3."""
    half = abs((told.high or 0.0) - (told.low or 0.0)) / 2
    return int(np.clip(np.ceil(-np.log10(half)), 3, 6)) if half and np.isfinite(half) else 3


def summary(outcomes: Sequence[Outcome], arms: tuple[str, str]) -> str:
    """Returns how many hospitals have which verdict, in a sentence."""
    counts = {outcome: outcomes.count(outcome) for outcome in ("gains", "harmed", "no worse", "undecided")}
    few = outcomes.count("too few events")
    said = [
        f"{counts['gains']} gain{'s' if counts['gains'] == 1 else ''}",
        f"{counts['harmed']} {'is' if counts['harmed'] == 1 else 'are'} harmed",
        f"{counts['no worse']} {'is' if counts['no worse'] == 1 else 'are'} no worse off",
        f"{counts['undecided']} {'is' if counts['undecided'] == 1 else 'are'} undecided",
    ]
    shown = [text for text, count in zip(said, counts.values(), strict=True) if count]
    shown += [f"{few} {'has' if few == 1 else 'have'} too few events to say"] if few else []
    return f"Of {len(outcomes)} hospitals, with {arms[0]} training against {arms[1]}: {'; '.join(shown)}."
