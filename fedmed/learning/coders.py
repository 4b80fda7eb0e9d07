"""Ways to write a vector in fewer bytes: quantised, its largest values only, or values at random places.

Each coder is made for vectors of d values. Its code is a named tuple of the very tensors that are sent, so that their
bytes can be counted. Randomness is the seed's, [2] int32.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import packing
from fedmed.learning.values import Nest, Tensor

BUCKET = 256
"""Values that share a scale of 8 bytes, a quarter of a bit each. Measured on an update of mcmahan_2nn on MNIST:
relative errors at 8, 4 and 2 bits are .011, .18 and .92, with one scale a tensor .024, .51 and 1.96."""


class Coder(NamedTuple):
    """How a vector is written.

    Attributes:
        encode: (vector [d] float32, seed) -> its code.
        decode: code -> [d] float32.
        is_unbiased: whether what is decoded is, over seeds, on average the vector.
    """

    encode: Callable[[tf.Tensor, tf.Tensor], Nest]
    decode: Callable[[Nest], tf.Tensor]
    is_unbiased: bool


class Quantised(NamedTuple):
    """Numbers of a few bits, packed [ceil(d * bits / 8)] uint8, and the least value and the width of each bucket."""

    levels: Tensor
    low: Tensor
    width: Tensor


def quantising(count: int, bits: int, bucket: int = BUCKET) -> Coder:
    """Rounds each value at random to one of 2^bits levels evenly between its bucket's least and largest.

    That is QSGD (Alistarh et al. 2017, section 3.1, with buckets of section 3.3), but for the levels: theirs are
    symmetric about 0, which leaves one of four codes unused at 2 bits. A value is moved by less than the width of its
    bucket / (2^bits - 1), and is right on average.
    """
    return Coder(
        functools.partial(_quantised, count, bits, bucket), functools.partial(_dequantised, count, bits, bucket), True
    )


def _quantised(count: int, bits: int, bucket: int, vector: tf.Tensor, seed: tf.Tensor) -> Quantised:
    padded = tf.concat([vector, tf.fill([-count % bucket], vector[-1])], axis=0)  # what is there already widens nothing
    rows = tf.reshape(padded, [-1, bucket])
    low = tf.reduce_min(rows, axis=1)
    width, most = tf.reduce_max(rows, axis=1) - low, 2**bits - 1
    place = tf.math.divide_no_nan(rows - low[:, tf.newaxis], width[:, tf.newaxis]) * most
    rounded = tf.floor(place + tf.random.stateless_uniform([-(-count // bucket), bucket], seed))
    levels = tf.cast(tf.clip_by_value(rounded, 0, most), tf.int32)
    return Quantised(packing.pack(tf.reshape(levels, [-1])[:count], bits), low, width)


def _dequantised(count: int, bits: int, bucket: int, code: Quantised) -> tf.Tensor:
    levels = tf.pad(packing.unpack(code.levels, bits, count), [[0, -count % bucket]])
    share = tf.reshape(tf.cast(levels, tf.float32), [-1, bucket]) / (2**bits - 1)
    return tf.reshape(code.low[:, tf.newaxis] + share * code.width[:, tf.newaxis], [-1])[:count]


class Largest(NamedTuple):
    """The k largest values [k] float32, and where they stand, packed numbers of just the bits that d needs."""

    places: Tensor
    values: Tensor


def top_k(count: int, share: float) -> Coder:
    """Keeps the values of largest size and drops the rest (Stich et al. 2018, Definition 2.1).

    The squared error is at most 1 - k / d of the vector's squared norm. It is biased, and needs what was dropped to be
    added to the next vector.
    """
    k, bits = _kept(count, share), _bits_of(count)

    def encode(vector: tf.Tensor, seed: tf.Tensor) -> Largest:
        del seed
        places = tf.math.top_k(tf.abs(vector), k, sorted=False).indices
        return Largest(packing.pack(places, bits), tf.gather(vector, places))

    def decode(code: Largest) -> tf.Tensor:
        return tf.scatter_nd(packing.unpack(code.places, bits, k)[:, tf.newaxis], code.values, [count])

    return Coder(encode, decode, False)


class Drawn(NamedTuple):
    """Values [k] float32 at places that follow from the seed [2] int32."""

    seed: Tensor
    values: Tensor


def random_mask(count: int, share: float) -> Coder:
    """Keeps k values at random places, times d / k (Konecny et al. 2016, section 3, "random mask").

    Right on average; the expected squared error is d / k - 1 times the vector's squared norm.
    """
    k = _kept(count, share)

    def places(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.experimental.stateless_shuffle(tf.range(count), seed)[:k]

    def encode(vector: tf.Tensor, seed: tf.Tensor) -> Drawn:
        return Drawn(seed, tf.gather(vector, places(seed)) * (count / k))

    def decode(code: Drawn) -> tf.Tensor:
        return tf.scatter_nd(places(code.seed)[:, tf.newaxis], code.values, [count])

    return Coder(encode, decode, True)


def _kept(count: int, share: float) -> int:
    return max(1, round(share * count))


def _bits_of(count: int) -> int:
    return max(1, (count - 1).bit_length())
