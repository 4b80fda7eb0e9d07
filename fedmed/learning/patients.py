"""Rows that belong to patients, and what is added up of the patients' gradients, each clipped by itself."""

from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.learner import Inputs


class PatientRows(NamedTuple):
    """The rows of b rows and p patients.

    Attributes:
        x: [b, ...] inputs in storage dtype.
        y: [b] labels.
        patient: [b] int32, ascending, 0 to p - 1; whose row it is. Every patient has a row.
        weight: [p] float32, 1.0, or 0.0 for a patient who only pads (no batch may be empty: see `batches.Plan.of`).
    """

    x: Inputs
    y: tf.Tensor
    patient: tf.Tensor
    weight: tf.Tensor

    def counts(self) -> tf.Tensor:
        """Returns how many rows each patient has, [p] int32."""
        return tf.math.unsorted_segment_sum(tf.ones_like(self.patient), self.patient, tf.size(self.weight))


class ClippedSums(NamedTuple):
    """What is known of the patients' gradients.

    Attributes:
        sums: of the clipped gradients of patients of weight 1, in the order of a learner's `trainable`.
        norms: [p] float32, L2 norms before clipping; those of patients who pad are there too.
        loss: [] float32, summed over the rows of the patients who were added.
        hits: [] float32, summed over the same rows.
    """

    sums: list[tf.Tensor]
    norms: tf.Tensor
    loss: tf.Tensor
    hits: tf.Tensor


def present(norms: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Returns 1.0 for each patient whose gradient is added, 0.0 for who pads or whose norm is not finite."""
    return tf.where(tf.math.is_finite(norms), weight, tf.zeros_like(weight))


def factors(norms: tf.Tensor, weight: tf.Tensor, clip: tf.Tensor) -> tf.Tensor:
    """Returns what each patient's gradient is multiplied by: at most 1, exactly 0 where it is left out.

    Args:
        norms: L2 norms of the patients' gradients.
        weight: 1.0, or 0.0 for who pads, of the same shape.
        clip: [] the largest norm that a patient adds.
    """
    return tf.math.multiply_no_nan(tf.minimum(1.0, clip / tf.maximum(norms, 1e-30)), present(norms, weight))
