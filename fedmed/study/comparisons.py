"""Arms against each other, and what that says to each hospital."""

from collections.abc import Mapping, Sequence

from fedmed.statistics import verdicts
from fedmed.study import estimates, overall, questions, sentences
from fedmed.study.estimates import Rules
from fedmed.study.measures import NET_BENEFIT, Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan, label
from fedmed.study.schema import (
    Answer,
    AnsweredQuestion,
    Comparison,
    ComparisonOfAll,
    HospitalAnswer,
    HospitalComparison,
    Performance,
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
    metric, *others = [measure for measure in measures if measure.compared]
    asked = {name: questions.ask(outcomes, of, against, name, measures, rules) for name in outcomes.hospitals}
    found = verdicts(
        {name: own for name, (own, _, _) in asked.items()},
        margin=questions.margin(outcomes, metric, rules),
        level=rules.level,
    )
    by = questions.measured(measures)
    hospitals = {}
    for name, verdict in found.items():
        _, told, why = asked[name]
        first = estimates.told_difference(outcomes, of, against, name, metric, told, why)
        rest = {m.name: estimates.difference(outcomes, of, against, name, m, rules.of(False)) for m in others}
        hospitals[name] = HospitalComparison(
            outcome=verdict.outcome,
            reason="" if told is not None else f"{metric.label}: {why}",
            questions={
                question: AnsweredQuestion(by[question].name, own.claim, own.p_value, own.p_adjusted, own.side)
                for question, own in verdict.questions.items()
            },
            p_no_worse=estimates.number(verdict.p_no_worse),
            detectable=estimates.number(verdict.detectable),
            needed=verdict.needed,
            measures={metric.name: first, **rest},
        )
    compared = [metric, *others]
    everyone = {m.name: estimates.difference(outcomes, of, against, None, m, rules.of(m == metric)) for m in compared}
    return Comparison(f"{of}-{against}", of, against, primary, hospitals, ComparisonOfAll(everyone))


def answer(
    outcomes: Outcomes,
    comparison: Comparison,
    performance: Mapping[str, Performance],
    measures: Sequence[Measure],
    rules: Rules,
) -> Answer:
    """Returns the verdicts with their sentences, from the primary comparison and the arms' own figures."""
    metric, of, against = measures[0], comparison.of, comparison.against
    words = {arm.name: label(arm) for arm in outcomes.arms}
    said = sentences.Words(
        (words[of], words[against]),
        {measure.name: measure for measure in measures},
        rules.level,
        questions.margin(outcomes, metric, rules),
        "patients" if outcomes.task == "regression" else "patients of the rarer outcome",
    )
    hospitals = {}
    for name, own in comparison.hospitals.items():
        figures = (performance[of].hospitals.get(name, {}), performance[against].hospitals.get(name, {}))
        hospitals[name] = HospitalAnswer(
            outcome=own.outcome,
            sentence=sentences.hospital(name, own, figures, said),
            difference=own.measures[metric.name],
            questions=own.questions,
            p_no_worse=own.p_no_worse,
            detectable=own.detectable,
            needed=own.needed,
            of=figures[0].get(metric.name),
            against=figures[1].get(metric.name),
        )
    consortium = overall.consortium(outcomes, comparison, metric, rules)
    return Answer(
        comparison=comparison.id,
        summary=sentences.summary([own.outcome for own in hospitals.values()], said.arms),
        hospitals=hospitals,
        margin=said.margin,
        threshold=next((m.threshold for m in measures if m.name == NET_BENEFIT), None),
        consortium=consortium,
    )
