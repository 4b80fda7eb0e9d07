"""`fedmed data NAME|CONFIG`: a data set's datasheet, its facts, and who holds what under a partition."""

import dataclasses
import os
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from fedmed.commands.command import Command, UsageError, define_set
from fedmed.data import clients, datasheet, faults, overview, registries
from fedmed.data.examples import Array, Dataset
from fedmed.reporting import fault_lines
from fedmed.settings import config, registry
from fedmed.settings.overrides import apply_overrides
from fedmed.system import errors

_WIDTH = 120
_OWN = {".csv": "table", ".parquet": "table", ".npz": "arrays"}


def _define(values: flags.FlagValues) -> None:
    define_set(values)
    flags.DEFINE_string("picture", None, "Draw who holds what to this file, .png or .svg.", flag_values=values)


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    given = arguments[0]
    picture = _picture(values.picture) if values.picture else None
    if (kind := _OWN.get(pathlib.Path(given).suffix)) is not None:
        raise UsageError(f"data: for a file of your own: fedmed data {kind} --set data.args.path={given}")
    is_config = given.endswith(".toml") or pathlib.Path(given).is_file()
    settings = config.load(given, values.set) if is_config else _settings_of(given, values.set)
    if settings.data.name in datasheet.datasheets():
        print(datasheet.datasheet(settings.data.name))
    if not is_config and (missing := _missing(settings)):
        print(f"To see your data: fedmed data {given} {' '.join(f'--set data.args.{name}=...' for name in missing)}")
        return 0
    try:
        dataset, held = _dealt(settings, is_config or _names_partition(values.set))
    except errors.DataError as error:
        if is_config or values.set or given not in datasheet.datasheets():
            raise
        print(f"Not at hand: {error}")  # the datasheet was what was asked for
        return 0
    _show(dataset, held, picture)
    return 0


def _picture(name: str) -> pathlib.Path:
    """Returns the path of the picture to be drawn; UsageError, before anything is read, where it cannot be."""
    path = pathlib.Path(name)
    if path.suffix not in (".png", ".svg"):
        raise UsageError(f"--picture: {name!r} must end in .png or .svg")
    if not os.path.isdir(path.parent):
        raise UsageError(f"--picture: {name!r} cannot be written: there is no folder {str(path.parent)!r}")
    if os.path.isdir(path) or not os.access(path.parent, os.W_OK):
        raise UsageError(f"--picture: {name!r} cannot be written; choose another file")
    return path


def _settings_of(name: str, overrides: Sequence[str]) -> config.RunConfig:
    """Returns settings for a data set given by name; nothing of model and client is used."""
    if name not in registries.datasets:
        raise errors.ConfigError(f"data: {name!r} is neither a data set nor a config{_nearest(name)}")
    tree: dict[str, Any] = {"name": name, "data": {"name": name}, "rounds": 1}
    apply_overrides(tree, overrides)
    tree["data"].setdefault("args", {})
    if "download" in registry.settable(registries.datasets.get(name)):
        tree["data"]["args"].setdefault("download", False)  # looking at a datasheet is no reason to fetch the data
    return config.parse({"model": {"name": "none"}, "client": {"learning_rate": 1.0}} | tree)


def _nearest(name: str) -> str:
    """Returns what may have been meant: a config without its ending, or a data set whose name is near or begins so."""
    for folder in (".", "configs"):
        if (path := pathlib.Path(folder, f"{name}.toml")).is_file():
            return f" (did you mean {str(path)!r}?)"
    known = registries.datasets.names()
    longer = [other for other in known if name and other.startswith(name)]
    listed = f" (did you mean {' or '.join(map(repr, longer))}?)" if longer else f"; data sets: {', '.join(known)}"
    return errors.nearest(name, known) or listed


def _missing(settings: config.RunConfig) -> list[str]:
    """Returns the required arguments of the data set that are not given, if none at all is given."""
    parameters = registry.settable(registries.datasets.get(settings.data.name, "data.name"))
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    return [] if any(name in settings.data.args for name in required) else required


