"""fedmed: what would a federation of these hospitals achieve, for each of them, and at what price?

    import fedmed

    result = fedmed.run("configs/diabetes_three_hospitals.toml", out="runs/mine", overrides=["rounds=10"])
    print(result)  # a line for each hospital; in a notebook, `result` alone also shows the learning curves
    result["final"]["pooled"]

    print(fedmed.study("configs/diabetes_three_hospitals.toml"))  # the verdict for each hospital

The names below are the public ones. They are imported when first used, so that `import fedmed` is quick.
"""

import functools
import importlib
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedmed.settings.config import RunConfig
from fedmed.system.errors import ConfigError, DataError, ModelError, UserError

if TYPE_CHECKING:
    from fedmed.engine.iterative import IterativeFederation
    from fedmed.reporting.display import RunResult, StudyResult, TuningResult

# Python binds a package to its name in the package above when it is first imported. Were that to happen later, the
# package `fedmed.study` would take the place of the function `study` below. What is in it is reached by
# `from fedmed.study import ...` as ever.
importlib.import_module("fedmed.study")

_LAZY = {
    "Dataset": "fedmed.data.examples",
    "Examples": "fedmed.data.examples",
    "Feature": "fedmed.data.examples",
    "Partition": "fedmed.data.examples",
    "RunResult": "fedmed.reporting.display",
    "Spec": "fedmed.models",
    "StudyResult": "fedmed.reporting.display",
    "TuningResult": "fedmed.reporting.display",
    "aggregators": "fedmed.learning.aggregators",
    "algorithms": "fedmed.learning.algorithms",
    "datasets": "fedmed.data.registries",
    "from_client_data": "fedmed.data.client_data",
    "load_config": "fedmed.settings.config",
    "models": "fedmed.models",
    "partitions": "fedmed.data.registries",
    "prepare": "fedmed.data.clients",
    "scenarios": "fedmed.engine.scenarios",
}

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "ConfigError", "DataError", "ModelError", "RunConfig", "UserError", "iterative_process", "run", "study", "tune",
    *_LAZY,
]  # fmt: skip


