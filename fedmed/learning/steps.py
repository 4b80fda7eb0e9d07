"""What happens to a payload on its way from a client to the sum, in steps that compose: clipping is the first."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.values import Nest, Payload, Weights
from fedmed.settings import config


def _same(message: Nest) -> Nest:
    return message


class Step(NamedTuple):
    """One step of the way.

    Attributes:
        encode: (message, seed [2] int32) -> message, at the client. The first step's message is the payload.
        decode: message -> message, where payloads are summed; undoes what is only a form of sending.
        size: encoded message -> [] int64, the bytes that it takes to send; None: those of its tensors as they are.
    """

    encode: Callable[[Nest, tf.Tensor], Nest]
    decode: Callable[[Nest], Nest] = _same
    size: Callable[[Nest], tf.Tensor] | None = None


class Arrived(NamedTuple):
    """A payload as it arrives, and the bytes [] int64 that were sent."""

    payload: Payload
    sent: tf.Tensor


def travel(steps: Sequence[Step], payload: Payload, seed: tf.Tensor) -> Arrived:
    """Takes a payload through all steps: encoded in order, decoded in reverse order."""
    message: Nest = payload
    size: Callable[[Nest], tf.Tensor] = _plain_size
    for number, step in enumerate(steps):
        message = step.encode(message, tf.random.experimental.stateless_fold_in(seed, number))
        size = step.size or _plain_size
    sent = size(message)
    for step in reversed(steps):
        message = step.decode(message)
    return Arrived(message, sent)


def _plain_size(message: Nest) -> tf.Tensor:
    return tf.constant(weight_ops.byte_count(message), tf.int64)


def clipping(norm: float) -> Step:
    """Scales an update down to L2 norm `norm` over its trainable weights; moving statistics and extras stay."""

    def encode(payload: Payload, seed: tf.Tensor) -> Payload:
        del seed
        update = payload.update
        scale = tf.minimum(1.0, norm / tf.maximum(weight_ops.norm(update.trainable), 1e-30))
        return payload._replace(update=Weights([scale * u for u in update.trainable], update.moving))

    return Step(encode)


def steps_of(settings: config.Aggregation) -> tuple[Step, ...]:
    """Returns the steps that the settings ask for."""
    return () if settings.clip_norm is None else (clipping(settings.clip_norm),)
