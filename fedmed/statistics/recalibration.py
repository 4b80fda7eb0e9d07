"""A model's predictions moved to fit a hospital, each patient's by what the outcomes of others there say.

Fitted and tried on the same patients, recalibration looks better than it is; so it is cross-fitted: what is applied to
a fold of the patients is fitted on the other folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from fedmed.statistics.metrics import CLIP

if TYPE_CHECKING:  # the statistics need no data set, so they must not load them
    from fedmed.data.examples import Task

Array: TypeAlias = np.ndarray
How: TypeAlias = Literal["intercept", "intercept and slope"]

MINIMUM_PATIENTS = 5
"""With fewer patients in the other folds, or fewer of them with or without the event, a fold is left as it is."""

_STEPS, _CLOSE = 100, 1e-10


class Recalibrated(NamedTuple):
    """Predictions after recalibration.

    Attributes:
        p: [n] in the order given.
        left: whether a fold was left as it was, for lack of events or because no fit exists.
    """

    p: Array
    left: bool


class _Family(NamedTuple):
    """A generalised linear model with its canonical link (McCullagh and Nelder 1989, section 2.2).

    Attributes:
        link: prediction to linear predictor.
        mean: and back.
        variance: of the label by its mean, up to a constant.
        gain: (y, linear predictor) to the log likelihood, up to a constant.
    """

    link: Callable[[Array], Array]
    mean: Callable[[Array], Array]
    variance: Callable[[Array], Array]
    gain: Callable[[Array, Array], Array]


def _logit(p: Array) -> Array:
    q = np.clip(p, CLIP, 1 - CLIP)
    return np.log(q) - np.log1p(-q)


def _identity(z: Array) -> Array:
    return z


_FAMILIES: Mapping[Task, _Family] = MappingProxyType(
    {
        "binary": _Family(
            _logit,
            lambda z: 1 / (1 + np.exp(-z)),
            lambda m: m * (1 - m),
            lambda y, z: y * z - np.logaddexp(0, z),
        ),
        "count": _Family(lambda p: np.log(np.maximum(p, CLIP)), np.exp, _identity, lambda y, z: y * z - np.exp(z)),
        "regression": _Family(_identity, _identity, np.ones_like, lambda y, z: -np.square(y - z) / 2),
    }
)
TASKS: tuple[Task, ...] = tuple(_FAMILIES)
"""The tasks for which there is recalibration; of several classes there is none."""


def cross_fitted(task: Task, how: How, y: Array, p: Array, patient: Array, fold: Array) -> Recalibrated:
    """Returns predictions of which each fold's are recalibrated by the labels of all other folds.

    Args:
        task: binary (a logistic regression on the logit), count (a Poisson regression on the log) or regression (least
            squares).
        how: "intercept" keeps the slope at 1, so that ranks within a fold stay; for regression it is a mean shift.
        y: [n] labels.
        p: [n] predictions: probabilities, rates or values.
        patient: [n] identifiers.
        fold: [n] see `folds.by_patient`.

    Source: Steyerberg et al. 2004, "Validation and updating of predictive logistic regression models", methods 2 and 3.
    """
    found, left = np.array(p, dtype=np.float64), False
    for number in np.unique(fold):
        out = fold == number
        fit = coefficients(task, how, y[~out], p[~out]) if _is_enough(task, y[~out], patient[~out]) else None
        left |= fit is None
        if fit is not None:
            found[out] = applied(task, fit, p[out])
    return Recalibrated(found, bool(left))


def coefficients(task: Task, how: How, y: Array, p: Array) -> tuple[float, float] | None:
    """Returns (intercept, slope) on the scale of the link by maximum likelihood; None where there is none."""
    family = _FAMILIES[task]
    z, ones = family.link(np.asarray(p, dtype=np.float64)), np.ones(len(y))
    if how == "intercept":
        beta = _fitted(family, ones[:, None], y, z)
        return None if beta is None else (float(beta[0]), 1.0)
    if len(y) < 3 or np.ptp(z) < 1e-9:
        return None
    middle = z.mean()  # far from 0 with little spread, intercept and slope could hardly be told apart
    beta = _fitted(family, np.column_stack([ones, z - middle]), y, np.zeros(len(y)))
    return None if beta is None else (float(beta[0] - beta[1] * middle), float(beta[1]))


def applied(task: Task, fit: tuple[float, float], p: Array) -> Array:
    """Returns [n] predictions recalibrated by (intercept, slope)."""
    family = _FAMILIES[task]
    return family.mean(fit[0] + fit[1] * family.link(np.asarray(p, dtype=np.float64)))


def _is_enough(task: Task, y: Array, patient: Array) -> bool:
    """Whether enough patients, and of classes and counts enough with and enough without an event, are at hand."""
    sides = {"binary": [y == 1, y == 0], "count": [y > 0], "regression": [np.ones(len(y), bool)]}
    parts = [patient[side] for side in sides[task]]
    return all(len(np.unique(part)) >= MINIMUM_PATIENTS for part in parts)


def _fitted(family: _Family, x: Array, y: Array, offset: Array) -> Array | None:
    """Returns [k] coefficients by Newton's method with halved steps; None where the likelihood has no maximum."""

    def gain(beta: Array) -> float:
        with np.errstate(over="ignore"):
            return float(family.gain(y, x @ beta + offset).sum())

    beta = np.zeros(x.shape[1])
    best = gain(beta)
    for _ in range(_STEPS):
        mean = family.mean(x @ beta + offset)
        information = (x * family.variance(mean)[:, None]).T @ x
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e14:
            return None
        step = np.linalg.solve(information, x.T @ (y - mean))
        while (found := gain(beta + step)) < best and np.abs(step).max() > 1e-12:
            step = step / 2
        beta, best = beta + step, max(best, found)
        if np.abs(step).max() < _CLOSE * (1 + np.abs(beta).max()):
            return beta
    return None
