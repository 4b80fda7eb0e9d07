"""The registry of algorithms. TensorFlow is not imported until one is made for a run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fedmed.settings import registry
from fedmed.settings.config import RunConfig
from fedmed.settings.registry import Registry
from fedmed.system import errors

if TYPE_CHECKING:
    from fedmed.learning.algorithm import Algorithm, Training

algorithms: Registry[Callable[..., Algorithm]] = Registry("algorithm")


def checked(name: str, args: Mapping[str, Any]) -> Callable[[Training], Algorithm]:
    """Returns a function from what all algorithms share to the algorithm; ConfigError for a wrong name or argument.

    An algorithm's factory takes the Training first, its own arguments by keyword.
    """
    factory = algorithms.get(name, "algorithm.name")
    return functools.partial(factory, **registry.checked_args(factory, args, "algorithm.args", given=1))


def check_settings(settings: RunConfig) -> None:
    """Raises a ConfigError for settings that one of fedmed's own algorithms cannot be trained with."""
    name, optimizer = settings.algorithm.name, settings.client.optimizer
    local = _LOCAL_OPTIMIZERS.get(name)
    if local is not None and optimizer not in local:
        allowed = ", ".join(map(repr, local))
        raise errors.ConfigError(f"client.optimizer: {name} is defined for {allowed}, got {optimizer!r}")
    if name in _MEAN_ONLY and settings.aggregation.rule != "mean":
        rule = settings.aggregation.rule
        raise errors.ConfigError(f"aggregation.rule: {name} needs 'mean' of all that its clients send, got {rule!r}")


_LOCAL_OPTIMIZERS = {"scaffold": ("sgd",), "fednova": ("sgd", "momentum")}
_MEAN_ONLY = ("scaffold", "fednova")
NOT_FOR_STRANGERS = ("fedbn",)
"""Those whose global model is not whole, as a part of it stays with the clients."""


@algorithms.register("fedavg")
def fedavg(training: Training) -> Algorithm:
    """Clients train locally from the global weights; the server averages what they changed (McMahan et al. 2017)."""
    from fedmed.learning import fedavg

    return fedavg.fedavg(training)


@algorithms.register("fedprox")
def fedprox(training: Training, *, mu: float) -> Algorithm:
    """FedAvg whose clients are pulled towards the received weights with strength mu (Li et al. 2020)."""
    if mu < 0:
        raise errors.ConfigError(f"algorithm.args.mu: expected a number >= 0, got {mu}")
    from fedmed.learning import fedavg

    return fedavg.fedprox(training, mu)


@algorithms.register("scaffold")
def scaffold(training: Training) -> Algorithm:
    """Local steps corrected by control variates for what clients differ in (Karimireddy et al. 2020, option II)."""
    from fedmed.learning import scaffold

    return scaffold.scaffold(training)


@algorithms.register("fednova")
def fednova(training: Training) -> Algorithm:
    """Updates normalised by how many local steps they stand for (Wang et al. 2020)."""
    from fedmed.learning import fednova

    return fednova.fednova(training)


@algorithms.register("fedbn")
def fedbn(training: Training) -> Algorithm:
    """FedAvg whose clients keep BatchNormalization layers of their own, and are tested with them (Li et al. 2021)."""
    from fedmed.learning import fedbn

    return fedbn.fedbn(training)
