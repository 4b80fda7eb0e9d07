"""Which of a model's weights stay at home, each client's its own, and federated averaging of all others."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import servers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Anatomy, Learner, Variable
from fedmed.learning.local_training import local_training
from fedmed.learning.servers import Server
from fedmed.learning.values import Counts, Payload, Turn, Weights
from fedmed.system import errors


class Places(NamedTuple):
    """For each position of a model's weights, whether it stays at home."""

    trainable: tuple[bool, ...]
    moving: tuple[bool, ...]

    def chosen(self, weights: Weights, *, home: bool) -> Weights:
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

    def masked(self, gradients: Sequence[tf.Tensor], *, home: bool) -> list[tf.Tensor]:
        """Returns gradients of the trainable weights that are zero but for those at home, or but for the others."""
        return [g if own == home else tf.zeros_like(g) for g, own in zip(gradients, self.trainable, strict=True)]


def where(anatomy: Anatomy, stays: Callable[[Variable], bool]) -> Places:
    """Returns the places of the variables that are to stay at home."""
    return Places(tuple(map(stays, anatomy.trainable)), tuple(map(stays, anatomy.moving)))


def of_layers(anatomy: Anatomy, home: Sequence[str] | None) -> Places:
    """Returns the places of these layers' weights, by the layers' names; None is the last layer that has weights.

    Raises:
        ConfigError: a layer is unknown, or all of them are to stay at home, or none.
    """
    layers = list(dict.fromkeys(variable.layer_name for variable in (*anatomy.trainable, *anatomy.moving)))
    named = [variable.layer_name for variable in anatomy.trainable[-1:]] if home is None else home
    for name in named:
        if name not in layers:
            raise errors.ConfigError(errors.unknown("algorithm.args.home", "layer with weights", name, layers))
    if not named:
        raise errors.ConfigError(f"algorithm.args.home: names no layer; there are {', '.join(layers) or 'none'}")
    if set(named) == set(layers):
        raise errors.ConfigError(
            f"algorithm.args.home: nothing is shared when {', '.join(layers)} stays at home: no other layer of the "
            "model has weights"
        )
    return where(anatomy, lambda variable: variable.layer_name in named)


def rest_averaged(training: Training, places: Places, client: Callable[[Learner], ClientStep]) -> Algorithm:
    """Returns FedAvg of what does not stay at home; each client keeps the rest and is tested with it.

    The global model's own weights at these places stay as they were at the start: no client sends any.

    Args:
        training: for the server.
        places: of what stays.
        client: receives the others, keeps those, and sends what it changed of the others.
    """

    def apply(server: Server, mean: Payload, counts: Counts) -> Server:
        del counts
        unmoved = weight_ops.zeros_like(places.chosen(server.weights, home=True))
        return servers.moved(training.server, server, places.joined(mean.update, unmoved))

    return Algorithm(
        init=functools.partial(servers.initial, training.server),
        broadcast=lambda server: places.chosen(server.weights, home=False),
        client=client,
        apply=apply,
        weights=lambda server: server.weights,
        payload=lambda weights: Payload(weight_ops.zeros_like(places.chosen(weights, home=False))),
        kept=functools.partial(places.chosen, home=True),
        personal=lambda server, kept: places.joined(places.chosen(server.weights, home=False), kept),
    )


def trained_as_one(training: Training, places: Places, learner: Learner) -> ClientStep:
    """Returns a client that trains what it received and what it kept together, as one model."""
    train = local_training(training, learner)

    def update(received: Weights, kept: Weights, rows: Rows, turn: Turn) -> ClientOutput:
        trained = train(places.joined(received, kept), rows, turn)
        sent = weight_ops.subtract(places.chosen(trained.weights, home=False), received)
        return ClientOutput(Payload(sent), trained.sums, places.chosen(trained.weights, home=True))

    return update
