"""The null model, which knows training labels only, and skill: the share of its loss that another model explains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fedmed.statistics import metrics
from fedmed.statistics.influence import Influence, of_metric

if TYPE_CHECKING:  # the statistics need no data set, so they must not load them
    from fedmed.data.examples import Task

Array: TypeAlias = np.ndarray

LABEL: Mapping[Task, str] = MappingProxyType(
    {"binary": "the prevalence", "multiclass": "the class shares", "regression": "the mean", "count": "the mean"}
)
"""What the null model of a task predicts, in words."""

LOSS: Mapping[Task, str] = MappingProxyType(
    {"binary": "loss", "multiclass": "loss", "regression": "loss", "count": "deviance"}
)
"""The metric of a task that models are trained on and that is 0 for a perfect model (a Poisson loss is not)."""

NOT_FOR_RANKS = ("auroc", "auprc")
"""Metrics that say nothing of a prediction that is the same for all rows: the AUROC is 0.5 by definition."""

_BEYOND = 2.0
_NOTHING = 1e-6  # a null model's loss below which there is nothing to explain, as a share of what the metric can be


@dataclasses.dataclass(frozen=True)
class Skill:
    """A skill's key in results, the loss of which it is the explained share, and its name in reports."""

    name: str
    loss: str
    label: str


SKILLS: Mapping[Task, tuple[Skill, ...]] = MappingProxyType(
    {
        "binary": (Skill("d2", "loss", "D² (log loss)"), Skill("scaled_brier", "brier", "scaled Brier score")),
        "multiclass": (Skill("d2", "loss", "D² (log loss)"), Skill("scaled_brier", "brier", "scaled Brier score")),
        "regression": (Skill("d2", "loss", "D² (squared error)"),),
        "count": (Skill("d2", "deviance", "D² (Poisson deviance)"),),
    }
)


def beyond_noise(looked_at: int) -> float:
    """Returns by how many standard errors a model must be worse than the null one to be named: 2, or more for many.

    Where many are looked at, chance names any of them no more often than one (Bonferroni).
    """
    from scipy.stats import norm

    return float(norm.isf(norm.sf(_BEYOND) / max(1, looked_at)))


def null_prediction(task: Task, y: Array, classes: int = 0) -> Array:
    """Returns what the null model predicts for any row: [] a prevalence or mean, or [classes] shares.

    Where a class is missing among the labels, half a row of each is added: a share of 0 would let one test row decide.

    Args:
        task: what kind of label.
        y: [n] labels of training rows; NaN is returned for none.
        classes: how many, for a multiclass task.
    """
    if not len(y):
        return np.full((classes,) if task == "multiclass" else (), np.nan)
    if task not in ("binary", "multiclass"):
        return np.asarray(np.mean(y, dtype=np.float64))
    counts = np.bincount(np.asarray(y, np.int64), minlength=2 if task == "binary" else classes).astype(np.float64)
    shares = counts + 0.5 if (counts == 0).any() else counts
    shares = shares / shares.sum()
    return np.asarray(shares[1]) if task == "binary" else shares


def null_predictions(task: Task, y: Array, rows: int, classes: int = 0) -> Array:
    """Returns the null model's predictions for so many rows: [rows], or [rows, classes] shares."""
    one = null_prediction(task, y, classes)
    return np.broadcast_to(one, (rows, *one.shape))


def null_scores(task: Task, y: Array, p: Array, weights: Array | None = None) -> dict[str, float | None]:
    """Returns each metric of the null model that means something for it (see `metrics.evaluate`)."""
    return {k: v for k, v in metrics.evaluate(task, y, p, weights).items() if k not in NOT_FOR_RANKS}


def explained(task: Task, loss: str, y: Array, p: Array, null: Array, weights: Array | None = None) -> Array:
    """Returns 1 - loss of the model / loss of the null model, one value or one per row of weights.

    1 is perfect, 0 no better than the null model, negative worse. For the log loss it is McFadden's (1974) pseudo R
    squared, for counts the share of the Poisson deviance, for the Brier score the scaled one (Steyerberg et al. 2010).
    scikit-learn's d2_log_loss_score and d2_tweedie_score have the null model from the test labels instead.

    Args:
        task: what kind of label.
        loss: a metric of the task that is a mean over rows and 0 for a perfect model.
        y: [n] labels.
        p: the model's predictions, as for `metrics.evaluate`.
        null: the null model's, of the same shape.
        weights: [..., n] weights or bootstrap counts; None weighs every row alike.

    Returns:
        [...] values, NaN where there is nothing to explain: the null model is all but perfect.
    """
    both = (np.asarray(q, dtype=np.float64) for q in (p, null))
    scores, nulls = (np.asarray(metrics.score(task, loss, y, q, weights)) for q in both)
    floor = _NOTHING * (max(float(np.var(y)), 1e-300) if task == "regression" else 1.0)
    known = np.isfinite(nulls) & (nulls > floor)
    return 1.0 - np.divide(scores, nulls, out=np.full(np.shape(scores), np.nan), where=known)


def explained_influence(task: Task, loss: str, y: Array, p: Array, null: Array) -> Influence:
    """Returns the influence of each row on what `explained` gives for all of them."""
    own, nothing = of_metric(task, loss, y, p), of_metric(task, loss, y, null)
    value = float(explained(task, loss, y, p, null))
    if not np.isfinite(value):
        return Influence(float("nan"), np.zeros(len(y)))
    return Influence(value, ((1 - value) * nothing.rows - own.rows) / nothing.value)


def skill(task: Task, y: Array, p: Array, null: Array, weights: Array | None = None) -> dict[str, float | None]:
    """Returns each skill of the task, None where it is not defined."""
    found = {}
    for kind in SKILLS[task]:
        value = float(explained(task, kind.loss, y, p, null, weights)) if len(y) else float("nan")
        found[kind.name] = value if np.isfinite(value) else None
    return found
