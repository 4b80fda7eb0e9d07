"""Whole numbers of a few bits, packed into bytes: what a quantised value or a place really takes to send."""

import tensorflow as tf


def pack(values: tf.Tensor, bits: int) -> tf.Tensor:
    """Packs numbers, the first into the lowest bits of the first byte.

    Args:
        values: [n] int32 in 0 .. 2^bits - 1, n known while the graph is made.
        bits: of each, 1 to 31.

    Returns:
        [ceil(n * bits / 8)] uint8.
    """
    if 8 % bits:
        values, bits = tf.reshape(tf.bitwise.right_shift(values[:, tf.newaxis], tf.range(bits)) & 1, [-1]), 1
    a_byte = 8 // bits
    missing = -(values.shape.num_elements() or 0) % a_byte
    parts = tf.reshape(tf.pad(values, [[0, missing]]), [-1, a_byte])
    return tf.cast(tf.reduce_sum(tf.bitwise.left_shift(parts, bits * tf.range(a_byte)), axis=1), tf.uint8)


def unpack(packed: tf.Tensor, bits: int, count: int) -> tf.Tensor:
    """Returns the numbers [count] int32 that `pack` has packed."""
    if 8 % bits:
        ones = tf.reshape(unpack(packed, 1, count * bits), [count, bits])
        return tf.reduce_sum(tf.bitwise.left_shift(ones, tf.range(bits)), axis=1)
    shifts = bits * tf.range(8 // bits)
    parts = tf.bitwise.right_shift(tf.cast(packed, tf.int32)[:, tf.newaxis], shifts) & (2**bits - 1)
    return tf.reshape(parts, [-1])[:count]
