"""Rules that look at each coordinate by itself (Yin et al. 2018), clients counting alike.

Source: Yin, Chen, Ramchandran and Bartlett 2018, "Byzantine-robust distributed learning: towards optimal statistical
rates", Definitions 1 and 2. With fewer corrupted clients than half, or than are cut from an end, each coordinate lies
among those of the others.
"""

import tensorflow as tf

from fedmed.learning.aggregator import Aggregator
from fedmed.learning.gathering import gathering, middle, part_of


def median() -> Aggregator:
    """Returns the median of each coordinate."""
    return gathering(lambda all_: tf.nest.map_structure(middle, all_.payloads), copies=_COPIES)._replace(weighs=False)


def trimmed_mean(beta: float) -> Aggregator:
    """Returns the mean of each coordinate without its largest and its smallest values.

    As in the paper, a fraction `beta` of m clients is cut from each end: floor(beta m) of them, which are all that can
    be corrupted where at most that fraction is. Where beta m is below 1 none are.
    """

    def trimmed(values: tf.Tensor) -> tf.Tensor:
        m = tf.shape(values)[0]
        cut = tf.minimum(part_of(m, beta), (m - 1) // 2)
        return tf.reduce_mean(tf.sort(values, axis=0)[cut : m - cut], axis=0)

    return gathering(lambda all_: tf.nest.map_structure(trimmed, all_.payloads), copies=_COPIES)._replace(weighs=False)


_COPIES = 6.0  # peaks of a round in this process and in the worker, rounded up
