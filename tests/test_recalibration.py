"""Recalibration equals a regression with an offset fitted on the other folds, and moves nobody by their own outcome."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from test_study_figures import RULES, outcomes

from fedmed.data.examples import Task
from fedmed.settings.study import Study
from fedmed.statistics import folds, recalibration
from fedmed.statistics.recalibration import How
from fedmed.study import comparisons, measures, plan, recalibrating, report, views
from fedmed.study.outcomes import Outcomes, gather
from fedmed.study.plan import ArmPlan, Job
from fedmed.system import errors

FAMILIES: dict[Task, Any] = {
    "binary": sm.families.Binomial(),
    "count": sm.families.Poisson(),
    "regression": sm.families.Gaussian(),
}


def made(task: Task, rows: int = 300) -> tuple[Any, Any, Any]:
    """Returns labels, predictions that are too low and too extreme, and patients of two rows each."""
    rng = np.random.default_rng(4)
    z = rng.normal(-1, 1, rows)
    p = {"binary": 1 / (1 + np.exp(-1.5 * z)), "count": np.exp(1.5 * z), "regression": 900 + 1.5 * z}[task]
    y = {
        "binary": (rng.random(rows) < 1 / (1 + np.exp(-z - 0.7))).astype(np.int64),
        "count": rng.poisson(np.exp(z + 0.7)),
        "regression": 907 + z + rng.normal(size=rows),
    }[task]
    return y, p, np.arange(rows) // 2


@pytest.mark.parametrize("task", FAMILIES)
@pytest.mark.parametrize("how", ["intercept", "intercept and slope"])
def test_each_fold_is_a_regression_on_the_others(task: Task, how: How) -> None:
    y, p, patient = made(task)
    fold = folds.by_patient(y, patient, 5, np.random.default_rng(0))
    found = recalibration.cross_fitted(task, how, y, p, patient, fold)
    link = {"binary": lambda q: np.log(q / (1 - q)), "count": np.log, "regression": lambda q: q}[task](p)
    assert not found.left
    for number in range(5):
        out = fold == number
        x = np.ones((len(y), 1)) if how == "intercept" else sm.add_constant(link)
        offset = link if how == "intercept" else np.zeros(len(y))
        fit = sm.GLM(y[~out], x[~out], family=FAMILIES[task], offset=offset[~out]).fit(tol=1e-12)
        expected = fit.predict(x[out], offset=offset[out])
        np.testing.assert_allclose(found.p[out], expected, rtol=1e-6)


def test_an_intercept_by_hand() -> None:
    """All rated 0.2, half have the event: every prediction becomes a half. Counts grow by observed over expected."""
    y, p = np.tile([0, 1], 20), np.full(40, 0.2)
    assert recalibration.coefficients("binary", "intercept", y, p) == pytest.approx((np.log(4), 1.0))
    assert recalibration.coefficients("count", "intercept", y, p) == pytest.approx((np.log(0.5 / 0.2), 1.0))
    assert recalibration.coefficients("regression", "intercept", y, p) == pytest.approx((0.3, 1.0))


@pytest.mark.parametrize("task", FAMILIES)
def test_nobodys_own_outcome_moves_their_prediction(task: Task) -> None:
    y, p, patient = made(task)
    fold = folds.by_patient(y, patient, 5, np.random.default_rng(0))
    before = recalibration.cross_fitted(task, "intercept", y, p, patient, fold).p
    changed = y.copy()
    changed[fold == 2] = 1 - y[fold == 2] if task == "binary" else y[fold == 2] + 3
    after = recalibration.cross_fitted(task, "intercept", changed, p, patient, fold).p
    np.testing.assert_array_equal(before[fold == 2], after[fold == 2])
    assert (before[fold != 2] != after[fold != 2]).all()


def test_too_few_events_leave_the_predictions_as_they_are() -> None:
    y, p, patient = np.zeros(60, np.int64), np.linspace(0.1, 0.9, 60), np.arange(60)
    y[:5] = 1
    fold = folds.by_patient(y, patient, 5, np.random.default_rng(0))
    found = recalibration.cross_fitted("binary", "intercept", y, p, patient, fold)
    assert found.left  # four of five are in the rest of every fold
    np.testing.assert_array_equal(found.p, p)


def test_folds_keep_patients_whole_and_spread_events() -> None:
    y, _, patient = made("binary")
    y[:] = 0
    y[np.isin(patient, [3, 70, 71, 100, 149])] = 1
    fold = folds.by_patient(y, patient, 5, np.random.default_rng(0))
    assert all(len(np.unique(fold[patient == one])) == 1 for one in patient)
    assert [len(np.unique(patient[(fold == k) & (y == 1)])) for k in range(5)] == [1] * 5
    np.testing.assert_array_equal(fold, folds.by_patient(y, patient, 5, np.random.default_rng(0)))


def with_recalibration(task: Task = "binary", how: How = "intercept") -> Outcomes:
    """Returns made-up outcomes of which the federated model rates all too low."""
    plain = outcomes(task)
    settings = dataclasses.replace(plain.arms[0].settings, study=Study(recalibration=how))
    found = []
    for (arm, seed, hospital), result in plain.results.items():
        if arm == "federated":
            result = result._replace(predictions=[p * np.float32(0.5) for p in result.predictions])
        job = Job("x", arm, plain.arm(arm).kind, dataclasses.replace(settings, seed=seed), hospital=hospital)
        found.append((job, result))
    arms = [*plain.arms, ArmPlan("recalibrated", "recalibrated", settings, {})]
    return gather(plain.consortium, plain.seeds, arms, found)


@pytest.mark.parametrize("task", FAMILIES)
def test_a_hospital_is_told_what_it_buys_and_what_it_takes(task: Task) -> None:
    found = with_recalibration(task)
    pairs = comparisons.pairs(found.arms)
    assert {("recalibrated", "federated"), ("recalibrated", "local")} < set(pairs)
    assert pairs[0] == ("federated", "local")
    scored = measures.measures(task, 0.9, "auroc" if task == "binary" else "loss", 0.3 if task == "binary" else None)
    told = recalibrating.recalibration(found, scored, RULES)
    assert told is not None
    large = told.hospitals["a"]
    ideal = 0.0 if task == "regression" else 1.0
    assert large.agreement_before.low is not None
    assert large.agreement_before.low > ideal
    assert large.agreement_after.estimate == pytest.approx(ideal, abs=0.02)
    assert large.labelled == 200
    assert "before" in large.sentence
    assert "It took the outcomes of the 200 patients tested at a seed" in large.sentence
    if task == "binary":
        assert (large.benefit_after or 0) > (large.benefit_before or 0)
        assert told.hospitals["tiny"].left == 3
        assert "Too few patients to fit it" in told.hospitals["tiny"].sentence
        np.testing.assert_array_equal(
            found.predictions("recalibrated", 0, "tiny"), found.predictions("federated", 0, "tiny")
        )


def test_it_has_figures_and_no_learning_curve() -> None:
    found = with_recalibration()
    assert set(views.curves(found, "auroc").arms) == {"federated", "local"}
    scored = report.scored(found.arms[0].settings, found.consortium, "auroc")
    assert set(report.performances(found, scored[:1], RULES)["recalibrated"].hospitals) == {"a", "b", "tiny"}


def test_several_classes_have_none() -> None:
    found = outcomes()
    several = dataclasses.replace(found.consortium.dataset, task="multiclass", classes=3)
    whole = plan.scenarios(found.arms[0].settings)[0]
    assert "recalibrated" in [arm.name for arm in whole.arms]
    assert "recalibrated" not in [arm.name for arm in plan.fitting(whole, several).arms]
    study = Study(arms=("federated", "recalibrated"))
    asked = plan.scenarios(dataclasses.replace(found.arms[0].settings, study=study))[0]
    with pytest.raises(errors.ConfigError, match="'recalibrated' is for binary, count, regression tasks, and this one"):
        plan.fitting(asked, several)
