"""Puts study.json together from a study's outcomes (see docs/results.md). Pure: no file, no clock, no training."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fedmed.data.faults import warnings
from fedmed.engine import fates
from fedmed.engine import scenarios as simulated
from fedmed.settings import config
from fedmed.settings.study import Study
from fedmed.statistics import ArmTest, informative_patients
from fedmed.study import (
    attended,
    baseline,
    comparisons,
    design,
    distances,
    parallel,
    price,
    questions,
    recalibrating,
    references,
    risks,
    risks_by_outcome,
    sample_size,
    subgroups,
    suppression,
    table_one,
    trouble,
    views,
)
from fedmed.study.consortium import Consortium
from fedmed.study.estimates import Rules, mean_performance, of_whom, performance
from fedmed.study.measures import Measure, measures
from fedmed.study.outcomes import Outcomes
from fedmed.study.risks import by_unit
from fedmed.study.schema import (
    ByUnit,
    Comparison,
    Findings,
    Grow,
    HospitalCounts,
    Metric,
    Performance,
    Reproduce,
    Scenario,
    Scored,
    SeededEstimate,
)
from fedmed.study.schema.contested import Contest
from fedmed.study.schema.leaked import Leakage
from fedmed.study.schema.promised import NOTHING_PROMISED, StudyPrivacy
from fedmed.study.schema.stressed import Stress
from fedmed.study.schema.tuned import TunedArm
from fedmed.study.suppression import MINIMUM_CELL
from fedmed.study.worst_hospital import worst_hospitals

Figures: TypeAlias = Mapping[str, ByUnit[Mapping[str, SeededEstimate]]]
"""Of each arm at each unit, by measure."""


def rules_of(settings: config.RunConfig) -> Rules:
    """Returns how a study's intervals are made."""
    study = settings.study
    return Rules(settings.seed, study.level, study.draws, study.minimum_events, study.margin)


def scored(settings: config.RunConfig, consortium: Consortium, metric: str) -> tuple[Measure, ...]:
    """Returns what the study scores, the primary metric first."""
    task, study = consortium.dataset.task, settings.study
    return measures(task, study.specificity, metric, _threshold(study, consortium) if task == "binary" else None)


def _threshold(study: Study, consortium: Consortium) -> float:
    """Returns the risk at which net benefit is told: the config's, else the share of all rows with the event."""
    prevalence = float(f"{np.mean(consortium.dataset.examples.y):.2g}")
    return study.threshold or float(np.clip(prevalence, 0.01, 0.99))


def findings(
    settings: config.RunConfig,
    outcomes: Outcomes,
    metric: str,
    *,
    reproduce: Reproduce,
    scenarios: Sequence[Scenario] = (),
    grow: Grow | None = None,
    tuned: Sequence[TunedArm] = (),
    privacy: StudyPrivacy = NOTHING_PROMISED,
    leaked: Leakage | None = None,
    doubts: Sequence[str] = (),
    contest: Contest | None = None,
    stressed: Stress | None = None,
) -> Findings:
    """Returns all that a study finds; other data and the growing consortium have outcomes of their own."""
    rules, study, consortium = rules_of(settings), settings.study, outcomes.consortium
    found = scored(settings, consortium, metric)
    pairs = comparisons.pairs(outcomes.arms)
    arms = performances(outcomes, found, rules)
    compared = compare_all(outcomes, found, rules)
    answer = comparisons.answer(outcomes, compared[0], arms, found, rules) if compared else None
    task = consortium.dataset.task
    decided = risks.decision(outcomes, study.thresholds, pairs, rules) if task == "binary" else None
    explained = baseline.explained(outcomes, found, rules)
    counts = hospitals(outcomes, metric, study.minimum_events)
    contributed = attended.contributed(outcomes)
    return Findings(
        schema=1,
        name=settings.name,
        question=study.question,
        task=task,
        metric=Metric(found[0].name, found[0].label, found[0].better),
        level=study.level,
        specificity=study.specificity if task == "binary" else None,
        minimum_events=study.minimum_events,
        minimum_cell=MINIMUM_CELL,
        seeds=tuple(outcomes.seeds),
        measures=tuple(Scored(m.name, m.label, m.better, m.target) for m in found),
        data=design.data(settings, consortium),
        design=design.design(
            settings,
            outcomes.arms,
            pairs,
            consortium,
            found[0].label,
            questions.margin(outcomes, found[0], rules),
            tuned,
        ),
        hospitals=counts,
        answer=answer,
        refused=trouble.refused(outcomes),
        contributions=contributed,
        warnings=(
            *attended.missed(outcomes, contributed),
            *warnings(consortium.faults, settings.data.preprocessing),
            *doubts,
            *trouble.warnings(outcomes, found[0], explained, rules.level),
            *simulated.warnings(settings, fates.whom_at_any_seed(settings, consortium.patients_held())),
        ),
        table1=table_one.table_one(consortium),
        shift=distances.shift(consortium, study.level),
        performance=arms,
        comparisons=compared,
        curves=views.curves(outcomes, found[0].name),
        calibration=risks.calibration(outcomes, rules),
        risk_spread=risks_by_outcome.risk_spread(outcomes, rules) if task == "binary" else None,
        decision=decided,
        subgroups=subgroups.subgroups(outcomes, study, found[0], pairs[:1], rules),
        truth=views.truth(outcomes),
        transfer=views.transfer(outcomes, found[0], rules),
        communication=price.communication(outcomes, study, found[0], arms),
        seed_sensitivity=views.seed_sensitivity(answer, outcomes.seeds),
        scenarios=tuple(scenarios),
        grow=grow,
        reproduce=reproduce,
        recalibration=recalibrating.recalibration(outcomes, found, rules),
        references=references.references(outcomes, arms, found, rules),
        explained=explained,
        sample_size=sample_size.sample_size(outcomes, settings.data.preprocessing, counts),
        notes=consortium.dataset.notes,
        privacy=privacy,
        leakage=leaked,
        contest=contest,
        stress=stressed,
    )


