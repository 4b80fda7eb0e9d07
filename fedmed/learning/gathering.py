"""Rules that see every payload at once, and what they measure: norms and distances of whole updates.

A norm or distance is over all trainable tensors of an update together. Moving statistics and extras are not judged;
they take the weights that their client's update has.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.aggregator import Aggregator, Memory
from fedmed.learning.values import Nest, Payload, Tensor


class Gathered(NamedTuple):
    """All payloads of a round.

    Attributes:
        payloads: in the structure of one, each tensor [k, ...].
        shares: [k] float32.
    """

    payloads: Payload
    shares: Tensor

    @property
    def updates(self) -> list[tf.Tensor]:
        """What clients are judged by: each trainable tensor, [k, ...]."""
        return self.payloads.update.trainable

    @property
    def weights(self) -> tf.Tensor:
        """The shares as parts of 1, [k]."""
        return self.shares / tf.reduce_sum(self.shares)


def gathering(report: Callable[[Gathered], Nest], copies: float, memory: Memory | None = None) -> Aggregator:
    """Returns a rule that sees every payload.

    In a lane they are held by lists of tensors, which take one more without copying those before, and are stacked when
    the lane is done.

    Args:
        report: makes the aggregate.
        copies: see `Aggregator`.
        memory: likewise.
    """
    return Aggregator(
        zero=lambda like: tf.nest.map_structure(_no_tensor, _one(like)),
        accumulate=lambda lists, payload, share: tf.nest.map_structure(_pushed, lists, Gathered(payload, share)),
        merge=lambda a, b: tf.nest.map_structure(lambda x, y: tf.concat([x, y], axis=0), a, b),
        report=report,
        packed=lambda lists, like: tf.nest.map_structure(_stacked, lists, _one(like)),
        copies=copies,
        memory=memory,
    )


def _one(like: Payload) -> Gathered:
    return Gathered(like, tf.constant(0.0))


def _shape(like: Tensor) -> tf.Tensor:
    return tf.constant(list(like.shape), tf.int32)


def _no_tensor(like: Tensor) -> tf.Tensor:
    return tf.raw_ops.EmptyTensorList(
        element_shape=_shape(like), max_num_elements=-1, element_dtype=tf.as_dtype(like.dtype)
    )


def _pushed(tensors: tf.Tensor, one: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.TensorListPushBack(input_handle=tensors, tensor=one)


def _stacked(tensors: tf.Tensor, like: Tensor) -> tf.Tensor:
    """Returns [k, ...]; k is left open in a graph."""
    shape = _shape(like)
    stack = tf.raw_ops.TensorListStack(
        input_handle=tensors, element_shape=shape, element_dtype=tf.as_dtype(like.dtype), num_elements=-1
    )
    return tf.ensure_shape(stack, [None, *like.shape])


def combined(payloads: Payload, weights: tf.Tensor) -> Payload:
    """Returns the sum of payloads, each tensor [k, ...], times weights [k]."""
    return tf.nest.map_structure(lambda stack: tf.tensordot(weights, stack, 1), payloads)


def mean(updates: Sequence[tf.Tensor], weights: tf.Tensor) -> list[tf.Tensor]:
    """Returns the sum of updates, each tensor [k, ...], times weights [k]."""
    return [tf.tensordot(weights, one, 1) for one in updates]


def squares(updates: Sequence[tf.Tensor], centre: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns each update's squared distance to a centre, [k]; it can be infinite, and is never NaN."""
    parts = zip(updates, centre, strict=True)
    return tf.add_n([tf.reduce_sum(tf.square(u - c), axis=list(range(1, u.shape.rank))) for u, c in parts])


def distances(updates: Sequence[tf.Tensor], centre: Sequence[tf.Tensor] | None = None) -> tf.Tensor:
    """Returns each update's distance to a centre, [k]; its norm where none is given."""
    return tf.sqrt(squares(updates, [tf.zeros(u.shape[1:]) for u in updates] if centre is None else centre))


def middle(values: tf.Tensor) -> tf.Tensor:
    """Returns the median of [k, ...] over k: the middle value, or the mean of the two in the middle."""
    ordered, count = tf.sort(values, axis=0), tf.shape(values)[0]
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def middle_share(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the least of values [k] that half of the weights [k] are not above: the median by shares."""
    order = tf.argsort(values, stable=True)
    so_far = tf.cumsum(tf.gather(weights, order))
    first = tf.argmax(so_far >= so_far[-1] / 2, output_type=tf.int32)
    return tf.gather(values, order)[first]


def shortened(lengths: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """Returns by what each of lengths [k] is to be multiplied, so that none is above `most` []."""
    return tf.where(lengths <= most, tf.ones_like(lengths), most / lengths)


def part_of(count: tf.Tensor, part: float) -> tf.Tensor:
    """Returns how many of a count [] a number (int) or a share (float) of them is; a part of one is none."""
    if isinstance(part, int):
        return tf.constant(part)
    whole = tf.floor(part * tf.cast(count, tf.float64) + ROUNDING)
    return tf.cast(whole, tf.int32)


ROUNDING = 1e-9
"""0.29 of 100 is 29, and 28.999999999999996 in floating point."""
