"""Puts study.json together from a study's outcomes (see schema.md). Pure: no file, no clock, no training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmed.settings import config
from fedmed.statistics import ArmTest, informative_patients
from fedmed.study import comparisons, distances, parallel, risks, subgroups, suppression, table_one, views
from fedmed.study.consortium import Consortium
from fedmed.study.estimates import Rules, mean_performance, performance
from fedmed.study.measures import Measure, measures
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ABOUT, LABELS, ArmPlan
from fedmed.study.risks import by_unit
from fedmed.study.suppression import MINIMUM_CELL

SCHEMA = 1

_ESTIMAND = (
    "The expected difference, on new patients of a hospital, between the models that two arms train on as many "
    "patients as here, over training seeds."
)
_VERDICT_RULE = (
    "A hospital gains (or is harmed) when the Holm-adjusted p-value of its difference over all hospitals is at most "
    "{alpha:g}; so the chance that any hospital for which nothing differs is told otherwise is at most {alpha:g}. With "
    "fewer than {events} informative tested patients there is no figure and no verdict."
)
_ONE_SEED = "One seed cannot show how much the answer depends on the split and on the training's randomness."
_INTERVALS_OF_ONE = f"Patients are drawn with replacement, with the models held fixed. {_ONE_SEED}"
_INTERVALS = (
    "Patients are drawn with replacement once for all seeds, with the models held fixed; what seeds add beyond their "
    "test patients is added to the variance; quantiles are Student's (fedmed.statistics.paired_difference)."
)


def rules_of(settings: config.RunConfig) -> Rules:
    """Returns how a study's intervals are made."""
    study = settings.study
    return Rules(settings.seed, study.level, study.draws, study.minimum_events)


def scored(settings: config.RunConfig, consortium: Consortium, metric: str) -> tuple[Measure, ...]:
    """Returns what the study scores, the primary metric first."""
    return measures(consortium.dataset.task, settings.study.specificity, metric)


def study_json(settings: config.RunConfig, outcomes: Outcomes, metric: str) -> dict[str, Any]:
    """Returns everything but scenarios, grow and reproduce, which `fedmed.study.conduct` adds."""
    rules, study, consortium = rules_of(settings), settings.study, outcomes.consortium
    found = scored(settings, consortium, metric)
    pairs = comparisons.pairs(outcomes.arms)
    arms = _performance(outcomes, found, rules)
    for arm, figures in arms.items():
        metrics = [measure for measure in found if measure.metric]
        means = parallel.each(lambda m, a=arm: mean_performance(outcomes, a, m, rules.of(False)), metrics)
        figures["mean"] = {measure.name: mean for measure, mean in zip(metrics, means, strict=True)}
    compared = compare_all(outcomes, [m for m in found if m.compared], rules)
    answer = comparisons.answer(compared[0], arms, found[0], study.level, outcomes.arms) if compared else None
    task = consortium.dataset.task
    return {
        "schema": SCHEMA,
        "name": settings.name,
        "question": study.question,
        "task": task,
        "metric": {"name": found[0].name, "label": found[0].label, "better": found[0].better},
        "level": study.level,
        "specificity": study.specificity if task == "binary" else None,
        "minimum_events": study.minimum_events,
        "minimum_cell": MINIMUM_CELL,
        "seeds": list(outcomes.seeds),
        "measures": [{"name": m.name, "label": m.label, "better": m.better, "target": m.target} for m in found],
        "data": _data(settings, consortium),
        "design": _design(settings, outcomes.arms, pairs, consortium),
        "hospitals": hospitals(outcomes, study.minimum_events),
        "answer": answer,
        "table1": table_one.table_one(consortium),
        "shift": distances.shift(consortium, study.level),
        "performance": arms,
        "comparisons": compared,
        "curves": views.curves(outcomes, found[0].name),
        "calibration": risks.calibration(outcomes, rules),
        "decision": risks.decision(outcomes, study.thresholds, pairs, rules) if task == "binary" else None,
        "subgroups": subgroups.subgroups(outcomes, study, found[0], pairs[:1], rules),
        "truth": views.truth(outcomes),
        "transfer": views.transfer(outcomes, found[0], rules),
        "communication": views.communication(outcomes, study, found[0], arms),
        "seed_sensitivity": views.seed_sensitivity(answer, outcomes.seeds),
    }


