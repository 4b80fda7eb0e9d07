"""What a threshold on the predictions catches and what it costs."""

import dataclasses
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class Roc:
    """The ROC curve from (0, 0) to (1, 1): [k] arrays, a point for each threshold, the highest threshold first.

    Attributes:
        thresholds: a row is called an event when its prediction reaches the threshold; the first is infinite.
        sensitivity: share of events called.
        specificity: share of non-events not called.
    """

    thresholds: Array
    sensitivity: Array
    specificity: Array


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """A threshold with what it achieves; rows at or above it are called events."""

    threshold: float
    sensitivity: float
    specificity: float


def roc(y: Array, p: Array) -> Roc | None:
    """Returns the ROC curve at every distinct prediction, tied rows entering together; None with one class only.

    Args:
        y: [n] true where the event happened.
        p: [n] predictions.
    """
    events, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    if events.all() or not events.any():
        return None
    thresholds = np.concatenate([[np.inf], np.unique(p)[::-1]])
    called_events = _reaching(p[events], thresholds)
    called_others = _reaching(p[~events], thresholds)
    return Roc(thresholds, called_events / events.sum(), 1 - called_others / (~events).sum())


def operating_point(y: Array, p: Array, threshold: float) -> OperatingPoint | None:
    """Returns what a threshold fixed beforehand achieves; None with one class only.

    Args:
        y: [n] true where the event happened.
        p: [n] predictions.
        threshold: rows with p >= threshold are called events.
    """
    events, called = np.asarray(y, dtype=bool), np.asarray(p) >= threshold
    if events.all() or not events.any():
        return None
    return OperatingPoint(float(threshold), float(called[events].mean()), float((~called[~events]).mean()))


def sensitivity_at_specificity(y: Array, p: Array, specificity: float = 0.9) -> OperatingPoint | None:
    """Returns the point of greatest sensitivity whose specificity is at least the one asked for.

    The threshold is the lowest distinct prediction (or infinity, calling nobody) that keeps the specificity; rows
    tied with it are all called events; there is no interpolation. It is chosen on the rows it is scored on, which
    flatters small samples: fix it on training rows and use `operating_point` where that matters.

    Args:
        y: [n] true where the event happened.
        p: [n] predictions.
        specificity: the least share of non-events left alone, in (0, 1].

    Returns:
        The point, None with one class only.
    """
    curve = roc(y, p)
    if curve is None:
        return None
    # Counts, not shares: 1 - 1/10 must count as a specificity of 0.9 whatever the rounding.
    others = int((~np.asarray(y, dtype=bool)).sum())
    kept = np.round(curve.specificity * others) >= specificity * others - 1e-9
    k = int(np.flatnonzero(kept)[-1])
    return OperatingPoint(float(curve.thresholds[k]), float(curve.sensitivity[k]), float(curve.specificity[k]))


def _reaching(p: Array, thresholds: Array) -> Array:
    return len(p) - np.searchsorted(np.sort(p), thresholds, "left")
