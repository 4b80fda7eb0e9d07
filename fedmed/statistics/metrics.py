"""What a model scores on test rows, one value per metric, None with a reason where there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from fedmed.statistics import ranking

if TYPE_CHECKING:  # the statistics need no data set, so they must not load them
    from fedmed.data.examples import Task

Array: TypeAlias = np.ndarray

CLIP = 1e-7
"""Probabilities and rates are kept this far from 0 (and 1) before a logarithm, as Keras does."""

MINIMUM_EVENTS = 5
"""Rank metrics are withheld below this many rows of a class: they would tell more of a patient than of a model."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric's key in results, which direction is better, and its name in reports."""

    name: str
    better: Literal["higher", "lower"]
    label: str


METRICS: Mapping[Task, tuple[Metric, ...]] = MappingProxyType(
    {
        "binary": (
            Metric("accuracy", "higher", "accuracy"),
            Metric("loss", "lower", "log loss"),
            Metric("auroc", "higher", "AUROC"),
            Metric("auprc", "higher", "AUPRC"),
            Metric("brier", "lower", "Brier score"),
        ),
        "multiclass": (
            Metric("accuracy", "higher", "accuracy"),
            Metric("loss", "lower", "log loss"),
            Metric("auroc", "higher", "macro AUROC"),
            Metric("brier", "lower", "Brier score"),
        ),
        "regression": (
            Metric("loss", "lower", "mean squared error"),
            Metric("rmse", "lower", "root mean squared error"),
            Metric("mae", "lower", "mean absolute error"),
            Metric("r2", "higher", "R squared"),
        ),
        "count": (
            Metric("loss", "lower", "Poisson loss"),
            Metric("deviance", "lower", "mean Poisson deviance"),
            Metric("mae", "lower", "mean absolute error"),
        ),
    }
)


def metric(task: Task, name: str) -> Metric:
    """Returns the metric of that key; KeyError names those the task has."""
    found = {m.name: m for m in METRICS[task]}
    if name not in found:
        raise KeyError(f"{task} has no metric {name!r}; it has {', '.join(found)}")
    return found[name]


def evaluate(
    task: Task, y: Array, p: Array, weights: Array | None = None, *, minimum_events: int = MINIMUM_EVENTS
) -> dict[str, float | None]:
    """Returns every metric of the task; None where `undefined` gives a reason.

    binary: accuracy (event called at p >= 0.5), loss (log loss, p clipped by 1e-7), auroc, auprc (average precision),
    brier. multiclass: accuracy (largest p, first on a tie), loss, auroc (one class against the rest, plain mean over
    classes), brier (summed over classes, 0 to 2: Brier 1950). regression: loss (mean squared error), rmse, mae, r2.
    count: loss (Poisson negative log likelihood without log y!, p - y log p, as Keras trains on; it can be negative),
    deviance (mean over rows of twice the gap to the saturated model), mae.

    Args:
        task: which metrics.
        y: [n] labels: class codes, values or counts.
        p: [n] probability of class 1, [n, classes] probabilities, [n] predictions, or [n] predicted rates.
        weights: [n] importance weights, none negative; every metric is weighted.
        minimum_events: rank metrics need this many rows of each class.

    Raises:
        ValueError: shapes disagree, a probability lies outside [0, 1], a rate or a weight is negative.
    """
    y, p = np.asarray(y), np.asarray(p, dtype=np.float64)
    _check(task, y, p, weights)
    missing = undefined(task, y, p, weights, minimum_events=minimum_events)
    names = [m.name for m in METRICS[task]]
    return {name: None if name in missing else float(score(task, name, y, p, weights)) for name in names}


def undefined(
    task: Task, y: Array, p: Array | None = None, weights: Array | None = None, *, minimum_events: int = MINIMUM_EVENTS
) -> dict[str, str]:
    """Returns, for each metric that `evaluate` gives as None, the reason in words; never a patient's value.

    Args:
        task: which metrics.
        y: [n] labels.
        p: predictions as for `evaluate`; without them, predictions are taken to be finite and the classes to be
            those up to the largest label.
        weights: [n] importance weights.
        minimum_events: rank metrics need this many rows of each class.
    """
    labels = {m.name: m.label for m in METRICS[task]}
    reason = _no_metric_at_all(np.asarray(y), p, weights)
    if reason:
        return {name: f"{label}: {reason}" for name, label in labels.items()}
    counted = np.asarray(y) if weights is None else np.asarray(y)[np.asarray(weights) > 0]
    reasons = {}
    if task in ("binary", "multiclass"):
        rank = _no_ranking(task, counted, p, minimum_events)
        reasons = {name: rank for name in ("auroc", "auprc") if rank and name in labels}
    elif task == "regression" and np.ptp(counted) == 0:
        reasons["r2"] = f"all outcomes are equal among the {_rows(len(counted))}"
    return {name: f"{labels[name]}: {reason}" for name, reason in reasons.items()}


def score(task: Task, name: str, y: Array, p: Array, weights: Array | None = None) -> Array:
    """Returns one metric, or one per row of weights: the work horse of bootstraps, which checks nothing.

    Args:
        task: what kind of label.
        name: a metric of the task.
        y: [n] labels.
        p: predictions as for `evaluate`.
        weights: [..., n] weights or bootstrap counts; None weighs every row alike.

    Returns:
        [...] values, NaN where the metric is not defined.
    """
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    if name in ("auroc", "auprc"):
        return _ranking(task, name, y, p, None if weights is None else w)
    if name == "r2":
        return _r2(y, p, w)
    if name == "rmse":
        return np.sqrt(_mean(np.square(y - p), w))
    return _mean(row_scores(task, name, y, p), w)


