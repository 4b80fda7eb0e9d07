"""Compression of what clients send and receive, as steps on its way.

An update's trainable tensors are written as one vector by a coder; its moving statistics and whatever else an algorithm
sends travel as they are, and are counted. Downwards the server quantises, once for all clients, the weights that it
broadcasts; its own stay whole, and so do the errors of rounds from adding up.
"""

from collections.abc import Iterator, Sequence

import tensorflow as tf

from fedmed.learning import coders
from fedmed.learning import weights as weight_ops
from fedmed.learning.coders import Coder
from fedmed.learning.steps import Step
from fedmed.learning.values import Nest, Payload, Tensor, Weights
from fedmed.settings import config
from fedmed.system import errors

BITS_DOWN = 8
"""Of weights that are broadcast: rounding them to fewer bits moves them further than a round of training does."""


def steps_up(settings: config.Compression, payload: Payload) -> tuple[Step, ...]:
    """Returns the steps that the settings ask for on a client's update; `payload` is any in its shapes."""
    like = payload.update.trainable
    count = weight_ops.count(like)
    if settings.up == "none" or not count:
        return ()
    coder = {
        "quantise": lambda: coders.quantising(count, settings.bits),
        "top_k": lambda: coders.top_k(count, settings.share),
        "random_mask": lambda: coders.random_mask(count, settings.share),
    }[settings.up]()
    return (compressing(coder, like, feeds_back=settings.error_feedback and not coder.is_unbiased),)


def compressing(coder: Coder, like: Sequence[Tensor], feeds_back: bool = False) -> Step:
    """Returns the step that writes an update's trainable tensors, shaped as `like`, by a coder for all their values."""

    def encode(payload: Payload, seed: tf.Tensor) -> Payload:
        return _with_trainable(payload, coder.encode(weight_ops.joined(payload.update.trainable), seed))

    def decode(message: Payload) -> Payload:
        return _with_trainable(message, weight_ops.split(coder.decode(message.update.trainable), like))

    return Step(encode, decode, feeds_back=feeds_back)


def _with_trainable(payload: Payload, trainable: Nest) -> Payload:
    return payload._replace(update=Weights(trainable, payload.update.moving))


def step_down(settings: config.Compression, received: Nest) -> Step:
    """Returns the step from what the server broadcasts to what a client starts from; `received` has its shapes.

    Raises:
        ConfigError: there are no weights to be found in what the algorithm broadcasts.
    """
    if settings.down == "none":
        return Step(lambda message, seed: message)
    found = _weights_in(received)
    if not found:
        raise errors.ConfigError("compression.down: the algorithm broadcasts no Weights that could be quantised")
    likes = [weights.trainable for weights in found]
    made = [coders.quantising(weight_ops.count(like), BITS_DOWN) for like in likes]

    def encode(message: Nest, seed: tf.Tensor) -> Nest:
        seeds = [tf.random.experimental.stateless_fold_in(seed, place) for place in range(len(made))]
        codes = [
            coder.encode(weight_ops.joined(weights.trainable), one)
            for coder, weights, one in zip(made, _weights_in(message), seeds, strict=True)
        ]
        return _replaced(message, iter(codes))

    def decode(message: Nest) -> Nest:
        whole = [
            weight_ops.split(coder.decode(weights.trainable), like)
            for coder, weights, like in zip(made, _weights_in(message), likes, strict=True)
        ]
        return _replaced(message, iter(whole))

    return Step(encode, decode)


def _weights_in(nest: Nest) -> list[Weights]:
    """Returns the Weights in a nest that have trainable tensors, in order; these may be a code already."""
    return [w for w in weight_ops.found_in(nest) if isinstance(w.trainable, tuple) or weight_ops.count(w.trainable)]


def _replaced(nest: Nest, trainable: Iterator[Nest]) -> Nest:
    """Returns the nest with other trainable parts in its Weights, in the order of `_weights_in`."""
    if isinstance(nest, Weights):
        return nest._replace(trainable=next(trainable)) if _weights_in(nest) else nest
    if isinstance(nest, dict):
        return {key: _replaced(part, trainable) for key, part in nest.items()}
    if not isinstance(nest, list | tuple):
        return nest
    parts = [_replaced(part, trainable) for part in nest]
    return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
