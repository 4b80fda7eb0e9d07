"""Noise is standard normal to what float32 can tell, in every part of it, and a function of its seed."""

import math

import numpy as np
import scipy.stats
import tensorflow as tf

from fedmed.learning import gaussian

COUNT = 1_000_000


def drawn(shapes: list[list[int]], seed: tuple[int, int]) -> list[np.ndarray]:
    draw = tf.function(lambda pair: gaussian.normal(shapes, pair), autograph=False)
    return [part.numpy() for part in draw(tf.constant(seed, tf.int32))]


def test_shapes_are_as_asked_and_the_same_seed_gives_the_same_bits() -> None:
    shapes = [[3, 3, 1, 5], [5], [45, 7], [], [1], [0, 4]]
    first, again, other = (drawn(shapes, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert [part.shape for part in first] == [tuple(shape) for shape in shapes]
    assert all(part.dtype == np.float32 for part in first)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.isin(first[2], other[2]).any()


def test_a_million_draws_are_standard_normal() -> None:
    """Each bound is met by chance in all but one of some thousand seeds; the seed is fixed."""
    values = drawn([[COUNT]], (3, 4))[0].astype(float)
    assert scipy.stats.kstest(values, "norm").pvalue > 1e-3
    error = 1 / math.sqrt(COUNT)
    expected = {1: (0, 1), 2: (1, math.sqrt(2)), 3: (0, math.sqrt(15)), 4: (3, math.sqrt(96))}  # moment, its deviation
    for power, (mean, deviation) in expected.items():
        assert abs(np.mean(values**power) - mean) < 3.5 * deviation * error


def test_tails_are_as_long_as_they_should_be() -> None:
    """Of eight million draws, 5.0 are expected beyond 5 deviations; those beyond 3 and 4 are counted to 4 errors."""
    values = np.abs(np.concatenate([drawn([[COUNT]], (5, number))[0] for number in range(8)]))
    for reach in (3, 4):
        expected = len(values) * 2 * scipy.stats.norm.sf(reach)
        assert abs((values > reach).sum() - expected) < 4 * math.sqrt(expected)
    assert 1 <= (values > 5).sum() <= 14
    assert np.isfinite(values).all()


def test_both_halves_are_normal_and_independent() -> None:
    """Sine and cosine of a pair share a radius: their squares must not be correlated either."""
    values = drawn([[COUNT]], (7, 8))[0].astype(float)
    halves = values.reshape(2, -1)
    assert scipy.stats.ks_2samp(*halves).pvalue > 1e-3
    bound = 4 / math.sqrt(COUNT / 2)
    for one, two in ((halves[0], halves[1]), (values[:-1:2], values[1::2])):
        assert abs(np.corrcoef(one, two)[0, 1]) < bound
        assert abs(np.corrcoef(one**2, two**2)[0, 1]) < bound


def test_the_radius_uses_all_bits_by_hand() -> None:
    """Bits of 0 stand for 2^-32, so that the largest value is sqrt(64 ln 2) = 6.66; the smallest radius is 0."""
    bits = np.array([0, 1, -(2**31), 2**31 - 1], np.int32)
    radius = gaussian.radius(tf.constant(bits.astype(np.float32))).numpy()
    np.testing.assert_allclose(radius, [math.sqrt(64 * math.log(2)), math.sqrt(62 * math.log(2)), 0, 0], rtol=1e-6)
