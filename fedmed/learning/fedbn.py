"""FedBN (Li et al. 2021): batch normalisation stays at home; all other weights are averaged as in FedAvg.

Each client keeps its own scale, shift and moving statistics of every BatchNormalization layer, is tested with them, and
sends the rest. The global model's own stay as they were at the start: no client sends any.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import servers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Anatomy, Learner, Variable
from fedmed.learning.local_training import local_training
from fedmed.learning.values import Payload, Turn, Weights
from fedmed.system import errors


class _Places(NamedTuple):
    """Which positions of a model's weights stay at home."""

    trainable: tuple[bool, ...]
    moving: tuple[bool, ...]

    def chosen(self, weights: Weights, home: bool) -> Weights:
        """Returns the weights that stay at home, or the others."""
        return Weights(
            [w for w, own in zip(weights.trainable, self.trainable, strict=True) if own == home],
            [w for w, own in zip(weights.moving, self.moving, strict=True) if own == home],
        )

    def joined(self, shared: Weights, home: Weights) -> Weights:
        """Puts the two parts together again."""
        parts = [(iter(home.trainable), iter(shared.trainable)), (iter(home.moving), iter(shared.moving))]
        kinds = zip(parts, (self.trainable, self.moving), strict=True)
        return Weights(*([next(own if stays else rest) for stays in places] for (own, rest), places in kinds))


def fedbn(training: Training) -> Algorithm:
    """Makes the algorithm.

    Raises:
        ConfigError: the model has no BatchNormalization layer.
    """
    places = _places(training.anatomy)
    if not any([*places.trainable, *places.moving]):
        raise errors.ConfigError("algorithm.name: fedbn keeps BatchNormalization at home, and the model has none")
    return Algorithm(
        init=functools.partial(servers.initial, training.server),
        broadcast=lambda server: places.chosen(server.weights, home=False),
        client=functools.partial(_client, training, places),
        apply=lambda server, mean, counts: servers.moved(
            training.server, server, places.joined(mean.update, _unmoved(places, server.weights))
        ),
        weights=lambda server: server.weights,
        payload=lambda weights: Payload(weight_ops.zeros_like(places.chosen(weights, home=False))),
        kept=functools.partial(places.chosen, home=True),
        personal=lambda server, kept: places.joined(places.chosen(server.weights, home=False), kept),
    )


def _places(anatomy: Anatomy) -> _Places:
    return _Places(tuple(map(_normalises, anatomy.trainable)), tuple(map(_normalises, anatomy.moving)))


def _normalises(variable: Variable) -> bool:
    return issubclass(variable.layer, tf.keras.layers.BatchNormalization)


def _unmoved(places: _Places, weights: Weights) -> Weights:
    return weight_ops.zeros_like(places.chosen(weights, home=True))


def _client(training: Training, places: _Places, learner: Learner) -> ClientStep:
    train = local_training(training, learner)

    def update(received: Weights, kept: Weights, rows: Rows, turn: Turn) -> ClientOutput:
        trained = train(places.joined(received, kept), rows, turn)
        sent = weight_ops.subtract(places.chosen(trained.weights, home=False), received)
        return ClientOutput(Payload(sent), trained.sums, places.chosen(trained.weights, home=True))

    return update
