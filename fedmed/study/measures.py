"""What a study scores: the task's metrics, and sensitivity and calibration under bootstrap weights."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from fedmed.data.examples import Array, Task
from fedmed.statistics import METRICS, expected_calibration_error
from fedmed.statistics import metrics as task_metrics
from fedmed.statistics.metrics import CLIP

Score: TypeAlias = Callable[[Array, Array, Array | None], Array]
"""(y [n], p, weights [..., n] or None) to [...] values, NaN where not defined."""

_NEWTON_STEPS = 12


@dataclasses.dataclass(frozen=True)
class Measure:
    """One thing scored.

    Attributes:
        name: key.
        label: for pages.
        better: which direction is better, or "target".
        target: the best value, where there is one.
        score: see Score.
        metric: whether `fedmed.statistics` knows it by this name.
        scale: of its interval; "none" gives no interval.
        ranks: whether it needs enough of both classes.
        compared: whether arms are compared in it.
    """

    name: str
    label: str
    better: Literal["higher", "lower", "target"]
    score: Score
    target: float | None = None
    metric: bool = False
    scale: Literal["plain", "logit", "none"] = "plain"
    ranks: bool = True
    compared: bool = True


def measures(task: Task, specificity: float, primary: str) -> tuple[Measure, ...]:
    """Returns what is scored for a task, the primary metric first."""
    known = [
        Measure(m.name, m.label, m.better, functools.partial(_metric, task, m.name), metric=True,
                ranks=m.name in ("auroc", "auprc"))
        for m in METRICS[task]
    ]  # fmt: skip
    ordered = sorted(known, key=lambda m: m.name != primary)
    return (*ordered, *_extras(task, specificity))


def _extras(task: Task, specificity: float) -> list[Measure]:
    if task == "binary":
        at = f"sensitivity at {100 * specificity:g} % specificity"
        return [
            Measure("sensitivity", at, "higher", functools.partial(sensitivity, specificity), scale="logit"),
            Measure("intercept", "calibration intercept", "target", intercept, 0.0, compared=False),
            Measure("slope", "calibration slope", "target", slope, 1.0, compared=False),
            Measure("ece", "expected calibration error", "lower", _ece, scale="none", compared=False),
        ]
    if task == "multiclass":
        return [Measure("ece", "expected calibration error", "lower", _top_ece, scale="none", compared=False)]
    if task == "regression":
        return [
            Measure("intercept", "mean residual", "target", _residual, 0.0, ranks=False, compared=False),
            Measure("slope", "calibration slope", "target", _line, 1.0, ranks=False, compared=False),
        ]
    return [Measure("ratio", "observed over predicted", "target", _ratio, 1.0, compared=False)]


def _metric(task: Task, name: str, y: Array, p: Array, weights: Array | None) -> Array:
    return task_metrics.score(task, name, y, p, weights)


def _weights(y: Array, weights: Array | None) -> Array:
    return np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)


def sensitivity(specificity: float, y: Array, p: Array, weights: Array | None) -> Array:
    """Returns the greatest sensitivity at no less than this specificity, under each row of weights.

    As `statistics.sensitivity_at_specificity`: tied rows are called together and nothing is interpolated. The
    threshold is chosen anew in each draw, so the interval holds the doubt about it.
    """
    w, order = _weights(y, weights), np.argsort(-p, kind="stable")
    ordered, events = p[order], y[order] == 1
    ends = np.flatnonzero(np.concatenate([ordered[1:] != ordered[:-1], [True]]))
    w = w[..., order]
    called = np.cumsum(w * events, axis=-1)[..., ends]
    false = np.cumsum(w * ~events, axis=-1)[..., ends]
    total, others = called[..., -1], false[..., -1]
    allowed = (false <= (1 - specificity) * others[..., None] + 1e-9).sum(axis=-1)
    first = np.maximum(allowed - 1, 0)[..., None]
    found = np.where(allowed > 0, np.take_along_axis(called, first, axis=-1)[..., 0], 0.0)
    return np.divide(found, total, out=np.full(np.shape(total), np.nan), where=(total > 0) & (others > 0))


def intercept(y: Array, p: Array, weights: Array | None) -> Array:
    """Returns calibration-in-the-large under each row of weights (see `statistics.calibration_intercept`)."""
    return _logistic(np.ones((len(y), 1)), y, _logit(p), _weights(y, weights))[..., 0]


def slope(y: Array, p: Array, weights: Array | None) -> Array:
    """Returns the calibration slope under each row of weights (see `statistics.calibration_slope`)."""
    x = np.column_stack([np.ones(len(y)), _logit(p)])
    return _logistic(x, y, np.zeros(len(y)), _weights(y, weights))[..., 1]


def _logit(p: Array) -> Array:
    q = np.clip(p, CLIP, 1 - CLIP)
    return np.log(q) - np.log1p(-q)


def _logistic(x: Array, y: Array, offset: Array, weights: Array) -> Array:
    """Returns [..., k] maximum-likelihood coefficients for weights [..., n], NaN where there are none, by Newton."""
    w = weights.reshape(-1, len(y))
    beta = np.tile(_newton(x, y, offset, np.ones((1, len(y))), np.zeros((1, x.shape[1]))), (len(w), 1))
    if np.isnan(beta).any():
        return np.full((*weights.shape[:-1], x.shape[1]), np.nan)
    return _newton(x, y, offset, w, beta).reshape(*weights.shape[:-1], x.shape[1])


def _newton(x: Array, y: Array, offset: Array, w: Array, beta: Array) -> Array:
    step = np.full_like(beta, np.inf)
    products = (x[:, :, None] * x[:, None, :]).reshape(len(y), -1)
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(beta @ x.T + offset, -500, 500)))
        score = (w * (y - p)) @ x
        information = ((w * p * (1 - p)) @ products).reshape(len(w), x.shape[1], x.shape[1])
        flat = np.abs(np.linalg.det(information)) < 1e-10
        information[flat] = np.eye(x.shape[1])
        step = np.clip(np.linalg.solve(information, score[..., None])[..., 0], -3, 3)
        step[flat] = np.inf
        beta = np.where(flat[:, None], np.nan, beta + np.where(flat[:, None], 0.0, step))
        beta = np.nan_to_num(beta, nan=0.0)
        if (np.abs(step[~flat]) < 1e-9).all():
            break
    return np.where((np.abs(step) < 1e-5).all(axis=1)[:, None], beta, np.nan)


def _ece(y: Array, p: Array, weights: Array | None) -> Array:
    del weights  # it has no interval
    found = expected_calibration_error(y, p)
    return np.asarray(np.nan if found is None else found)


def _top_ece(y: Array, p: Array, weights: Array | None) -> Array:
    return _ece((p.argmax(axis=1) == y).astype(np.int64), p.max(axis=1), weights)


def _residual(y: Array, p: Array, weights: Array | None) -> Array:
    w = _weights(y, weights)
    return w @ (y - p) / np.maximum(w.sum(axis=-1), 1e-300)


def _line(y: Array, p: Array, weights: Array | None) -> Array:
    w = _weights(y, weights)
    total = np.maximum(w.sum(axis=-1), 1e-300)
    x, z = p - p.mean(), y - y.mean()
    spread = w @ (x * x) / total - np.square(w @ x / total)
    common = w @ (x * z) / total - (w @ x / total) * (w @ z / total)
    return np.divide(common, spread, out=np.full(np.shape(spread), np.nan), where=spread > 1e-12)


def _ratio(y: Array, p: Array, weights: Array | None) -> Array:
    w = _weights(y, weights)
    return (w @ y) / np.maximum(w @ p, 1e-300)


def by_name(found: Sequence[Measure], name: str) -> Measure:
    """Returns the measure of that name."""
    return next(measure for measure in found if measure.name == name)
