"""The server's part, in NumPy: the mean of the hospitals' updates, and the step along it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .job import Array, Server


class State(NamedTuple):
    """Where the server is: the weights that travel, how many of them are trained, first and second moments."""

    weights: list[Array]
    trainable: int
    first: list[Array]
    second: list[Array]


def started(server: Server, weights: Sequence[Array], trainable: int) -> State:
    """Returns the start: no momentum yet, second moments at tau squared."""
    trained = weights[:trainable]
    adaptive = server.optimizer in _ADAPTIVE
    first = [np.zeros_like(w) for w in trained] if adaptive or server.optimizer == "momentum" else []
    second = [np.full_like(w, server.tau**2) for w in trained] if adaptive else []
    return State(list(weights), trainable, first, second)


def mean(updates: Sequence[Sequence[Array]], shares: Sequence[float]) -> list[Array]:
    """Returns the mean of the hospitals' updates, weighted by shares, in float32."""
    whole = np.float32(np.sum(shares))
    weighted = [[np.float32(share) * part for part in update] for share, update in zip(shares, updates, strict=True)]
    return [np.sum(parts, axis=0, dtype=np.float32) / whole for parts in zip(*weighted, strict=True)]


def moved(server: Server, state: State, update: Sequence[Array]) -> State:
    """Moves the weights along the mean update (Reddi et al. 2021, Algorithm 2); moving statistics take it as it is."""
    trained, beta = update[: state.trainable], np.float32(server.momentum)
    first, second, steps = state.first, state.second, list(trained)
    if server.optimizer == "momentum":
        steps = first = [beta * m + u for m, u in zip(first, trained, strict=True)]
    elif server.optimizer in _ADAPTIVE:
        first = [beta * m + (1 - beta) * u for m, u in zip(first, trained, strict=True)]
        second = [_second(server, v, u * u) for v, u in zip(second, trained, strict=True)]
        steps = [m / (np.sqrt(v) + np.float32(server.tau)) for m, v in zip(first, second, strict=True)]
    rate = np.float32(server.learning_rate)
    moves = [*(rate * step for step in steps), *update[state.trainable :]]
    return State([w + move for w, move in zip(state.weights, moves, strict=True)], state.trainable, first, second)


_ADAPTIVE = ("adam", "yogi", "adagrad")


def _second(server: Server, v: Array, square: Array) -> Array:
    beta = np.float32(server.beta_2)
    if server.optimizer == "adagrad":
        return v + square
    if server.optimizer == "yogi":
        return v - (1 - beta) * square * np.sign(v - square)
    return beta * v + (1 - beta) * square
