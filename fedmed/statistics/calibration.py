"""Whether a risk of 20 % means that two in ten patients have the event."""

import dataclasses
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from fedmed.statistics.intervals import Interval, wilson
from fedmed.statistics.metrics import CLIP

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class CalibrationBin:
    """Rows of similar predicted risk: their mean prediction, and the share with the event with its interval."""

    predicted: float
    observed: Interval
    rows: int


def calibration_intercept(y: Array, p: Array, *, level: float = 0.95) -> Interval | None:
    """Returns calibration-in-the-large: a in logit P(y) = a + logit p; 0 is ideal, above 0 the risks are too low.

    Args:
        y: [n] 0 or 1.
        p: [n] predicted probabilities, clipped by 1e-7.
        level: of the Wald interval, which takes rows as independent.

    Returns:
        The intercept on the log-odds scale, or None where only one class is present.
        Source: Van Calster et al. 2019, "Calibration: the Achilles heel of predictive analytics", weak calibration.
    """
    z = logit(p)
    return _coefficient(np.ones((len(z), 1)), np.asarray(y), z, 0, level)


def calibration_slope(y: Array, p: Array, *, level: float = 0.95) -> Interval | None:
    """Returns b in logit P(y) = a + b logit p; 1 is ideal, below 1 the risks are too extreme (overfitting).

    Args:
        y: [n] 0 or 1.
        p: [n] predicted probabilities, clipped by 1e-7.
        level: of the Wald interval, which takes rows as independent.

    Returns:
        The slope, or None where no finite one exists: one class only, all predictions equal, or classes separated.
        Source: Cox 1958; Van Calster et al. 2019.
    """
    z = logit(p)
    if len(z) < 3 or np.ptp(z) < 1e-9:
        return None
    return _coefficient(np.column_stack([np.ones(len(z)), z]), np.asarray(y), np.zeros(len(z)), 1, level)


