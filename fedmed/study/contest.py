"""Which algorithm does better where, said only where the patients can tell: paired differences with Holm's words."""

from collections.abc import Mapping, Sequence

from fedmed.engine import attendance
from fedmed.settings.study import Study
from fedmed.study import contest_words, judging, plan, presets, price, trouble
from fedmed.study.estimates import Rules
from fedmed.study.judged_words import Words
from fedmed.study.judging import Judge
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan
from fedmed.study.schema.contested import Contender, Contest, ContestTarget, Contrast, Sent
from fedmed.study.schema.tuned import TunedArm
from fedmed.study.tuning.halving import Effort


def contest(
    outcomes: Outcomes,
    study: Study,
    metric: Measure,
    rules: Rules,
    *,
    tuned: Sequence[TunedArm],
    effort: Effort,
    left_out: Mapping[str, str],
    ceiling: float | None,
) -> Contest:
    """Returns what comparing the algorithms finds.

    Args:
        outcomes: of the algorithms in order and, last, of each hospital alone.
        study: its settings.
        metric: the primary one.
        rules: of the intervals.
        tuned: what each arm was given.
        effort: of its search.
        left_out: algorithms that are not for the model, and why.
        ceiling: what the study's pooled training reaches over all test rows, if it was trained.
    """
    arms, diverged = _finite(outcomes)
    first, *others = [arm.name for arm in arms]
    over = judging.with_figures(outcomes, first, metric, rules)
    aim = price.aim(study, metric, ceiling)
    found = Judge(outcomes, metric, rules, over)
    to_first = found.contrasts([(other, first) for other in others])
    to_local = found.contrasts([(arm.name, presets.LOCAL) for arm in arms])
    said = Words(metric, rules.level, first, len(over), len(outcomes.seeds))
    contenders = {
        arm.name: Contender(
            label=plan.label(arm),
            about=contest_words.about(arm),
            set=arm.changes,
            hospitals=found.figures(arm.name),
            mean=found.mean(arm.name),
            worst=judging.worst(found.figures(arm.name), metric),
            sent=None if arm.kind == "local" else _sent(outcomes, arm, metric, aim),
            sentence=f"{_sentence(arm, to_first, to_local, said)} {trouble.refusals(outcomes, arm.name)}".strip(),
        )
        for arm in (*arms, outcomes.arm(presets.LOCAL))
    }
    rounds = outcomes.arms[0].settings.rounds
    return Contest(
        metric=metric.name,
        first=first,
        over=over,
        arms=contenders,
        to_first=to_first,
        to_local=to_local,
        left_out={**left_out, **diverged},
        target=None if aim is None else ContestTarget(*aim),
        tuned=tuple(tuned),
        summary=contest_words.summary(to_first, to_local, said, tuned=study.tune),
        estimand=contest_words.ESTIMAND.format(metric=metric.label),
        tuning=contest_words.tuning(effort, rounds),
        method=contest_words.method(rules.level, len(others), len(over), first),
    )


def _finite(outcomes: Outcomes) -> tuple[list[ArmPlan], dict[str, str]]:
    """Returns the algorithms whose training diverged at no seed, and of the others why they are left out."""
    arms = [arm for arm in outcomes.arms if arm.kind != "local"]
    seeds = {arm.name: judging.lost(outcomes, arm.name) for arm in arms}
    lost = {name: f"its training diverged at seed {', '.join(map(str, own))}" for name, own in seeds.items() if own}
    kept = [arm for arm in arms if arm.name not in lost]
    return (kept, lost) if kept else (arms, {})


def _sentence(arm: ArmPlan, to_first: Sequence[Contrast], to_local: Sequence[Contrast], said: Words) -> str:
    return "" if arm.kind == "local" else contest_words.sentence(arm.name, to_first, to_local, said)


def _sent(outcomes: Outcomes, arm: ArmPlan, metric: Measure, aim: tuple[float, str] | None) -> Sent:
    last, hospitals = float(price.bytes_sent(outcomes, arm.name)[-1].sum()), len(outcomes.hospitals)
    turns = arm.settings.rounds * attendance.cohort_size(arm.settings.cohort, hospitals)
    reached = None if aim is None else price.reached(outcomes, arm.name, metric, aim[0])
    return Sent(round(last / turns), round(last / hospitals), reached)
