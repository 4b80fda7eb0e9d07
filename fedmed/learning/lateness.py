"""Clients that are late: an algorithm made into one whose clients may start from what the server sent some updates ago.

The server keeps what it broadcast before its last `most` updates and has it at hand for each client, which takes the
one that its `Turn.late` says; 0 is today's. A client's own computation knows nothing of it. What a client would truly
receive is one of them, so traffic counts one.
"""

from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows
from fedmed.learning.learner import Learner
from fedmed.learning.values import Counts, Nest, Payload, Turn, Weights


class State(NamedTuple):
    """The algorithm's own state, and what it has broadcast: each tensor [most, ...], the newest first."""

    own: Nest
    past: Nest


def delayed(algorithm: Algorithm, most: int) -> Algorithm:
    """Returns the algorithm with clients that are up to `most` updates late."""

    def init(weights: Weights) -> State:
        own = algorithm.init(weights)
        now = algorithm.broadcast(own)
        return State(own, tf.nest.map_structure(lambda t: tf.repeat(t[tf.newaxis], most, axis=0), now))

    def broadcast(state: State) -> Nest:
        now = algorithm.broadcast(state.own)
        return tf.nest.map_structure(lambda t, old: tf.concat([t[tf.newaxis], old], axis=0), now, state.past)

    def client(learner: Learner) -> ClientStep:
        step = algorithm.client(learner)

        def update(received: Nest, kept: Nest, rows: Rows, turn: Turn) -> ClientOutput:
            return step(tf.nest.map_structure(lambda t: t[turn.late], received), kept, rows, turn)

        return update

    def apply(state: State, aggregate: Payload, counts: Counts) -> State:
        past = tf.nest.map_structure(lambda t: t[:most], broadcast(state))
        return State(algorithm.apply(state.own, aggregate, counts), past)

    personal = algorithm.personal
    return algorithm._replace(
        init=init,
        broadcast=broadcast,
        client=client,
        apply=apply,
        weights=lambda state: algorithm.weights(state.own),
        personal=None if personal is None else lambda state, kept: personal(state.own, kept),
    )
