"""Arms against each other, and what that says to each hospital, in numbers and in a sentence."""

from collections.abc import Mapping, Sequence

import numpy as np

from fedmed.statistics import verdicts
from fedmed.study import estimates
from fedmed.study.estimates import Rules
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan, label
from fedmed.study.schema import (
    Answer,
    Comparison,
    ComparisonOfAll,
    Estimate,
    HospitalAnswer,
    HospitalComparison,
    Performance,
    SeededEstimate,
)

_BUILT_IN = (
    ("federated", "local"),
    ("federated", "pooled"),
    ("federated", "leave_one_out"),
    ("fine_tuned", "federated"),
    ("fine_tuned", "local"),
    ("pooled", "local"),
    ("recalibrated", "federated"),
    ("recalibrated", "local"),
)

_SHARES = ("auroc", "auprc", "accuracy", "brier")  # no two of which differ by more than 1


def pairs(arms: Sequence[ArmPlan]) -> list[tuple[str, str]]:
    """Returns which arms are compared, (of, against), the primary one first.

    A variant is compared with the built-in arm of its kind, and with each hospital alone.
    """
    names = [arm.name for arm in arms]
    found = [pair for pair in _BUILT_IN if set(pair) <= set(names)]
    for arm in arms:
        if arm.name == arm.kind:
            continue
        against = [name for name in (arm.kind, "local") if name in names]
        found += [(arm.name, name) for name in dict.fromkeys(against)]
    return found or ([(names[0], names[1])] if len(names) > 1 else [])


def compare(
    outcomes: Outcomes, of: str, against: str, measures: Sequence[Measure], rules: Rules, *, primary: bool
) -> Comparison:
    """Returns two arms against each other; the first of the measures is the primary metric."""
    metric, *others = measures
    tests = {name: outcomes.pairs(of, against, name) for name in outcomes.hospitals}
    found = verdicts(
        outcomes.task,
        metric.name,
        tests,
        rng=rules.rng(of, against, "verdicts"),
        level=rules.level,
        draws=rules.draws,
        minimum_events=rules.minimum_events,
    )
    hospitals = {}
    for name, verdict in found.items():
        told = estimates.told_difference(outcomes, of, against, name, metric, verdict.interval, verdict.reason)
        rest = {m.name: estimates.difference(outcomes, of, against, name, m, rules.of(False)) for m in others}
        hospitals[name] = HospitalComparison(
            verdict.outcome,
            verdict.reason,
            estimates.number(verdict.p_adjusted),
            estimates.number(verdict.detectable),
            {metric.name: told, **rest},
        )
    everyone = {m.name: estimates.difference(outcomes, of, against, None, m, rules.of(m == metric)) for m in measures}
    return Comparison(f"{of}-{against}", of, against, primary, hospitals, ComparisonOfAll(everyone))


def answer(
    comparison: Comparison,
    performance: Mapping[str, Performance],
    metric: Measure,
    level: float,
    arms: Sequence[ArmPlan],
) -> Answer:
    """Returns the verdicts with their sentences, from the primary comparison and the arms' own figures."""
    of, against = comparison.of, comparison.against
    words = {arm.name: label(arm) for arm in arms}
    hospitals = {}
    for name, own in comparison.hospitals.items():
        values = [performance[arm].hospitals.get(name, {}).get(metric.name) for arm in (of, against)]
        hospitals[name] = HospitalAnswer(
            outcome=own.outcome,
            sentence=_sentence(name, own, values, (words[of], words[against]), metric, level),
            difference=own.measures[metric.name],
            p_adjusted=own.p_adjusted,
            detectable=own.detectable,
            of=values[0],
            against=values[1],
        )
    return Answer(comparison.id, _summary(hospitals, words[of], words[against], metric), hospitals)


def _sentence(
    name: str,
    own: HospitalComparison,
    values: Sequence[SeededEstimate | None],
    words: tuple[str, str],
    metric: Measure,
    level: float,
) -> str:
    if own.outcome == "too few events":
        return f"{name}: too few events to say ({own.reason})."
    told = own.measures[metric.name]
    digits = _digits(told)
    start = {"gains": "gains", "harmed": "harmed", "no evidence": "no evidence of a difference"}[own.outcome]
    if told.method == estimates.ALIKE:
        verb = "rank these test patients" if metric.ranks else "score on these test patients"
        return f"{name}: {start}. The two models {verb} exactly alike, so nothing can be said of others from so few."
    text = f"{name}: {start}. "
    shown = [value.estimate for value in values if value is not None and value.estimate is not None]
    if len(shown) == len(words):
        of, against = (f"{value:.{digits}f} ({word})" for value, word in zip(shown, words, strict=True))
        text += f"{metric.label} {of} against {against}: "
    text += (
        f"{told.estimate:+.{digits}f}, {100 * level:g} % interval {told.low:+.{digits}f} to {told.high:+.{digits}f}."
    )
    if own.outcome == "no evidence" and own.detectable is not None:
        if metric.name in _SHARES and own.detectable >= 1:
            return f"{text} With so few patients or seeds no difference at all would have been found."
        text += f" A difference of {own.detectable:.{digits}f} or more would have been found with 80 % chance."
    return text


def _digits(told: Estimate) -> int:
    """Returns decimals that show the interval's half width, at least 3."""
    half = abs((told.high or 0.0) - (told.low or 0.0)) / 2
    return int(np.clip(np.ceil(-np.log10(half)), 3, 6)) if half and np.isfinite(half) else 3


def _summary(hospitals: Mapping[str, HospitalAnswer], of: str, against: str, metric: Measure) -> str:
    counts = {outcome: sum(own.outcome == outcome for own in hospitals.values())
              for outcome in ("gains", "harmed", "no evidence", "too few events")}  # fmt: skip
    said = [
        f"{counts['gains']} gain" + ("s" if counts["gains"] == 1 else ""),
        f"{counts['harmed']} {'is' if counts['harmed'] == 1 else 'are'} harmed",
        f"for {counts['no evidence']} there is no evidence of a difference in {metric.label}",
        f"{counts['too few events']} {'has' if counts['too few events'] == 1 else 'have'} too few events to say",
    ]
    shown = [text for text, count in zip(said, counts.values(), strict=True) if count]
    return f"Of {len(hospitals)} hospitals, with {of} training against {against}: {'; '.join(shown)}."
