"""Ditto (Li et al. 2021, "Ditto: fair and robust federated learning through personalization", Algorithm 1).

In the paper's symbols: w are the global weights, trained as in FedAvg; v_k is client k's own model, which it keeps, is
tested with, and trains by steps v_k <- v_k - eta (grad F_k(v_k) + lambda (v_k - w)) towards the w that it received.
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

from fedmed.learning import fedavg
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.values import Payload, Turn, Weights


def ditto(training: Training, strength: float, personal_epochs: int | None) -> Algorithm:
    """Makes the algorithm: FedAvg with a second model at each client.

    Args:
        training: of the clients.
        strength: lambda, of the pull towards w; 0 trains each client alone.
        personal_epochs: passes over a client's rows in which v_k trains; None for as many epochs, or steps, as w.
    """
    return fedavg.fedavg(training)._replace(
        client=functools.partial(_client, training, strength, personal_epochs),
        kept=lambda weights: weights,
        personal=lambda server, v_k: v_k,
        trainings=lambda own: (own, own.passes(personal_epochs)),
    )


def _client(training: Training, strength: float, personal_epochs: int | None, learner: Learner) -> ClientStep:
    train = local_training(training, learner)
    train_own = local_training(training._replace(client=training.client.passes(personal_epochs)), learner)

    def update(w: Weights, v_k: Weights, rows: Rows, turn: Turn) -> ClientOutput:
        def pulled(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
            return [g + strength * (v - to) for g, v, to in zip(gradients, variables, w.trainable, strict=True)]

        trained = train(w, rows, turn)
        with tf.control_dependencies(weight_ops.tensors(trained.weights)):  # one learner: one after the other
            personal = train_own(v_k, rows, turn, pulled)
        return ClientOutput(Payload(weight_ops.subtract(trained.weights, w)), trained.sums, personal.weights)

    return update
