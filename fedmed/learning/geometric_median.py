"""The geometric median, weighted by shares (RFA), by the smoothed Weiszfeld algorithm.

Source: Pillutla, Kakade and Harchaoui 2022, "Robust aggregation for federated learning", Algorithm 2. In the paper's
symbols: updates w_i with weights alpha_i, the smoothing nu, and v, the point of least sum of alpha_i ||v - w_i||.
"""

from collections.abc import Sequence

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.aggregator import Aggregator
from fedmed.learning.gathering import Gathered, combined, distances, gathering, mean, middle_share
from fedmed.learning.values import Nest, Payload


def geometric_median(iterations: int, nu: float) -> Aggregator:
    """Returns the rule; it stops before `iterations` where rounding hides further steps.

    It starts beside the update that is nearest to all by shares, not from the mean as the paper does: with nearly half
    of the shares corrupted each step would take only a little off what a mean is wrong by, which has no bound.
    """

    def report(all_: Gathered) -> Payload:
        alpha, w = all_.weights, all_.updates

        def step(number: tf.Tensor, weights: tf.Tensor, v: list[tf.Tensor], on: tf.Tensor) -> tuple[Nest, ...]:
            del weights, on
            apart = distances(w, v)
            beta = alpha / tf.maximum(nu, apart)
            weights = tf.math.divide_no_nan(beta, tf.reduce_sum(beta))
            after = mean(w, weights)
            moved = weight_ops.norm([new - old for new, old in zip(after, v, strict=True)])
            return number + 1, weights, after, moved > _ROUNDING * middle_share(apart, alpha)

        first = _first(w, alpha)
        start = (tf.constant(0), first, mean(w, first), tf.constant(True))
        _, weights, _, _ = tf.while_loop(
            lambda number, weights, v, on: (number < iterations) & on, step, start, parallel_iterations=1
        )
        return combined(all_.payloads, weights)

    return gathering(report, copies=_COPIES)


def _first(w: Sequence[tf.Tensor], alpha: tf.Tensor) -> tf.Tensor:
    """Returns the weights [k] of the start: a step away from the update that is nearest to all, unless that is best.

    At an update itself a Weiszfeld step does not move. Vardi and Zhang 2000, "The multivariate L1-median and associated
    data depth", has one that does, and comes nearer to the least sum: with eta the weight at that point, and r how hard
    the others pull, min(1, eta / r) of the point and the rest of the others' mean by alpha_i / distance.
    """
    nearest = _nearest_to_all(w, alpha)
    point = [one[nearest] for one in w]
    apart = distances(w, point)
    there = tf.where(tf.equal(apart, 0.0), alpha, tf.zeros_like(alpha))  # `==` is no op in TFF's graphs
    others, eta = tf.math.divide_no_nan(alpha, apart), tf.reduce_sum(there)
    r = weight_ops.norm([tf.tensordot(others, one - own, 1) for one, own in zip(w, point, strict=True)])
    stays = tf.where(r > eta, eta / r, 1.0)
    return stays * there / eta + (1 - stays) * tf.math.divide_no_nan(others, tf.reduce_sum(others))


def _nearest_to_all(w: Sequence[tf.Tensor], alpha: tf.Tensor) -> tf.Tensor:
    """Returns the number of the update with the least sum of alpha_i ||w - w_i||."""

    def summed(i: tf.Tensor) -> tf.Tensor:
        apart = tf.minimum(distances(w, [one[i] for one in w]), _FAR)  # infinity is as far for all
        return tf.reduce_sum(alpha * apart)

    count = tf.shape(alpha)[0]
    sums = tf.map_fn(summed, tf.range(count), fn_output_signature=tf.float32, parallel_iterations=1)
    return tf.argmin(sums, output_type=tf.int32)


_ROUNDING = 1e-6  # of float32
_FAR = tf.float32.max
_COPIES = 5.0
