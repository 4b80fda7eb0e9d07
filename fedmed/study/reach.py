"""Whether another process can find what the settings name: one that starts anew knows fedmed's own and the plugins'."""

from collections.abc import Iterator
from typing import Any

from fedmed import models
from fedmed.data import registries
from fedmed.learning import algorithms
from fedmed.settings import config, plugins
from fedmed.settings.registry import Registry


def is_only_here(settings: config.RunConfig) -> bool:
    """Tells whether something the settings name was registered by the program that runs, in a notebook's cell, say.

    Raises:
        ConfigError: a plugin cannot be imported.
    """
    plugins.load(settings.plugins)
    known = {"fedmed", *(name.partition(".")[0] for name in settings.plugins)}
    return any(module.partition(".")[0] not in known for module in _modules(settings))


def _modules(settings: config.RunConfig) -> Iterator[str]:
    """Yields the modules that registered what the settings and the study's arms name."""
    kinds: dict[str, Registry[Any]] = {
        "data": registries.datasets,
        "partition": registries.partitions,
        "model": models.models,
        "algorithm": algorithms.algorithms,
    }
    for own in (settings, *(config.variant(settings, arm) for arm in settings.arms)):
        for table, registry in kinds.items():
            name = getattr(own, table).name
            if name in registry:  # what is in none is a dotted path, or an error that is told later
                yield registry.get(name).__module__
