"""Clipped sums of patients' gradients one patient after another: slow, and right for every model that trains.

A patient is alone in the model's call, so that a layer that mixes the rows of a batch mixes nobody's rows with
another's.
"""

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.learner import Learner
from fedmed.learning.patients import ClippedSums, PatientRows, factors, present


def clipped_by_loop(learner: Learner, rows: PatientRows, seed: tf.Tensor, clip: tf.Tensor) -> ClippedSums:
    """Adds up the clipped gradients patient by patient; see `clipped_sums.clipped_sums`."""
    patients = tf.size(rows.weight)
    ends = tf.cumsum(rows.counts())
    starts = ends - rows.counts()

    def one_patient(
        i: tf.Tensor, sums: list[tf.Tensor], norms: tf.TensorArray, told: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor], tf.TensorArray, tf.Tensor]:
        x, y = tf.nest.map_structure(lambda t: t[starts[i] : ends[i]], (rows.x, rows.y))
        losses, hits = learner.row_losses(x, y, tf.random.experimental.stateless_fold_in(seed, i))
        gradient = learner.gradients_of(tf.reduce_mean(losses))
        norm = weight_ops.norm(gradient)
        scale = factors(norm, rows.weight[i], clip)
        # A NaN times zero is a NaN, but not here.
        sums = [total + tf.math.multiply_no_nan(g, scale) for total, g in zip(sums, gradient, strict=True)]
        totals = tf.stack([tf.reduce_sum(losses), tf.reduce_sum(hits)])
        told += tf.math.multiply_no_nan(totals, present(norm, rows.weight[i]))
        return i + 1, sums, norms.write(i, norm), told

    zeros = [tf.zeros(v.shape) for v in learner.trainable]
    norms = tf.TensorArray(tf.float32, size=patients, element_shape=[])
    _, sums, norms, told = tf.while_loop(
        lambda i, *_: i < patients, one_patient, (tf.constant(0), zeros, norms, tf.zeros([2])), parallel_iterations=1
    )
    return ClippedSums(sums, norms.stack(), told[0], told[1])
