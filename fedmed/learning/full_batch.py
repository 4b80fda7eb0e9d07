"""A client's own objective F_k at given weights, and its gradient: over all of its rows, in batches of bounded size.

F_k is what local training goes down: the mean loss of the rows, and the penalties of weights once. Dropout is at rest.
BatchNormalization normalises each batch by itself, as it does in training, and its moving statistics stay as they were.
"""

from collections.abc import Callable

import tensorflow as tf

from fedmed.learning import batches
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Rows
from fedmed.learning.learner import Inputs, Learner
from fedmed.learning.values import Turn, Weights
from fedmed.settings import config

Part = Callable[[Inputs, tf.Tensor, tf.Tensor], tf.Tensor]
"""(x, y, seed) of a batch -> what is averaged over the rows."""


def full_gradient(settings: config.Client, learner: Learner, at: Weights, rows: Rows, turn: Turn) -> list[tf.Tensor]:
    """Returns the gradient of F_k at weights, in the order of `learner.trainable`; zeros where there are no rows."""

    def part(x: Inputs, y: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        gradients, _ = learner.gradients(x, y, seed)
        return weight_ops.joined(gradients)

    zero = tf.zeros([weight_ops.count(at.trainable)])
    return weight_ops.split(_mean(settings, learner, at, rows, turn, part, zero), at.trainable)


def full_loss(settings: config.Client, learner: Learner, at: Weights, rows: Rows, turn: Turn) -> tf.Tensor:
    """Returns F_k at weights, [] float32; 0 where there are no rows."""

    def part(x: Inputs, y: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        total, _ = learner.loss(x, y, seed)
        return total

    return _mean(settings, learner, at, rows, turn, part, tf.zeros([]))


def _mean(
    settings: config.Client, learner: Learner, at: Weights, rows: Rows, turn: Turn, part: Part, zero: tf.Tensor
) -> tf.Tensor:
    """Returns the mean of the batches' parts, each weighted by its rows, so that a penalty in each counts once."""
    learner.assign(at)
    plan = batches.Plan.of(settings, tf.shape(rows.y)[0])
    count = tf.cast(plan.rows, tf.float32)

    def step(picked: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        x = tf.nest.map_structure(lambda t: tf.gather(t, picked), rows.x)
        seed = tf.random.experimental.stateless_fold_in(turn.seed, number)
        weight = tf.cast(tf.size(picked), tf.float32) / count
        return weight * part(x, tf.gather(rows.y, picked), seed)

    with learner.at_rest():
        mean = batches.for_each_batch(plan._replace(total=plan.per_epoch), turn.seed, step, zero)
    with tf.control_dependencies([mean]):
        learner.assign(at)  # the moving statistics, which a call of the model moves
        return tf.identity(mean)