def scenario(
    settings: config.RunConfig, outcomes: Outcomes, metric: str, name: str, changes: Mapping[str, Any]
) -> Scenario:
    """Returns the short form of a study on other data: the primary metric only."""
    rules = rules_of(settings)
    primary = scored(settings, outcomes.consortium, metric)[:1]
    return Scenario(
        name=name,
        label=name,
        set=changes,
        hospitals=hospitals(outcomes, metric, rules.minimum_events),
        performance=_figures(outcomes, primary, rules),
        comparisons=compare_all(outcomes, primary, rules),
    )


def performances(outcomes: Outcomes, found: Sequence[Measure], rules: Rules) -> dict[str, Performance]:
    """Returns each arm's figures at each hospital, over all of them, the metrics' means over hospitals, the worst."""
    metrics = [measure for measure in found if measure.metric]
    performed = {}
    for arm, figures in _figures(outcomes, found, rules).items():
        means = parallel.each(lambda m, a=arm: mean_performance(outcomes, a, m, rules.of(False)), metrics)
        mean = {measure.name: mean for measure, mean in zip(metrics, means, strict=True)}
        worst = worst_hospitals(outcomes.hospitals, figures.hospitals, metrics)
        performed[arm] = Performance(figures.hospitals, figures.all or {}, mean, worst)
    return performed


def _figures(outcomes: Outcomes, found: Sequence[Measure], rules: Rules) -> Figures:
    wanted = [(arm.name, unit, measure) for arm in outcomes.arms for unit in outcomes.units for measure in found]
    figures = parallel.each(lambda one: performance(outcomes, *one, rules.of(one[2] == found[0])), wanted)
    known = {(arm, unit, m.name): figure for (arm, unit, m), figure in zip(wanted, figures, strict=True)}
    return {
        arm.name: by_unit(outcomes, lambda unit, a=arm.name: {m.name: known[a, unit, m.name] for m in found})
        for arm in outcomes.arms
    }


def compare_all(outcomes: Outcomes, found: Sequence[Measure], rules: Rules) -> tuple[Comparison, ...]:
    """Returns every comparison, the primary one first."""
    pairs = comparisons.pairs(outcomes.arms)
    compared = parallel.each(lambda p: comparisons.compare(outcomes, *p, found, rules, primary=p == pairs[0]), pairs)
    return tuple(compared)


def hospitals(outcomes: Outcomes, metric: str, minimum_events: int) -> tuple[HospitalCounts, ...]:
    """Returns what there is of patients and events at each hospital; `metric` is the primary one."""
    return tuple(_hospital(outcomes, name, metric, minimum_events) for name in outcomes.hospitals)


def _hospital(outcomes: Outcomes, name: str, metric: str, minimum_events: int) -> HospitalCounts:
    consortium = outcomes.consortium
    rows, y, patient = consortium.held[name], consortium.dataset.examples.y, consortium.patient
    splits = [consortium.rows(seed)[name] for seed in outcomes.seeds]
    tested = [ArmTest(y[own.test], y[own.test], patient[own.test]) for own in splits if len(own.test)]
    informative = informative_patients(outcomes.task, tested, metric)
    events = len(np.unique(patient[rows][y[rows] == 1])) if outcomes.task == "binary" else None
    others = len(np.unique(patient[rows][y[rows] == 0]))
    if suppression.is_small(events or 0) or suppression.is_small(others):
        events = None
    patients = len(np.unique(patient[rows]))
    enough, whom = informative >= minimum_events, of_whom(outcomes.task, metric)
    return HospitalCounts(
        id=name,
        **_sizes(outcomes, name),
        events=events,
        event_rate=None if events is None else events / patients,
        informative=None if suppression.is_small(informative) else informative,
        enough=enough,
        reason="" if enough else f"fewer than {minimum_events} tested patients {whom}".strip(),
    )


def _sizes(outcomes: Outcomes, name: str) -> dict[str, int | None]:
    """Returns rows and patients; None for a small count of patients, and for rows of which one would follow."""
    consortium = outcomes.consortium
    rows, patient = consortium.held[name], consortium.patient
    splits = [consortium.rows(seed)[name] for seed in outcomes.seeds]
    tested = patient[np.concatenate([own.test for own in splits])]
    untold = suppression.few(patient[rows])
    sides_untold = untold or suppression.few_on_a_side(consortium, name, outcomes.seeds)
    return {
        "rows": None if untold else len(rows),
        "patients": None if untold else len(np.unique(patient[rows])),
        "train_rows": None if sides_untold else round(float(np.mean([len(own.train) for own in splits]))),
        "test_rows": None if sides_untold else round(float(np.mean([len(own.test) for own in splits]))),
        "tested_patients": None if untold or suppression.few(tested) else len(np.unique(tested)),
    }
