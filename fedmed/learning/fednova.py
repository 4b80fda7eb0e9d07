"""FedNova (Wang et al. 2020): clients that take more local steps do not pull the mean their way.

In the paper's symbols: a client's update is eta times the sum of its gradients weighted by a_i, tau_i steps long; it
sends the normalised d_i = update / ||a_i||_1, and the server moves by tau_eff = sum of p_i ||a_i||_1 along the mean of
d_i (section 4, eq. 11). For plain SGD ||a_i||_1 is tau_i.
"""

import functools

import tensorflow as tf

from fedmed.learning import servers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.servers import Server
from fedmed.learning.values import Counts, Nest, Payload, Turn, Weights


def fednova(training: Training) -> Algorithm:
    """Makes the algorithm; a client sends its update a step, and how many steps that stands for."""
    return Algorithm(
        init=functools.partial(servers.initial, training.server),
        broadcast=lambda server: server.weights,
        client=functools.partial(_client, training),
        apply=functools.partial(_apply, training),
        weights=lambda server: server.weights,
        payload=lambda weights: Payload(weight_ops.zeros_like(weights), tf.constant(0.0)),
    )


def _client(training: Training, learner: Learner) -> ClientStep:
    train = local_training(training, learner)
    rho = training.client.momentum if training.client.optimizer == "momentum" else 0.0

    def update(received: Weights, kept: Nest, rows: Rows, turn: Turn) -> ClientOutput:
        trained = train(received, rows, turn)
        change, a = weight_ops.subtract(trained.weights, received), _length(trained.steps, rho)
        normalised = [u / a for u in change.trainable]
        return ClientOutput(Payload(Weights(normalised, change.moving), a), trained.sums, kept)

    return update


def _length(steps: tf.Tensor, rho: float) -> tf.Tensor:
    """Returns ||a_i||_1 of SGD with momentum rho: the sum over steps of (1 - rho^k) / (1 - rho) (section 4.1)."""
    tau = tf.cast(tf.maximum(steps, 1), tf.float32)
    return (tau - rho * (1 - tf.pow(rho, tau)) / (1 - rho)) / (1 - rho)


def _apply(training: Training, server: Server, mean: Payload, counts: Counts) -> Server:
    del counts
    tau_eff = mean.extra
    along = Weights([tau_eff * d for d in mean.update.trainable], mean.update.moving)
    return servers.moved(training.server, server, along)
