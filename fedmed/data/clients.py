"""From the settings to what each client holds: data set, partition, split and preprocessing, in that order."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from fedmed.data import bounded, partitions, registries, splits
from fedmed.data import preprocessing as tables
from fedmed.data.examples import Array, Dataset, Examples, Feature
from fedmed.data.harmonising import harmonised
from fedmed.data.preprocessing import Preprocessing
from fedmed.data.splits import ClientRows
from fedmed.data.store import patient_counts
from fedmed.privacy import shares
from fedmed.settings import plugins
from fedmed.settings.config import RunConfig
from fedmed.settings.privacy import Privacy
from fedmed.system import errors, seeds

_DEFAULT_FRACTION = 0.25


ChangedRows: TypeAlias = Callable[[str, Callable[[Examples], Examples]], Examples]
"""(client, change) -> its training rows, as a model gets them, after the change."""


class Clients(NamedTuple):
    """What each client holds, ready for a model. It never holds a data set's hidden truth in x.

    Attributes:
        dataset: the data as loaded and harmonised; its x is not preprocessed.
        train: each client's training rows, preprocessed, x float32 [n, d] for a table, else in storage dtype.
        test: each client's own test rows, likewise (perhaps none); {} where `shared_test` is given.
        shared_test: the data set's own test rows, preprocessed, or None.
        rows: each client's row numbers in dataset.examples; `test` is empty where `shared_test` is given.
        preprocessing: what was done to a table, else None.
        changed: what a client's training rows are, preprocessed, after a change to them as they are held; None where
            `train` is what they hold.
    """

    dataset: Dataset
    train: dict[str, Examples]
    test: dict[str, Examples]
    shared_test: Examples | None
    rows: dict[str, ClientRows]
    preprocessing: Preprocessing | None
    changed: ChangedRows | None = None


def prepare(config: RunConfig) -> Clients:
    """Loads the data set, deals its rows out, splits and preprocesses them; TensorFlow is not needed.

    Raises:
        ConfigError: a plugin cannot be imported, or a name or an argument of data or partition is wrong.
        DataError: the data are missing or damaged, or cannot be divided as asked.
    """
    dataset, held = deal(config)
    rows = split(dataset, held, config)
    examples = dataset.examples
    train = {client: examples.take(own.train) for client, own in rows.items()}
    test = {} if dataset.test is not None else {client: examples.take(own.test) for client, own in rows.items()}
    if not dataset.is_table:
        return Clients(dataset, train, test, dataset.test, rows, None)
    scaled = fitted(config.data.preprocessing, config.privacy, config.seed, train, dataset.features)
    return Clients(
        dataset,
        {client: scaled.apply(client, own) for client, own in train.items()},
        {client: scaled.apply(client, own) for client, own in test.items()},
        None if dataset.test is None else scaled.apply(None, dataset.test),
        rows,
        scaled,
        as_preprocessed(scaled, train),
    )


def as_preprocessed(scaled: Preprocessing, train: Mapping[str, Examples]) -> ChangedRows:
    """Returns what changed rows become: they are scaled as the rows would be that are not changed."""
    return lambda client, change: scaled.apply(client, change(train[client]))


def fitted(
    mode: tables.Mode, privacy: Privacy, seed: int, train: Mapping[str, Examples], features: Sequence[Feature]
) -> Preprocessing:
    """Returns what is done to a table; under a promise it looks at patients through noise or not at all.

    Args:
        mode: without a promise.
        privacy: what is promised.
        seed: of the noise.
        train: each client's training rows.
        features: one a column.

    Raises:
        ConfigError: `privacy.bounds` lacks a column, or names one that there is not.
    """
    if not privacy.is_on:
        return tables.prepare(train, features, mode)
    if not privacy.preprocessing_share:
        return bounded.prepare_bounded(features, privacy.bounds)
    noise = shares.preprocessing_noise(privacy, patient_counts(train))
    rng = seeds.generator(seed, "privacy.preprocessing")
    return bounded.noisy_moments(train, features, privacy.bounds, noise=noise, rng=rng)


def deal(config: RunConfig) -> tuple[Dataset, dict[str, Array]]:
    """Returns the data set and each client's row numbers, training and test rows together; raises as `prepare`."""
    plugins.load(config.plugins)
    registries.datasets.get(
        config.data.name, "data.name"
    )  # both names are checked before data are read, which may be slow
    partition = registries.partitions.make(config.partition.name, config.partition.args, "partition")
    dataset = _with_task(load(config), config.model.task)
    return dataset, partitions.clients_of(dataset.examples, partition, config.seed)


def load(config: RunConfig) -> Dataset:
    """Returns the data set, a table harmonised as the settings say; raises as `prepare`."""
    return harmonised(registries.datasets.make(config.data.name, config.data.args, "data"), config.data.harmonise)


def _with_task(dataset: Dataset, task: str) -> Dataset:
    """Returns the data set with the task that the settings ask for; class codes can be numbers, numbers no classes."""
    if task == "auto":
        return dataset
    dataset = dataclasses.replace(dataset, notes=())  # the task is the user's own choice
    if task == dataset.task:
        return dataset
    is_count = all((part.y >= 0).all() and (part.y == np.floor(part.y)).all() for part in _parts(dataset))
    allowed = {"regression": True, "count": is_count, "multiclass": dataset.classes > 0, "binary": dataset.classes == 2}
    if not allowed[task]:
        names = [name for name, fit in allowed.items() if fit]
        fits = ", ".join(names)
        raise errors.ConfigError(f"model.task: the labels of {dataset.name} allow {fits}, got {task!r}")
    if task in ("binary", "multiclass"):
        return dataclasses.replace(dataset, task=task)
    train, *test = [dataclasses.replace(part, y=part.y.astype(np.float32)) for part in _parts(dataset)]
    return dataclasses.replace(
        dataset, task=task, classes=0, class_names=(), examples=train, test=test[0] if test else None
    )


def _parts(dataset: Dataset) -> list[Examples]:
    return [dataset.examples] if dataset.test is None else [dataset.examples, dataset.test]


def split(dataset: Dataset, held: Mapping[str, Array], config: RunConfig) -> dict[str, ClientRows]:
    """Returns each client's training and test rows by the config's seed; no test rows where the data have their own."""
    if dataset.test is not None:
        return {client: ClientRows(rows, np.zeros(0, np.int64)) for client, rows in held.items()}
    fractions = _fractions(dataset, held, config)
    return splits.split(dataset.examples, held, fractions, config.seed, dataset.task)


def _fractions(dataset: Dataset, held: Mapping[str, Array], config: RunConfig) -> dict[str, float]:
    """Returns each client's share of test rows: a published split's where clients are its sites and none was asked."""
    asked = config.data.test_fraction
    published = dataset.site_test_fraction if config.partition.name == "by_site" else {}
    return {client: published.get(client, _DEFAULT_FRACTION) if asked is None else asked for client in held}
