"""SCAFFOLD (Karimireddy et al. 2020, Algorithm 1, option II): local steps corrected for what clients differ in.

In the paper's symbols: x the server's weights, y_i a client's, c and c_i the control variates, K local steps at rate
eta_l, and eta_g the server's rate. The paper weighs clients alike; with shares p_i (rows held) all its means become
weighted ones, and c stays the mean of all c_i, whoever takes part.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import servers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.servers import Server
from fedmed.learning.values import Counts, Payload, Tensor, Turn, Weights

Control = list[Tensor]
"""A control variate: float32 tensors like the trainable weights."""


class State(NamedTuple):
    """The server's x, with its optimizer's moments, and c."""

    server: Server
    c: Control


class Received(NamedTuple):
    """What a client receives: x and c."""

    x: Weights
    c: Control


def scaffold(training: Training) -> Algorithm:
    """Makes the algorithm; its clients keep c_i, zero at first, and send what they changed of y_i and of c_i."""
    return Algorithm(
        init=lambda weights: State(servers.initial(training.server, weights), _zero(weights)),
        broadcast=lambda state: Received(state.server.weights, state.c),
        client=functools.partial(_client, training),
        apply=functools.partial(_apply, training),
        weights=lambda state: state.server.weights,
        payload=lambda weights: Payload(weight_ops.zeros_like(weights), _zero(weights)),
        kept=_zero,
    )


def _zero(weights: Weights) -> Control:
    return [tf.zeros_like(w) for w in weights.trainable]


def _client(training: Training, learner: Learner) -> ClientStep:
    train = local_training(training, learner)

    def update(received: Received, c_i: Control, rows: Rows, turn: Turn) -> ClientOutput:
        x, c = received

        def corrected(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
            del variables
            return [g - own + mean for g, own, mean in zip(gradients, c_i, c, strict=True)]

        y, sums, steps, _ = train(x, rows, turn, corrected)
        way = tf.cast(tf.maximum(steps, 1), tf.float32) * turn.learning_rate  # K eta_l
        next_c_i = [
            own - mean + (start - end) / way
            for own, mean, start, end in zip(c_i, c, x.trainable, y.trainable, strict=True)
        ]
        change = [new - old for new, old in zip(next_c_i, c_i, strict=True)]
        return ClientOutput(Payload(weight_ops.subtract(y, x), change), sums, next_c_i)

    return update


def _apply(training: Training, state: State, mean: Payload, counts: Counts) -> State:
    part = counts.share / counts.shares  # |S| / N of the paper, where clients count alike
    c = [old + part * change for old, change in zip(state.c, mean.extra, strict=True)]
    return State(servers.moved(training.server, state.server, mean.update), c)
