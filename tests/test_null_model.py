"""The null model and skill: scikit-learn's D2 as oracle, laws, and numbers worked by hand."""

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

from fedmed.statistics import metrics
from fedmed.statistics.null_model import (
    LOSS,
    SKILLS,
    explained,
    explained_influence,
    null_prediction,
    null_predictions,
    null_scores,
    skill,
)

DRAW = np.random.default_rng(5)
N = 60
Y = (DRAW.random(N) < 0.3).astype(np.int64)
K = DRAW.integers(0, 3, N)
A = DRAW.normal(40.0, 9.0, N)
C = DRAW.poisson(2.5, N).astype(np.float64)
P = np.clip(0.3 + 0.4 * (Y - 0.3) + 0.1 * DRAW.normal(size=N), 0.02, 0.98)
PK = DRAW.dirichlet([2.0, 2.0, 2.0], N)
PA = A + DRAW.normal(0.0, 4.0, N)
PC = np.exp(0.5 * np.log(C + 1.0))
CASES: dict[Any, tuple[np.ndarray, np.ndarray, int]] = {
    "binary": (Y, P, 2), "multiclass": (K, PK, 3), "regression": (A, PA, 0), "count": (C, PC, 0)
}  # fmt: skip


def skilled(task: Any, y: np.ndarray, p: np.ndarray, classes: int) -> dict[str, float | None]:
    """Returns the skill against the null model of the very rows that are scored, as scikit-learn has it."""
    return skill(task, y, p, null_predictions(task, y, len(y), classes))


def test_skill_equals_scikit_learns_d2() -> None:
    oracle = {
        "binary": sk.d2_log_loss_score(Y, P),
        "multiclass": sk.d2_log_loss_score(K, PK),
        "regression": sk.r2_score(A, PA),
        "count": sk.d2_tweedie_score(C, PC, power=1),
    }
    for task, (y, p, classes) in CASES.items():
        assert skilled(task, y, p, classes)["d2"] == pytest.approx(oracle[task]), task
    brier = 1 - sk.brier_score_loss(Y, P) / (Y.mean() * (1 - Y.mean()))
    assert skilled("binary", *CASES["binary"])["scaled_brier"] == pytest.approx(brier)


@pytest.mark.parametrize("task", CASES)
def test_the_null_model_has_no_skill_and_a_perfect_one_all_of_it(task: Any) -> None:
    y, _, classes = CASES[task]
    perfect = np.eye(3)[y] if task == "multiclass" else y.astype(np.float64)
    assert set(skilled(task, y, null_predictions(task, y, len(y), classes), classes).values()) == {0.0}
    assert skilled(task, y, perfect, classes)["d2"] == pytest.approx(1.0, abs=1e-5)


def test_a_worse_model_than_the_null_one_has_negative_skill() -> None:
    assert (skilled("binary", Y, 1 - P, 2)["d2"] or 0) < 0


def test_the_null_model_by_hand() -> None:
    assert null_prediction("binary", np.array([0, 0, 0, 1])) == 0.25
    assert null_prediction("regression", np.array([1.0, 4.0])) == 2.5
    np.testing.assert_allclose(null_prediction("multiclass", np.array([0, 1, 1, 2]), 3), [0.25, 0.5, 0.25])
    # a class that is missing: half a row of each is added
    assert null_prediction("binary", np.zeros(4, np.int64)) == pytest.approx(0.5 / 5)
    assert np.isnan(null_prediction("count", np.zeros(0)))
    found = null_scores("binary", np.array([0, 1]), np.array([0.25, 0.25]))
    assert found["loss"] == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2)
    assert set(found) == {"accuracy", "loss", "brier"}
    # squared errors 1 and 1 of the model, 4 and 16 of the null model that predicts 0
    two = explained("regression", "loss", np.array([2.0, 4.0]), np.array([1.0, 5.0]), np.zeros(2))
    assert float(two) == pytest.approx(1 - 1 / 10)


def test_under_weights_it_is_that_of_the_rows_so_often() -> None:
    counts = DRAW.integers(0, 4, (5, N)).astype(np.float64)
    for task, (y, p, classes) in CASES.items():
        null = null_predictions(task, y, N, classes)
        for own in SKILLS[task]:
            told = explained(task, own.loss, y, p, null, counts)
            for row, value in zip(counts.astype(int), told, strict=True):
                again = np.repeat(np.arange(N), row)
                assert float(explained(task, own.loss, y[again], p[again], null[again])) == pytest.approx(value)


def test_the_influence_of_a_row_is_what_a_little_more_of_it_changes() -> None:
    for task, (y, p, classes) in CASES.items():
        null = null_predictions(task, y, N, classes)
        for own in SKILLS[task]:
            found = explained_influence(task, own.loss, y, p, null)
            more = np.ones((N, N)) + 1e-6 * np.eye(N)
            moved = (explained(task, own.loss, y, p, null, more) - found.value) / 1e-6
            np.testing.assert_allclose(found.rows, moved, atol=1e-5)
            assert found.rows.sum() == pytest.approx(0, abs=1e-9)


def test_where_there_is_nothing_to_explain_skill_is_not_defined() -> None:
    assert skill("regression", np.full(4, 7.0), np.array([7.0, 7, 7, 8]), np.full(4, 7.0)) == {"d2": None}
    assert skill("count", np.zeros(0), np.zeros(0), np.zeros(0)) == {"d2": None}
    assert skill("binary", Y, P, np.full(N, np.nan)) == {"d2": None, "scaled_brier": None}


def test_every_loss_is_a_metric_that_is_better_when_lower() -> None:
    for task, kinds in SKILLS.items():
        assert all(metrics.metric(task, name).better == "lower" for name in (LOSS[task], *(k.loss for k in kinds)))
