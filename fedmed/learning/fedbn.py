"""FedBN (Li et al. 2021): batch normalisation stays at home; all other weights are averaged as in FedAvg.

Each client keeps its own scale, shift and moving statistics of every BatchNormalization layer, is tested with them, and
sends the rest. The global model's own stay as they were at the start: no client sends any.
"""

import functools

import tensorflow as tf

from fedmed.learning import places
from fedmed.learning.algorithm import Algorithm, Training
from fedmed.learning.learner import Variable
from fedmed.system import errors


def fedbn(training: Training) -> Algorithm:
    """Makes the algorithm.

    Raises:
        ConfigError: the model has no BatchNormalization layer.
    """
    home = places.where(training.anatomy, _normalises)
    if not any([*home.trainable, *home.moving]):
        raise errors.ConfigError("algorithm.name: fedbn keeps BatchNormalization at home, and the model has none")
    return places.rest_averaged(training, home, functools.partial(places.trained_as_one, training, home))


def _normalises(variable: Variable) -> bool:
    return issubclass(variable.layer, _NORMALISING)


_NORMALISING = (tf.keras.layers.BatchNormalization, tf.keras.layers.experimental.SyncBatchNormalization)
