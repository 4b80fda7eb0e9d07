"""The geometric median, weighted by shares (RFA), by the smoothed Weiszfeld algorithm.

Source: Pillutla, Kakade and Harchaoui 2022, "Robust aggregation for federated learning", Algorithm 2. In the paper's
symbols: updates w_i with weights alpha_i, the smoothing nu, and v, the point of least sum of alpha_i ||v - w_i||.
"""

from collections.abc import Sequence

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.aggregator import Aggregator
from fedmed.learning.gathering import Gathered, combined, distances, gathering, middle
from fedmed.learning.values import Nest, Payload


def geometric_median(iterations: int, nu: float) -> Aggregator:
    """Returns the rule; it starts from the mean, and stops before `iterations` where rounding hides further steps."""

    def report(all_: Gathered) -> Payload:
        alpha, w = all_.weights, all_.updates

        def step(number: tf.Tensor, weights: tf.Tensor, v: list[tf.Tensor], on: tf.Tensor) -> tuple[Nest, ...]:
            del weights, on
            apart = distances(w, v)
            beta = alpha / tf.maximum(nu, apart)
            weights = tf.math.divide_no_nan(beta, tf.reduce_sum(beta))
            after = _mean(w, weights)
            moved = weight_ops.norm([new - old for new, old in zip(after, v, strict=True)])
            return number + 1, weights, after, moved > _ROUNDING * middle(apart)  # a corrupted one is no measure

        start = (tf.constant(0), alpha, _mean(w, alpha), tf.constant(True))
        _, weights, _, _ = tf.while_loop(
            lambda number, weights, v, on: (number < iterations) & on, step, start, parallel_iterations=1
        )
        return combined(all_.payloads, weights)

    return gathering(report, copies=_COPIES)


def _mean(w: Sequence[tf.Tensor], weights: tf.Tensor) -> list[tf.Tensor]:
    return [tf.tensordot(weights, one, 1) for one in w]


_ROUNDING = 1e-6  # of float32
_COPIES = 5.0
