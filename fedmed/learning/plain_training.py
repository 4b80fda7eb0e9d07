"""Local training without a promise: epochs, or a fixed number of steps, of mini-batches of rows at one client."""

import functools

import tensorflow as tf

from fedmed.learning import batches, optimizers
from fedmed.learning.algorithm import METRICS, Rows
from fedmed.learning.learner import Learner
from fedmed.learning.optimizers import Moments
from fedmed.learning.trained import Correction, LocalTraining, Trained, uncorrected
from fedmed.learning.values import Turn, Weights
from fedmed.settings import config


def plain_training(settings: config.Client, learner: Learner) -> LocalTraining:
    """Returns local training bound to a learner's variables."""
    optimizer = optimizers.optimizer(settings, learner.trainable)

    def step(
        rows: Rows, turn: Turn, correct: Correction, moments: Moments | None, picked: tf.Tensor, number: tf.Tensor
    ) -> tf.Tensor:
        x = tf.nest.map_structure(lambda t: tf.gather(t, picked), rows.x)
        step_seed = tf.random.experimental.stateless_fold_in(turn.seed, number)
        gradients, sums = learner.gradients(x, tf.gather(rows.y, picked), step_seed)
        steps = optimizers.counted(moments, number)
        optimizer.apply(correct(gradients, learner.trainable), turn.learning_rate, steps)
        return tf.concat([[tf.cast(tf.shape(picked)[0], tf.float32)], sums], axis=0)

    def train(
        start: Weights,
        rows: Rows,
        turn: Turn,
        correct: Correction = uncorrected,
        moments: Moments | None = None,
    ) -> Trained:
        learner.assign(start)
        optimizer.begin(moments)
        plan = batches.Plan.of(settings, tf.shape(rows.y)[0], turn.work)
        zero = tf.zeros([len(METRICS)], tf.float32)
        sums = batches.for_each_batch(plan, turn.seed, functools.partial(step, rows, turn, correct, moments), zero)
        with tf.control_dependencies([sums]):
            trained, ended = learner.weights(), optimizer.ended(moments, plan.total)
        return Trained(trained, dict(zip(METRICS, tf.unstack(sums), strict=True)), plan.total, ended)

    return train