def scenario_json(
    settings: config.RunConfig, outcomes: Outcomes, metric: str, name: str, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the short form of a study on other data: the primary metric only."""
    rules = rules_of(settings)
    primary = scored(settings, outcomes.consortium, metric)[:1]
    return {
        "name": name,
        "label": name,
        "set": dict(changes),
        "hospitals": hospitals(outcomes, rules.minimum_events),
        "performance": _performance(outcomes, primary, rules),
        "comparisons": compare_all(outcomes, primary, rules),
    }


def _performance(outcomes: Outcomes, found: Sequence[Measure], rules: Rules) -> dict[str, Any]:
    wanted = [(arm.name, unit, measure) for arm in outcomes.arms for unit in outcomes.units for measure in found]
    figures = parallel.each(lambda one: performance(outcomes, *one, rules.of(one[2] == found[0])), wanted)
    known = {(arm, unit, m.name): figure for (arm, unit, m), figure in zip(wanted, figures, strict=True)}
    return {
        arm.name: by_unit(outcomes, lambda unit, a=arm.name: {m.name: known[a, unit, m.name] for m in found})
        for arm in outcomes.arms
    }


def compare_all(outcomes: Outcomes, found: Sequence[Measure], rules: Rules) -> list[dict[str, Any]]:
    """Returns every comparison, the primary one first."""
    pairs = comparisons.pairs(outcomes.arms)
    return parallel.each(lambda p: comparisons.compare(outcomes, *p, found, rules, primary=p == pairs[0]), pairs)


def hospitals(outcomes: Outcomes, minimum_events: int) -> list[dict[str, Any]]:
    """Returns what there is of patients and events at each hospital."""
    return [_hospital(outcomes, name, minimum_events) for name in outcomes.hospitals]


def _hospital(outcomes: Outcomes, name: str, minimum_events: int) -> dict[str, Any]:
    consortium = outcomes.consortium
    rows, y, patient = consortium.held[name], consortium.dataset.examples.y, consortium.patient
    splits = [consortium.rows(seed)[name] for seed in outcomes.seeds]
    tested = [ArmTest(y[own.test], y[own.test], patient[own.test]) for own in splits if len(own.test)]
    informative = informative_patients(outcomes.task, tested)
    events = len(np.unique(patient[rows][y[rows] == 1])) if outcomes.task == "binary" else None
    others = len(np.unique(patient[rows][y[rows] == 0]))
    if suppression.is_small(events or 0) or suppression.is_small(others):
        events = None
    patients = len(np.unique(patient[rows]))
    enough = informative >= minimum_events
    return {
        "id": name,
        "rows": len(rows),
        "patients": patients,
        "train_rows": round(float(np.mean([len(own.train) for own in splits]))),
        "test_rows": round(float(np.mean([len(own.test) for own in splits]))),
        "tested_patients": len(np.unique(patient[np.concatenate([own.test for own in splits])])),
        "events": events,
        "event_rate": None if events is None else events / patients,
        "informative": None if suppression.is_small(informative) else informative,
        "enough": enough,
        "reason": "" if enough else f"fewer than {minimum_events} tested patients with, or without, the event",
    }


def _data(settings: config.RunConfig, consortium: Consortium) -> dict[str, Any]:
    dataset = consortium.dataset
    own = "Each hospital's own test rows, split anew at each seed; a patient's rows stay on one side."
    aside = " The data set's own test set is not used." if not consortium.own_test else ""
    return {
        "name": dataset.name,
        "rows": len(dataset.examples),
        "patients": len(np.unique(consortium.patient)),
        "classes": dataset.classes,
        "class_names": list(dataset.class_names),
        "features": [{"name": f.name, "unit": f.unit, "levels": list(f.levels)} for f in dataset.features],
        "synthetic": "risk_true" in dataset.truth,
        "test": own + aside,
        "preprocessing": settings.data.preprocessing if dataset.is_table else None,
        "roles": _roles(settings),
    }


def _roles(settings: config.RunConfig) -> list[str] | None:
    """Returns which settings say what a user's own table's columns are; None for any other data set."""
    known = ("features", "label", "site", "group", "ignore")
    return [role for role in known if settings.data.args.get(role)] if settings.data.name == "table" else None


def _design(
    settings: config.RunConfig, arms: Sequence[ArmPlan], pairs: Sequence[tuple[str, str]], consortium: Consortium
) -> dict[str, Any]:
    study = settings.study
    return {
        "arms": [
            {
                "name": arm.name,
                "kind": arm.kind,
                "label": LABELS[arm.kind] if arm.name == arm.kind else arm.name,
                "about": ABOUT[arm.kind],
                "set": {key: _short(value) for key, value in arm.changes.items()},
            }
            for arm in arms
        ],
        "comparisons": [f"{of}-{against}" for of, against in pairs],
        "estimand": _ESTIMAND,
        "splits": _splits(study.seeds),
        "verdict_rule": _VERDICT_RULE.format(alpha=round(1 - study.level, 6), events=study.minimum_events),
        "interval_method": _INTERVALS if study.seeds > 1 else _INTERVALS_OF_ONE,
        "suppression": suppression.RULE,
        "subgroups_asked": study.subgroups is not None,
        "not_done": _not_done(settings, consortium),
    }


def _splits(seeds: int) -> str:
    if seeds == 1:
        return f"One random split of the patients, the same for all arms. {_ONE_SEED}"
    return f"{seeds} random splits of the same patients, one a seed, the same for all arms."


def _short(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value


def _not_done(settings: config.RunConfig, consortium: Consortium) -> list[str]:
    said = [
        "Settings such as learning rate and rounds were not tuned for each arm; all arms have the config's.",
        "No model was chosen by its test results: each is the one after the last round.",
        "Patients come from the same hospitals and time as those trained on; later patients were not tested.",
        "What training sets of one hospital have in common is not in the intervals; no method sees it from splits.",
    ]
    if "leave_one_out" not in settings.study.arms and not settings.study.leave_one_out:
        said.append("No model was tested at a hospital that took no part (leave_one_out).")
    if "risk_true" in consortium.dataset.truth:
        said.append("The patients are synthetic: what is found holds for hospitals such as these, not for yours.")
    if settings.stop.target is not None or settings.stop.patience is not None:
        said.append("The config's early stopping was left out, as it looks at test rows.")
    return said
