"""Local training, which the algorithms share: epochs, or a fixed number of steps, of mini-batches at one client."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from fedmed.learning import batches, optimizers
from fedmed.learning.algorithm import METRICS, Rows
from fedmed.learning.learner import Learner
from fedmed.learning.values import Turn, Weights
from fedmed.settings import config

Correction = Callable[[Sequence[tf.Tensor], Sequence[tf.Variable]], Sequence[tf.Tensor]]
"""(gradients, variables) -> the gradients that are stepped along."""


class Trained(NamedTuple):
    """What local training leaves: the weights, METRICS summed over the rows as they were met, steps taken [] int32."""

    weights: Weights
    sums: Mapping[str, tf.Tensor]
    steps: tf.Tensor


def _uncorrected(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
    """Returns the gradients as they are."""
    del variables
    return gradients


class LocalTraining(Protocol):
    """Trains from given weights: (start, rows, turn, correction of the gradients) -> Trained."""

    def __call__(self, start: Weights, rows: Rows, turn: Turn, correct: Correction = _uncorrected) -> Trained: ...


def local_training(settings: config.Client, learner: Learner) -> LocalTraining:
    """Returns local training bound to a learner's variables; the optimizer starts anew each time."""
    optimizer = optimizers.optimizer(settings, learner.trainable)

    def step(rows: Rows, turn: Turn, correct: Correction, picked: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        x = tf.nest.map_structure(lambda t: tf.gather(t, picked), rows.x)
        step_seed = tf.random.experimental.stateless_fold_in(turn.seed, number)
        gradients, sums = learner.gradients(x, tf.gather(rows.y, picked), step_seed)
        optimizer.apply(correct(gradients, learner.trainable), turn.learning_rate, number)
        return tf.concat([[tf.cast(tf.shape(picked)[0], tf.float32)], sums], axis=0)

    def train(start: Weights, rows: Rows, turn: Turn, correct: Correction = _uncorrected) -> Trained:
        learner.assign(start)
        optimizer.reset()
        plan = batches.Plan.of(settings, tf.shape(rows.y)[0])
        zero = tf.zeros([len(METRICS)], tf.float32)
        sums = batches.for_each_batch(plan, turn.seed, functools.partial(step, rows, turn, correct), zero)
        with tf.control_dependencies([sums]):
            trained = learner.weights()
        return Trained(trained, dict(zip(METRICS, tf.unstack(sums), strict=True)), plan.total)

    return train
