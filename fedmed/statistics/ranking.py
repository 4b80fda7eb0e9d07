"""How well predictions rank rows: AUROC and average precision, by sorting once and weighing many times."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray

_CELLS = 4_000_000  # weights handled at once (32 MB of float64), so that thousands of resamples fit in memory


def auroc(y: Array, p: Array) -> float:
    """Returns the chance that a random event is ranked above a random non-event, ties counting a half.

    Args:
        y: [n] true where the event happened.
        p: [n] predictions; only their order matters.

    Returns:
        The Mann-Whitney form of the area under the ROC curve (Hanley & McNeil 1982), NaN with one class only.
    """
    events = np.asarray(y, dtype=bool)
    above, below = np.asarray(p)[events], np.sort(np.asarray(p)[~events])
    if not len(above) or not len(below):
        return float("nan")
    wins = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(wins.sum() / (2.0 * len(above) * len(below)))


def weighted_auroc(y: Array, p: Array, weights: Array) -> Array:
    """Returns the AUROC under each row of weights; bootstrap counts make it a bootstrap at the price of one sort.

    Args:
        y: [n] true where the event happened.
        p: [n] predictions.
        weights: [..., n], none negative.

    Returns:
        [...] values, NaN where a class carries no weight.
    """
    order = np.argsort(p, kind="stable")
    starts = _tie_starts(np.asarray(p)[order])
    events = np.asarray(y, dtype=bool)[order]

    def area(w: Array) -> Array:
        positive, negative = _sums(w * events, starts), _sums(w * ~events, starts)
        below = np.cumsum(negative, axis=-1) - 0.5 * negative
        return _divide((positive * below).sum(axis=-1), positive.sum(axis=-1) * negative.sum(axis=-1))

    return _by_chunks(area, weights, order)


def weighted_average_precision(y: Array, p: Array, weights: Array) -> Array:
    """Returns the area under the precision-recall steps, without interpolation, under each row of weights.

    Args:
        y: [n] true where the event happened.
        p: [n] predictions.
        weights: [..., n], none negative.

    Returns:
        [...] values, NaN where the events carry no weight. Source: Davis & Goadrich 2006 (why not the trapezoid).
    """
    order = np.argsort(-np.asarray(p, dtype=np.float64), kind="stable")
    starts = _tie_starts(np.asarray(p)[order])
    events = np.asarray(y, dtype=bool)[order]

    def area(w: Array) -> Array:
        positive, everyone = _sums(w * events, starts), _sums(w, starts)
        flagged = np.cumsum(everyone, axis=-1)
        precision = np.divide(np.cumsum(positive, axis=-1), flagged, out=np.zeros_like(flagged), where=flagged > 0)
        return _divide((positive * precision).sum(axis=-1), positive.sum(axis=-1))

    return _by_chunks(area, weights, order)


def _tie_starts(ordered: Array) -> Array:
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _sums(w: Array, starts: Array) -> Array:
    return w if len(starts) == w.shape[-1] else np.add.reduceat(w, starts, axis=-1)


def _divide(top: Array, bottom: Array) -> Array:
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=np.asarray(bottom) > 0)


def _by_chunks(area: Callable[[Array], Array], weights: Array, order: Array) -> Array:
    w = np.asarray(weights, dtype=np.float64)
    flat = w.reshape(-1, w.shape[-1])
    if not flat.size:
        return np.full(w.shape[:-1], np.nan)
    parts = [area(flat[rows][:, order]) for rows in _slices(len(flat), flat.shape[-1])]
    return np.concatenate(parts).reshape(w.shape[:-1])


def _slices(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _CELLS // columns)
    return (slice(start, start + step) for start in range(0, rows, step))