def _names_partition(overrides: Sequence[str]) -> bool:
    return any(override.startswith("partition.") for override in overrides)


def _dealt(settings: config.RunConfig, partition_given: bool) -> tuple[Dataset, Mapping[str, Array] | None]:
    """Returns the data set and who holds which rows, None where nothing says how rows without sites are dealt out."""
    if partition_given:
        return clients.deal(settings)
    dataset = clients.load(settings)
    if dataset.examples.site is None:
        return dataset, None
    by_site = dataclasses.replace(settings, partition=config.Partition("by_site"))
    return clients.deal(by_site)


def _show(dataset: Dataset, held: Mapping[str, Array] | None, picture: pathlib.Path | None) -> None:
    print("\n".join(["Facts", "", *facts(dataset), ""]))
    if dataset.notes:
        print("\n".join([*(f"note: {text}" for text in dataset.notes), ""]))
    if found := faults.found(dataset):
        print("\n".join(["What is probably not what it seems", "", *fault_lines.all_lines(found), ""]))
    if held is None:
        print(
            f"Who holds what: --set partition.name=iid --set partition.args.clients=10 shows {dataset.name} dealt out."
        )
        if picture is not None:
            raise UsageError("--picture: needs a partition: --set partition.name=... or a config")
        return
    print("\n".join(["Rows and labels of each client", "", *overview.label_table(held, dataset)]))
    if picture is not None:
        try:
            overview.label_picture(held, dataset, picture)
        except OSError as error:
            raise UsageError(f"--picture: {str(picture)!r} cannot be written: {error.strerror}") from None
        print(f"\nPicture: {picture}")


def facts(dataset: Dataset) -> list[str]:
    """Returns lines of text: rows, label, inputs, sites, patients, test rows, checksums."""
    examples, left_out = dataset.examples, dataset.rows_left_out
    inputs = examples.x if isinstance(examples.x, Mapping) else {"x": examples.x}
    shown = {
        "rows": f"{len(examples):,}" + (f", {left_out:,} more left out: no label" if left_out else ""),
        "task": dataset.task,
        "label": _label(dataset),
        **{f"input {name}": f"{x.dtype} {list(x.shape[1:])}" for name, x in inputs.items()},
        "columns": ", ".join(_column(dataset, place) for place in range(len(dataset.features))),
        "sites": "" if examples.site is None else str(len(np.unique(examples.site))),
        "patients": "" if examples.group is None else f"{len(np.unique(examples.group)):,}",
        "test rows": "" if dataset.test is None else f"{len(dataset.test):,}, shared by all clients",
        "hidden truth": ", ".join(dataset.truth),
        **{f"sha256 {name}": digest[:16] for name, digest in dataset.checksums().items()},
    }
    width = max(map(len, shown))
    return [
        textwrap.fill(
            f"  {name.ljust(width)}  {text}", _WIDTH, subsequent_indent=" " * (width + 4), break_on_hyphens=False
        )
        for name, text in shown.items()
        if text
    ]


def _label(dataset: Dataset) -> str:
    y = dataset.examples.y
    if not dataset.classes:
        return f"{y.min():.4g} to {y.max():.4g}, mean {y.mean():.4g}"
    names = dataset.class_names or tuple(str(code) for code in range(dataset.classes))
    shares = np.bincount(y, minlength=dataset.classes) / len(y)
    return ", ".join(f"{name} {share:.1%}" for name, share in zip(names, shares, strict=True))


def _column(dataset: Dataset, place: int) -> str:
    feature, x = dataset.features[place], dataset.examples.x
    absent = float(np.isnan(np.asarray(x)[:, place]).mean())
    details = [f"{len(feature.levels)} levels" if feature.is_category else feature.unit]
    details += [f"{absent:.1%} missing"] if absent else []
    told = ", ".join(detail for detail in details if detail)
    return f"{feature.name} ({told})" if told else feature.name


COMMAND = Command("data", "NAME|CONFIG", "A data set's datasheet and facts, and who holds what.", _define, _execute)
