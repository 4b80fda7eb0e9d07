"""What to run: typed, frozen settings read from TOML, overridden by `key.path=value`, checked once at the edge."""

import copy
import dataclasses
import math
import pathlib
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fedmed.settings import clock as clocks
from fedmed.settings import harmonise as harmonising
from fedmed.settings import machines, mishaps, registry, toml_file
from fedmed.settings import privacy as promises
from fedmed.settings import study as studies
from fedmed.settings.machines import Runtime
from fedmed.settings.overrides import apply_overrides, set_value
from fedmed.settings.ranges import check_range, setting
from fedmed.settings.sending import UNCOMPRESSED, Compression
from fedmed.system import errors


@dataclasses.dataclass(frozen=True)
class Data:
    """Which data set, and how its rows are made ready.

    `test_fraction` of each client's patients are test rows, unless the data set keeps its own test set; not given, it
    is the published split's, or a quarter. `preprocessing` applies to tables: "federated" scales by sums pooled over
    the clients, "by_site" lets each client scale by its own, "none" leaves numbers as they are. Before that `harmonise`
    makes the sites' columns mean the same. `standardise_label` has an amount (regression) learned at mean 0 and SD 1 by
    sums over the clients; scores and predictions are in its units.
    """

    name: str
    args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    test_fraction: float | None = setting(None, least=0.0, most=0.95)
    preprocessing: Literal["federated", "by_site", "none"] = "federated"
    harmonise: tuple[harmonising.Harmonise, ...] = ()
    standardise_label: bool = True


@dataclasses.dataclass(frozen=True)
class Partition:
    """Who holds which rows: a registered partition and its arguments."""

    name: str = "by_site"
    args: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Model:
    """A registered model, or a dotted path to a function that returns one; task "auto" is the data set's."""

    name: str
    args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    task: Literal["auto", "binary", "multiclass", "regression", "count"] = "auto"


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """A registered algorithm ("fedavg", "fedprox", "scaffold", ...) and its arguments."""

    name: str = "fedavg"
    args: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Client:
    """What a client does with the received weights: `epochs` over its rows, or exactly `steps` batches when given."""

    learning_rate: float = setting(above=0.0)
    optimizer: Literal["sgd", "momentum", "adam"] = "sgd"
    learning_rate_decay: float = setting(1.0, above=0.0, most=1.0)
    momentum: float = setting(0.9, least=0.0, most=0.9999)
    epochs: int = setting(1, least=1)
    steps: int | None = setting(None, least=1)
    batch_size: int | Literal["full"] = setting(32, least=1)

    def passes(self, epochs: int | None) -> "Client":
        """Returns the settings of a training of so many epochs; these where None is asked for."""
        return self if epochs is None else dataclasses.replace(self, epochs=epochs, steps=None)


@dataclasses.dataclass(frozen=True)
class Server:
    """What the server does with the mean update (Reddi et al. 2021); "average" at rate 1 is plain FedAvg."""

    optimizer: Literal["average", "momentum", "adam", "yogi", "adagrad"] = "average"
    learning_rate: float = setting(1.0, above=0.0)
    momentum: float = setting(0.9, least=0.0, most=0.9999)
    beta_2: float = setting(0.99, least=0.0, most=0.99999)
    tau: float = setting(1e-3, above=0.0)


@dataclasses.dataclass(frozen=True)
class Aggregation:
    """How updates become one: a registered rule ("mean", "median", ...) and its arguments.

    `weighting` says what a client's share is: the "examples" it holds, or 1 ("uniform"); some rules count clients alike
    all the same. Updates can be clipped by L2 norm before.
    `secure` has clipped updates summed under masks, in whole numbers modulo 2^`secure_bits` (Bonawitz et al. 2017): the
    server learns their mean, and of each client that it took part, its rows, and whether its update could be used.
    """

    rule: str = "mean"
    args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weighting: Literal["examples", "uniform"] = "examples"
    clip_norm: float | None = setting(None, above=0.0)
    secure: bool = False
    secure_bits: int = setting(32, least=8, most=32)


