"""Centred clipping: the last aggregate, moved by what clipped updates differ from it; weighted by shares.

Source: Karimireddy, He and Jaggi 2021, "Learning from history for Byzantine robust optimization", Algorithm 2 and
section 4. In the paper's symbols: updates x_i, the centre v, which before a round is the last round's aggregate (zero
before the first), and the radius tau: v + mean of (x_i - v) min(1, tau / ||x_i - v||), once or several times. The
paper weighs clients alike.
"""

import tensorflow as tf

from fedmed.learning.aggregator import Aggregator, Memory
from fedmed.learning.gathering import Gathered, combined, distances, gathering, middle, shortened
from fedmed.learning.values import Payload


def centred_clipping(tau: float | None, times: float, iterations: int) -> Aggregator:
    """Returns the rule.

    Args:
        tau: the radius; None: `times` the median distance of the round's updates to the centre, clients counting alike.
        times: see there.
        iterations: how often v is moved in a round.
    """

    def recall(all_: Gathered, v: Payload) -> tuple[Payload, Payload]:
        for _ in range(iterations):
            apart = distances(all_.updates, v.update.trainable)
            weights = all_.weights * shortened(apart, times * middle(apart) if tau is None else tf.constant(tau))
            rest = 1.0 - tf.reduce_sum(weights)
            v = tf.nest.map_structure(lambda old, new, rest=rest: rest * old + new, v, combined(all_.payloads, weights))
        return v, v

    memory = Memory(first=lambda like: tf.nest.map_structure(tf.zeros_like, like), recall=recall)
    return gathering(lambda all_: all_, copies=_COPIES, memory=memory)


_COPIES = 5.0
