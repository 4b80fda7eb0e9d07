"""Quantiles that are means over many values, so that none of them is a single patient's."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


def harrell_davis(values: Array, levels: Sequence[float]) -> Array:
    """Returns quantiles as weighed means of all sorted values.

    The weight of the i-th of n sorted values is the probability of ((i - 1) / n, i / n) under
    Beta(q (n + 1), (1 - q) (n + 1)) (Harrell and Davis 1982, "A new distribution-free quantile estimator", Biometrika
    69: 635-640).

    Args:
        values: [n] numbers, at least one.
        levels: [k] shares q between 0 and 1.

    Returns:
        [k] quantiles.
    """
    from scipy.special import betainc

    n, q = len(values), np.asarray(levels)[:, None]
    weights = np.diff(betainc(q * (n + 1), (1 - q) * (n + 1), np.arange(n + 1) / n), axis=1)
    return weights @ np.sort(values)
