"""Closed forms are what ever more draws of patients would find; pairs within hospitals are counted one by one."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedmed.statistics import ArmTest, PairedTest, difference_spread, influence, metric_interval, score, statistic
from fedmed.statistics.resampling import spread_of
from fedmed.statistics.statistic import Statistic, arm_spread


def patients(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    p = np.round(draw.beta(2, 5, n), 2)  # rounded, so that there are ties
    return (draw.random(n) < p).astype(np.int64), p


@pytest.mark.parametrize("name", ["auroc", "accuracy", "loss", "brier"])
def test_an_influence_is_the_slope_of_the_weighted_metric(name: str) -> None:
    y, p = patients()
    p = np.clip(p, 0.01, 0.99)
    found, step = influence.of_metric("binary", name, y, p), 1e-6
    nudged = score("binary", name, y, p, np.ones(len(y)) + step * np.eye(len(y)))
    whole = float(score("binary", name, y, p))
    assert found.value == pytest.approx(whole)
    np.testing.assert_allclose(found.rows, (nudged - whole) / step, atol=1e-5)
    assert found.rows.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["rmse", "r2", "mae", "loss"])
def test_an_influence_on_a_metric_of_amounts_is_its_slope(name: str) -> None:
    draw = np.random.default_rng(1)
    y = draw.normal(5, 2, 80)
    p = y + draw.normal(size=80)
    found, step = influence.of_metric("regression", name, y, p), 1e-6
    nudged = score("regression", name, y, p, np.ones(len(y)) + step * np.eye(len(y)))
    np.testing.assert_allclose(found.rows, (nudged - float(score("regression", name, y, p))) / step, atol=1e-5)


@pytest.mark.parametrize("slope", [False, True])
def test_an_influence_on_calibration_is_what_leaving_a_row_out_changes(slope: bool) -> None:
    y, p = patients(500)
    p = np.clip(p, 0.01, 0.99)
    found = influence.logistic(y, p, slope=slope)
    without = [influence.logistic(np.delete(y, i), np.delete(p, i), slope=slope).value for i in range(0, 500, 25)]
    np.testing.assert_allclose(found.rows[::25], found.value - np.array(without), rtol=0.1, atol=2e-4)


def test_observed_over_expected_by_hand() -> None:
    found = influence.log_ratio(np.array([1, 0, 1]), np.array([0.5, 0.25, 0.25]))
    assert found.value == pytest.approx(np.log(2))
    assert found.rows == pytest.approx([0.5 - 0.5, 0 - 0.25, 0.5 - 0.25])
    assert np.isnan(influence.log_ratio(np.zeros(3), np.full(3, 0.1)).value)


def test_pairs_within_hospitals_are_those_counted_one_by_one() -> None:
    y, p = patients(120)
    site = np.random.default_rng(3).integers(0, 4, 120)
    right = [
        float(p[i] > p[j]) + 0.5 * float(p[i] == p[j])
        for i in np.flatnonzero(y == 1)
        for j in np.flatnonzero((y == 0) & (site == site[i]))
    ]
    assert influence.auroc(y == 1, p, site).value == pytest.approx(np.mean(right))
    assert influence.auroc(y == 1, p).value == pytest.approx(roc_auc_score(y, p))
    of = statistic("binary", "auroc")
    assert of.value(ArmTest(y, p, np.arange(120), site)) == pytest.approx(np.mean(right))


def test_knowing_the_prevalences_alone_ranks_nobody_within_a_hospital() -> None:
    y, site = np.array([1, 1, 1, 0, 1, 0, 0, 0]), np.repeat([0, 1], 4)
    p = np.where(site == 0, 0.75, 0.25)
    assert influence.auroc(y == 1, p).value > 0.7
    assert influence.auroc(y == 1, p, site).value == 0.5


@pytest.mark.parametrize("name", ["auroc", "brier"])
def test_the_closed_form_is_the_bootstraps_limit(name: str) -> None:
    tests = []
    for seed in range(3):  # the same patients come again at other seeds
        y, p = patients(400)
        rows = np.random.default_rng(seed).permutation(400)[:200]
        tests.append(ArmTest(y[rows], p[rows] + 0.1 * np.random.default_rng([seed, 1]).random(200), rows))
    of = statistic("binary", name)
    closed = arm_spread(of, tests, rng=np.random.default_rng(0), draws=1)
    drawn = arm_spread(Statistic(of.score), tests, rng=np.random.default_rng(0), draws=4000)
    assert closed.values == pytest.approx(drawn.values)
    assert closed.variance == pytest.approx(drawn.variance, rel=0.1)
    assert closed.within == pytest.approx(drawn.within, rel=0.1)


def test_a_statistic_that_is_not_defined_at_a_seed_is_left_out() -> None:
    y, p = patients(50)
    known, unknown = influence.auroc(y == 1, p), influence.auroc(np.zeros(50, bool), p)
    spread = spread_of([known, unknown], [np.arange(50), np.arange(50)])
    assert spread.values.tolist() == [known.value]
    assert spread_of([unknown], [np.arange(50)]).values.size == 0


def test_what_ranks_without_a_closed_form_is_weighed_by_events_over_hospitals() -> None:
    y, p = patients(200)
    site = np.repeat([0, 1], 100)
    of = statistic("binary", "auprc")
    parts = [float(score("binary", "auprc", y[site == s], p[site == s])) for s in (0, 1)]
    expected = np.average(parts, weights=[y[site == s].sum() for s in (0, 1)])
    assert of.value(ArmTest(y, p, np.arange(200), site)) == pytest.approx(expected)
    pair = PairedTest(y, p, p, np.arange(200), site)
    spread = difference_spread(of, [pair], rng=np.random.default_rng(0), draws=20)
    assert spread.variance == 0
    found = metric_interval("binary", "auprc", [pair.arms[0]], rng=np.random.default_rng(0), draws=200)
    assert found is not None
    assert found.low < expected < found.high
