"""Randomness is an argument: every stream is derived from (seed, stream name, counters), never from global state."""

import zlib

import numpy as np


def sequence(seed: int, stream: str, *counters: int) -> np.random.SeedSequence:
    """Returns the seed sequence of a named stream, e.g. ("sampling", round) or ("shuffle", round, client)."""
    return np.random.SeedSequence([seed, zlib.crc32(stream.encode()), *counters])


def generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """Returns a NumPy generator for a named stream."""
    return np.random.default_rng(sequence(seed, stream, *counters))


def pair(seed: int, stream: str, *counters: int) -> np.ndarray:
    """Returns an int32 array of shape [2]: a seed for TensorFlow's stateless random operations."""
    return sequence(seed, stream, *counters).generate_state(2).astype(np.int64).astype(np.int32)
