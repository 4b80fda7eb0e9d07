"""Subgroups, shift between hospitals and distance to the truth, by hand and against scikit-learn and scipy."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from fedmed.statistics import (
    against_truth,
    by_subgroup,
    expected_auroc,
    feature_shift,
    label_shift,
    standardised_mean_difference,
    subgroup_gap,
    total_variation,
    worst_subgroup,
)


def cohort(n: int = 600, harm: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of two groups of equal size; predictions for group b are blurred by `harm`."""
    draw = np.random.default_rng(0)
    y = (draw.random(n) < 0.3).astype(np.int64)
    group = np.where(np.arange(n) % 2 == 0, "a", "b")
    noise = draw.normal(size=n) * (1 + harm * (group == "b"))
    return y, 1 / (1 + np.exp(1 - 2 * y - noise)), group, np.arange(n) // 2 * 2 + (group == "b")


def test_metrics_of_a_subgroup_are_those_of_its_rows() -> None:
    y, p, group, patient = cohort(harm=2.0)
    a, b = by_subgroup("binary", y, p, group, patient)
    assert a.metrics is not None
    assert a.metrics["auroc"] == pytest.approx(sk.roc_auc_score(y[group == "a"], p[group == "a"]))
    assert (a.rows, a.patients, b.name) == (300, 300, "b")
    assert worst_subgroup("binary", "auroc", (a, b)) is b
    assert worst_subgroup("binary", "brier", (a, b)) is b
    assert worst_subgroup("binary", "auroc", ()) is None


def test_small_groups_are_suppressed_and_cannot_be_worked_out() -> None:
    y, p = np.array([0, 1] * 20), np.linspace(0, 1, 40)
    group = np.array(["x"] * 3 + ["y"] * 10 + ["z"] * 27)
    x, second, z = by_subgroup("binary", y, p, group, np.arange(40))
    assert (x.rows, x.patients, x.metrics) == (None, None, None)
    assert second.metrics is None, "all rows minus y and z would tell of x"
    assert z.rows == 27
    assert "suppressed" in x.reasons


def test_rows_of_few_patients_are_suppressed() -> None:
    y, p = np.array([0, 1] * 20), np.linspace(0, 1, 40)
    (only,) = by_subgroup("binary", y, p, np.full(40, "x"), np.arange(40) % 4)
    assert only.metrics is None


def test_gap_finds_a_group_served_worse_and_none_where_none_is() -> None:
    y, p, group, patient = cohort(harm=2.0)
    found = subgroup_gap("binary", "auroc", y, p, group, patient, rng=np.random.default_rng(1), draws=300)
    assert found is not None
    a, b = (sk.roc_auc_score(y[group == g], p[group == g]) for g in "ab")
    assert (found.worst, found.best) == ("b", "a")
    assert found.interval.estimate == pytest.approx(a - b)
    assert 0 < found.interval.low < found.interval.estimate < found.interval.high
    assert found.p_value < 0.02
    y, p, group, patient = cohort()
    even = subgroup_gap("binary", "auroc", y, p, group, patient, rng=np.random.default_rng(1), draws=300)
    assert even is not None
    assert even.p_value > 0.05
    alone = subgroup_gap("binary", "auroc", y, p, np.full(600, "a"), patient, rng=np.random.default_rng(1))
    assert alone is None


def test_gap_in_mean_error_has_the_p_value_of_a_permutation_test() -> None:
    y, p, group, patient = cohort(120, harm=0.5)
    found = subgroup_gap("binary", "brier", y, p, group, patient, rng=np.random.default_rng(1), draws=2000)
    squares = np.square(p - y)
    expected = scipy.stats.permutation_test(
        (squares[group == "a"], squares[group == "b"]),
        lambda a, b, axis: np.abs(a.mean(axis=axis) - b.mean(axis=axis)),
        n_resamples=4000,
        alternative="greater",
        vectorized=True,
        random_state=0,
    ).pvalue
    assert found is not None
    assert found.p_value == pytest.approx(expected, abs=0.04)


def test_label_shift_by_hand() -> None:
    y, site = np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.array(["s"] * 4 + ["t"] * 4)
    found = label_shift(y, site, 2)
    assert found["s"].prevalence[1].estimate == pytest.approx(0.25)
    assert found["s"].distance == found["t"].distance == pytest.approx(0.5)
    assert np.isnan(label_shift(y, np.full(8, "s"), 2)["s"].distance)


def test_total_variation_is_half_the_manhattan_distance() -> None:
    a, b = np.array([0, 1, 2, 2]), np.array([0, 0, 0, 1])
    assert total_variation(a, b, 3) == pytest.approx(np.abs(np.array([0.25, 0.25, 0.5]) - [0.75, 0.25, 0]).sum() / 2)


def test_standardised_mean_difference_equals_statsmodels() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(1, 2, 200), draw.normal(0, 1, 200)
    # With equal sizes the t statistic of unequal variances is the difference times sqrt(n / 2).
    t = CompareMeans(DescrStatsW(a), DescrStatsW(b)).ttest_ind(usevar="unequal")[0]
    assert standardised_mean_difference(a, b) == pytest.approx(t / np.sqrt(100))
    assert standardised_mean_difference(np.append(a, np.nan), b) == standardised_mean_difference(a, b)


def test_constants_and_missing_columns() -> None:
    assert standardised_mean_difference(np.ones(3), np.ones(3)) == 0.0
    assert standardised_mean_difference(np.ones(3), np.zeros(3)) == np.inf
    assert np.isnan(standardised_mean_difference(np.full(3, np.nan), np.ones(3)))


def test_feature_shift_by_hand() -> None:
    x = np.array([[1.0, 0], [3.0, 1], [np.nan, 1], [5.0, 0], [7.0, 0], [6.0, np.nan]])
    site = np.array(["s", "s", "s", "t", "t", "t"])
    number, category = feature_shift(x, site, categories={1})["s"]
    assert number.difference == pytest.approx((2 - 6) / np.sqrt((2 + 1) / 2))
    assert number.missing == pytest.approx(1 / 3)
    assert category.difference == pytest.approx(2 / 3)
    assert category.missing == pytest.approx(-1 / 3)


def test_truth_by_hand_and_by_many_outcomes() -> None:
    draw = np.random.default_rng(0)
    risk, p = draw.beta(1, 4, 300_000), draw.beta(1, 4, 300_000)
    p = 0.5 * risk + 0.5 * p
    y = (draw.random(300_000) < risk).astype(int)
    found = against_truth(p, risk)
    assert found is not None
    assert found.mean_absolute == pytest.approx(np.abs(p - risk).mean())
    assert found.root_mean_square**2 == pytest.approx(found.brier_regret)
    assert found.loss_regret == pytest.approx(sk.log_loss(y, p) - sk.log_loss(y, risk), abs=2e-3)
    assert found.brier_regret == pytest.approx(sk.brier_score_loss(y, p) - sk.brier_score_loss(y, risk), abs=1e-3)
    assert found.auroc_regret == pytest.approx(sk.roc_auc_score(y, risk) - sk.roc_auc_score(y, p), abs=3e-3)
    assert expected_auroc(p, risk) == pytest.approx(sk.roc_auc_score(y, p), abs=3e-3)


def test_the_oracle_has_no_regret() -> None:
    risk = np.random.default_rng(0).random(100)
    found = against_truth(risk, risk)
    assert found is not None
    assert (found.mean_absolute, found.loss_regret, found.brier_regret, found.auroc_regret) == (0, 0, 0, 0)
    assert against_truth(risk[:0], risk[:0]) is None
