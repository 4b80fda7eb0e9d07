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

    A layer's weights are those of the layers inside it too.

    Raises:
        ConfigError: a layer is unknown, or all of them are to stay at home, or none, or a name is of several layers.
    """
    variables = (*anatomy.trainable, *anatomy.moving)
    last = [variable.layers for variable in anatomy.trainable[-1:]]
    if home is None:
        named = [layers[-1] for layers in last]
        found = where(anatomy, lambda variable: variable.layers in last)
    else:
        named = home
        _check(named, variables)
        found = where(anatomy, lambda variable: not set(named).isdisjoint(variable.layers))
    if all((*found.trainable, *found.moving)):
        raise errors.ConfigError(
            f"algorithm.args.home: nothing is shared when {', '.join(named)} stays at home: no other layer of the "
            "model has weights"
        )
    return found


def _check(named: Sequence[str], variables: Sequence[Variable]) -> None:
    """Raises a ConfigError for names of no layer, or of layers inside of several others that are named alike."""
    layers = list(dict.fromkeys(name for variable in variables for name in variable.layers))
    if not named:
        raise errors.ConfigError(f"algorithm.args.home: names no layer; there are {', '.join(layers) or 'none'}")
    for name in named:
        if name not in layers:
            raise errors.ConfigError(errors.unknown("algorithm.args.home", "layer with weights", name, layers))
        paths = {"/".join(v.layers[: v.layers.index(name) + 1]): None for v in variables if name in v.layers}
        if len(paths) > 1:
            raise errors.ConfigError(
                f"algorithm.args.home: {name!r} is the name of several layers ({', '.join(paths)}); name the outer "
                "ones, or give each a name of its own"
            )


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
