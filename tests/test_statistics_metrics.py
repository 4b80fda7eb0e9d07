"""Metrics equal scikit-learn's, and say why when there is none."""

import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedmed.data.examples import Task
from fedmed.statistics import ranking
from fedmed.statistics.metrics import METRICS, evaluate, metric, row_scores, score, undefined

TIED = st.integers(0, 8).map(lambda k: k / 8)


def binary_case(n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return (draw.random(n) < 0.3).astype(np.int64), np.round(draw.random(n), 2), draw.random(n) + 0.1


def multiclass_case(n: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1)
    p = draw.dirichlet([1.0, 2.0, 1.0], size=n)
    return draw.integers(0, 3, n), p, draw.random(n) + 0.1


def number_case(n: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(2)
    y = draw.poisson(2.0, n)
    return y, np.abs(y + draw.normal(size=n)) + 0.1, draw.random(n) + 0.1


@pytest.mark.parametrize("weighted", [False, True])
def test_binary_metrics_equal_scikit_learn(weighted: bool) -> None:
    y, p, weights = binary_case()
    w = weights if weighted else None
    expected = {
        "accuracy": sk.accuracy_score(y, p >= 0.5, sample_weight=w),
        "loss": sk.log_loss(y, np.clip(p, 1e-7, 1 - 1e-7), sample_weight=w),
        "auroc": sk.roc_auc_score(y, p, sample_weight=w),
        "auprc": sk.average_precision_score(y, p, sample_weight=w),
        "brier": sk.brier_score_loss(y, p, sample_weight=w),
    }
    assert evaluate("binary", y, p, w) == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass_metrics_equal_scikit_learn(weighted: bool) -> None:
    y, p, weights = multiclass_case()
    w = weights if weighted else None
    expected = {
        "accuracy": sk.accuracy_score(y, p.argmax(axis=1), sample_weight=w),
        "loss": sk.log_loss(y, p, sample_weight=w),
        "auroc": sk.roc_auc_score(y, p, sample_weight=w, multi_class="ovr", average="macro"),
        "brier": np.average(np.square(p - np.eye(3)[y]).sum(axis=1), weights=w),
    }
    assert evaluate("multiclass", y, p, w) == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_regression_and_count_metrics_equal_scikit_learn(weighted: bool) -> None:
    y, p, weights = number_case()
    w = weights if weighted else None
    mse = sk.mean_squared_error(y, p, sample_weight=w)
    mae = sk.mean_absolute_error(y, p, sample_weight=w)
    regression = {"loss": mse, "rmse": mse**0.5, "mae": mae, "r2": sk.r2_score(y, p, sample_weight=w)}
    assert evaluate("regression", y, p, w) == pytest.approx(regression)
    count = {
        "loss": np.average(p - y * np.log(p), weights=w),
        "deviance": sk.mean_poisson_deviance(y, p, sample_weight=w),
        "mae": mae,
    }
    assert evaluate("count", y, p, w) == pytest.approx(count)


def test_four_rows_by_hand() -> None:
    y, p = np.array([0, 1, 0, 1]), np.array([0.2, 0.4, 0.4, 0.9])
    found = evaluate("binary", y, p, minimum_events=1)
    assert found["auroc"] == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["brier"] == pytest.approx((0.04 + 0.36 + 0.16 + 0.01) / 4)
    assert found["auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@given(
    y=arrays(np.int64, 12, elements=st.integers(0, 1)),
    p=arrays(np.float64, 12, elements=TIED),
    counts=arrays(np.int64, (3, 12), elements=st.integers(0, 3)),
)
def test_weights_are_the_same_as_repeating_rows(y: np.ndarray, p: np.ndarray, counts: np.ndarray) -> None:
    for m in METRICS["binary"]:
        many = score("binary", m.name, y, p, counts)
        for value, times in zip(many, counts, strict=True):
            rows = np.repeat(np.arange(12), times)
            single = score("binary", m.name, y[rows], p[rows]) if len(rows) else np.nan
            assert value == pytest.approx(float(single), nan_ok=True), m.name


def test_weights_are_the_same_as_repeating_rows_in_every_task() -> None:
    counts = np.random.default_rng(3).poisson(1.0, (2, 200))
    cases: dict[Task, tuple] = {"multiclass": multiclass_case(), "regression": number_case(), "count": number_case()}
    for task, (y, p, _) in cases.items():
        for m in METRICS[task]:
            rows = [np.repeat(np.arange(200), times) for times in counts]
            expected = [float(score(task, m.name, y[r], p[r])) for r in rows]
            assert score(task, m.name, y, p, counts) == pytest.approx(expected), (task, m.name)


def test_many_resamples_are_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    y, p, _ = binary_case()
    counts = np.random.default_rng(0).poisson(1.0, (7, 300))
    whole = ranking.weighted_auroc(y, p, counts)
    monkeypatch.setattr(ranking, "_CELLS", 700)
    assert np.array_equal(ranking.weighted_auroc(y, p, counts), whole)


def test_row_scores_average_to_the_metric() -> None:
    y, p, _ = binary_case()
    assert row_scores("binary", "brier", y, p).mean() == pytest.approx(evaluate("binary", y, p)["brier"])
    with pytest.raises(KeyError):
        row_scores("binary", "auroc", y, p)


def test_one_class_has_no_ranking_and_says_so() -> None:
    y, p = np.zeros(16, dtype=int), np.full(16, 0.1)
    assert evaluate("binary", y, p)["auroc"] is None
    assert evaluate("binary", y, p)["accuracy"] == 1.0
    assert undefined("binary", y) == {
        "auroc": "AUROC: only one class among the 16 test rows",
        "auprc": "AUPRC: only one class among the 16 test rows",
    }


def test_few_events_withhold_ranking_unless_asked() -> None:
    y, p = np.array([0] * 10 + [1] * 4), np.linspace(0, 1, 14)
    assert undefined("binary", y)["auroc"] == "AUROC: withheld, a class has fewer than 5 of the 14 test rows"
    assert evaluate("binary", y, p)["auroc"] is None
    assert evaluate("binary", y, p, minimum_events=1)["auroc"] == 1.0


@pytest.mark.parametrize("task", METRICS)
def test_no_rows_no_weight_or_a_diverged_model_give_none_with_a_reason(task: Task) -> None:
    p = np.full((3, 3) if task == "multiclass" else 3, 1 / 3)
    y = np.array([0, 1, 1])
    for rows, q, w in ((0, p, None), (3, p * np.nan, None), (3, p, np.zeros(3))):
        values = evaluate(task, y[:rows], q[:rows], w)
        assert set(values.values()) == {None}
        assert set(undefined(task, y[:rows], q[:rows], w)) == set(values)
    assert "no test rows" in undefined(task, y[:0])["loss"]
    assert "not finite" in undefined(task, y, p * np.nan)["loss"]


@pytest.mark.parametrize("task", METRICS)
def test_no_predictions_have_no_classes(task: Task) -> None:
    nothing = np.zeros(0)
    assert evaluate(task, nothing, nothing) == dict.fromkeys((m.name for m in METRICS[task]), None)


@pytest.mark.parametrize("task", METRICS)
def test_a_metric_is_none_exactly_where_there_is_a_reason(task: Task) -> None:
    y = np.array([1, 1, 1, 1])
    p = np.full((4, 3) if task == "multiclass" else 4, 1 / 3)
    values = evaluate(task, y, p, np.array([1.0, 0, 0, 2]))
    assert {k for k, v in values.items() if v is None} == set(undefined(task, y, p))
    assert all(v is None or np.isfinite(v) for v in values.values())


def test_a_missing_class_has_no_macro_auroc() -> None:
    y = np.array([0, 1] * 10)
    reason = undefined("multiclass", y, np.full((20, 3), 1 / 3))["auroc"]
    assert reason == "macro AUROC: only 2 of 3 classes among the 20 test rows"


@pytest.mark.parametrize(
    ("task", "y", "p"),
    [
        ("binary", [0, 1], [0.5, 1.7]),
        ("binary", [0, 1], [[0.5], [0.2]]),
        ("binary", [0, 2], [0.5, 0.2]),
        ("multiclass", [0, 3], [[0.5, 0.5], [0.5, 0.5]]),
        ("count", [0, 1], [-1.0, 0.5]),
        ("regression", [0.0, 1.0], [0.5]),
    ],
)
def test_predictions_of_the_wrong_kind_are_refused(task: Task, y: list, p: list) -> None:
    with pytest.raises(ValueError, match=task):
        evaluate(task, np.array(y), np.array(p))


def test_metric_finds_by_name() -> None:
    assert metric("binary", "auroc").better == "higher"
    with pytest.raises(KeyError, match="brier"):
        metric("binary", "rmse")


def test_importing_the_metrics_stays_quick() -> None:
    code = "import sys, fedmed.statistics.metrics; print({'scipy', 'sklearn', 'tensorflow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
