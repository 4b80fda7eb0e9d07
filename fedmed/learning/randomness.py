"""Makes a Keras model's random layers (dropout, noise) functions of a seed, so that training repeats exactly."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from keras.src import backend
from keras.src.engine import base_layer


class SeededGenerator(backend.RandomGenerator):
    """Stands in for a layer's generator: each draw is a stateless function of (step seed, layer, draw).

    Keras keeps its own generators' state in variables, which neither resume nor repeat exactly.
    """

    def __init__(self, layer: int) -> None:
        super().__init__(seed=0, rng_type="stateless")
        self._layer = layer
        self._step_seed: Any = None
        self._draws = 0
        self.rests = False

    def begin(self, step_seed: tf.Tensor) -> None:
        """Fixes the seed (int32 [2]) of the draws that follow; called where a training step is traced."""
        self._step_seed, self._draws = step_seed, 0

    def make_seed_for_stateless_op(self) -> tf.Tensor:
        """Returns an int32 [2] seed that no other draw of this step uses."""
        self._draws += 1
        fold = tf.random.experimental.stateless_fold_in
        seed = self._step_seed if self._step_seed is not None else tf.constant([0, 0])
        return fold(fold(seed, self._layer), self._draws)

    def random_normal(self, shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, **rest: Any) -> Any:
        """Draws normal values; at rest, their mean."""
        if self.rests:
            return _filled(shape, mean, dtype)
        return super().random_normal(shape, mean, stddev, dtype, **rest)

    def truncated_normal(
        self, shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, **rest: Any
    ) -> Any:
        """Draws normal values within two standard deviations; at rest, their mean."""
        if self.rests:
            return _filled(shape, mean, dtype)
        return super().truncated_normal(shape, mean, stddev, dtype, **rest)

    def random_uniform(
        self, shape: Any, minval: float = 0.0, maxval: float | None = None, dtype: Any = None, **rest: Any
    ) -> Any:
        """Draws uniform values; at rest, the middle of their range."""
        if self.rests:
            return _filled(shape, (minval + (1.0 if maxval is None else maxval)) / 2, dtype)
        return super().random_uniform(shape, minval, maxval, dtype, **rest)

    def dropout(self, inputs: Any, rate: float, noise_shape: Any = None) -> Any:
        """Drops a part of the inputs; at rest, none."""
        return inputs if self.rests else super().dropout(inputs, rate, noise_shape)


def _filled(shape: Any, value: float, dtype: Any) -> tf.Tensor:
    return tf.fill(shape, tf.cast(value, dtype or backend.floatx()))


@contextlib.contextmanager
def resting(generators: Sequence[SeededGenerator]) -> Iterator[None]:
    """Lets the generators draw nothing at random inside the block: what is traced there treats all rows alike."""
    before = [generator.rests for generator in generators]
    for generator in generators:
        generator.rests = True
    try:
        yield
    finally:
        for generator, rested in zip(generators, before, strict=True):
            generator.rests = rested


def seed_random_layers(model: tf.keras.Model) -> list[SeededGenerator]:
    """Gives every random layer of the model, however nested, a seeded generator; returns them."""
    generators = []
    for module in model.submodules:
        if isinstance(module, base_layer.BaseRandomLayer):
            generators.append(SeededGenerator(len(generators)))
            # Keras offers no public way to hand a layer its generator.
            module._random_generator = generators[-1]
    return generators
