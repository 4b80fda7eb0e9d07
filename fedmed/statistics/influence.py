"""How far each row moves a statistic: closed forms of what a bootstrap of patients would draw.

A statistic T of n rows is, near the rows at hand, T + sum over rows of (weight - 1) times the row's influence. So its
variance over draws of patients is the sum over patients of their rows' squared influence (the infinitesimal jackknife;
Efron 1982, chapter 6). For a mean over rows that is exact; for the AUROC it is DeLong, DeLong and Clarke-Pearson's
(1988) variance, with n in place of n - 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from fedmed.statistics import metrics
from fedmed.statistics.calibration import fit_logistic, logit

if TYPE_CHECKING:
    from fedmed.data.examples import Task

Array: TypeAlias = np.ndarray

BY_BOOTSTRAP = ("auprc",)
"""Metrics without a closed form."""


class Influence(NamedTuple):
    """A statistic and how far each row moves it.

    Attributes:
        value: the statistic; NaN where it is not defined.
        rows: [n] influence, summing to 0.
    """

    value: float
    rows: Array

    def minus(self, other: Influence) -> Influence:
        """Returns the influence of the difference of two statistics of the same rows."""
        return Influence(self.value - other.value, self.rows - other.rows)


def of_metric(task: Task, name: str, y: Array, p: Array, site: Array | None = None) -> Influence:
    """Returns the influence of a metric of the task.

    Args:
        task: what kind of label.
        name: a metric of the task, none of BY_BOOTSTRAP.
        y: [n] labels.
        p: predictions as for `metrics.evaluate`.
        site: [n] the hospital of each row, for an AUROC of pairs within hospitals.
    """
    if name == "auroc":
        if task != "multiclass":
            return auroc(y == 1, p, site)
        classes = [auroc(y == k, p[:, k], site) for k in range(p.shape[1])]
        return Influence(float(np.mean([c.value for c in classes])), np.mean([c.rows for c in classes], axis=0))
    if name == "rmse":
        squares = mean(np.square(y - p))
        root = float(np.sqrt(squares.value))
        return Influence(root, squares.rows / (2 * root) if root > 0 else squares.rows)
    if name == "r2":
        return _r2(y, p)
    return mean(metrics.row_scores(task, name, y, p))


def mean(values: Array) -> Influence:
    """Returns the influence on the mean of values [n]."""
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        return Influence(float("nan"), values)
    centre = float(values.mean())
    return Influence(centre, (values - centre) / len(values))


def auroc(events: Array, p: Array, site: Array | None = None) -> Influence:
    """Returns the influence on the share of pairs, of one row with and one without the event, in the right order.

    Args:
        events: [n] true where the event happened.
        p: [n] predictions.
        site: [n] the hospital of each row: only pairs of the same hospital count (within-centre AUROC, van Klaveren
            et al. 2014), each alike; None counts all pairs.
    """
    pairs, wins = 0, 0.0
    beaten, partners = np.zeros(len(events)), np.zeros(len(events))  # of a row's pairs, those in the right order
    for here in _places(len(events), site):
        yes, no = here[events[here]], here[~events[here]]
        if len(yes) and len(no):
            beaten[yes] = _below(p[no], p[yes])
            beaten[no] = len(yes) - _below(p[yes], p[no])
            partners[yes], partners[no] = len(no), len(yes)
            pairs += len(yes) * len(no)
            wins += float(beaten[yes].sum())
    if not pairs:
        return Influence(float("nan"), beaten)
    value = wins / pairs
    return Influence(value, (beaten - value * partners) / pairs)


def log_ratio(y: Array, p: Array) -> Influence:
    """Returns the influence on the logarithm of observed over expected, sum y / sum p; NaN where either is 0."""
    observed, expected = float(np.sum(y)), float(np.sum(p))
    if observed <= 0 or expected <= 0:
        return Influence(float("nan"), np.zeros(len(y)))
    return Influence(float(np.log(observed / expected)), y / observed - p / expected)


def logistic(y: Array, p: Array, *, slope: bool) -> Influence:
    """Returns the influence on the calibration intercept (slope held at 1) or the calibration slope (Cox 1958).

    Args:
        y: [n] 0 or 1.
        p: [n] predicted probabilities, clipped by 1e-7.
        slope: which of the two.

    Returns:
        NaN where the maximum likelihood estimate does not exist.
    """
    nothing = Influence(float("nan"), np.zeros(len(y)))
    if not 0 < np.sum(y) < len(y):
        return nothing
    z = logit(p)
    x = np.column_stack([np.ones(len(y)), z]) if slope else np.ones((len(y), 1))
    offset = np.zeros(len(y)) if slope else z
    fit = fit_logistic(x, y, offset)
    if fit is None:
        return nothing
    beta, inverse = fit
    fitted = 1 / (1 + np.exp(-(x @ beta + offset)))
    return Influence(float(beta[-1]), (x * (y - fitted)[:, None]) @ inverse[:, -1])


def line(y: Array, p: Array) -> Influence:
    """Returns the influence on the slope of the least-squares line of y on p; NaN where p is constant."""
    if not len(p):
        return Influence(float("nan"), np.zeros(0))
    x = p - p.mean()
    spread = float(x @ x)
    if spread <= 1e-12 * len(p):
        return Influence(float("nan"), np.zeros(len(y)))
    slope = float(x @ (y - y.mean())) / spread
    return Influence(slope, x * (y - y.mean() - slope * x) / spread)


def _r2(y: Array, p: Array) -> Influence:
    error, spread = mean(np.square(y - p)), mean(np.square(y - np.mean(y))) if len(y) else mean(y)
    if not len(y) or spread.value <= 1e-12 * np.ptp(y) ** 2:
        return Influence(float("nan"), np.zeros(len(y)))
    share = error.value / spread.value
    return Influence(1 - share, -(error.rows - share * spread.rows) / spread.value)


def _places(rows: int, site: Array | None) -> list[Array]:
    return [np.arange(rows)] if site is None else [np.flatnonzero(site == one) for one in np.unique(site)]


def _below(others: Array, of: Array) -> Array:
    """Returns how many of the others each value is above, ties counting a half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, of, "left") + np.searchsorted(ordered, of, "right")) / 2
