"""The registry of algorithms. TensorFlow is not imported until one is made for a run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fedmed.settings import registry
from fedmed.settings.registry import Registry
from fedmed.system import errors

if TYPE_CHECKING:
    from fedmed.learning.algorithm import Algorithm, Training

algorithms: Registry[Callable[..., Algorithm]] = Registry("algorithm")


def checked(name: str, args: Mapping[str, Any]) -> Callable[[Training], Algorithm]:
    """Returns a function from the shared settings to the algorithm; ConfigError when the name or an argument is wrong.

    An algorithm's factory takes the shared settings first, its own arguments by keyword.
    """
    factory = algorithms.get(name, "algorithm.name")
    return functools.partial(factory, **registry.checked_args(factory, args, "algorithm.args", given=1))


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
