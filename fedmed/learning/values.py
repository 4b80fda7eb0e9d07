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
        work: [] float32, the share of its local steps that it takes; a plain 1.0 where all clients take all.
        late: [] int32, how many updates old what it received is; read where a scenario has clients late.
    """

    seed: Tensor
    learning_rate: Tensor
    noise: Tensor = 0.0
    work: Tensor = 1.0
    late: Tensor = 0


class Trouble(NamedTuple):
    """What of a scenario the computations of a round must be made for; by default nothing.

    Attributes:
        late: the most updates that what a client received can be old.
        partial: whether clients may take a share of their local steps only.
        spoils: whether updates may be multiplied by a factor before they are sent.
    """

    late: int = 0
    partial: bool = False
    spoils: bool = False


NO_TROUBLE = Trouble()


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
