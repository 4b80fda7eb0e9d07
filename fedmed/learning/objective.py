"""What a task minimises and which sums it keeps; a model's output may be a mean or its link (logits, log rates)."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fedmed.data.examples import Task
from fedmed.models.spec import Scale


class Objective(NamedTuple):
    """A task's loss, hits and predictions, as functions of labels and the model's raw output.

    Attributes:
        loss: (y [n], output [n, k]) -> [n] loss of each row.
        hits: (y [n], output [n, k]) -> [n] 1.0 where the row is right; squared error for regression and counts.
        predict: output [n, k] -> [n] probability, rate or value, or [n, classes] probabilities.
    """

    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    hits: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    predict: Callable[[tf.Tensor], tf.Tensor]


def objective(task: Task, scale: Scale) -> Objective:
    """Returns cross-entropy (binary, multiclass), squared error (regression) or Poisson loss (count)."""
    return _OBJECTIVES[task](scale == "link")


def _binary(is_link: bool) -> Objective:
    def loss(y: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        target = tf.cast(y, tf.float32)[:, tf.newaxis]
        return tf.keras.losses.binary_crossentropy(target, output, from_logits=is_link)

    def hits(y: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        positive = output[:, 0] > (0.0 if is_link else 0.5)
        return tf.cast(tf.equal(positive, tf.cast(y, tf.bool)), tf.float32)

    return Objective(loss, hits, lambda output: tf.sigmoid(output[:, 0]) if is_link else output[:, 0])


def _multiclass(is_link: bool) -> Objective:
    def loss(y: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        return tf.keras.losses.sparse_categorical_crossentropy(y, output, from_logits=is_link)

    def hits(y: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        guess = tf.argmax(output, axis=-1, output_type=y.dtype)
        return tf.cast(tf.equal(guess, y), tf.float32)

    return Objective(loss, hits, lambda output: tf.nn.softmax(output) if is_link else output)


def _squared(y: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    return tf.square(tf.cast(y, tf.float32) - prediction)


def _regression(is_link: bool) -> Objective:
    del is_link  # the identity link: both scales are the same
    return Objective(
        lambda y, output: _squared(y, output[:, 0]),
        lambda y, output: _squared(y, output[:, 0]),
        lambda output: output[:, 0],
    )


def _count(is_link: bool) -> Objective:
    def rate(output: tf.Tensor) -> tf.Tensor:
        return tf.exp(output[:, 0]) if is_link else output[:, 0]

    def loss(y: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        target = tf.cast(y, tf.float32)
        if is_link:
            return tf.nn.log_poisson_loss(target, output[:, 0])
        return tf.keras.losses.poisson(target[:, tf.newaxis], output)

    return Objective(loss, lambda y, output: _squared(y, rate(output)), rate)


_OBJECTIVES: dict[str, Callable[[bool], Objective]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
    "count": _count,
}
