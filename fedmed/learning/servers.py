"""Server optimizers over the clients' mean update (Reddi et al. 2021, Algorithm 2; Hsu et al. 2019 for momentum).

Moments apply to trainable weights. Moving statistics always take the plain mean.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.values import Tensor, Weights
from fedmed.settings import config


class Server(NamedTuple):
    """A server with an optimizer.

    Attributes:
        weights: the global model.
        first: first moments, like the trainable weights, or [].
        second: second moments, or [].
    """

    weights: Weights
    first: list[Tensor]
    second: list[Tensor]


def initial(settings: config.Server, weights: Weights) -> Server:
    """Returns the start: no momentum yet, second moments at tau squared (their least value, section 3)."""
    adaptive = settings.optimizer in _SECOND
    first = [tf.zeros_like(w) for w in weights.trainable] if adaptive or settings.optimizer == "momentum" else []
    second = [tf.fill(tf.shape(w), settings.tau**2) for w in weights.trainable] if adaptive else []
    return Server(weights, first, second)


def moved(settings: config.Server, server: Server, mean: Weights) -> Server:
    """Moves the global weights by the optimizer's step along the mean update."""
    if settings.optimizer == "average":
        first, second, steps = [], [], mean.trainable
    elif settings.optimizer == "momentum":
        first = [settings.momentum * m + u for m, u in zip(server.first, mean.trainable, strict=True)]
        second, steps = [], first
    else:
        beta, square = settings.momentum, _SECOND[settings.optimizer]
        first = [beta * m + (1 - beta) * u for m, u in zip(server.first, mean.trainable, strict=True)]
        second = [square(v, tf.square(u), settings.beta_2) for v, u in zip(server.second, mean.trainable, strict=True)]
        steps = [m / (tf.sqrt(v) + settings.tau) for m, v in zip(first, second, strict=True)]
    trainable = [w + settings.learning_rate * s for w, s in zip(server.weights.trainable, steps, strict=True)]
    moving = [w + u for w, u in zip(server.weights.moving, mean.moving, strict=True)]
    return Server(Weights(trainable, moving), first, second)


_SECOND: dict[str, Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]] = {
    "adagrad": lambda v, square, beta: v + square,
    "yogi": lambda v, square, beta: v - (1 - beta) * square * tf.sign(v - square),
    "adam": lambda v, square, beta: beta * v + (1 - beta) * square,
}
