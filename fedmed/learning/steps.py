"""What happens to a payload on its way from a client to the sum, in steps that compose: clipping is the first."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Training
from fedmed.learning.values import Nest, Payload, Weights


def _same(message: Nest) -> Nest:
    return message


class Step(NamedTuple):
    """One step of the way.

    Attributes:
        encode: (message, seed [2] int32) -> message, at the client. The first step's message is the payload.
        decode: message -> message, where payloads are summed; undoes what is only a form of sending.
        size: encoded message -> [] int64, the bytes that it takes to send; None: those of its tensors as they are.
        feeds_back: whether the client remembers what a step that decodes to something else has left out of the update,
            and adds it to the next one (error feedback: Stich et al. 2018, Algorithm 1). One step of a way may.
    """

    encode: Callable[[Nest, tf.Tensor], Nest]
    decode: Callable[[Nest], Nest] = _same
    size: Callable[[Nest], tf.Tensor] | None = None
    feeds_back: bool = False


class Arrived(NamedTuple):
    """A payload as it arrives, the bytes [] int64 that were sent, and what the client remembers for the next one."""

    payload: Payload
    sent: tf.Tensor
    memory: Nest


def memory_of(steps: Sequence[Step], payload: Payload) -> Nest:
    """Returns what a client remembers of its way before its first round: zeros like the update's trainable tensors.

    It is () where no step feeds back.
    """
    return [tf.zeros_like(u) for u in payload.update.trainable] if any(step.feeds_back for step in steps) else ()


def travel(steps: Sequence[Step], payload: Payload, seed: tf.Tensor, memory: Nest = ()) -> Arrived:
    """Takes a payload through all steps: encoded in order, decoded in reverse order.

    Args:
        steps: of the way.
        payload: of a client.
        seed: [2] int32, of the client in this round.
        memory: what it remembers, as `memory_of`.
    """
    message: Nest = payload
    size: Callable[[Nest], tf.Tensor] = _plain_size
    own = tf.random.experimental.stateless_fold_in(seed, _STREAM)
    for number, step in enumerate(steps):
        whole = _added(message, memory) if step.feeds_back else message
        message = step.encode(whole, tf.random.experimental.stateless_fold_in(own, number))
        memory = _left(whole, step.decode(message)) if step.feeds_back else memory
        size = step.size or _plain_size
    sent = size(message)
    for step in reversed(steps):
        message = step.decode(message)
    return Arrived(message, sent, memory)


_STREAM = 7_001  # the client's training draws from its seed too, by the numbers of its epochs and batches


def _added(payload: Payload, memory: Nest) -> Payload:
    whole = [u + m for u, m in zip(payload.update.trainable, memory, strict=True)]
    return payload._replace(update=Weights(whole, payload.update.moving))


def _left(whole: Payload, arrived: Payload) -> Nest:
    return [u - v for u, v in zip(whole.update.trainable, arrived.update.trainable, strict=True)]


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


def steps_of(training: Training) -> tuple[Step, ...]:
    """Returns the steps that the settings ask for; a promise to hospitals clips by its own norm."""
    promised = training.privacy.clip_norm if training.privacy.unit == "hospital" else None
    norm = promised or training.aggregation.clip_norm
    return () if norm is None else (clipping(norm),)
