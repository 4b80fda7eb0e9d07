"""Whether acting on a model does more good than treating everybody or nobody."""

import dataclasses
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class DecisionCurve:
    """Net benefit in true positives per patient, [k] arrays by threshold; treating nobody has net benefit 0.

    Attributes:
        thresholds: [k] risk at which a patient would be treated.
        model: net benefit of treating those whose predicted risk reaches the threshold.
        treat_all: net benefit of treating everybody.
        treat_none: zeros.
        standardised: model's net benefit as a share of the most possible, the prevalence; NaN without events.
    """

    thresholds: Array
    model: Array
    treat_all: Array
    treat_none: Array
    standardised: Array


def decision_curve(y: Array, p: Array, thresholds: Array) -> DecisionCurve:
    """Returns the net benefit TP/n - FP/n * t/(1-t) at each threshold t.

    Args:
        y: [n] 0 or 1.
        p: [n] predicted probabilities; a patient is treated when p >= t.
        thresholds: [k] in (0, 1).

    Returns:
        Curves, NaN without rows. Source: Vickers & Elkin 2006; standardised by Kerr et al. 2016.

    Raises:
        ValueError: a threshold is not inside (0, 1), where the odds of the trade-off are not defined.
    """
    t = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if not np.all((t > 0) & (t < 1)):
        raise ValueError("thresholds: expected risks between 0 and 1, both excluded")
    events = np.asarray(y, dtype=bool)
    rows = len(events) or np.nan
    treated = np.asarray(p)[None, :] >= t[:, None]
    odds = t / (1 - t)
    model = ((treated & events).sum(axis=1) - (treated & ~events).sum(axis=1) * odds) / rows
    prevalence = events.sum() / rows
    standardised = model / prevalence if prevalence > 0 else np.full_like(t, np.nan)
    return DecisionCurve(t, model, prevalence - (1 - prevalence) * odds, np.zeros_like(t), standardised)


def benefit_of_rows(y: Array, p: Array, thresholds: Array) -> Array:
    """Returns [n, k] each row's net benefit at each threshold; the mean over rows is the model's.

    Args:
        y: [n] 0 or 1.
        p: [n] predicted probabilities.
        thresholds: [k] in (0, 1).
    """
    treated, events = np.asarray(p)[:, None] >= thresholds, (np.asarray(y) == 1)[:, None]
    return treated * np.where(events, 1.0, -thresholds / (1 - thresholds))


def net_benefit(y: Array, p: Array, threshold: float) -> float | None:
    """Returns the net benefit at one threshold, in true positives per patient; None without rows."""
    return float(decision_curve(y, p, np.array([threshold])).model[0]) if len(y) else None
