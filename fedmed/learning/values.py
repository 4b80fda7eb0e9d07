"""The values that travel or are kept, as plain structures; TensorFlow is not imported for them."""

from typing import Any, NamedTuple, TypeAlias

Tensor: TypeAlias = Any
"""A tf.Tensor, its NumPy array outside a graph, or its tf.TensorSpec: the same structures hold all three."""

Nest: TypeAlias = Any
"""Tensors in any nest of named tuples, tuples, lists and mappings; () holds none."""


class Weights(NamedTuple):
    """What training changes: float32 tensors in model order. Frozen weights are not among them.

    Attributes:
        trainable: what the optimizer changes.
        moving: what training changes by other means (BatchNorm's moving statistics); averaged like weights.
    """

    trainable: list[Tensor]
    moving: list[Tensor]


class Payload(NamedTuple):
    """What a client sends.

    Attributes:
        update: trained minus received weights, or those of them that the algorithm sends.
        extra: whatever else its algorithm needs at the server.
    """

    update: Weights
    extra: Nest = ()


class Turn(NamedTuple):
    """What a client's training depends on beside what it receives and holds.

    Attributes:
        seed: [2] int32, of its shuffling and dropout in this round.
        learning_rate: [] float32, the round's.
        noise: [] float32, the noise multiplier of what is promised to its patients; 0 where nothing is.
    """

    seed: Tensor
    learning_rate: Tensor
    noise: Tensor = 0.0


class Counts(NamedTuple):
    """Who stands behind an aggregate, all [] float32.

    Attributes:
        accepted: how many clients' updates it is made of.
        share: their summed shares (rows held, or one each).
        clients: how many clients the federation has, whether they took part or not.
        shares: the summed shares of all of these.
    """

    accepted: Tensor
    share: Tensor
    clients: Tensor
    shares: Tensor