def row_scores(task: Task, name: str, y: Array, p: Array) -> Array:
    """Returns [n] the contribution of each row to a metric that is a mean over rows; KeyError for one that is not."""
    return _ROW_SCORES[task][metric(task, name).name](y, p)


def _binary_loss(y: Array, p: Array) -> Array:
    q = np.clip(p, CLIP, 1 - CLIP)
    return -np.where(y == 1, np.log(q), np.log1p(-q))


def _class_loss(y: Array, p: Array) -> Array:
    return -np.log(np.clip(p[np.arange(len(y)), y], CLIP, 1.0))


def _class_brier(y: Array, p: Array) -> Array:
    return np.square(p - (y[:, None] == np.arange(p.shape[1]))).sum(axis=1)


def _poisson_loss(y: Array, p: Array) -> Array:
    return p - y * np.log(np.maximum(p, CLIP))


def _poisson_deviance(y: Array, p: Array) -> Array:
    rate = np.maximum(p, CLIP)
    logs = np.log(np.where(y > 0, y, 1.0) / rate)
    return 2.0 * (np.where(y > 0, y * logs, 0.0) - y + rate)


_RowScore: TypeAlias = Callable[[Array, Array], Array]
_ROW_SCORES: Mapping[Task, Mapping[str, _RowScore]] = {
    "binary": {
        "accuracy": lambda y, p: (p >= 0.5) == (y == 1),
        "loss": _binary_loss,
        "brier": lambda y, p: np.square(p - y),
    },
    "multiclass": {
        "accuracy": lambda y, p: p.argmax(axis=1) == y,
        "loss": _class_loss,
        "brier": _class_brier,
    },
    "regression": {"loss": lambda y, p: np.square((y - p).astype(np.float64)), "mae": lambda y, p: np.abs(y - p)},
    "count": {"loss": _poisson_loss, "deviance": _poisson_deviance, "mae": lambda y, p: np.abs(y - p)},
}


def _mean(values: Array, w: Array) -> Array:
    total = w.sum(axis=-1)
    return np.divide(w @ values.astype(np.float64), total, out=np.full(np.shape(total), np.nan), where=total > 0)


def _r2(y: Array, p: Array, w: Array) -> Array:
    centred = y - np.mean(y)  # keeps the subtraction of squares below accurate
    spread = _mean(np.square(centred), w) - np.square(_mean(centred, w))
    error = _mean(np.square(y - p), w)
    return 1.0 - np.divide(error, spread, out=np.full(np.shape(error), np.nan), where=spread > 1e-12 * np.ptp(y) ** 2)


def _ranking(task: Task, name: str, y: Array, p: Array, w: Array | None) -> Array:
    if task == "multiclass":
        return np.mean([_ranking("binary", name, y == k, p[:, k], w) for k in range(p.shape[1])], axis=0)
    if name == "auprc":
        return ranking.weighted_average_precision(y, p, np.ones(len(y)) if w is None else w)
    return np.asarray(ranking.auroc(y, p)) if w is None else ranking.weighted_auroc(y, p, w)


def _rows(n: int) -> str:
    return f"{n} test row{'' if n == 1 else 's'}"


def _no_metric_at_all(y: Array, p: Array | None, weights: Array | None) -> str:
    if not len(y):
        return "there are no test rows"
    if p is not None and not np.all(np.isfinite(p)):
        return f"the model gave predictions that are not finite for some of the {_rows(len(y))}"
    if weights is not None and not np.sum(weights) > 0:
        return f"the {_rows(len(y))} carry no weight"
    return ""


def _no_ranking(task: Task, y: Array, p: Array | None, minimum_events: int) -> str:
    classes = 2 if task == "binary" else int(y.max()) + 1 if p is None else np.shape(p)[1]
    counts = np.bincount(y.astype(np.int64), minlength=classes)
    if (counts > 0).sum() < 2:
        return f"only one class among the {_rows(len(y))}"
    if counts.min() == 0:
        return f"only {(counts > 0).sum()} of {classes} classes among the {_rows(len(y))}"
    if counts.min() < minimum_events:
        return f"withheld, a class has fewer than {minimum_events} of the {_rows(len(y))}"
    return ""


def _check(task: Task, y: Array, p: Array, weights: Array | None) -> None:
    dimensions = 2 if task == "multiclass" else 1
    # No predictions are an empty array, whatever the task: nobody knows how many classes they would have had.
    if y.ndim != 1 or len(p) != len(y) or (len(y) and p.ndim != dimensions):
        raise ValueError(f"{task}: expected one prediction a row, got y of shape {y.shape} and p of shape {p.shape}")
    if weights is not None and (np.shape(weights) != y.shape or np.min(weights, initial=0.0) < 0):
        raise ValueError(f"weights: expected {len(y)} numbers, none negative, got shape {np.shape(weights)}")
    finite = p[np.isfinite(p)]
    if task == "binary" and not np.isin(y, (0, 1)).all():
        raise ValueError("binary: expected labels 0 and 1")
    if task == "multiclass" and len(y) and not 0 <= y.min() <= y.max() < p.shape[1]:
        raise ValueError(f"multiclass: expected label codes from 0 to {p.shape[1] - 1}, one a column of p")
    if task in ("binary", "multiclass") and len(finite) and (finite.min() < -1e-6 or finite.max() > 1 + 1e-6):
        raise ValueError(f"{task}: expected probabilities between 0 and 1; are these logits?")
    if task == "count" and len(finite) and finite.min() < 0:
        raise ValueError("count: expected predicted rates, none negative; are these log rates?")
