"""What a study scores: the task's metrics, and beside them sensitivity, calibration and usefulness."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from fedmed.data.examples import Array, Task
from fedmed.statistics import METRICS, Influence, Statistic, expected_calibration_error, influence, statistic
from fedmed.statistics.comparison import LOG, LOGIT, PLAIN, Scale, scale_of
from fedmed.statistics.decision import benefit_of_rows

NET_BENEFIT = "net_benefit"
RATIO = "ratio"


@dataclasses.dataclass(frozen=True)
class Measure:
    """One thing scored.

    Attributes:
        name: key.
        label: for pages.
        better: which direction is better, or "target".
        of: how it is computed, and how it varies.
        target: the best value, where there is one.
        metric: whether `fedmed.statistics` knows it by this name.
        scale: of an arm's interval; None gives no interval.
        compared: whether arms are compared in it.
        threshold: risk at which a patient would be treated, of the net benefit.
    """

    name: str
    label: str
    better: Literal["higher", "lower", "target"]
    of: Statistic
    target: float | None = None
    metric: bool = False
    scale: Scale | None = PLAIN
    compared: bool = True
    threshold: float | None = None


def measures(task: Task, specificity: float, primary: str, threshold: float | None = None) -> tuple[Measure, ...]:
    """Returns what is scored for a task, the primary metric first.

    Args:
        task: what kind of label.
        specificity: at which sensitivity is told.
        primary: the metric that verdicts ask for first.
        threshold: risk at which a patient would be treated; None for no net benefit.
    """
    known = [
        Measure(m.name, m.label, m.better, statistic(task, m.name), metric=True, scale=scale_of(task, m.name))
        for m in METRICS[task]
    ]
    ordered = sorted(known, key=lambda m: m.name != primary)
    return (*ordered, *_extras(task, specificity, threshold))


def _extras(task: Task, specificity: float, threshold: float | None) -> list[Measure]:
    if task == "binary":
        at = f"sensitivity at {100 * specificity:g} % specificity"
        sensitive = Statistic(functools.partial(sensitivity, specificity), ranks=True)
        return [
            *([_net_benefit(threshold)] if threshold is not None else []),
            Measure("sensitivity", at, "higher", sensitive, scale=LOGIT),
            _ratio(),
            Measure("intercept", "calibration intercept", "target", _closed(_intercept), 0.0, compared=False),
            Measure("slope", "calibration slope", "target", _closed(_slope), 1.0, compared=False),
            Measure("ece", "expected calibration error", "lower", _ece, scale=None, compared=False),
        ]
    if task == "multiclass":
        return [Measure("ece", "expected calibration error", "lower", _top_ece, scale=None, compared=False)]
    if task == "regression":
        return [
            _residuals(),
            Measure("slope", "calibration slope", "target", _closed(_line), 1.0, compared=False),
        ]
    return [_ratio()]


def agreement(task: Task) -> Measure | None:
    """Returns by what calibration in the large is told: observed over expected, of amounts the mean residual.

    Source: Riley et al. 2016, "External validation of clinical prediction models using big datasets", on the ratio.
    None for several classes.
    """
    if task == "multiclass":
        return None
    return _residuals() if task == "regression" else _ratio()


def _residuals() -> Measure:
    return Measure("intercept", "mean residual", "target", _closed(_residual), 0.0, compared=False)


def _net_benefit(threshold: float) -> Measure:
    def of(y: Array, p: Array, site: Array | None) -> Influence:
        del site
        return influence.mean(benefit_of_rows(y, p, np.array([threshold]))[:, 0])

    return Measure(NET_BENEFIT, f"net benefit at {100 * threshold:g} %", "higher", _closed(of), threshold=threshold)


def _ratio() -> Measure:
    return Measure(RATIO, "observed / expected", "target", _closed(_observed_over_expected), 1.0, False, LOG, False)


def _closed(of: Callable[[Array, Array, Array | None], Influence]) -> Statistic:
    """Returns the statistic of which only the value and its influence are asked for, never draws."""

    def score(y: Array, p: Array, weights: Array | None) -> Array:
        if weights is not None:
            raise NotImplementedError("what has a closed form needs no weights")
        return np.asarray(of(y, p, None).value)

    return Statistic(score, of)


def _intercept(y: Array, p: Array, site: Array | None) -> Influence:
    del site
    return influence.logistic(y, p, slope=False)


def _slope(y: Array, p: Array, site: Array | None) -> Influence:
    del site
    return influence.logistic(y, p, slope=True)


def _residual(y: Array, p: Array, site: Array | None) -> Influence:
    del site
    return influence.mean(y - p)


def _line(y: Array, p: Array, site: Array | None) -> Influence:
    del site
    return influence.line(y, p)


def _observed_over_expected(y: Array, p: Array, site: Array | None) -> Influence:
    del site
    log = influence.log_ratio(y, p)
    ratio = float(np.exp(log.value))
    return Influence(ratio, ratio * log.rows)


def sensitivity(specificity: float, y: Array, p: Array, weights: Array | None) -> Array:
    """Returns the greatest sensitivity at no less than this specificity, under each row of weights.

    As `statistics.sensitivity_at_specificity`: tied rows are called together and nothing is interpolated. The
    threshold is chosen anew in each draw, so the interval holds the doubt about it.
    """
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
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


def _binary_ece(y: Array, p: Array, weights: Array | None) -> Array:
    del weights  # it has no interval
    found = expected_calibration_error(y, p)
    return np.asarray(np.nan if found is None else found)


def _of_the_top(y: Array, p: Array, weights: Array | None) -> Array:
    return _binary_ece((p.argmax(axis=1) == y).astype(np.int64), p.max(axis=1), weights)


_ece, _top_ece = Statistic(_binary_ece), Statistic(_of_the_top)


def by_name(found: Sequence[Measure], name: str) -> Measure:
    """Returns the measure of that name."""
    return next(measure for measure in found if measure.name == name)
