"""Whether as much came about as was predicted, in all: calibration in the large on a scale that reads itself."""

import numpy as np

from fedmed.data.examples import Array, Task
from fedmed.study.measures import Measure

NAME = "agreement"


def agreement(task: Task) -> Measure | None:
    """Returns observed over expected events, or of a number the mean residual; None for several classes.

    1 (of numbers 0) is ideal; above it, predictions are too low. Source: Riley et al. 2016, "External validation of
    clinical prediction models using big datasets", on the O/E ratio.
    """
    if task == "multiclass":
        return None
    if task == "regression":
        return Measure(NAME, "observed minus predicted", "target", _residual, 0.0, ranks=False, compared=False)
    return Measure(NAME, "observed over expected", "target", _ratio, 1.0, compared=False)


def _weights(y: Array, weights: Array | None) -> Array:
    return np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)


def _ratio(y: Array, p: Array, weights: Array | None) -> Array:
    w = _weights(y, weights)
    return (w @ y) / np.maximum(w @ p, 1e-300)


def _residual(y: Array, p: Array, weights: Array | None) -> Array:
    w = _weights(y, weights)
    return w @ (y - p) / np.maximum(w.sum(axis=-1), 1e-300)
