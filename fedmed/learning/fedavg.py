"""Federated averaging (McMahan et al. 2017, Algorithm 1) and FedProx (Li et al. 2020), as values."""

import functools
from collections.abc import Sequence

import tensorflow as tf

from fedmed.learning import servers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.values import Nest, Payload, Turn, Weights


def fedavg(training: Training) -> Algorithm:
    """Clients train locally from the global weights; the server averages what they changed."""
    return fedprox(training, mu=0.0)


def fedprox(training: Training, mu: float) -> Algorithm:
    """FedAvg whose clients are pulled back to the received weights with strength mu (Li et al. 2020, eq. 2)."""
    return Algorithm(
        init=functools.partial(servers.initial, training.server),
        broadcast=lambda server: server.weights,
        client=functools.partial(_client, training, mu),
        apply=lambda server, mean, counts: servers.moved(training.server, server, mean.update),
        weights=lambda server: server.weights,
    )


def _client(training: Training, mu: float, learner: Learner) -> ClientStep:
    train = local_training(training, learner)

    def update(received: Weights, kept: Nest, rows: Rows, turn: Turn) -> ClientOutput:
        def pulled(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
            if mu == 0:
                return gradients
            return [g + mu * (v - w) for g, v, w in zip(gradients, variables, received.trainable, strict=True)]

        trained = train(received, rows, turn, pulled)
        return ClientOutput(Payload(weight_ops.subtract(trained.weights, received)), trained.sums, kept)

    return update
