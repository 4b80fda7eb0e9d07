"""Calibration, discrimination and decision curves equal statsmodels', scikit-learn's and hand-worked values."""

import numpy as np
import pytest
import sklearn.metrics as sk
import statsmodels.api as sm
from statsmodels.nonparametric.smoothers_lowess import lowess

from fedmed.statistics.calibration import (
    calibration_curve,
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
    smooth_calibration,
)
from fedmed.statistics.decision import decision_curve, net_benefit
from fedmed.statistics.discrimination import operating_point, roc, sensitivity_at_specificity


def overfitted(n: int = 800) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    truth = draw.normal(-1.0, 1.0, n)
    y = (draw.random(n) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    return y, 1 / (1 + np.exp(-(0.3 + 1.7 * truth)))


def test_intercept_and_slope_equal_statsmodels() -> None:
    y, p = overfitted()
    logit = np.log(p / (1 - p))
    large = sm.GLM(y, np.ones(len(y)), family=sm.families.Binomial(), offset=logit).fit()
    both = sm.GLM(y, sm.add_constant(logit), family=sm.families.Binomial()).fit()
    intercept, slope = calibration_intercept(y, p), calibration_slope(y, p)
    assert intercept is not None
    assert slope is not None
    assert (intercept.low, intercept.estimate, intercept.high) == pytest.approx(
        (large.conf_int()[0, 0], large.params[0], large.conf_int()[0, 1]), abs=1e-6
    )
    assert (slope.low, slope.estimate, slope.high) == pytest.approx(
        (both.conf_int()[1, 0], both.params[1], both.conf_int()[1, 1]), abs=1e-6
    )
    assert slope.high < 1.0


def test_extreme_predictions_still_converge() -> None:
    y, _ = overfitted()
    p = np.where(np.random.default_rng(1).random(len(y)) < 0.5, 0.0, 1.0)
    slope = calibration_slope(y, p)
    intercept = calibration_intercept(y, p)
    assert slope is not None
    assert abs(slope.estimate) < 0.1
    assert intercept is not None


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]),
        ([0, 1, 0, 1], [0.2, 0.2, 0.2, 0.2]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([], []),
    ],
)
def test_no_slope_without_a_finite_maximum(y: list, p: list) -> None:
    assert calibration_slope(np.array(y), np.array(p)) is None


def test_curve_by_hand() -> None:
    y, p = np.array([0, 1, 0, 1, 1, 1]), np.array([0.3, 0.1, 0.2, 0.9, 0.8, 0.7])
    low, high = calibration_curve(y, p, bins=2, minimum_rows=1)
    assert (low.predicted, low.observed.estimate, low.rows) == pytest.approx((0.2, 1 / 3, 3))
    assert (high.predicted, high.observed.estimate, high.rows) == pytest.approx((0.8, 1.0, 3))
    assert expected_calibration_error(y, p, bins=2) == pytest.approx(0.5 * (1 / 3 - 0.2) + 0.5 * 0.2)


def test_bins_do_not_depend_on_the_order_of_rows_nor_part_ties() -> None:
    y, p = overfitted()
    p = np.round(p, 1)
    mixed = np.random.default_rng(2).permutation(len(y))
    curve = calibration_curve(y, p)
    assert [b.rows for b in curve] == [b.rows for b in calibration_curve(y[mixed], p[mixed])]
    assert len({b.predicted for b in curve}) == len(curve) <= len(np.unique(p))
    assert sum(b.rows for b in curve) == len(y)


@pytest.mark.parametrize("n", [0, 4, 5, 9, 12, 60])
def test_no_bin_tells_of_few_rows(n: int) -> None:
    draw = np.random.default_rng(n)
    for _ in range(20):
        curve = calibration_curve(draw.integers(0, 2, n), np.round(draw.random(n), 1))
        assert all(b.rows >= 5 for b in curve)
        assert sum(b.rows for b in curve) == (n if n >= 5 else 0)


def test_smooth_curve_equals_statsmodels_lowess() -> None:
    y, p = overfitted(300)
    at = np.linspace(0.1, 0.9, 9)
    assert smooth_calibration(y, p, at) == pytest.approx(lowess(y, p, frac=0.75, it=0, xvals=at), abs=1e-9)


def test_roc_equals_scikit_learn() -> None:
    y, p = overfitted()
    p = np.round(p, 2)
    fpr, tpr, thresholds = sk.roc_curve(y, p, drop_intermediate=False)
    curve = roc(y, p)
    assert curve is not None
    assert np.allclose(curve.sensitivity, tpr)
    assert np.allclose(1 - curve.specificity, fpr)
    assert np.array_equal(curve.thresholds, thresholds)
    assert sk.auc(1 - curve.specificity, curve.sensitivity) == pytest.approx(sk.roc_auc_score(y, p))
    assert roc(y * 0, p) is None


def test_sensitivity_at_specificity_by_hand() -> None:
    y = np.array([0] * 10 + [1] * 4)
    p = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.6, 0.7, 0.1])
    strict, loose = sensitivity_at_specificity(y, p, 0.9), sensitivity_at_specificity(y, p, 0.8)
    assert strict is not None
    assert loose is not None
    assert (strict.threshold, strict.sensitivity, strict.specificity) == pytest.approx((0.6, 0.5, 1.0))
    assert (loose.threshold, loose.sensitivity, loose.specificity) == pytest.approx((0.5, 0.75, 0.8))
    assert operating_point(y, p, 0.5) == loose
    assert sensitivity_at_specificity(y[:10], p[:10]) is None


def test_nine_tenths_of_ten_is_kept_whatever_the_rounding() -> None:
    y = np.array([0] * 10 + [1])
    found = sensitivity_at_specificity(y, np.arange(11) / 10, 0.9)
    assert found is not None
    assert found.threshold == pytest.approx(0.9)


def test_an_unreachable_specificity_calls_nobody() -> None:
    found = sensitivity_at_specificity(np.array([0, 1, 1]), np.array([0.9, 0.5, 0.6]), 1.0)
    assert found is not None
    assert (found.threshold, found.sensitivity, found.specificity) == (np.inf, 0.0, 1.0)


def test_net_benefit_by_hand() -> None:
    y, p = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]), np.array([0.9, 0.1, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    curve = decision_curve(y, p, np.array([0.2, 0.5]))
    assert curve.model == pytest.approx([1 / 10 - 2 / 10 * 0.25, 1 / 10])
    assert curve.treat_all == pytest.approx([2 / 10 - 8 / 10 * 0.25, 2 / 10 - 8 / 10])
    assert curve.treat_none == pytest.approx([0.0, 0.0])
    assert curve.standardised == pytest.approx(curve.model / 0.2)
    assert net_benefit(y, p, 0.2) == pytest.approx(0.05)
    assert net_benefit(y[:0], p[:0], 0.2) is None


def test_treating_all_is_a_model_that_is_always_sure() -> None:
    y, p = overfitted()
    curve = decision_curve(y, np.ones_like(p), np.linspace(0.05, 0.95, 19))
    assert curve.model == pytest.approx(curve.treat_all)


def test_thresholds_of_zero_or_one_are_refused() -> None:
    with pytest.raises(ValueError, match="thresholds"):
        decision_curve(np.array([1]), np.array([0.5]), np.array([1.0]))
