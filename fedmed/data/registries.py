"""The registries of data sets and partitions; the modules that fill them are imported by `fedmed.data`."""

from collections.abc import Callable

from fedmed.data.examples import Dataset, Partition
from fedmed.settings.registry import Registry

datasets: Registry[Callable[..., Dataset]] = Registry("data set")
partitions: Registry[Callable[..., Partition]] = Registry("partition")
