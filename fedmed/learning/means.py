"""Rules that add payloads up as they come: one payload is alive at a time."""

from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.aggregator import Aggregator
from fedmed.learning.values import Nest, Payload


class _Sum(NamedTuple):
    """A weighted sum and the sum of its weights."""

    total: Payload
    share: tf.Tensor


def weighted_mean() -> Aggregator:
    """Returns the mean weighted by shares."""
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
