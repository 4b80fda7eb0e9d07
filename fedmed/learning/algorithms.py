"""The registry of algorithms. TensorFlow is not imported until one is made for a run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fedmed.data.examples import Task
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
    server = settings.server
    if name in _MAKES_THE_NEXT_WEIGHTS and (server.optimizer, server.learning_rate) != ("average", 1.0):
        raise errors.ConfigError(
            f"server.optimizer: {name} makes the next weights by itself and needs 'average' at learning_rate 1, got "
            f"{server.optimizer!r} at {server.learning_rate:g}"
        )


def check_task(name: str, task: Task) -> None:
    """Raises a ConfigError for a task that one of fedmed's own algorithms is not defined for."""
    if name == "qffl" and task == "count":
        raise errors.ConfigError(
            "algorithm.name: qffl takes powers of clients' losses, and the loss of counts can be below 0; got a task "
            "'count'"
        )


_LOCAL_OPTIMIZERS = {
    "scaffold": ("sgd",),
    "fednova": ("sgd", "momentum"),
    "mimelite": ("sgd",),
    "fedavg_moments": ("momentum", "adam"),
    "qffl": ("sgd",),
}
_MEAN_ONLY = ("scaffold", "fednova", "feddyn", "mimelite", "fedavg_moments", "qffl")
_MAKES_THE_NEXT_WEIGHTS = ("feddyn", "mimelite")
_PERSONAL = ("fedbn", "fedper", "fedrep", "ditto", "apfl")


def is_personal(name: str) -> bool:
    """Tells whether an algorithm leaves a part of the model to each client; one that is not fedmed's own may."""
    own = name in algorithms and not algorithms.get(name).__module__.startswith("fedmed.")
    return own or name in _PERSONAL


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


@algorithms.register("feddyn")
def feddyn(training: Training, *, alpha: float) -> Algorithm:
    """Local losses bent, with strength alpha, until their least is that of all clients' (Acar et al. 2021)."""
    if alpha <= 0:
        raise errors.ConfigError(f"algorithm.args.alpha: expected a number > 0, got {alpha}")
    from fedmed.learning import feddyn

    return feddyn.feddyn(training, alpha)


@algorithms.register("mimelite")
def mimelite(
    training: Training, *, base: Literal["momentum", "adam"] = "momentum", beta: float = 0.9, beta_2: float = 0.999
) -> Algorithm:
    """Local steps by one optimizer's state, which the server keeps (MimeLite, Karimireddy et al. 2020)."""
    for name, value in (("beta", beta), ("beta_2", beta_2)):
        if not 0 <= value < 1:
            raise errors.ConfigError(f"algorithm.args.{name}: expected a number >= 0 and < 1, got {value}")
    from fedmed.learning import mimelite

    return mimelite.mimelite(training, mimelite.base_of(base, beta, beta_2))


@algorithms.register("fedavg_moments")
def fedavg_moments(training: Training) -> Algorithm:
    """FedAvg whose clients' momentum or Adam goes on from the mean of all clients' moments (Yu, Jin & Yang 2019)."""
    from fedmed.learning import fedavg_moments

    return fedavg_moments.fedavg_moments(training)


@algorithms.register("qffl")
def qffl(training: Training, *, q: float) -> Algorithm:
    """FedAvg that weighs a client by its loss to the power q, so that losses become alike (Li et al. 2020, q-FFL)."""
    if q < 0:
        raise errors.ConfigError(f"algorithm.args.q: expected a number >= 0, got {q}")
    from fedmed.learning import qffl

    return qffl.qffl(training, q)


@algorithms.register("fedper")
def fedper(training: Training, *, home: Sequence[str] | None = None) -> Algorithm:
    """FedAvg whose clients keep the layers `home`, by default the last, to themselves (Arivazhagan et al. 2019)."""
    from fedmed.learning import fedper

    return fedper.fedper(training, home)


@algorithms.register("fedrep")
def fedrep(training: Training, *, home: Sequence[str] | None = None, head_epochs: int | None = None) -> Algorithm:
    """Clients first fit the layers `home` of their own, then move the shared rest (Collins et al. 2021)."""
    _check_epochs("head_epochs", head_epochs)
    from fedmed.learning import fedrep

    return fedrep.fedrep(training, home, head_epochs)


@algorithms.register("ditto")
def ditto(training: Training, *, strength: float, personal_epochs: int | None = None) -> Algorithm:
    """FedAvg, and at each client a model of its own, pulled towards the global one with `strength` (Li et al. 2021)."""
    if strength < 0:
        raise errors.ConfigError(f"algorithm.args.strength: expected a number >= 0, got {strength}")
    _check_epochs("personal_epochs", personal_epochs)
    from fedmed.learning import ditto

    return ditto.ditto(training, strength, personal_epochs)


@algorithms.register("apfl")
def apfl(training: Training, *, alpha: float = 0.5, adaptive: bool = False) -> Algorithm:
    """FedAvg, and at each client a mix of the global model with a share `alpha` of its own (Deng et al. 2020)."""
    if not 0 <= alpha <= 1:
        raise errors.ConfigError(f"algorithm.args.alpha: expected a number from 0 to 1, got {alpha}")
    from fedmed.learning import apfl

    return apfl.apfl(training, alpha, adaptive)


def _check_epochs(name: str, epochs: int | None) -> None:
    if epochs is not None and epochs < 1:
        raise errors.ConfigError(f"algorithm.args.{name}: expected a whole number >= 1, got {epochs}")