@dataclasses.dataclass(frozen=True)
class Cohort:
    """How many clients take part in a round: a number, or a fraction of all (rounded, at least one); default all."""

    size: int | None = setting(None, least=1)
    fraction: float | None = setting(None, above=0.0, most=1.0)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Every how many rounds the global model is evaluated (always before the first round and after the last)."""

    every: int = setting(1, least=1)
    batch_size: int = setting(1000, least=1)


@dataclasses.dataclass(frozen=True)
class Stop:
    """When to stop before the last round: `metric` reaches `target`, or has not improved for `patience` evaluations.

    `metric` also decides which round is the best one; default: AUROC (binary), accuracy (multiclass),
    squared error (regression), deviance (count).
    """

    metric: str | None = None
    target: float | None = None
    patience: int | None = setting(None, least=1)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Every how many rounds the state is saved; a resumed run repeats the rounds since the last one."""

    every: int = setting(10, least=1)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything a run needs; the same file, seed and versions give the same weights."""

    name: str
    data: Data
    model: Model
    client: Client
    rounds: int = setting(least=1, most=1_000_000)
    seed: int = setting(0, least=0)
    plugins: tuple[str, ...] = ()
    partition: Partition = Partition()
    algorithm: Algorithm = Algorithm()
    server: Server = Server()
    aggregation: Aggregation = Aggregation()
    compression: Compression = UNCOMPRESSED
    privacy: promises.Privacy = promises.NONE
    cohort: Cohort = Cohort()
    scenario: tuple[mishaps.Mishap, ...] = ()
    clock: clocks.Clock = clocks.DEFAULT
    evaluation: Evaluation = Evaluation()
    stop: Stop = Stop()
    checkpoint: Checkpoint = Checkpoint()
    runtime: Runtime = machines.DEFAULT
    study: studies.Study = studies.DEFAULT
    arms: tuple[studies.Arm, ...] = ()


def load(path: str | pathlib.Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a TOML file and applies overrides ("client.learning_rate=0.1") in order.

    A relative `data.args.path` is taken from the file's folder, so that a config can be run from anywhere; one given
    as an override is taken from the current folder.

    Raises:
        ConfigError: the file is missing or is not TOML, or a setting is unknown, of the wrong type or out of range.
    """
    file = pathlib.Path(path)
    tree = toml_file.read(file)
    _anchor_data_path(tree, file.parent)
    apply_overrides(tree, overrides)
    _anchor_data_path(tree, pathlib.Path.cwd())
    tree.setdefault("name", file.stem)
    return parse(tree)


def _anchor_data_path(tree: dict[str, Any], folder: pathlib.Path) -> None:
    args = tree["data"].get("args") if isinstance(tree.get("data"), dict) else None
    if isinstance(args, dict) and isinstance(args.get("path"), str):
        args["path"] = str((folder / pathlib.Path(args["path"]).expanduser()).resolve())


def parse(tree: Mapping[str, Any]) -> RunConfig:
    """Builds the settings from plain tables; ConfigError names the setting, what was got and what is allowed."""
    config = _section(RunConfig, tree, "")
    if (name := config.name).strip() in ("", ".", "..") or not name.isprintable() or {"/", "\\"} & set(name):
        raise errors.ConfigError(
            f"name: expected one line, not '', '.' or '..', without '/' and '\\', got {errors.shown(name)}"
        )
    if config.cohort.size is not None and config.cohort.fraction is not None:
        raise errors.ConfigError("cohort: give size or fraction, not both")
    harmonising.check(config.data.harmonise)
    promises.check(config.privacy)
    mishaps.check(config.scenario)
    clocks.check(config.clock)
    machines.check(config.runtime)
    studies.check(config.study, config.arms)
    for arm in config.arms:
        variant(config, arm)
    return config


def variant(config: RunConfig, arm: studies.Arm) -> RunConfig:
    """Returns the settings of one of a study's arms; ConfigError, with the arm's name, where it changes what is not."""
    with errors.within(f"arms, {arm.name!r}: "):
        return changed(config, arm.set)


def changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Returns the settings, without study and arms, with dotted keys set, or unset by None; raises as `parse`."""
    tree = copy.deepcopy({key: value for key, value in to_tree(config).items() if key not in ("study", "arms")})
    for path, value in changes.items():
        set_value(tree, path, value, "set")
    return parse(tree)


def _section(kind: type, tree: Mapping[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    dot = f"{where}." if where else ""
    for key in tree:
        if key not in fields:
            raise errors.ConfigError(errors.unknown(f"{dot}{key}", "setting", key, fields))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in tree:
            raise errors.ConfigError(f"{dot}{name}: required, but not given")
    return kind(**{key: _value(fields[key], hints[key], value, f"{dot}{key}") for key, value in tree.items()})


def _value(field: dataclasses.Field, hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise errors.ConfigError(f"{where}: expected a table, got {errors.shown(value)}")
        return _section(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is tuple and dataclasses.is_dataclass(kind := typing.get_args(hint)[0]):
        return _sections(typing.cast(type, kind), value, where)
    value = registry.converted(value, hint, where)
    for place, number in _parts(value, where):
        if isinstance(number, float) and not math.isfinite(number):
            raise errors.ConfigError(f"{place}: expected a finite number, got {number!r}")
        if isinstance(number, int | float) and not isinstance(number, bool):
            check_range(field.metadata, number, place)
    return value


def _parts(value: Any, where: str) -> list[tuple[str, Any]]:
    """Returns the values of a table or a list, each with where it is, or the one that it is."""
    if isinstance(value, Mapping):
        return [(f"{where}.{key}", part) for key, part in value.items()]
    return [(where, part) for part in (value if isinstance(value, tuple) else (value,))]


def _sections(kind: type, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(table, Mapping) for table in value):
        raise errors.ConfigError(f"{where}: expected tables, [[{where}]], got {errors.shown(value)}")
    return tuple(_section(kind, table, f"{where}[{number}]") for number, table in enumerate(value))


def to_tree(config: Any) -> dict[str, Any]:
    """Returns the settings as plain tables, without the ones that are not set (TOML has no null)."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def dumps(config: Any) -> str:
    """Returns the settings as TOML that `load` reads back to the same value."""
    import tomli_w

    return tomli_w.dumps(to_tree(config))
