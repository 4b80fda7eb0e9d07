"""Federated averaging (McMahan et al. 2017, Algorithm 1) and FedProx (Li et al. 2020), as values."""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from fedmed.learning import batches, optimizers, servers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import METRICS, Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.values import Broadcast
from fedmed.settings import config

Pull = Callable[[Sequence[tf.Tensor], Sequence[tf.Variable], Broadcast], Sequence[tf.Tensor]]


def fedavg(training: Training) -> Algorithm:
    """Clients train locally from the global weights; the server averages what they changed."""
    return _averaging(training, _no_pull)


def fedprox(training: Training, mu: float) -> Algorithm:
    """FedAvg whose clients are pulled back to the received weights with strength mu (Li et al. 2020, eq. 2)."""
    return _averaging(training, functools.partial(_proximal_pull, mu))


def _averaging(training: Training, pull: Pull) -> Algorithm:
    return Algorithm(
        client=lambda learner: local_training(training.client, pull, learner),
        initial_state=functools.partial(servers.initial_state, training.server),
        server_update=functools.partial(servers.server_update, training.server),
        learning_rate=lambda round_: training.client.learning_rate * training.client.learning_rate_decay**round_,
    )


def _no_pull(
    gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable], broadcast: Broadcast
) -> Sequence[tf.Tensor]:
    del variables, broadcast
    return gradients


def _proximal_pull(
    mu: float, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable], broadcast: Broadcast
) -> Sequence[tf.Tensor]:
    received = broadcast.weights.trainable
    return [g + mu * (v - w) for g, v, w in zip(gradients, variables, received, strict=True)]


def local_training(settings: config.Client, pull: Pull, learner: Learner) -> ClientStep:
    """Returns E local epochs, or a fixed number of steps, of mini-batch training, bound to a learner's variables."""
    optimizer = optimizers.optimizer(settings, learner.trainable)

    def step(broadcast: Broadcast, rows: Rows, seed: tf.Tensor, picked: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        x = tf.nest.map_structure(lambda t: tf.gather(t, picked), rows.x)
        step_seed = tf.random.experimental.stateless_fold_in(seed, number)
        gradients, sums = learner.gradients(x, tf.gather(rows.y, picked), step_seed)
        optimizer.apply(pull(gradients, learner.trainable, broadcast), broadcast.learning_rate, number)
        return tf.concat([[tf.cast(tf.shape(picked)[0], tf.float32)], sums], axis=0)

    def update(broadcast: Broadcast, rows: Rows, seed: tf.Tensor) -> ClientOutput:
        learner.assign(broadcast.weights)
        optimizer.reset()
        plan = batches.Plan.of(settings, tf.shape(rows.y)[0])
        sums = batches.for_each(
            plan, seed, functools.partial(step, broadcast, rows, seed), tf.zeros([len(METRICS)], tf.float32)
        )
        with tf.control_dependencies([sums]):
            trained = learner.weights()
        return ClientOutput(weight_ops.map_weights(tf.subtract, trained, broadcast.weights), sums)

    return ClientStep(update)
