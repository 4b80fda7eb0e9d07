"""Krum and Multi-Krum (Blanchard et al. 2017): the updates that have the nearest neighbours, clients counting alike.

Source: Blanchard, El Mhamdi, Guerraoui and Stainer 2017, "Machine learning with adversaries: Byzantine tolerant
gradient descent", section 4. In the paper's symbols: n updates V_i, of which f may be corrupted, and s(i) the sum of
the squared distances of V_i to its n - f - 2 nearest others. Krum takes the V_i of the least s(i), Multi-Krum the mean
of the m least; here m = n - f - 2. Of updates that tie the paper takes one by the clients' numbers; here all are
taken, so that the order of clients decides nothing.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from fedmed.learning.aggregator import Aggregator
from fedmed.learning.gathering import Gathered, combined, gathering, part_of, squares
from fedmed.learning.values import Payload


def krum(corrupted: float) -> Aggregator:
    """Returns Krum for f `corrupted` clients, a number (int) or a share (float) of those of a round."""
    return _of_the_best(corrupted, lambda neighbours: tf.constant(1))


def multi_krum(corrupted: float) -> Aggregator:
    """Returns Multi-Krum, as `krum`."""
    return _of_the_best(corrupted, lambda neighbours: neighbours)


def _of_the_best(corrupted: float, how_many: Callable[[tf.Tensor], tf.Tensor]) -> Aggregator:
    def report(all_: Gathered) -> Payload:
        n = tf.shape(all_.shares)[0]
        neighbours = tf.maximum(n - part_of(n, corrupted) - 2, 1)  # a round may have fewer clients than the cohort
        s = scores(all_.updates, neighbours)
        m = tf.minimum(how_many(neighbours), n)
        taken = tf.cast(s <= tf.sort(s)[m - 1], tf.float32)
        return combined(all_.payloads, taken / tf.reduce_sum(taken))

    return gathering(report, copies=_COPIES)._replace(weighs=False)


def scores(updates: Sequence[tf.Tensor], neighbours: tf.Tensor) -> tf.Tensor:
    """Returns s(i), [n], for updates of tensors [n, ...]."""

    def one(i: tf.Tensor) -> tf.Tensor:
        ordered = tf.sort(squares(updates, [u[i] for u in updates]))  # the first is its own, 0
        return tf.reduce_sum(ordered[1 : 1 + neighbours])

    n = tf.shape(updates[0])[0]
    return tf.map_fn(one, tf.range(n), fn_output_signature=tf.float32, parallel_iterations=1)


_COPIES = 5.0
