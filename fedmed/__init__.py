"""fedmed: what would a federation of these hospitals achieve, for each of them, and at what price?

    import fedmed

    summary = fedmed.run("configs/diabetes_three_hospitals.toml", out="runs/mine", overrides=["rounds=10"])

The names below are the public ones. They are imported when first used, so that `import fedmed` is quick.
"""

import importlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.settings.config import RunConfig
from fedmed.system.errors import ConfigError, DataError, ModelError, UserError

_LAZY = {
    "Dataset": "fedmed.data.examples",
    "Examples": "fedmed.data.examples",
    "Feature": "fedmed.data.examples",
    "Partition": "fedmed.data.examples",
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
) -> dict[str, Any]:
    """Runs an experiment and returns its summary, what `summary.json` holds.

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
    from fedmed.reporting.progress import Progress
    from fedmed.runs import experiment
    from fedmed.settings import config as settings
    from fedmed.system.quiet import silence

    silence()
    if isinstance(config, str | pathlib.Path):
        config = settings.load(config, overrides)
    elif overrides:
        raise ConfigError("overrides: they go with the path of a config; change the given settings instead")
    parsed = config if isinstance(config, RunConfig) else settings.parse(config)
    folder = pathlib.Path(out) if out is not None else pathlib.Path("runs") / parsed.name
    observers = [Progress(parsed.stop.metric, quiet=quiet)]
    return experiment.run(parsed, folder, resume=resume, overwrite=overwrite, observers=observers)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fedmed' has no attribute {name!r}")
    importlib.import_module("fedmed.data")  # fills the registries
    module = importlib.import_module(_LAZY[name])
    return module.load if name == "load_config" else getattr(module, name)
