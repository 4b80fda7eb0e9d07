"""FedDyn (Acar et al. 2021, Algorithm 1): a client's loss is bent, round by round, until its least is that of all.

In the paper's symbols: theta the server's weights, theta_k a client's, L_k its loss, alpha the strength. A client keeps
g_k, the gradient of L_k at its last theta_k, zero at first. Local training goes down L_k - <g_k, .> + alpha / 2
||. - theta||^2, and where that is least, the gradient of L_k is g_k - alpha (theta_k - theta): the next g_k. The server
keeps h, the mean of all g_k, and its weights are the mean of the theta_k of those who took part, less h / alpha.

The paper weighs clients alike. With shares p_k (rows held) its means become weighted ones: the loss of all is the sum
of p_k L_k, and h changes by the part of all shares that took part, |P_t| / m of the paper. So h stays the mean of all
g_k, whoever takes part. Local training that ends before the least leaves another g_k than that gradient; all the same,
where rounds come to rest all theta_k are theta, the g_k are the gradients there, and their mean h is zero.

There is no place for a server optimizer: theta must be the mean less h / alpha, or that rest is not at the least.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.values import Counts, Payload, Tensor, Turn, Weights

Gradient = list[Tensor]
"""A gradient: float32 tensors like the trainable weights."""


class State(NamedTuple):
    """The server's theta and h."""

    theta: Weights
    h: Gradient


def feddyn(training: Training, alpha: float) -> Algorithm:
    """Makes the algorithm; its clients keep g_k and send theta_k - theta, from which the server knows what g_k became.

    Args:
        training: the settings.
        alpha: > 0.
    """
    return Algorithm(
        init=lambda weights: State(weights, _zero(weights)),
        broadcast=lambda state: state.theta,
        client=functools.partial(_client, training, alpha),
        apply=functools.partial(_apply, alpha),
        weights=lambda state: state.theta,
        kept=_zero,
    )


def _zero(weights: Weights) -> Gradient:
    return [tf.zeros_like(w) for w in weights.trainable]


def _client(training: Training, alpha: float, learner: Learner) -> ClientStep:
    train = local_training(training, learner)

    def update(theta: Weights, g_k: Gradient, rows: Rows, turn: Turn) -> ClientOutput:
        def bent(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
            parts = zip(gradients, g_k, variables, theta.trainable, strict=True)
            return [gradient - own + alpha * (v - w) for gradient, own, v, w in parts]

        trained = train(theta, rows, turn, bent)
        change = weight_ops.subtract(trained.weights, theta)
        next_g_k = [own - alpha * u for own, u in zip(g_k, change.trainable, strict=True)]
        return ClientOutput(Payload(change), trained.sums, next_g_k)

    return update


def _apply(alpha: float, state: State, mean: Payload, counts: Counts) -> State:
    part = counts.share / counts.shares  # |P_t| / m of the paper, where clients count alike
    h = [old - alpha * part * u for old, u in zip(state.h, mean.update.trainable, strict=True)]
    average = weight_ops.add(state.theta, mean.update)
    trainable = [w - own / alpha for w, own in zip(average.trainable, h, strict=True)]
    return State(Weights(trainable, average.moving), h)
