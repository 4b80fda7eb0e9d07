"""Dropout and noise as functions of a seed, so that a hospital's training is the same whenever it is repeated."""

from typing import Any

import tensorflow as tf
from keras.src import backend
from keras.src.engine import base_layer


class SeededGenerator(backend.RandomGenerator):
    """Stands in for a layer's generator: each draw is a function of (step seed, layer, draw)."""

    def __init__(self, layer: int) -> None:
        super().__init__(seed=0, rng_type="stateless")
        self._layer = layer
        self._step_seed: Any = None
        self._draws = 0

    def begin(self, step_seed: tf.Tensor) -> None:
        """Fixes the seed [2] int32 of the draws that follow; called where a step is traced."""
        self._step_seed, self._draws = step_seed, 0

    def make_seed_for_stateless_op(self) -> tf.Tensor:
        """Returns an int32 [2] seed that no other draw of this step uses."""
        self._draws += 1
        fold = tf.random.experimental.stateless_fold_in
        seed = self._step_seed if self._step_seed is not None else tf.constant([0, 0])
        return fold(fold(seed, self._layer), self._draws)


def seed_random_layers(model: tf.keras.Model) -> list[SeededGenerator]:
    """Gives every random layer of the model, however nested, a seeded generator; returns them."""
    generators: list[SeededGenerator] = []
    for module in model.submodules:
        if isinstance(module, base_layer.BaseRandomLayer):
            generators.append(SeededGenerator(len(generators)))
            module._random_generator = generators[-1]  # Keras has no public way
    return generators
