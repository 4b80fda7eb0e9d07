"""An algorithm whose server also remembers what its rule of aggregation needs from round to round."""

from typing import NamedTuple

from fedmed.learning.aggregator import Aggregator
from fedmed.learning.algorithm import Algorithm
from fedmed.learning.values import Counts, Nest, Weights


class State(NamedTuple):
    """The algorithm's own state, and what the rule remembers."""

    own: Nest
    remembered: Nest


def remembering(algorithm: Algorithm, aggregator: Aggregator) -> Algorithm:
    """Returns the algorithm with the rule's memory in its state; itself where the rule has none."""
    memory = aggregator.memory
    if memory is None:
        return algorithm

    def init(weights: Weights) -> State:
        return State(algorithm.init(weights), memory.first(algorithm.payload(weights)))

    def apply(state: State, reported: Nest, counts: Counts) -> State:
        aggregate, remembered = memory.recall(reported, state.remembered)
        return State(algorithm.apply(state.own, aggregate, counts), remembered)

    personal = algorithm.personal
    return algorithm._replace(
        init=init,
        broadcast=lambda state: algorithm.broadcast(state.own),
        apply=apply,
        weights=lambda state: algorithm.weights(state.own),
        personal=None if personal is None else lambda state, kept: personal(state.own, kept),
    )
