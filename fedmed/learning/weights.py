"""The little arithmetic on weights that federated averaging needs."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from fedmed.learning.values import Nest, Tensor, Weights


def tensors(weights: Weights) -> list[tf.Tensor]:
    """Returns all tensors, trainable first."""
    return [*weights.trainable, *weights.moving]


def map_weights(function: Callable[..., Tensor], *weights: Weights) -> Weights:
    """Applies a function of one tensor of each argument to all positions."""
    return Weights(
        [function(*t) for t in zip(*(w.trainable for w in weights), strict=True)],
        [function(*t) for t in zip(*(w.moving for w in weights), strict=True)],
    )


def add(a: Weights, b: Weights) -> Weights:
    """Returns a + b."""
    return map_weights(tf.add, a, b)


def subtract(a: Weights, b: Weights) -> Weights:
    """Returns a - b."""
    return map_weights(tf.subtract, a, b)


def zeros_like(weights: Weights) -> Weights:
    """Returns weights of the same shapes, all zero."""
    return map_weights(tf.zeros_like, weights)


def norm(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the L2 norm of all values together, [] float32; not finite when any value is not (or it overflows)."""
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(part)) for part in parts])) if parts else tf.constant(0.0)


def found_in(nest: Nest) -> list[Weights]:
    """Returns all Weights in a nest, in order."""
    if isinstance(nest, Weights):
        return [nest]
    parts = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, list | tuple) else ()
    return [weights for part in parts for weights in found_in(part)]


def byte_count(values: Nest) -> int:
    """Returns the size of the tensors in bytes, each in its own type, without compression or protocol."""
    return sum(_bytes(tensor) for tensor in tf.nest.flatten(values))


def _bytes(tensor: Tensor) -> int:
    count = tensor.shape.num_elements() if isinstance(tensor.shape, tf.TensorShape) else np.prod(tensor.shape)
    return int(count) * tf.as_dtype(tensor.dtype).size


def count(parts: Sequence[Tensor]) -> int:
    """Returns how many values tensors have together."""
    return sum(int(np.prod(tuple(part.shape))) for part in parts)


def joined(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the values of all tensors as one vector [count(parts)]."""
    return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)


def split(vector: tf.Tensor, like: Sequence[Tensor]) -> list[tf.Tensor]:
    """Cuts a vector into tensors of the shapes of others: what `joined` has joined."""
    parts = tf.split(vector, [count([part]) for part in like])
    return [tf.reshape(part, tuple(one.shape)) for part, one in zip(parts, like, strict=True)]
