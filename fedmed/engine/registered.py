"""Where the names in a config's tables are looked up; importing this fills the registries, without TensorFlow."""

from collections.abc import Callable, Mapping
from typing import Any

import fedmed.data  # noqa: F401  (importing it fills its registries)
from fedmed import models
from fedmed.data import registries
from fedmed.learning.aggregators import aggregators
from fedmed.learning.algorithms import algorithms
from fedmed.settings.config import RunConfig
from fedmed.settings.registry import Registry

REGISTRIES: Mapping[str, Registry[Any]] = {
    "data": registries.datasets,
    "partition": registries.partitions,
    "model": models.models,
    "algorithm": algorithms,
    "aggregation": aggregators,
}
"""By the table of a config that names something in them."""


def key_of(table: str) -> str:
    """Returns the setting of a table that holds the name."""
    return "rule" if table == "aggregation" else "name"


def name_in(settings: RunConfig, table: str) -> str:
    """Returns what the settings name in a table."""
    return getattr(getattr(settings, table), key_of(table))


def factories(settings: RunConfig) -> dict[str, Callable[..., Any]]:
    """Returns what the settings name in each table; what is in no registry is a dotted path, or told elsewhere."""
    named = {table: name_in(settings, table) for table in REGISTRIES}
    return {table: REGISTRIES[table].get(name) for table, name in named.items() if name in REGISTRIES[table]}
