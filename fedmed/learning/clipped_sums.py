"""Sums of patients' gradients, each clipped to a norm: what DP-SGD releases, once noise is added (Abadi et al. 2016).

A patient's gradient is the mean of the gradients of their rows' losses, without the model's regularisation: that
depends on no patient, and is added after the noise. Clipped to an L2 norm, it changes the sum by no more than that,
whoever the patient is and however many rows they have.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from fedmed.learning import tracing
from fedmed.learning.clipped_fast import clipped_at_once
from fedmed.learning.clipped_loop import clipped_by_loop
from fedmed.learning.learner import Inputs, Learner
from fedmed.learning.patients import ClippedSums, PatientRows

__all__ = ["ClippedSums", "PatientRows", "Way", "clipped_sums", "way_for"]

Way = Literal["fast", "loop"]
"""All patients at once, for models that allow it, or one after another, for any."""

_ROWS = 8  # that a way is tried on
_CLOSE = 1e-4  # relative; float32 rounding leaves 1e-6
_ROUNDING = 1e-6  # of the largest value
_SHAKE = 0.3  # standard deviation of what is added to the weights


def clipped_sums(learner: Learner, way: Way, rows: PatientRows, seed: tf.Tensor, clip: tf.Tensor) -> ClippedSums:
    """Adds up the patients' clipped gradients at the learner's weights; called where a graph is recorded.

    Args:
        way: as `way_for` has found it.
        seed: [2] int32, of the random draws of the model's layers.
        clip: [] float32, the largest L2 norm of what a patient adds. A patient whose gradient has no finite norm adds
            nothing.

    Raises:
        UncoveredError: "fast", and the model does not allow it.
    """
    return (clipped_at_once if way == "fast" else clipped_by_loop)(learner, rows, seed, clip)


def way_for(learner: Learner, x: Any, y: Any) -> Way:
    """Tries on some rows whether the fast way does what the loop does; called eagerly, leaves the model as it was.

    It does when it can be recorded and agrees with the loop, with patients of one row and of several, and where a row
    is not finite, which must stay that row's own trouble. The weights are shaken: a layer that mixes the rows of a
    batch may begin with weights of zero, at which it does not show. Random layers are at rest, as the two ways draw
    differently.
    """
    x, y = tf.nest.map_structure(lambda t: tf.convert_to_tensor(t[:_ROWS]), (x, y))
    count = len(y)
    if not count:
        return "loop"
    alone, growing = np.arange(count), np.repeat(np.arange(count), np.arange(1, count + 1))[:count]
    with learner.restoring(), learner.at_rest():
        _shake(learner)
        try:
            fast, loop = (_recorded(learner, way, x, y) for way in ("fast", "loop"))
            agree = [
                _agree(fast, loop, given, y, patient)
                for given, patient in ((x, alone), (x, growing), (_first_broken(x), alone), (_first_broken(x), growing))
            ]
        except Exception:  # no rule, or whatever strange layers raise; what is the model's fault the loop will raise
            return "loop"
    return "fast" if all(agree) else "loop"


def _shake(learner: Learner) -> None:
    for number, variable in enumerate(learner.trainable):
        variable.assign_add(_SHAKE * tf.random.stateless_normal(tf.shape(variable), seed=(number, 0)))


def _first_broken(x: Inputs) -> Inputs:
    """Returns inputs whose first row is no number, where their type can tell."""

    def broken(t: tf.Tensor) -> tf.Tensor:
        return tf.concat([t[:1] * np.nan, t[1:]], axis=0) if t.dtype.is_floating else t

    return tf.nest.map_structure(broken, x)


def _recorded(learner: Learner, way: Way, x: Inputs, y: tf.Tensor) -> Callable[..., ClippedSums]:
    """Records a way for any number of rows, as it will be for training: some graphs depend on that."""

    def call(x: Inputs, y: tf.Tensor, patient: tf.Tensor, weight: tf.Tensor, clip: tf.Tensor) -> ClippedSums:
        return clipped_sums(learner, way, PatientRows(x, y, patient, weight), tf.constant([0, 0]), clip)

    x, y = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), (x, y))
    vectors = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)]
    function = tf.function(tracing.layers_converted(call), autograph=False)
    return function.get_concrete_function(x, y, *vectors, tf.TensorSpec([], tf.float32))


def _agree(
    fast: Callable[..., ClippedSums], loop: Callable[..., ClippedSums], x: Inputs, y: tf.Tensor, patient: np.ndarray
) -> bool:
    rows = (x, y, tf.constant(patient, tf.int32), tf.ones([patient[-1] + 1]))
    norms = loop(*rows, tf.constant(np.inf, tf.float32)).norms
    clip = tf.constant(np.nanmedian(norms), tf.float32)  # half of the patients are clipped
    return _close(fast(*rows, clip), loop(*rows, clip))


def _close(one: ClippedSums, other: ClippedSums) -> bool:
    """Compares sums variable by variable, each by its own size, but for rounding of what should be zero."""
    largest = max(float(tf.reduce_max(tf.abs(total))) for total in other.sums)

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        size = np.abs(b[np.isfinite(b)]).max(initial=0)
        return np.allclose(a, b, rtol=_CLOSE, atol=_CLOSE * size + _ROUNDING * largest, equal_nan=True)

    pairs = [*zip(one.sums, other.sums, strict=True), (one.norms, other.norms)]
    return all(same(a.numpy(), b.numpy()) for a, b in pairs)
