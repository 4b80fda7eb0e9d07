"""Rows read off a dense layer's update: a unit's weight gradient divided by its bias gradient is what came in."""

import dataclasses

import numpy as np
import tensorflow as tf

from fedmed.attacks import descent
from fedmed.attacks.descent import Search
from fedmed.attacks.inversion import NotAttempted, Target
from fedmed.attacks.observation import Array, Seen

_LEAST = 1e-4  # of the largest bias gradient: smaller ones drown in the rounding of float32 weights
_ALIKE = 1e-3  # of their own size, by which two readings may differ and still be of the same row
_SCALE = 100.0  # of the mean squared difference, which L-BFGS would otherwise take for zero too early


@dataclasses.dataclass(frozen=True)
class DenseLayer:
    """The first dense layer of a model that its update can be read from.

    Attributes:
        kernel: the position of its kernel among the model's trainable variables.
        bias: of its bias.
        before: the part of the model whose output it takes; None where that is the row itself, flattened.
    """

    kernel: int
    bias: int
    before: tf.keras.Model | None


def first_dense(model: tf.keras.Model) -> DenseLayer | None:
    """Finds the first layer that is dense, has a bias and takes flat inputs; None if there is none to be known."""
    position = {id(v): number for number, v in enumerate(model.trainable_variables)}
    plain = (tf.keras.layers.InputLayer, tf.keras.layers.Flatten, tf.keras.layers.Reshape)
    direct = True
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Dense) and layer.use_bias and id(layer.bias) in position:
            if not hasattr(layer, "input") or len(layer.input.shape) != 2:
                return None
            before = None if direct else tf.keras.Model(model.inputs, layer.input)
            return DenseLayer(position[id(layer.kernel)], position[id(layer.bias)], before)
        direct = direct and isinstance(layer, plain)
    return None


def inputs_of(kernel: Array, bias: Array) -> Array:
    """Returns what came into a dense layer, as each of its units tells it (Zhu & Blaschko 2021; Phong et al. 2018).

    A unit's loss gradient is g for its bias and g x for its weights. Where one row alone moved a unit, their quotient
    is that row exactly, whatever the rate, the number of steps or the clip; else it is a mean of rows, weighted by g.

    Args:
        kernel: [d, units] update (or gradient) of the weights.
        bias: [units] update of the biases.

    Returns:
        [k, d] readings, of the units that moved most first; units that read the same are told once.
    """
    size = np.abs(bias)
    order = np.argsort(-size, kind="stable")
    moved = order[size[order] > max(_LEAST * size.max(initial=0.0), 1e-30)]
    readings = (kernel[:, moved].astype(np.float64) / bias[moved].astype(np.float64)).T
    kept: list[Array] = []
    for reading in readings:
        if all(np.linalg.norm(reading - other) > _ALIKE * np.linalg.norm(other) for other in kept):
            kept.append(reading)
    return np.array(kept).reshape(len(kept), kernel.shape[0])


def read(target: Target, seen: Seen, search: Search, rng: np.random.Generator) -> Array | NotAttempted:
    """Returns rows [k, ...] float32 as the first dense layer's update tells them; which of them are right is not known.

    Where other layers come first, it tells their outputs; each row is then looked for as the one that gives these,
    which is far easier than matching gradients, since ReLU and max-pooling lose little of a picture.
    """
    layer = first_dense(target.model)
    if layer is None:
        return NotAttempted("the model has no dense layer with a bias that takes flat inputs")
    readings = inputs_of(seen.update[layer.kernel], seen.update[layer.bias])
    shape = tuple(target.model.input_shape[1:])
    if layer.before is None:
        return readings.reshape(-1, *shape).astype(np.float32)
    target.restore()
    most = 2 * seen.work.in_all  # readings are sorted, and each costs a search
    rows = [_giving(layer.before, reading, (1, *shape), search, rng) for reading in readings[:most]]
    return np.array(rows, np.float32).reshape(-1, *shape)


def _giving(
    before: tf.keras.Model, output: Array, shape: tuple[int, ...], search: Search, rng: np.random.Generator
) -> Array:
    """Looks for the row [1, ...] at which the layers before return this output."""
    wanted = tf.constant(output[None], tf.float32)
    at = descent.slope(lambda x: _SCALE * tf.reduce_mean(tf.square(before(x, training=True) - wanted)), shape)
    return descent.least(at, shape, search, rng)[0]
