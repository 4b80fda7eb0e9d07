"""fedmed: what would a federation of these hospitals achieve, for each of them, and at what price?

    import fedmed

    result = fedmed.run("configs/diabetes_three_hospitals.toml", out="runs/mine", overrides=["rounds=10"])
    print(result)  # a line for each hospital; in a notebook, `result` alone also shows the learning curves
    result["final"]["pooled"]

The names below are the public ones. They are imported when first used, so that `import fedmed` is quick.
"""

import importlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedmed.settings.config import RunConfig
from fedmed.system.errors import ConfigError, DataError, ModelError, UserError

if TYPE_CHECKING:
    from fedmed.reporting.display import RunResult

_LAZY = {
    "Dataset": "fedmed.data.examples",
    "Examples": "fedmed.data.examples",
    "Feature": "fedmed.data.examples",
    "Partition": "fedmed.data.examples",
    "RunResult": "fedmed.reporting.display",
    "Spec": "fedmed.models",
    "algorithms": "fedmed.learning.algorithms",
    "datasets": "fedmed.data.registries",
    "load_config": "fedmed.settings.config",
    "models": "fedmed.models",
    "partitions": "fedmed.data.registries",
    "prepare": "fedmed.data.clients",
}

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "ConfigError", "DataError", "ModelError", "RunConfig", "UserError", "run", *_LAZY
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
    from fedmed.reporting.display import RunResult
    from fedmed.reporting.progress import Progress
    from fedmed.runs import experiment
    from fedmed.system.quiet import silence

    silence()
    settings = _settings(config, overrides)
    folder = pathlib.Path(out) if out is not None else pathlib.Path("runs") / settings.name
    observers = [Progress(settings.stop.metric, quiet=quiet)]
    summary = experiment.run(settings, folder, resume=resume, overwrite=overwrite, observers=observers)
    return RunResult(summary, folder)


def _settings(config: RunConfig | Mapping[str, Any] | str | pathlib.Path, overrides: Sequence[str]) -> RunConfig:
    """Returns the settings that a caller gave in one of three ways."""
    from fedmed.settings.config import load, parse

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
