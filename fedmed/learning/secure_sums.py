"""Sums of updates under masks, in whole numbers modulo 2^k (Bonawitz et al. 2017, sections 4 and 6.1).

A client sends y = q + PRG(own seed) + sum over its pairs of +-PRG(pair's seed), where q is its clipped update, times
its share, in fixed point. The two clients of a pair take the same mask with unlike signs. So a sum over all clients
lacks the pairs' masks, and the server takes off what is left: the own masks of those who were there, and their masks
with those who were not (`fedmed.engine.masking` says which). Clients of one lane have pairs in others: what a lane sums
up looks like random numbers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.aggregator import Aggregator
from fedmed.learning.values import Payload, Tensor, Weights
from fedmed.settings import config
from fedmed.system import errors

TOLD = ("examples", "accepted")
"""What clients report in the clear: rows trained on, which follow from the rows held, and whether the update was used.
Loss and hits stay at home: no clipping bounds them, so that they have no place in a word of fixed point."""

_SEEDS = 48  # bytes for each client it shares with: a share of its own seed and of their pair's, and one given back


class Masks(NamedTuple):
    """What a client adds to its words, or the server takes off.

    Attributes:
        seeds: [m, 3] int64: two halves of a seed, and the sign of its mask; 0 is none.
        limit: [] int32, the size of the largest value; see `fixed_point.limit`.
    """

    seeds: Tensor
    limit: Tensor


class Secure(NamedTuple):
    """A way to sum securely.

    Attributes:
        bits: of a word, 8 to 32.
        clip: the L2 norm of an update.
        like: zeros in the structure of a payload.
    """

    bits: int
    clip: float
    like: Payload

    @property
    def count(self) -> int:
        """How many words a client sends."""
        return weight_ops.count(self.like.update.trainable)


def secure_of(settings: config.Aggregation, like: Payload) -> Secure | None:
    """Returns the way that the settings ask for, None for sums in the clear; `like` is zeros of a payload.

    Raises:
        ConfigError: clients send what no clipping bounds.
    """
    if not settings.secure:
        return None
    assert settings.clip_norm is not None, "combinations.check has refused this"
    if like.update.moving:
        raise errors.ConfigError(
            "aggregation.secure: the model's moving statistics (BatchNormalization) are not clipped and cannot be "
            "summed securely; algorithm.name = 'fedbn' keeps them at home"
        )
    if tf.nest.flatten(like.extra):
        raise errors.ConfigError("aggregation.secure: the algorithm sends more than an update, which is not clipped")
    return Secure(settings.secure_bits, settings.clip_norm, like)


def word_sum(secure: Secure) -> Aggregator:
    """Returns the sum of masked words, [count] int32 modulo 2^bits."""
    return Aggregator(
        zero=lambda like: tf.zeros([secure.count], tf.int32),
        accumulate=lambda total, words, share: _word(secure, total + words),
        merge=lambda a, b: _word(secure, a + b),
        report=lambda total: total,
    )


def masked(
    secure: Secure, payload: Payload, share: tf.Tensor, accepted: tf.Tensor, masks: Masks, seed: tf.Tensor
) -> tf.Tensor:
    """Returns the words [count] int32 that a client sends.

    Args:
        secure: the way.
        payload: clipped.
        share: [] float32, at most 1.
        accepted: [] bool; otherwise the words are a masked zero, since the others' masks count on this client's.
        masks: that it adds.
        seed: [2] int32, of its rounding.
    """
    limit, size = tf.cast(masks.limit, tf.float64), [secure.count]
    scaled = tf.cast(weight_ops.joined(payload.update.trainable), tf.float64) * (
        tf.cast(share, tf.float64) * limit / secure.clip
    )
    rounded = tf.floor(tf.where(accepted, scaled, 0.0) + tf.random.stateless_uniform(size, seed, dtype=tf.float64))
    values = tf.cast(tf.clip_by_value(rounded, -limit, limit), tf.int32)
    return _word(secure, values + _mask(masks.seeds, secure.count))


def opened(secure: Secure, total: tf.Tensor, share: tf.Tensor, masks: Masks) -> Payload:
    """Returns the mean update.

    Args:
        secure: the way.
        total: [count] int32, all clients' words.
        share: [] float32, their summed shares.
        masks: that are left in the total.
    """
    spare = 32 - secure.bits
    word = total - _mask(masks.seeds, secure.count)
    signed = tf.bitwise.right_shift(tf.bitwise.left_shift(word, spare), spare)  # the highest bit left is the sign
    unit = secure.clip / (tf.cast(masks.limit, tf.float64) * tf.cast(share, tf.float64))
    mean = tf.cast(tf.cast(signed, tf.float64) * unit, tf.float32)
    return secure.like._replace(update=Weights(weight_ops.split(mean, secure.like.update.trainable), []))


def size(secure: Secure, masks: Masks) -> tf.Tensor:
    """Returns the bytes [] int64 that a client sends: its words, and shares of seeds for those it is paired with."""
    pairs = tf.shape(masks.seeds, tf.int64)[0] - 1
    return tf.constant(-(-secure.count * secure.bits // 8), tf.int64) + _SEEDS * tf.maximum(pairs, 0)


def told(names: Sequence[str]) -> tuple[str, ...]:
    """Returns those of the names of a client's sums that are reported in the clear."""
    return tuple(name for name in names if name in TOLD)


def _word(secure: Secure, words: tf.Tensor) -> tf.Tensor:
    """Reduces modulo 2^bits; int32 arithmetic is modulo 2^32 by itself."""
    return words & (2**secure.bits - 1) if secure.bits < 32 else words


def _mask(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Returns the sum of signed masks, [count] int32 modulo 2^32."""

    all_words: Any = None  # no bounds: every int32 is as likely

    def one_more(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mask = tf.random.stateless_uniform([count], seeds[i, :2], all_words, all_words, tf.int32, alg="philox")
        return i + 1, total + tf.cast(seeds[i, 2], tf.int32) * mask

    start = (tf.constant(0), tf.zeros([count], tf.int32))
    return tf.while_loop(lambda i, _: i < tf.shape(seeds)[0], one_more, start, parallel_iterations=1)[1]
