"""The values that travel or are kept, as plain structures; TensorFlow is not imported for them."""

from typing import Any, NamedTuple, TypeAlias

Tensor: TypeAlias = Any
"""A tf.Tensor, its NumPy array outside a graph, or its tf.TensorSpec: the same structures hold all three."""


class Weights(NamedTuple):
    """What travels between server and clients: float32 tensors in model order.

    Attributes:
        trainable: what the optimizer changes.
        moving: what training changes by other means (BatchNorm's moving statistics); averaged like weights.
    """

    trainable: list[Tensor]
    moving: list[Tensor]


class Broadcast(NamedTuple):
    """What the server sends to every client of a round: weights and the round's learning rate []."""

    weights: Weights
    learning_rate: Tensor


class ServerState(NamedTuple):
    """The server's side of the process.

    Attributes:
        weights: the global model.
        first: first moments of the server's optimizer, like the trainable weights, or [].
        second: second moments, or [].
        round: [] int32, rounds done.
    """

    weights: Weights
    first: list[Tensor]
    second: list[Tensor]
    round: Tensor