def run(
    config: RunConfig | Mapping[str, Any] | str | pathlib.Path,
    out: str | pathlib.Path | None = None,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> "RunResult":
    """Runs an experiment and returns its summary, what `summary.json` holds, as a mapping that shows itself.

    Progress is shown on a terminal and in a notebook, never on standard output.

    Args:
        config: settings, the same as plain tables (then with a "name"), or the path of a TOML file.
        out: the run directory; default runs/NAME.
        overrides: "key.path=value", applied to the file's settings in order; only with a path.
        resume: go on with the run in the directory.
        overwrite: replace the run in the directory.
        quiet: show no progress.

    Raises:
        UserError: a setting, the data or the model cannot be used; one line says where and what is allowed.
    """
    from fedmed.reporting import first_lines
    from fedmed.reporting.display import RunResult
    from fedmed.reporting.progress import Progress
    from fedmed.runs import experiment

    settings = _settings(config, overrides)
    folder = pathlib.Path("runs", settings.name) if out is None else pathlib.Path(out)
    observers = [Progress(settings.stop.metric, quiet=quiet)]
    tell = functools.partial(first_lines.tell, settings.runtime, quiet=quiet)
    summary = experiment.run(settings, folder, resume=resume, overwrite=overwrite, observers=observers, tell=tell)
    return RunResult(summary, folder)


def study(
    config: RunConfig | Mapping[str, Any] | str | pathlib.Path,
    out: str | pathlib.Path | None = None,
    *,
    overrides: Sequence[str] = (),
    quiet: bool = False,
) -> "StudyResult":
    """Runs a study, or goes on with it, writes its page, and returns what `study.json` holds, showing itself.

    Models are trained by several processes at a time. What is registered in the program itself, in a notebook's cell,
    say, those do not know; then all are trained in this process, one after another. A plugin is faster.

    Args:
        config: settings, the same as plain tables (then with a "name"), or the path of a TOML file.
        out: the study's directory; default studies/NAME. Models that it holds already are not trained again.
        overrides: "key.path=value", applied to the file's settings in order; only with a path.
        quiet: show no progress.

    Raises:
        UserError: a setting, the data or the model cannot be used; one line says where and what is allowed.
    """
    from fedmed.reporting.display import StudyResult
    from fedmed.reporting.page import write_study
    from fedmed.study import conduct, reach

    settings = _settings(config, overrides)
    folder = pathlib.Path("studies", settings.name) if out is None else pathlib.Path(out)
    here = reach.is_only_here(settings)
    command = "" if here else _command(config, overrides)
    found = conduct.run(settings, folder, command=command, quiet=quiet, here=here)
    write_study(found, folder)
    return StudyResult(found, folder)


def tune(
    config: RunConfig | Mapping[str, Any] | str | pathlib.Path,
    out: str | pathlib.Path | None = None,
    *,
    overrides: Sequence[str] = (),
    grid: Mapping[str, Sequence[Any]] | None = None,
    seeds: int = 2,
    quiet: bool = False,
) -> "TuningResult":
    """Chooses the clients' learning rate on validation patients, or goes on with it; see README.

    Args:
        config: settings, the same as plain tables (then with a "name"), or the path of a TOML file.
        out: the directory; default tuning/NAME. What it holds already is not trained again.
        overrides: "key.path=value", applied to the file's settings in order; only with a path.
        grid: other settings by dotted keys to the values to be tried, e.g. {"client.epochs": [1, 5]}.
        seeds: how many, each with other validation patients among the training patients.
        quiet: show no progress.

    Returns:
        What `tuning.json` holds, showing itself; its `settings` are the config with what was chosen.

    Raises:
        UserError: a setting, the data or the model cannot be used; one line says where and what is allowed.
    """
    from fedmed.reporting.display import TuningResult
    from fedmed.study import reach
    from fedmed.study.tuning import tuner

    settings = _settings(config, overrides)
    folder = pathlib.Path("tuning", settings.name) if out is None else pathlib.Path(out)
    here = reach.is_only_here(settings)
    found = tuner.run(settings, folder, grid=grid, seeds=seeds, quiet=quiet, here=here)
    return TuningResult(found, folder)


def iterative_process(
    config: RunConfig | Mapping[str, Any] | str | pathlib.Path, *, overrides: Sequence[str] = ()
) -> "IterativeFederation":
    """Returns a config's TFF iterative process with its clients' work and context, for a loop of your own.

    It is a context manager; docs/tff.md shows the loop.

    Args:
        config: settings, the same as plain tables (then with a "name"), or the path of a TOML file.
        overrides: "key.path=value", applied to the file's settings in order; only with a path.

    Raises:
        UserError: a setting, the data or the model cannot be used; one line says where and what is allowed.
    """
    settings = _settings(config, overrides)
    from fedmed.engine.iterative import IterativeFederation

    return IterativeFederation(settings)


def _command(config: RunConfig | Mapping[str, Any] | str | pathlib.Path, overrides: Sequence[str]) -> str:
    """Returns the command that does the same study, "" where the settings are in no file."""
    if not isinstance(config, str | pathlib.Path):
        return ""
    return shlex.join(["fedmed", "study", str(config), *(word for text in overrides for word in ("--set", text))])


def _settings(config: RunConfig | Mapping[str, Any] | str | pathlib.Path, overrides: Sequence[str]) -> RunConfig:
    """Returns the settings that a caller gave in one of three ways; libraries are quiet from then on."""
    from fedmed.settings.config import load, parse
    from fedmed.system.quiet import silence

    silence()
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: expected a list of texts, such as ['rounds=10'], got {overrides!r}")
    if isinstance(config, str | pathlib.Path):
        return load(config, overrides)
    if overrides:
        raise ConfigError("overrides: they go with the path of a config; change the given settings instead")
    return config if isinstance(config, RunConfig) else parse(config)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fedmed' has no attribute {name!r}")
    importlib.import_module("fedmed.data")  # fills the registries
    module = importlib.import_module(_LAZY[name])
    return module.load if name == "load_config" else getattr(module, name)
