"""Clients that are late: an algorithm made into one whose clients may start from what the server sent some updates ago.

The server keeps what it broadcast before its last `most` updates and has it at hand for each client, which takes the
one that its `Turn.late` says; 0 is today's. A client's own computation knows nothing of it. What a client would truly
receive is one of them, so traffic counts one.

An old update of trainable weights is added to today's weights, as asynchronous federated averaging does (Nguyen et al.
2022, FedBuff, Algorithm 1). Moving statistics are states, not gradients: what a client has of them at its end is what
the server averages, however old its start was. So their update is measured from today's.
"""

from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import weights as weight_ops
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
            start, today = (tf.nest.map_structure(lambda t, n=n: t[n], received) for n in (turn.late, 0))
            return _from_today(step(start, kept, rows, turn), start, today)

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


def _from_today(output: ClientOutput, start: Nest, today: Nest) -> ClientOutput:
    """Returns the output with the update of moving statistics measured from today's, not from where the client began.

    They are those of the first Weights in what is broadcast; where an algorithm broadcasts none, or sends others than
    it broadcasts, they stay.
    """
    update = output.payload.update
    then, now = (next(iter(weight_ops.found_in(received)), Weights([], [])).moving for received in (start, today))
    if not then or len(then) != len(update.moving):
        return output
    moving = [u + old - new for u, old, new in zip(update.moving, then, now, strict=True)]
    return output._replace(payload=output.payload._replace(update=update._replace(moving=moving)))
