"""From the settings to a job: columns, label, model and initial weights, as `fedmed run` would begin with them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedmed.data import registries
from fedmed.data.clients import Clients
from fedmed.data.columns import parsed
from fedmed.data.examples import Array, Dataset, Feature
from fedmed.data.labels import plain
from fedmed.data.preprocessing import Recipe
from fedmed.engine import checks
from fedmed.export import exportable
from fedmed.export.fedmed_job.job import Change, Column, Job, Label, Local, Reading, Server, Weights
from fedmed.settings.config import RunConfig
from fedmed.settings.harmonise import Harmonise
from fedmed.system import errors

MINIMUM = 5
"""Values behind any sum that a hospital tells."""

_NO_WORDS = Reading()


class Exported(NamedTuple):
    """What an export is made of.

    Attributes:
        job: what is trained, and how.
        weights: that it begins with.
        clients: what each client holds here.
        raw: the data as they are before they are harmonised, which is what a hospital's file holds.
    """

    job: Job
    weights: Weights
    clients: Clients
    raw: Dataset


def exported(settings: RunConfig) -> Exported:
    """Builds the job.

    Raises:
        UserError: something cannot be exported, or could not be run either; one line that names it.
    """
    exportable.check_settings(settings)
    clients = checks.check(settings)
    exportable.check_data(clients.dataset)
    raw = registries.datasets.make(settings.data.name, settings.data.args, "data")
    from fedmed.export import exported_model  # imports TensorFlow, so only now

    model = exported_model.built(settings, clients)
    job = Job(
        name=settings.name,
        made_by=_version(),
        seed=settings.seed,
        rounds=settings.rounds,
        sites=tuple(clients.train),
        task=clients.dataset.task,
        scale=model.scale,
        preprocessing=settings.data.preprocessing,
        minimum=MINIMUM,
        reading=_reading(settings),
        label=_label(settings, clients.dataset, standardised=model.any_value and settings.data.standardise_label),
        columns=_columns(settings, clients, raw.features),
        local=_local(settings),
        server=Server(**{**_fields(settings.server), "weighting": settings.aggregation.weighting}),
        architecture=model.architecture,
    )
    return Exported(job, model.weights, clients, raw)


def _version() -> str:
    import importlib.metadata

    return f"fedmed {importlib.metadata.version('fedmed')}"


def _fields(settings: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ("optimizer", "learning_rate", "momentum", "beta_2", "tau")}


def _local(settings: RunConfig) -> Local:
    client = settings.client
    return Local(
        learning_rate=client.learning_rate,
        decay=client.learning_rate_decay,
        optimizer=client.optimizer,
        momentum=client.momentum,
        epochs=client.epochs,
        steps=client.steps or 0,
        batch=0 if client.batch_size == "full" else client.batch_size,
        pull=float(settings.algorithm.args.get("mu", 0.0)),
    )


def _reading(settings: RunConfig) -> Reading:
    """Returns how a user's own table is written; other data have no file, and hospitals write a plain CSV."""
    if settings.data.name != "table":
        return _NO_WORDS
    args = settings.data.args
    return Reading(args.get("separator", ","), args.get("decimal", "."), tuple(args.get("missing") or ()))


def _label(settings: RunConfig, dataset: Dataset, *, standardised: bool) -> Label:
    if settings.data.name == "table":
        args = settings.data.args
        classes = dataset.class_names if dataset.classes else ()
        return Label(args["label"], classes, standardised, bool(args.get("drop_missing_label", False)))
    names = {feature.name for feature in dataset.features}
    name = next(name for name in ("label", "outcome", "fedmed_label") if name not in names)
    return Label(name, tuple(str(code) for code in range(dataset.classes)), standardised)


def _columns(settings: RunConfig, clients: Clients, raw: Sequence[Feature]) -> tuple[Column, ...]:
    if clients.preprocessing is None:
        raise errors.ConfigError("data: no table")
    shared: Recipe = clients.preprocessing.shared
    return tuple(
        Column(
            name=feature.name,
            levels=feature.levels,
            kept=scaled.kept,
            missing=scaled.missing,
            changes=tuple(
                _change(change, before) for change in settings.data.harmonise if change.column == feature.name
            ),
        )
        for feature, before, scaled in zip(clients.dataset.features, raw, shared.columns, strict=True)
    )


def _change(change: Harmonise, feature: Feature) -> Change:
    """Returns an entry of `data.harmonise` in the column's own kind: words for a category, else numbers."""
    missing, old, new = list(change.missing), list(change.recode), list(change.recode.values())
    kind = _as_words if feature.is_category else _as_numbers
    return Change(
        sites=change.sites,
        missing=kind(missing),
        old=kind(old),
        new=kind(new),
        times=change.times,
        plus=change.plus,
        above=-np.inf if change.above is None else change.above,
        below=np.inf if change.below is None else change.below,
    )


def _as_words(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(plain(value) for value in values)


def _as_numbers(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(map(float, parsed(np.array([plain(value) for value in values], dtype=object))))


def held_rows(made: Exported, site: str) -> Mapping[str, Array]:
    """Returns a client's row numbers in the raw data, {"train": ..., "test": ...}."""
    own = made.clients.rows[site]
    return {"train": own.train, "test": own.test}
