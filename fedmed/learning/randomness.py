"""Makes a Keras model's random layers (dropout, noise) functions of a seed, so that training repeats exactly."""

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

    def begin(self, step_seed: tf.Tensor) -> None:
        """Fixes the seed (int32 [2]) of the draws that follow; called where a training step is traced."""
        self._step_seed, self._draws = step_seed, 0

    def make_seed_for_stateless_op(self) -> tf.Tensor:
        """Returns an int32 [2] seed that no other draw of this step uses."""
        self._draws += 1
        fold = tf.random.experimental.stateless_fold_in
        seed = self._step_seed if self._step_seed is not None else tf.constant([0, 0])
        return fold(fold(seed, self._layer), self._draws)


def seed_random_layers(model: tf.keras.Model) -> list[SeededGenerator]:
    """Gives every random layer of the model, however nested, a seeded generator; returns them."""
    generators = []
    for module in model.submodules:
        if isinstance(module, base_layer.BaseRandomLayer):
            generators.append(SeededGenerator(len(generators)))
            # Keras offers no public way to hand a layer its generator.
            module._random_generator = generators[-1]
    return generators
