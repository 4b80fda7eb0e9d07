"""MimeLite (Karimireddy et al. 2020, "Mime", Algorithm 1): all local steps use one optimizer's state, the server's.

In the paper's symbols: x the server's weights, y_i a client's, s the state of the base optimizer, U its step from s
along a gradient, V what a gradient makes of s. Clients receive x and s, and step to y_i - eta U(g, s) with s held as it
is. Each sends, beside y_i, the gradient of all its rows at x, and s becomes V(mean gradient, s). So one client's rows
do not bend s in the middle of a round. With shares by rows the means are weighted by them.

The base optimizers are those of `client.optimizer`: the heavy ball (the paper's form of it, (1 - beta) g + beta m, is
the same at the rate eta / (1 - beta)), and Adam with its bias correction, whose t counts rounds. As in the authors'
program in FedJAX and in TFF's, U is the step that the base optimizer takes from s with g counted in, and what it would
make of s is forgotten.

The next x is the mean of all y_i: there is no place for a server optimizer, whose moments s already holds.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.full_batch import full_gradient
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.optimizers import Moments
from fedmed.learning.values import Counts, Nest, Payload, Turn, Weights

_EPSILON = 1e-7  # as in `optimizers`

Gradient = Sequence[tf.Tensor]


class Base(NamedTuple):
    """A base optimizer.

    Attributes:
        slots: how many moments of each weight it has.
        u: (gradient, s) -> the step U(g, s), to be taken at the learning rate.
        v: (gradient, s) -> the next s.
    """

    slots: int
    u: Callable[[Gradient, Moments], Gradient]
    v: Callable[[Gradient, Moments], Moments]


class State(NamedTuple):
    """The server's x and s, which clients receive as they are."""

    x: Weights
    s: Moments


def mimelite(training: Training, base: Base) -> Algorithm:
    """Makes the algorithm; a client sends y_i - x and its gradient at x."""
    return Algorithm(
        init=lambda weights: State(weights, _first(base, weights)),
        broadcast=lambda state: state,
        client=functools.partial(_client, training, base),
        apply=functools.partial(_apply, base),
        weights=lambda state: state.x,
        payload=lambda weights: Payload(weight_ops.zeros_like(weights), [tf.zeros_like(w) for w in weights.trainable]),
        trainings=lambda own: (own.passes(1), own),  # the gradient of all rows first
    )


def base_of(name: Literal["momentum", "adam"], beta: float, beta_2: float) -> Base:
    """Returns the heavy ball with memory beta, or Adam with beta and beta_2."""
    return _momentum(beta) if name == "momentum" else _adam(beta, beta_2)


def _first(base: Base, weights: Weights) -> Moments:
    return Moments([tf.zeros_like(w) for w in [*weights.trainable] * base.slots], tf.constant(0.0))


def _client(training: Training, base: Base, learner: Learner) -> ClientStep:
    train = local_training(training, learner)

    def update(received: State, kept: Nest, rows: Rows, turn: Turn) -> ClientOutput:
        x, s = received

        def stepped(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
            del variables
            return base.u(gradients, s)

        at_x = full_gradient(training.client, learner, x, rows, turn)
        with tf.control_dependencies(at_x):
            y = train(x, rows, turn, stepped)
        return ClientOutput(Payload(weight_ops.subtract(y.weights, x), at_x), y.sums, kept)

    return update


def _apply(base: Base, state: State, mean: Payload, counts: Counts) -> State:
    del counts
    return State(weight_ops.add(state.x, mean.update), base.v(mean.extra, state.s))


def _momentum(beta: float) -> Base:
    def v(gradient: Gradient, s: Moments) -> Moments:
        return Moments([beta * m + g for m, g in zip(s.slots, gradient, strict=True)], s.steps + 1)

    return Base(1, lambda gradient, s: v(gradient, s).slots, v)


def _adam(beta: float, beta_2: float) -> Base:
    def v(gradient: Gradient, s: Moments) -> Moments:
        first, second = s.slots[: len(gradient)], s.slots[len(gradient) :]
        m = [beta * old + (1 - beta) * g for old, g in zip(first, gradient, strict=True)]
        squares = [beta_2 * old + (1 - beta_2) * tf.square(g) for old, g in zip(second, gradient, strict=True)]
        return Moments([*m, *squares], s.steps + 1)

    def u(gradient: Gradient, s: Moments) -> Gradient:
        slots, t = v(gradient, s)
        first, second = slots[: len(gradient)], slots[len(gradient) :]
        unbiased = tf.sqrt(1 - tf.pow(beta_2, t)) / (1 - tf.pow(beta, t))
        return [unbiased * m / (tf.sqrt(square) + _EPSILON) for m, square in zip(first, second, strict=True)]

    return Base(2, u, v)
