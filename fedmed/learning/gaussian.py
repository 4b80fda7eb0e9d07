"""Standard normal noise for all of a model's variables from one seed, cheaper than TensorFlow's for large models.

Box and Muller's (1958) transform on one flat vector: two uniform numbers of 32 random bits each give two independent
normal ones. The logarithms, roots and sines are vectorised, TensorFlow's `stateless_normal` takes them one by one; what
is left is mostly the price of the random bits (Philox, Salmon et al. 2011).
"""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_LANES = 16  # floats that a slice begins at a multiple of, so that it is a view and not a copy
_SMALL = 50_000  # values: below, operations cost more than what they do, so that one vector is worth a copy
_ALL: Any = (None, None)  # no least and no largest value: all bits


def normal(shapes: Sequence[Any], seed: tf.Tensor) -> list[tf.Tensor]:
    """Draws independent standard normal values, float32, in tensors of the given shapes.

    The radius uses 32 bits, so values reach 6.66 standard deviations; what lies beyond has a probability of 3e-11.
    Float32 has gaps: as with any such noise, guarantees that suppose real numbers hold up to these (Mironov 2012).

    Args:
        shapes: known shapes; TensorShapes too.
        seed: [2] int32; the same seed gives the same bits.
    """
    return _cut(_flat(_size(shapes), seed), shapes)


def noised(tensors: Sequence[tf.Tensor], sd: tf.Tensor, over: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
    """Returns (tensor + sd z) / over for each tensor, z being `normal` of their shapes.

    Args:
        tensors: float32, of known shapes.
        sd: [] float32.
        over: [] float32.
        seed: [2] int32.
    """
    shapes = [tensor.shape for tensor in tensors]
    if _size(shapes) > _SMALL:
        return [(one + sd * z) / over for one, z in zip(tensors, normal(shapes, seed), strict=True)]
    together = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    return _cut((together + sd * _flat(_size(shapes), seed)) / over, shapes)


def _size(shapes: Sequence[Any]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def _flat(size: int, seed: tf.Tensor) -> tf.Tensor:
    pairs = math.ceil(size / (2 * _LANES)) * _LANES
    return tf.concat(_box_muller(pairs, seed), axis=0)[:size]


def _cut(flat: tf.Tensor, shapes: Sequence[Any]) -> list[tf.Tensor]:
    parts = tf.split(flat, [math.prod(shape) for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _box_muller(pairs: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns two independent vectors [pairs] of independent standard normal values."""
    bits = tf.random.stateless_uniform([2 * pairs], seed, *_ALL, dtype=tf.int32)
    signed = tf.cast(bits, tf.float32)  # in [-2^31, 2^31]
    length, angle = radius(signed[:pairs]), signed[pairs:] * (math.pi * 2.0**-31)
    return length * tf.cos(angle), length * tf.sin(angle)


def radius(signed: tf.Tensor) -> tf.Tensor:
    """Returns the length of a pair of standard normal values from 32 random bits, as a whole number in [-2^31, 2^31].

    Its size by 2^31 is uniform on (0, 1]; 0 alone, half as likely as the others, stands for a half, that is 2^-32.
    """
    return tf.sqrt(-2.0 * tf.math.log(tf.maximum(tf.abs(signed), 0.5) * 2.0**-31))
