"""What a federated algorithm is: a value made of pure computations at a client and at the server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.learner import Anatomy, Inputs, Learner
from fedmed.learning.values import NO_TROUBLE, Counts, Nest, Payload, Trouble, Turn, Weights
from fedmed.settings import config
from fedmed.settings.privacy import NONE, Privacy


class Rows(NamedTuple):
    """A client's training rows.

    Attributes:
        x: [n, ...] in storage dtype, or a mapping of inputs.
        y: [n] labels.
        patient: [n] int32 from 0, ascending; None where nothing is promised to patients.
    """

    x: Inputs
    y: tf.Tensor
    patient: tf.Tensor | None = None


class ClientOutput(NamedTuple):
    """What comes of a client's training.

    Attributes:
        payload: what it sends.
        sums: [] float32 by name, over the rows trained on: METRICS, and others that `Algorithm.sums` names.
        kept: what it keeps for its next round, in the structure and shapes of `Algorithm.kept`.
    """

    payload: Payload
    sums: Mapping[str, tf.Tensor]
    kept: Nest = ()


METRICS = ("examples", "loss", "hits")
"""Sums of every client: rows seen, summed loss, rows right (squared error for regression and counts)."""

ClientStep = Callable[[Nest, Nest, Rows, Turn], ClientOutput]
"""A client's computation, bound to a learner: (what it received, what it kept, rows, turn) -> ClientOutput."""


def whole_update(weights: Weights) -> Payload:
    """Returns the payload of an algorithm that sends an update of all weights and nothing else, as zeros."""
    return Payload(weight_ops.zeros_like(weights))


def nothing(weights: Weights) -> Nest:
    """Returns what a client of a stateless algorithm keeps."""
    del weights
    return ()


def once(own: config.Client) -> Sequence[config.Client]:
    """Returns the trainings of a client that trains one model, as its settings say."""
    return (own,)


class Algorithm(NamedTuple):
    """A federated algorithm. Its functions are pure and run in a graph; any nest of tensors can be a state.

    Attributes:
        init: initial weights -> the server's first state.
        broadcast: state -> what every client of a round receives.
        client: makes a client's computation for a learner.
        apply: (state, aggregate, counts) -> next state. The aggregate is a Payload, by default the mean.
        weights: state -> the global model's weights.
        payload: initial weights -> zeros in the structure of what a client sends.
        kept: initial weights -> what a client holds before its first round.
        personal: (state, kept) -> a client's own weights at evaluation; None where all use the global model.
        sums: names of the sums that a client reports.
        trainings: the clients' settings -> those of each pass of training in a client's round, for the virtual clock.
    """

    init: Callable[[Weights], Nest]
    broadcast: Callable[[Nest], Nest]
    client: Callable[[Learner], ClientStep]
    apply: Callable[[Nest, Payload, Counts], Nest]
    weights: Callable[[Nest], Weights]
    payload: Callable[[Weights], Payload] = whole_update
    kept: Callable[[Weights], Nest] = nothing
    personal: Callable[[Nest, Nest], Weights] | None = None
    sums: tuple[str, ...] = METRICS
    trainings: Callable[[config.Client], Sequence[config.Client]] = once


class Training(NamedTuple):
    """What an algorithm is made for: the settings that all algorithms share, and the model.

    Attributes:
        client: what clients do.
        server: what the server does.
        aggregation: how updates are put together.
        anatomy: the model's variables.
        privacy: what is promised.
        compression: how what is sent is written.
        clipping: how patients' clipped gradients are summed, where something is promised to them.
        trouble: what of a scenario computations are made for.
    """

    client: config.Client
    server: config.Server
    aggregation: config.Aggregation
    anatomy: Anatomy
    compression: config.Compression = config.Compression()
    privacy: Privacy = NONE
    clipping: Literal["fast", "loop"] = "loop"
    trouble: Trouble = NO_TROUBLE
