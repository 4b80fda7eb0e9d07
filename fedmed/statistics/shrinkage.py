"""How many rows a regression needs, so that its coefficients are too large by no more than a tenth."""

import math

SHRINKAGE = 0.9
"""The least uniform shrinkage factor that Riley et al. call acceptable."""

EXPLAINED = 0.15
"""Anticipated Cox-Snell R² as a share of its largest, where nothing better is known (Riley et al. 2020)."""


def largest_r2(prevalence: float) -> float:
    """Returns the largest Cox-Snell R² that a model of a binary outcome can have.

    It is 1 - exp(2 l / n) with l / n = q ln q + (1 - q) ln(1 - q), the log-likelihood a row of the model without
    predictors (Riley et al. 2020, BMJ 368: m441, on anticipating R²).

    Args:
        prevalence: q, the share with the event, between 0 and 1.
    """
    null = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return 1 - math.exp(2 * null)


def rows_needed(parameters: int, prevalence: float, explained: float = EXPLAINED, shrinkage: float = SHRINKAGE) -> int:
    """Returns the rows to train on at which a regression's expected shrinkage is as asked.

    It is p / ((S - 1) ln(1 - R² / S)), rounded up (Riley et al. 2020, BMJ 368: m441, criterion B3; pmsampsize calls
    it criterion 1).

    Args:
        parameters: p, of predictors, the intercept left out.
        prevalence: the share with the event, between 0 and 1.
        explained: anticipated Cox-Snell R² as a share of its largest.
        shrinkage: S, below 1.
    """
    r2 = explained * largest_r2(prevalence)
    return math.ceil(parameters / ((shrinkage - 1) * math.log(1 - r2 / shrinkage)))
