"""How payloads become one aggregate: four functions with the meaning of `tff.federated_aggregate`'s arguments."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.algorithm import Training
from fedmed.learning.values import Nest, Payload


class Aggregator(NamedTuple):
    """A rule of aggregation; an accumulator is any nest of tensors.

    Attributes:
        zero: zeros in the structure of a payload -> the accumulator of no client.
        accumulate: (accumulator, payload, share []) -> the accumulator with one more client.
        merge: two accumulators -> one for the clients of both.
        report: the accumulator of at least one client -> the aggregate, in the structure of a payload.

    Under secure sums masked words stand for payload and aggregate; see `fedmed.learning.secure_sums`.
    """

    zero: Callable[[Payload], Nest]
    accumulate: Callable[[Nest, Nest, tf.Tensor], Nest]
    merge: Callable[[Nest, Nest], Nest]
    report: Callable[[Nest], Nest]


class _Sum(NamedTuple):
    """A weighted sum and the sum of its weights."""

    total: Payload
    share: tf.Tensor


def weighted_mean() -> Aggregator:
    """Returns the mean weighted by shares; one payload is alive at a time."""
    return Aggregator(
        zero=lambda like: _Sum(tf.nest.map_structure(tf.zeros_like, like), tf.constant(0.0)),
        accumulate=lambda sums, payload, share: _Sum(
            tf.nest.map_structure(lambda t, u: t + share * u, sums.total, payload), sums.share + share
        ),
        merge=lambda a, b: tf.nest.map_structure(tf.add, a, b),
        report=lambda sums: tf.nest.map_structure(lambda t: t / sums.share, sums.total),
    )


def total() -> Aggregator:
    """Returns the sum, in which clients count alike; that of no client is zero."""

    def added(sums: Nest, payload: Payload) -> Nest:
        return tf.nest.map_structure(tf.add, sums, payload)

    return Aggregator(
        zero=lambda like: tf.nest.map_structure(tf.zeros_like, like),
        accumulate=lambda sums, payload, share: added(sums, payload),
        merge=added,
        report=lambda sums: sums,
    )


def median() -> Aggregator:
    """Returns the median of each coordinate, clients counting alike (Yin et al. 2018, Definition 1).

    It needs every payload at once: memory grows with the cohort.
    """
    return gathering(lambda all_: tf.nest.map_structure(_middle, all_))


def _middle(values: tf.Tensor) -> tf.Tensor:
    """Returns the median of [k, ...] over k: the middle value, or the mean of the two in the middle."""
    ordered, count = tf.sort(values, axis=0), tf.shape(values)[0]
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def gathering(report: Callable[[Payload], Payload]) -> Aggregator:
    """Returns a rule that sees every payload: `report` gets them stacked, each tensor [k, ...], and gives one."""
    return Aggregator(
        zero=lambda like: tf.nest.map_structure(_none_yet, like),
        accumulate=lambda all_, payload, share: tf.nest.map_structure(
            lambda stacked, one: tf.concat([stacked, one[tf.newaxis]], axis=0), all_, payload
        ),
        merge=lambda a, b: tf.nest.map_structure(lambda x, y: tf.concat([x, y], axis=0), a, b),
        report=report,
    )


def _none_yet(like: tf.Tensor) -> tf.Tensor:
    """Returns [0, ...]; its first size is left open in a graph, where a loop makes it grow."""
    empty = tf.zeros_like(like)[tf.newaxis][:0]
    return tf.compat.v1.placeholder_with_default(empty, [None, *like.shape])


RULES: dict[str, Callable[[], Aggregator]] = {"mean": weighted_mean, "median": median}
"""By their names in the settings."""


def aggregator_of(training: Training) -> Aggregator:
    """Returns the aggregator that the settings ask for; what hospitals are promised needs the sum."""
    return total() if training.privacy.unit == "hospital" else RULES[training.aggregation.rule]()
