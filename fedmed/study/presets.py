"""The algorithms that a study can compare, by the names of the field: registered ones, and server optimizers.

A registered algorithm is trained as its paper has it, with a server that averages. A name of SERVERS is FedAvg with
that optimizer at the server. What an algorithm requires and the config does not give is filled in from ARGS.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from fedmed.learning.algorithms import algorithms
from fedmed.settings import config, plugins
from fedmed.study import filled_in
from fedmed.system import errors

ARGS: Mapping[str, Mapping[str, Any]] = {
    "fedprox": {"mu": 0.1},  # Li et al. 2020 search 0.001 to 1
    "feddyn": {"alpha": 0.01},  # Acar et al. 2021 search 0.001 to 0.1
    "qffl": {"q": 1.0},  # Li et al. 2020, "Fair Resource Allocation", have 1 for two of four data sets
    "ditto": {"strength": 0.1},  # Li et al. 2021, "Ditto": lambda, of which they search 0.05 to 2
}
"""Arguments that algorithms require, as far as one of that name is registered: an ordinary choice, not a tuned one."""

LOCAL = "local"
"""Each hospital alone is always there, named or not."""

_STEP = 10**0.5


class ServerOptimizer(NamedTuple):
    """FedAvg with an optimizer at the server, and the server's rate about which others are tried."""

    optimizer: Literal["momentum", "adam", "yogi", "adagrad"]
    learning_rate: float


SERVERS: Mapping[str, ServerOptimizer] = {
    "fedavgm": ServerOptimizer("momentum", 1.0),  # Hsu et al. 2019
    "fedadam": ServerOptimizer("adam", 0.032),  # Reddi et al. 2021, whose best rates are 0.01 to 0.1 mostly
    "fedyogi": ServerOptimizer("yogi", 0.032),
    "fedadagrad": ServerOptimizer("adagrad", 0.032),
}


def named(settings: config.RunConfig) -> tuple[str, ...]:
    """Returns the algorithms that are compared, in the order of `study.compare`, without each hospital alone.

    Raises:
        ConfigError: a name is unknown, or none is an algorithm.
    """
    if not settings.study.compare:
        return ()
    plugins.load(settings.plugins)
    allowed = [*algorithms.names(), *SERVERS, LOCAL]
    for name in settings.study.compare:
        if name not in allowed:
            raise errors.ConfigError(errors.unknown("study.compare", "algorithm", name, allowed))
    found = tuple(name for name in settings.study.compare if name != LOCAL)
    if not found:
        raise errors.ConfigError("study.compare: expected an algorithm besides 'local', which is always there")
    return found


def settings_of(settings: config.RunConfig, name: str) -> config.RunConfig:
    """Returns the config with another algorithm; the config's own arguments stay where it is the config's own.

    Raises:
        ConfigError: the algorithm requires an argument that neither the config nor ARGS gives.
    """
    server = SERVERS.get(name)
    algorithm = "fedavg" if server else name
    own = settings.algorithm
    if own.name != algorithm:
        own = config.Algorithm(algorithm, _args(algorithm))
    return dataclasses.replace(settings, algorithm=own, server=_server(settings.server, server))


def _args(algorithm: str) -> dict[str, Any]:
    return filled_in.required(algorithms, algorithm, ARGS.get(algorithm, {}), ("study.compare", "algorithm"), given=1)


def _server(own: config.Server, wanted: ServerOptimizer | None) -> config.Server:
    optimizer = "average" if wanted is None else wanted.optimizer
    if own.optimizer == optimizer:
        return own
    return config.Server() if wanted is None else config.Server(optimizer, wanted.learning_rate)


def grid(settings: config.RunConfig) -> dict[str, Sequence[float]]:
    """Returns what is searched beside the clients' rate: of a server with an optimizer, three rates a half order apart.

    Args:
        settings: of one algorithm.
    """
    if settings.server.optimizer == "average":
        return {}
    middle = settings.server.learning_rate
    rates = [float(f"{middle * factor:.2g}") for factor in (1 / _STEP, 1.0, _STEP)]
    return {"server.learning_rate": rates}


def changes(settings: config.RunConfig, own: config.RunConfig) -> dict[str, Any]:
    """Returns by dotted keys what an algorithm's settings change of the config's, for the record."""
    found: dict[str, Any] = {}
    for table in ("algorithm", "server"):
        before, after = (config.to_tree(getattr(one, table)) for one in (settings, own))
        found |= {f"{table}.{key}": value for key, value in after.items() if before.get(key) != value and value != {}}
    return found
