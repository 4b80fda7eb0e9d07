"""FedAvg whose clients' optimizers go on: clients begin with the mean of the moments that the last round ended with.

With momentum it is Algorithm 1 of Yu, Jin & Yang 2019 ("On the linear speedup analysis of communication efficient
momentum SGD for distributed non-convex optimization"), which averages weights and momentum buffers alike. With Adam
both moments are averaged, as Chen et al. 2020 ("Toward communication efficient adaptive gradient method") average the
second ones. Wang et al. 2021 ("Local adaptivity in federated learning: convergence and consistency") study clients'
adaptive optimizers, and that the clients' unlike second moments bias where they end.

Averaged, with the weights of the updates (rows held, or one each): the weights, each slot of the optimizer (velocities;
first and second moments), and Adam's count of steps, by which it corrects for moments that began at zero. Nothing is
reset at the beginning of a round; a round in which nobody takes part changes nothing. A server optimizer applies to the
mean update, and to no moment.
"""

import functools
from typing import NamedTuple

from fedmed.learning import optimizers, servers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.optimizers import Moments
from fedmed.learning.servers import Server
from fedmed.learning.values import Counts, Nest, Payload, Turn, Weights


class State(NamedTuple):
    """The server, and the mean of the moments."""

    server: Server
    moments: Moments


class Received(NamedTuple):
    """What a client begins with."""

    weights: Weights
    moments: Moments


def fedavg_moments(training: Training) -> Algorithm:
    """Makes the algorithm; a client sends its update, and the moments that it ends with."""
    first = functools.partial(_first, training)
    return Algorithm(
        init=lambda weights: State(servers.initial(training.server, weights), first(weights)),
        broadcast=lambda state: Received(state.server.weights, state.moments),
        client=functools.partial(_client, training),
        apply=functools.partial(_apply, training),
        weights=lambda state: state.server.weights,
        payload=lambda weights: Payload(weight_ops.zeros_like(weights), first(weights)),
    )


def _first(training: Training, weights: Weights) -> Moments:
    return optimizers.no_moments(training.client, weights.trainable)


def _client(training: Training, learner: Learner) -> ClientStep:
    train = local_training(training, learner)

    def update(received: Received, kept: Nest, rows: Rows, turn: Turn) -> ClientOutput:
        trained = train(received.weights, rows, turn, moments=received.moments)
        change = weight_ops.subtract(trained.weights, received.weights)
        return ClientOutput(Payload(change, trained.moments), trained.sums, kept)

    return update


def _apply(training: Training, state: State, mean: Payload, counts: Counts) -> State:
    del counts
    return State(servers.moved(training.server, state.server, mean.update), mean.extra)
