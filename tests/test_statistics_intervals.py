"""Intervals equal statsmodels', scipy's and hand-worked formulas; verdicts follow their stated rule."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from fedmed.statistics import (
    ArmTest,
    PairedTest,
    auroc,
    corrected_resampled_t,
    detectable_difference,
    holm,
    informative_patients,
    metric_interval,
    p_value,
    paired_difference,
    percentile_interval,
    standard_error,
    wilson,
)
from fedmed.statistics.intervals import student
from fedmed.statistics.resampling import Spread, bootstrap, patient_counts


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def paired(n: int = 400, seed: int = 0, better: float = 1.0, prevalence: float = 0.2) -> PairedTest:
    """Two models of the same patients; the second sees the signal `better` times as strongly."""
    draw = rng(seed)
    y = (draw.random(n) < prevalence).astype(np.int64)
    a, b = (1 / (1 + np.exp(2 - strength * y - draw.normal(size=n))) for strength in (1.0, better))
    return PairedTest(y, a, b, np.arange(n))


@given(rows=st.integers(1, 200), share=st.floats(0, 1), level=st.sampled_from([0.8, 0.95]))
def test_wilson_equals_statsmodels(rows: int, share: float, level: float) -> None:
    events = round(share * rows)
    found = wilson(events, rows, level)
    expected = proportion_confint(events, rows, alpha=1 - level, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert found.low <= found.estimate <= found.high


def test_a_share_of_nothing_can_be_anything() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize("df", [1.0, 3.7, 25.0, float("inf")])
def test_student_equals_scipy(df: float) -> None:
    found = student(1.0, 0.5, df, 0.95, "")
    low, high = scipy.stats.t.interval(0.95, df, loc=1.0, scale=0.5)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_corrected_resampled_t_by_hand() -> None:
    found = corrected_resampled_t(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), n_test=20, n_train=80)
    error = np.sqrt((1 / 5 + 1 / 4) * 2.5)
    assert found.error == pytest.approx(error)
    assert found.high == pytest.approx(3.0 + 2.7764451 * error)
    with pytest.raises(ValueError, match="at least 2"):
        corrected_resampled_t(np.array([1.0]), 20, 80)


def test_percentiles_leave_out_what_is_not_finite() -> None:
    found = percentile_interval(0.5, np.append(np.arange(101) / 100, np.nan), 0.9)
    assert (found.low, found.high) == pytest.approx((0.05, 0.95))


def test_every_draw_has_as_many_patients_as_there_are() -> None:
    counts = np.concatenate(list(patient_counts(7, 50, rng())))
    assert counts.shape == (50, 7)
    assert np.all(counts.sum(axis=1) == 7)


def test_a_patient_comes_with_all_rows_and_at_all_seeds() -> None:
    seen: list[list[np.ndarray]] = [[], []]

    def spy(k: int, weights: np.ndarray) -> np.ndarray:
        if weights.ndim == 2:
            seen[k].append(weights)
        return weights.sum(axis=-1)

    patients = [np.array(["p", "p", "q"]), np.array(["q", "r"])]
    bootstrap([lambda w: spy(0, w), lambda w: spy(1, w)], patients, draws=30, rng=rng())
    first, second = np.concatenate(seen[0]), np.concatenate(seen[1])
    assert np.array_equal(first[:, 0], first[:, 1])
    assert np.array_equal(first[:, 2], second[:, 0])
    assert np.all(first[:, 0] + first[:, 2] + second[:, 1] == 3)


def test_bootstrap_of_a_mean_has_the_variance_of_a_mean() -> None:
    values = rng().normal(size=200)
    spread = bootstrap([lambda w: w @ values / w.sum(axis=-1)], [np.arange(200)], draws=4000, rng=rng(1))
    assert spread.variance == pytest.approx(values.var() / 200, rel=0.08)


def test_variance_of_seeds_due_to_their_test_patients_is_told_apart() -> None:
    values = rng().normal(size=(4, 100))  # four seeds, each with 100 patients of its own, same expectation
    statistics = [lambda w, v=v: w @ v / w.sum(axis=-1) for v in values]
    apart = [np.arange(100) + 100 * j for j in range(4)]
    spread = bootstrap(statistics, apart, draws=2000, rng=rng(1))
    assert spread.within == pytest.approx(values.var(axis=1).mean() / 100, rel=0.1)
    same = bootstrap([statistics[0]] * 4, [np.arange(100)] * 4, draws=200, rng=rng(1))
    assert same.within == pytest.approx(0.0, abs=1e-12)


def test_standard_error_by_hand() -> None:
    spread = Spread(values=np.array([1.0, 3.0]), variance=1.0, within=0.5)
    found = standard_error(spread, informative=11)
    total = 1.0 * 11 / 10 + (2.0 - 0.5) / 2
    assert found == pytest.approx((np.sqrt(total), total**2 / (1.1**2 / 10 + 1.0**2 / 1)))
    assert standard_error(spread, informative=1) is None


def test_difference_in_brier_of_one_seed_equals_the_paired_t_test() -> None:
    test = paired(better=2.0)
    squares = np.square(test.b - test.y) - np.square(test.a - test.y)
    found = paired_difference("binary", "brier", [test], rng=rng(), draws=4000)
    assert found is not None
    assert found.estimate == pytest.approx(squares.mean())
    assert found.error == pytest.approx(squares.std(ddof=1) / 20, rel=0.05)


def test_difference_in_auroc_has_the_error_of_delong() -> None:
    test = paired(better=2.0)
    found = paired_difference("binary", "auroc", [test], rng=rng(), draws=4000)
    assert found is not None
    assert found.estimate == pytest.approx(auroc(test.y, test.b) - auroc(test.y, test.a))
    assert found.error == pytest.approx(delong_error(test), rel=0.06)


def delong_error(test: PairedTest) -> float:
    """DeLong et al. 1988, from placement values written out pair by pair."""
    events = test.y == 1
    wins = [
        (p[events][:, None] > p[~events][None, :]) + 0.5 * (p[events][:, None] == p[~events][None, :])
        for p in (test.a, test.b)
    ]
    by_event, by_other = (wins[1].mean(axis=k) - wins[0].mean(axis=k) for k in (1, 0))
    return float(np.sqrt(by_event.var(ddof=1) / len(by_event) + by_other.var(ddof=1) / len(by_other)))


def test_rows_of_one_patient_count_once() -> None:
    test = paired(200, better=2.0)
    twice = PairedTest(*(np.concatenate([v, v]) for v in (test.y, test.a, test.b, test.patient)))
    once, double = (paired_difference("binary", "auroc", [t], rng=rng()) for t in (test, twice))
    assert once is not None
    assert double is not None
    assert double.error == pytest.approx(once.error)


def test_an_arm_against_itself_differs_by_nothing() -> None:
    test = paired()
    found = paired_difference("binary", "auroc", [PairedTest(test.y, test.a, test.a, test.patient)], rng=rng())
    assert found is not None
    assert (found.low, found.high) == (0.0, 0.0)
    assert p_value(found) == 1.0
    assert detectable_difference(found) is None


def test_the_same_generator_gives_the_same_interval() -> None:
    seeds = [paired(seed=1), paired(seed=2)]
    first, second = (paired_difference("binary", "auroc", seeds, rng=rng(3)) for _ in range(2))
    assert first == second


def test_undefined_everywhere_is_none() -> None:
    y = np.zeros(30, dtype=int)
    assert paired_difference("binary", "auroc", [PairedTest(y, y * 0.5, y * 0.5, np.arange(30))], rng=rng()) is None
    assert paired_difference("binary", "auroc", [], rng=rng()) is None
    assert metric_interval("binary", "auroc", [ArmTest(y, y * 0.5, np.arange(30))], rng=rng()) is None


@pytest.mark.parametrize("name", ["auroc", "auprc", "accuracy", "brier", "loss"])
def test_an_arm_has_an_interval_within_the_metrics_range(name: str) -> None:
    test = paired(60)
    found = metric_interval("binary", name, [ArmTest(test.y, test.a, test.patient)], rng=rng())
    assert found is not None
    assert 0 < found.low < found.estimate < found.high
    assert name == "loss" or found.high < 1


def test_a_perfect_auroc_of_few_events_is_not_certain() -> None:
    y = np.array([0] * 30 + [1] * 10)
    found = metric_interval("binary", "auroc", [ArmTest(y, y * 0.5, np.arange(40))], rng=rng())
    assert found is not None
    assert (found.estimate, found.high, found.low) == pytest.approx((1.0, 1.0, wilson(10, 10).low))


def test_informative_patients_by_hand() -> None:
    p = np.zeros(5)
    first = ArmTest(np.array([0, 0, 0, 1, 1]), p, np.array([1, 2, 3, 4, 4]))
    second = ArmTest(np.array([0, 0, 0, 0, 1]), p, np.array([1, 2, 5, 6, 7]))
    assert informative_patients("binary", [first, second]) == 2
    assert informative_patients("regression", [first, second]) == 7
    assert informative_patients("binary", [ArmTest(np.zeros(5), p, np.arange(5))]) == 0
    assert informative_patients("binary", []) == 0


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    assert np.allclose(holm(p_values), np.asarray(multipletests(p_values, method="holm")[1]))


def test_p_value_and_detectable_difference_equal_scipy() -> None:
    interval = student(0.06, 0.02, 14.0, 0.95, "")
    assert p_value(interval) == pytest.approx(2 * scipy.stats.t.sf(3.0, 14))
    smallest = 0.02 * (scipy.stats.t.ppf(0.975, 14) + scipy.stats.t.ppf(0.8, 14))
    assert detectable_difference(interval) == pytest.approx(smallest)
    assert detectable_difference(student(0.0, 1.0, float("inf"), 0.95, "")) == pytest.approx(2.80159, abs=1e-4)
    with pytest.raises(ValueError, match="Wilson"):
        p_value(wilson(1, 2))
