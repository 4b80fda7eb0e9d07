"""Server optimizers over the clients' mean update (Reddi et al. 2021, Algorithm 2; Hsu et al. 2019 for momentum).

Moments apply to trainable weights. Moving statistics always take the plain mean.
"""

from collections.abc import Callable

import tensorflow as tf

from fedmed.learning.values import ServerState, Weights
from fedmed.settings import config


def initial_state(settings: config.Server, weights: Weights) -> ServerState:
    """Returns round 0: no momentum yet, second moments at tau squared (their least value, section 3)."""
    adaptive = settings.optimizer in _SECOND
    first = [tf.zeros_like(w) for w in weights.trainable] if adaptive or settings.optimizer == "momentum" else []
    second = [tf.fill(tf.shape(w), settings.tau**2) for w in weights.trainable] if adaptive else []
    return ServerState(weights, first, second, tf.constant(0, tf.int32))


def server_update(settings: config.Server, state: ServerState, mean: Weights) -> ServerState:
    """Moves the global weights by the optimizer's step along the mean update."""
    if settings.optimizer == "average":
        first, second, steps = [], [], mean.trainable
    elif settings.optimizer == "momentum":
        first = [settings.momentum * m + u for m, u in zip(state.first, mean.trainable, strict=True)]
        second, steps = [], first
    else:
        beta, square = settings.momentum, _SECOND[settings.optimizer]
        first = [beta * m + (1 - beta) * u for m, u in zip(state.first, mean.trainable, strict=True)]
        second = [square(v, tf.square(u), settings.beta_2) for v, u in zip(state.second, mean.trainable, strict=True)]
        steps = [m / (tf.sqrt(v) + settings.tau) for m, v in zip(first, second, strict=True)]
    trainable = [w + settings.learning_rate * s for w, s in zip(state.weights.trainable, steps, strict=True)]
    moving = [w + u for w, u in zip(state.weights.moving, mean.moving, strict=True)]
    return ServerState(Weights(trainable, moving), first, second, state.round + 1)


_SECOND: dict[str, Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]] = {
    "adagrad": lambda v, square, beta: v + square,
    "yogi": lambda v, square, beta: v - (1 - beta) * square * tf.sign(v - square),
    "adam": lambda v, square, beta: beta * v + (1 - beta) * square,
}
