"""What a federated algorithm is: a value made of two pure computations, one at a client and one at the server."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from fedmed.learning.learner import Inputs, Learner
from fedmed.learning.values import Broadcast, ServerState, Weights
from fedmed.settings import config


class Rows(NamedTuple):
    """A client's training rows: x [n, ...] in storage dtype (or a mapping of inputs), y [n]."""

    x: Inputs
    y: tf.Tensor


class ClientOutput(NamedTuple):
    """What a client sends back.

    Attributes:
        update: trained minus received weights.
        metrics: float32 sums over the rows trained on, in the order of METRICS.
        state: what this client keeps for its next round; () for algorithms without it.
    """

    update: Weights
    metrics: tf.Tensor
    state: Any = ()


METRICS = ("examples", "loss", "hits")
"""Sums in `ClientOutput.metrics`: rows seen, summed loss, rows right (squared error for regression and counts)."""


class ClientStep(NamedTuple):
    """Local training bound to a learner (it owns optimizer slots): (broadcast, rows, seed [2]) -> ClientOutput."""

    update: Callable[[Broadcast, Rows, tf.Tensor], ClientOutput]


class Algorithm(NamedTuple):
    """A federated algorithm.

    Attributes:
        client: makes the client's computation for a learner.
        initial_state: global weights -> the server's first state.
        server_update: (state, mean update) -> next state.
        learning_rate: round number -> the clients' learning rate in that round.
    """

    client: Callable[[Learner], ClientStep]
    initial_state: Callable[[Weights], ServerState]
    server_update: Callable[[ServerState, Weights], ServerState]
    learning_rate: Callable[[int], float]


class Training(NamedTuple):
    """The settings that every algorithm shares: local training and the server's optimizer."""

    client: config.Client
    server: config.Server
