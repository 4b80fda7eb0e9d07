"""FedRep (Collins et al. 2021, Algorithm 1): first the head at home is fitted to the representation, then that moves.

In the paper's symbols: phi is the representation, which the server averages; h_i the head of client i, which it keeps.
A client makes tau_h passes that change h_i only, then the config's passes that change phi only, with the new h_i.
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

from fedmed.learning import places
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.places import Places
from fedmed.learning.values import Payload, Turn, Weights

_BODY = -1  # other than the numbers of steps and epochs, which a turn's seed is folded with as well


def fedrep(training: Training, home: Sequence[str] | None, head_epochs: int | None) -> Algorithm:
    """Makes the algorithm.

    Args:
        training: of the clients; its epochs, or steps, are those of the representation.
        home: names of the head's layers; None for the last layer that has weights.
        head_epochs: tau_h, as passes over a client's rows; None for as many epochs, or steps, as the representation's.

    Raises:
        ConfigError: a layer is unknown, or all of them are to stay at home, or none.
    """
    h = places.of_layers(training.anatomy, home)
    made = places.rest_averaged(training, h, functools.partial(_client, training, h, head_epochs))
    return made._replace(trainings=lambda own: (own.passes(head_epochs), own))


def _client(training: Training, places: Places, head_epochs: int | None, learner: Learner) -> ClientStep:
    fit_head = local_training(training._replace(client=training.client.passes(head_epochs)), learner)
    move_body = local_training(training, learner)

    def update(phi: Weights, h_i: Weights, rows: Rows, turn: Turn) -> ClientOutput:
        def of_head(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
            del variables
            return places.masked(gradients, home=True)

        def of_body(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
            del variables
            return places.masked(gradients, home=False)

        fitted = fit_head(places.joined(phi, h_i), rows, turn, of_head)
        h_i = places.chosen(fitted.weights, home=True)
        other = turn._replace(seed=tf.random.experimental.stateless_fold_in(turn.seed, _BODY))
        with tf.control_dependencies(weight_ops.tensors(fitted.weights)):  # one learner: one after the other
            moved = move_body(places.joined(phi, h_i), rows, other, of_body)
        phi_i = places.chosen(moved.weights, home=False)
        return ClientOutput(Payload(weight_ops.subtract(phi_i, phi)), moved.sums, h_i)

    return update
