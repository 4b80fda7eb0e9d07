"""What a rule of aggregation is: functions with the meaning of `tff.federated_aggregate`'s arguments."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.values import Nest, Payload


class Memory(NamedTuple):
    """What the server remembers for a rule from round to round; it is a part of the server's state.

    Attributes:
        first: zeros in the structure of a payload -> what is remembered before the first round.
        recall: (what `Aggregator.report` gave, what is remembered) -> the aggregate, and what is remembered next.
    """

    first: Callable[[Payload], Nest]
    recall: Callable[[Nest, Nest], tuple[Payload, Nest]]


def _as_grown(accumulator: Nest, like: Payload) -> Nest:
    del like
    return accumulator


class Aggregator(NamedTuple):
    """A rule of aggregation; an accumulator is any nest of tensors.

    Attributes:
        zero: zeros in the structure of a payload -> the accumulator of no client.
        accumulate: (accumulator, payload, share []) -> the accumulator with one more client.
        merge: two accumulators that have left their lanes -> one for the clients of both.
        report: the accumulator of at least one client, outside its lane -> the aggregate, in the structure of a
            payload; where the rule has a memory, what that makes the aggregate of.
        packed: (accumulator as it grew in a lane, zeros in the structure of a payload) -> as it leaves the lane.
        copies: how many times the memory of all of a round's updates is taken at most; 0 where few are alive at once.
        memory: what the server remembers from round to round; None for nothing.
        weighs: whether an update counts by its client's share; else clients count alike.

    Under secure sums masked words stand for payload and aggregate; see `fedmed.learning.secure_sums`.
    """

    zero: Callable[[Payload], Nest]
    accumulate: Callable[[Nest, Nest, tf.Tensor], Nest]
    merge: Callable[[Nest, Nest], Nest]
    report: Callable[[Nest], Nest]
    packed: Callable[[Nest, Payload], Nest] = _as_grown
    copies: float = 0.0
    memory: Memory | None = None
    weighs: bool = True
