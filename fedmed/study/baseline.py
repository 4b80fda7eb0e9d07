"""The null model of a study: each hospital's own training labels alone; and what each arm explains beyond it."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from fedmed.data.examples import Array, Task
from fedmed.statistics import Influence, Statistic, null_model
from fedmed.statistics.null_model import Skill
from fedmed.study import estimates, parallel, suppression
from fedmed.study.estimates import Rules
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes, Unit
from fedmed.study.plan import ArmPlan
from fedmed.study.results import Result
from fedmed.study.schema import Estimate, Explained, Performance, Scored, SeededEstimate
from fedmed.study.worst_hospital import worst_hospitals

NULL = "null"


def explained(outcomes: Outcomes, found: Sequence[Measure], rules: Rules) -> Explained:
    """Returns the null model's figures and each arm's skill.

    Args:
        outcomes: of the arms.
        found: what the study scores.
        rules: of its intervals.
    """
    told = [m for m in found if m.metric and m.name not in null_model.NOT_FOR_RANKS]
    skills = skill_measures(outcomes.task)
    return Explained(
        about=f"predicts {null_model.LABEL[outcomes.task]} of the hospital's own training rows for every row",
        null=_performance(null_outcomes(outcomes), NULL, told, rules, partly=False),
        measures=tuple(Scored(m.name, m.label, m.better, m.target) for m in skills),
        skill={arm.name: _performance(_beside_null(outcomes), arm.name, skills, rules) for arm in outcomes.arms},
    )


def skill_measures(task: Task) -> tuple[Measure, ...]:
    """Returns the skills of a task, as measures of predictions [n, ..., 2]: a model's and the null model's."""
    return tuple(
        Measure(kind.name, kind.label, "higher", _beyond(task, kind), compared=False)
        for kind in null_model.SKILLS[task]
    )


def _beyond(task: Task, kind: Skill) -> Statistic:
    def score(y: Array, both: Array, weights: Array | None) -> Array:
        return null_model.explained(task, kind.loss, y, both[..., 0], both[..., 1], weights)

    def influence(y: Array, both: Array, site: Array | None) -> Influence:
        del site
        return null_model.explained_influence(task, kind.loss, y, both[..., 0], both[..., 1])

    return Statistic(score, influence)


def null_outcomes(outcomes: Outcomes) -> Outcomes:
    """Returns the outcomes of the null model as those of an arm, which is trained nowhere."""
    results = {(NULL, seed, None): _untrained(_nulls(outcomes, seed)) for seed in outcomes.seeds}
    arm = ArmPlan(NULL, "federated", outcomes.arms[0].settings, {})
    return dataclasses.replace(outcomes, arms=(arm,), results=results)


def _beside_null(outcomes: Outcomes) -> Outcomes:
    """Returns the outcomes with the null model's predictions beside each arm's, on a last axis."""
    nulls = {seed: _nulls(outcomes, seed) for seed in outcomes.seeds}
    results = {
        key: _untrained([np.stack(both, axis=-1) for both in zip(result.predictions, nulls[key[1]], strict=True)])
        for key, result in outcomes.results.items()
    }
    places = {name: place for place, name in enumerate(outcomes.hospitals)}
    recalibrated = {
        (seed, name): own._replace(p=np.stack([own.p, nulls[seed][places[name]]], axis=-1))
        for (seed, name), own in outcomes.recalibrated.items()
    }
    return dataclasses.replace(outcomes, results=results, recalibrated=recalibrated)


def _nulls(outcomes: Outcomes, seed: int) -> list[Array]:
    """Returns the null model's predictions at each hospital, float32 as those of the arms."""
    dataset, rows = outcomes.consortium.dataset, outcomes.consortium.rows(seed)
    return [
        null_model.null_predictions(
            outcomes.task, dataset.examples.y[rows[name].train], len(rows[name].test), dataset.classes
        ).astype(np.float32)
        for name in outcomes.hospitals
    ]


def _untrained(predictions: list[Array]) -> Result:
    return Result(predictions, np.zeros(0), np.zeros((0, 0)), np.zeros((0, 2)), {}, 0.0, 0)


def _performance(
    outcomes: Outcomes, arm: str, found: Sequence[Measure], rules: Rules, *, partly: bool = True
) -> Performance:
    """Returns an arm's figures; those over all are `partly` of the hospitals that tell theirs, or of all or none."""
    rules = rules.of(False)
    hidden = withheld(outcomes)
    others = tuple(name for name in outcomes.hospitals if name not in hidden) if partly else ()
    everyone: Unit = others if hidden else None
    wanted = [(unit, measure) for unit in (*outcomes.hospitals, everyone) for measure in found]

    def figure(one: tuple[Unit, Measure]) -> SeededEstimate:
        unit, measure = one
        if unit == () or unit in hidden:
            return estimates.untold(outcomes)
        return estimates.performance(outcomes, arm, unit, measure, rules)

    known: Mapping[tuple[Unit, str], SeededEstimate] = {
        (unit, m.name): told for (unit, m), told in zip(wanted, parallel.each(figure, wanted), strict=True)
    }
    hospitals = {name: {m.name: known[name, m.name] for m in found} for name in outcomes.hospitals}
    mean = {m.name: _mean(outcomes, arm, m, rules, hidden) for m in found}
    worst = worst_hospitals(outcomes.hospitals, hospitals, found)
    return Performance(hospitals, {m.name: known[everyone, m.name] for m in found}, mean, worst)


def _mean(outcomes: Outcomes, arm: str, measure: Measure, rules: Rules, hidden: Sequence[str]) -> Estimate:
    if hidden:
        return estimates.estimate(None, f"no figure at {', '.join(hidden)}")
    return estimates.mean_performance(outcomes, arm, measure, rules)


def withheld(outcomes: Outcomes) -> tuple[str, ...]:
    """Returns the hospitals of whose training or test labels a small count would follow from a null model's figure."""
    consortium = outcomes.consortium
    y, patient = consortium.dataset.examples.y, consortium.patient

    def betrays(rows: Array) -> bool:
        classes = range(consortium.dataset.classes)
        return suppression.few(patient[rows]) or any(suppression.few(patient[rows[y[rows] == k]]) for k in classes)

    splits = {name: [consortium.rows(seed)[name] for seed in outcomes.seeds] for name in outcomes.hospitals}
    held = consortium.held
    return tuple(
        name
        for name, own in splits.items()
        if betrays(held[name]) or any(betrays(side) for split in own for side in (split.train, split.test))
    )