def calibration_curve(
    y: Array, p: Array, *, bins: int = 10, level: float = 0.95, minimum_rows: int = 5
) -> tuple[CalibrationBin, ...]:
    """Returns the share of events by bin of predicted risk, in order of risk, each with Wilson's interval.

    Bins hold equally many rows: a row's bin is floor(bins * rank / n) of its first tied rank, so tied predictions
    share a bin and the order of rows does not matter.

    Args:
        y: [n] 0 or 1.
        p: [n] predicted probabilities.
        bins: how many are wanted; fewer where they would hold fewer than `minimum_rows` rows, none below that.
        level: of the intervals.
        minimum_rows: no bin tells of fewer rows.
    """
    y, p = np.asarray(y), np.asarray(p, dtype=np.float64)
    bin_of = _equal_count_bins(p, min(bins, len(p) // max(1, minimum_rows)), minimum_rows)
    groups = [bin_of == k for k in np.unique(bin_of)]
    return tuple(
        CalibrationBin(float(p[rows].mean()), wilson(int(y[rows].sum()), int(rows.sum()), level), int(rows.sum()))
        for rows in groups
    )


def expected_calibration_error(y: Array, p: Array, *, bins: int = 10) -> float | None:
    """Returns the mean over rows of |mean prediction - share of events| of the row's bin.

    The bins are the equal-count bins of `calibration_curve` (Nixon et al. 2019 call it adaptive). The value is
    biased upwards in few rows: even a perfect model scores about 0.8 sqrt(prevalence * bins / n).

    Args:
        y: [n] 0 or 1.
        p: [n] predicted probabilities.
        bins: at most this many.

    Returns:
        A value in [0, 1], None without rows.
    """
    if not len(p):
        return None
    curve = calibration_curve(y, p, bins=min(bins, len(p)), minimum_rows=1)
    return sum(b.rows * abs(b.predicted - b.observed.estimate) for b in curve) / len(p)


def smooth_calibration(y: Array, p: Array, at: Array, *, span: float = 0.75) -> Array:
    """Returns the share of events near each risk, by local linear regression with tricube weights (lowess).

    Args:
        y: [n] 0 or 1.
        p: [n] predicted probabilities.
        at: [m] risks to look at; trust only those within the range of p.
        span: share of the rows that a risk looks at.

    Returns:
        [m] shares clipped to [0, 1], NaN without rows. Source: Cleveland 1979, without robustness steps, which would
        take events for outliers (Austin & Steyerberg 2014).
    """
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    near = int(span * len(p) + 1e-10)
    if near < 2:
        return np.full(len(at), np.nan)
    return np.array([_local_line(y, p, float(x), near) for x in at])


def _local_line(y: Array, p: Array, x: float, near: int) -> float:
    distance = np.abs(p - x)
    width = np.partition(distance, near - 1)[near - 1]
    inside = np.clip(distance / width, 0, 1) if width > 0 else (distance > 0).astype(float)
    w = (1 - inside**3) ** 3
    centre = np.average(p, weights=w)
    spread = (w * np.square(p - centre)).sum()
    slope = (w * (p - centre) * y).sum() / spread if spread > 1e-12 * w.sum() else 0.0
    return float(np.clip(np.average(y, weights=w) + slope * (x - centre), 0.0, 1.0))


def _equal_count_bins(p: Array, bins: int, minimum_rows: int) -> Array:
    if bins < 1:
        return np.full(len(p), -1)[:0]
    first = np.searchsorted(np.sort(p), p, "left")
    found = first * bins // len(p)
    for k in np.unique(found)[::-1]:  # ties can leave a bin too small; it joins the one below it
        lower = found[found < k]
        if len(lower) and (found == k).sum() < minimum_rows:
            found[found == k] = lower.max()
    kept = np.unique(found)
    if len(kept) > 1 and (found == kept[0]).sum() < minimum_rows:
        found[found == kept[0]] = kept[1]
    return found


def logit(p: Array) -> Array:
    """Returns the log odds of probabilities, clipped by 1e-7."""
    q = np.clip(np.asarray(p, dtype=np.float64), CLIP, 1 - CLIP)
    return np.log(q) - np.log1p(-q)


def _coefficient(x: Array, y: Array, offset: Array, column: int, level: float) -> Interval | None:
    fit = fit_logistic(x, y, offset) if 0 < y.sum() < len(y) else None
    if fit is None:
        return None
    value, error = float(fit[0][column]), float(np.sqrt(fit[1][column, column]))
    half = NormalDist().inv_cdf(0.5 + level / 2) * error
    return Interval(value, value - half, value + half, level, "Wald", error)


def fit_logistic(x: Array, y: Array, offset: Array) -> tuple[Array, Array] | None:
    """Returns a logistic regression's [k] coefficients and their [k, k] covariance, by Newton with halved steps.

    Args:
        x: [n, k] columns, a constant among them where there is to be an intercept.
        y: [n] 0 or 1.
        offset: [n] added to the log odds.

    Returns:
        None where the likelihood has no maximum.
    """
    beta = np.zeros(x.shape[1])
    best = _log_likelihood(x, y, offset, beta)
    for _ in range(100):
        with np.errstate(over="ignore"):  # where exp is infinite p is 0, as it should be
            p = 1 / (1 + np.exp(-(x @ beta + offset)))
        information = (x * (p * (1 - p))[:, None]).T @ x
        if np.linalg.cond(information) > 1e14:
            return None
        step = np.linalg.solve(information, x.T @ (y - p))
        while (found := _log_likelihood(x, y, offset, beta + step)) < best and np.abs(step).max() > 1e-12:
            step = step / 2
        beta, best = beta + step, max(best, found)
        if np.abs(step).max() < 1e-9:
            return beta, np.linalg.inv(information)
    return None


def _log_likelihood(x: Array, y: Array, offset: Array, beta: Array) -> float:
    z = x @ beta + offset
    return float((y * z - np.logaddexp(0, z)).sum())
