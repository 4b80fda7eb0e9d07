"""Centred clipping: the last aggregate, moved by what clipped updates differ from it; weighted by shares.

Source: Karimireddy, He and Jaggi 2021, "Learning from history for Byzantine robust optimization", Algorithm 2 and
section 4. In the paper's symbols: updates x_i, the centre v, which before a round is the last round's aggregate (zero
before the first), and the radius tau: v + mean of (x_i - v) min(1, tau / ||x_i - v||), once or several times. The
paper weighs clients alike.

The centre is of trainable weights alone. Moving statistics take the weights of their client's clipped way: a drift that
is over has no place in the next round's.
"""

import tensorflow as tf

from fedmed.learning.aggregator import Aggregator, Memory
from fedmed.learning.gathering import Gathered, combined, distances, gathering, mean, middle, shortened
from fedmed.learning.values import Nest, Payload, Weights


def centred_clipping(tau: float | None, times: float, iterations: int) -> Aggregator:
    """Returns the rule.

    Args:
        tau: the radius; None: `times` the median distance of the round's updates to the centre, clients counting alike.
        times: see there.
        iterations: how often v is moved in a round.
    """

    def recall(all_: Gathered, v: Nest) -> tuple[Payload, Nest]:
        weights = all_.weights
        for _ in range(iterations):
            apart = distances(all_.updates, v)
            weights = all_.weights * shortened(apart, times * middle(apart) if tau is None else tf.constant(tau))
            rest, new = 1.0 - tf.reduce_sum(weights), mean(all_.updates, weights)
            v = [rest * old + part for old, part in zip(v, new, strict=True)]
        aggregate = combined(all_.payloads, weights)
        return aggregate._replace(update=Weights(v, aggregate.update.moving)), v

    memory = Memory(first=lambda like: [tf.zeros_like(u) for u in like.update.trainable], recall=recall)
    return gathering(lambda all_: all_, copies=_COPIES, memory=memory)


_COPIES = 5.0
