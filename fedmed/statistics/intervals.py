"""An estimate with its interval, and the closed forms that make one."""

import dataclasses
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        estimate: the value found.
        low: lower end.
        high: upper end.
        level: share of such intervals that should hold the truth.
        method: how it was made, in words.
        error: standard error, None where the method has none.
        df: degrees of freedom of the t distribution used; infinite for the normal.
    """

    estimate: float
    low: float
    high: float
    level: float
    method: str
    error: float | None = None
    df: float = float("inf")


ENOUGH_SEEDS = 3
"""Seeds below which Student's t has one degree of freedom, and its 97.5 % quantile is 12.7."""


def says_nothing(low: float, high: float, scale: float, seeds: int) -> bool:
    """Whether too few seeds make an interval so wide that it holds whatever could be, so that no page should tell it.

    Args:
        low: lower end.
        high: upper end.
        scale: the size of the values that were compared.
        seeds: of the study.
    """
    return seeds < ENOUGH_SEEDS and (high - low) / 2 > scale / 2


def wilson(events: int, rows: int, level: float = 0.95) -> Interval:
    """Returns Wilson's score interval of a share (Wilson 1927); [0, 1] with a NaN estimate where there are no rows.

    Args:
        events: number of rows counted.
        rows: number of rows.
        level: of the interval.
    """
    if rows == 0:
        return Interval(float("nan"), 0.0, 1.0, level, "Wilson")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, shrink = events / rows, 1 + z * z / rows
    centre = (share + z * z / (2 * rows)) / shrink
    half = z / shrink * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    low = 0.0 if events == 0 else max(0.0, centre - half)
    high = 1.0 if events == rows else min(1.0, centre + half)
    return Interval(share, float(low), float(high), level, "Wilson")


def percentile_interval(estimate: float, draws: Array, level: float = 0.95) -> Interval:
    """Returns the interval between the quantiles of bootstrap draws (Efron & Tibshirani 1993, section 13.3).

    Args:
        estimate: the value on the sample itself.
        draws: [B] bootstrap values; those that are not finite are left out.
        level: of the interval.
    """
    kept = draws[np.isfinite(draws)]
    low, high = np.quantile(kept, [0.5 - level / 2, 0.5 + level / 2]) if len(kept) else (np.nan, np.nan)
    return Interval(estimate, float(low), float(high), level, "percentile bootstrap", float(np.std(kept)))


def corrected_resampled_t(differences: Array, n_test: int, n_train: int, level: float = 0.95) -> Interval:
    """Returns Nadeau & Bengio's interval for the mean of differences over random splits of the same patients.

    The variance is (1/J + n_test/n_train) S^2 with J - 1 degrees of freedom (Nadeau & Bengio 2003, section 4.2). It
    needs no predictions, only a value a split; it is not for a fixed test set, whose noise S^2 does not hold.

    Args:
        differences: [J] a difference for each split, at least 2.
        n_test: patients tested at a split.
        n_train: patients trained on at a split.
        level: of the interval.

    Raises:
        ValueError: fewer than two differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"differences: expected at least 2 splits, got {len(values)}")
    error = float(np.sqrt((1 / len(values) + n_test / n_train) * values.var(ddof=1)))
    return student(float(values.mean()), error, len(values) - 1, level, "corrected resampled t")


def student(estimate: float, error: float, df: float, level: float, method: str) -> Interval:
    """Returns estimate plus and minus Student's quantile times the standard error.

    Args:
        estimate: the value found.
        error: its standard error.
        df: degrees of freedom; infinite for the normal.
        level: of the interval.
        method: words for the report.
    """
    from scipy.special import stdtrit

    half = error * (stdtrit(df, 0.5 + level / 2) if np.isfinite(df) else NormalDist().inv_cdf(0.5 + level / 2))
    return Interval(estimate, estimate - float(half), estimate + float(half), level, method, error, df)
