"""Exports as folders: templates copied as they are, settings and weights as data, and a README to follow."""

import base64
import contextlib
import functools
import json
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from fedmed.export.exported import Exported
from fedmed.export.fedmed_job import job as jobs
from fedmed.export.fedmed_job.job import Column
from fedmed.settings import config
from fedmed.settings.config import RunConfig
from fedmed.system import errors

if TYPE_CHECKING:
    from jinja2 import Environment

Kind: TypeAlias = Literal["flare", "flower"]

PACKAGES: Mapping[Kind, str] = {"flare": "job/app/custom/fedmed_job", "flower": "app/fedmed_job"}
"""Where the code that runs at hospitals and server is, in an export of each kind."""

RUN = ("job", "app")
"""The folders of which frameworks run all that is in them."""

_TEMPLATES = pathlib.Path(__file__).parent
_LARGEST_APP = 9_000_000  # Flower takes apps of up to 10 MB
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_LINE = 100


@contextlib.contextmanager
def made_whole(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty folder that becomes `out` when all has gone well, and is removed otherwise.

    Raises:
        UserError: `out` is there already, or cannot be made.
    """
    if out.exists():
        raise errors.UserError(f"{errors.OUT}: {str(out)!r} is there already; give another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise errors.UserError(f"{errors.OUT}: {str(out)!r} cannot be written: {error.strerror}") from None
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write(kind: Kind, settings: RunConfig, made: Exported, folder: pathlib.Path) -> None:
    """Fills an empty folder with a job.

    Raises:
        UserError: a hospital's name or the model's size is none that the framework takes.
    """
    _check_names(made)
    package = folder / PACKAGES[kind]
    _copy_package(kind, package)
    (package / jobs.SETTINGS).write_text(_settings(made), encoding="utf-8")
    (package / jobs.WEIGHTS).write_text(_weights(made), encoding="utf-8")
    (folder / "config.toml").write_text(config.dumps(settings), encoding="utf-8")
    (folder / "site.example.json").write_text(_SITE_FILE, encoding="utf-8")
    for who in ("server", "hospital"):
        shutil.copyfile(_TEMPLATES / kind / f"requirements_{who}.txt", folder / f"requirements_{who}.txt")
    if kind == "flare":
        _render("flare/project.yml", folder / "project.yml", _facts(kind, made))
        _flare_job(made, folder / "job")
    else:
        _check_size(package)
        shutil.copyfile(_TEMPLATES / "flower/pyproject.toml", folder / "app/pyproject.toml")
        shutil.copyfile(_TEMPLATES / "flower/certificates.sh", folder / "certificates.sh")
    _render(f"{kind}/README.md.j2", folder / "README.md", _facts(kind, made))


_SITE_FILE = json.dumps({"train_csv": "<TRAIN_CSV>", "test_csv": "<TEST_CSV>"}, indent=1) + "\n"


def _copy_package(kind: Kind, package: pathlib.Path) -> None:
    package.mkdir(parents=True)
    others = tuple(f"{other}_" for other in PACKAGES if other != kind)
    for file in sorted((_TEMPLATES / "fedmed_job").glob("*.py")):
        if not file.name.startswith(others):
            shutil.copyfile(file, package / file.name)


def _settings(made: Exported) -> str:
    import tomli_w

    return tomli_w.dumps(config.to_tree(made.job))


def _weights(made: Exported) -> str:
    text = base64.b64encode(jobs.packed(made.weights)).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "# The weights that training begins with: an .npz file in base64.\nnpz = '''\n" + "\n".join(lines) + "'''\n"


def _flare_job(made: Exported, folder: pathlib.Path) -> None:
    """Writes FLARE's own description of the job: which class is its controller, and which its executor."""
    names = {"format_version": 2, "components": [], "task_data_filters": [], "task_result_filters": []}
    controller = {"id": "rounds", "path": "fedmed_job.flare_controller.FedmedController", "args": {}}
    executor = {"path": "fedmed_job.flare_executor.SiteExecutor", "args": {}}
    tasks = {"tasks": ["sums", "train", "score"], "executor": executor}
    sites = list(made.job.sites)
    meta: dict[str, Any] = {
        "name": "fedmed_job",
        "resource_spec": {},
        "min_clients": len(sites),
        "mandatory_clients": sites,
        "deploy_map": {"app": ["@ALL"]},
    }
    trees = {
        "meta.json": meta,
        "app/config/config_fed_server.json": {**names, "workflows": [controller]},
        "app/config/config_fed_client.json": {**names, "executors": [tasks]},
    }
    for name, tree in trees.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")


def _check_names(made: Exported) -> None:
    for site in made.job.sites:
        if not _NAME.fullmatch(site):
            raise errors.ConfigError(
                f"data: the hospital {site!r} cannot be exported by that name; what can: letters, digits, - and _"
            )


def _check_size(package: pathlib.Path) -> None:
    size = sum(file.stat().st_size for file in package.iterdir())
    if size > _LARGEST_APP:
        raise errors.ModelError(
            f"model: with its weights the app has {size / 1e6:.0f} MB, and a Flower app may have 10; export to flare"
        )


def _facts(kind: Kind, made: Exported) -> dict[str, Any]:
    job = made.job
    columns = [
        {"name": column.name.replace("|", r"\|"), "holds": _held(column, feature.unit), "changes": _changes(column)}
        for column, feature in zip(job.columns, made.clients.dataset.features, strict=True)
    ]
    return {
        "name": job.name,
        "sites": job.sites,
        "columns": columns,
        "label": job.label,
        "reading": job.reading,
        "rounds": job.rounds,
        "minimum": job.minimum,
        "scales": job.preprocessing != "none",
        "made_by": job.made_by,
        "package": PACKAGES[kind],
    }


def _held(column: Column, unit: str) -> str:
    if column.levels:
        return ", ".join(f"`{level}`" for level in column.levels).replace("|", r"\|")
    return f"numbers ({unit})" if unit else "numbers"


def _changes(column: Column) -> str:
    """Says in words what the job does to a column when it reads a hospital's file."""
    told = []
    for change in column.changes:
        what = [f"`{value}` means missing" for value in change.missing]
        what += [f"`{old}` is read as `{new}`" for old, new in zip(change.old, change.new, strict=True)]
        what += [f"times {change.times:g}"] if change.times != 1 else []
        what += [f"plus {change.plus:g}"] if change.plus else []
        what += [f"if above {change.above:g}"] if np.isfinite(change.above) else []
        what += [f"if below {change.below:g}"] if np.isfinite(change.below) else []
        told.append(f"{', '.join(change.sites) or 'all'}: {', '.join(what)}")
    return "; ".join(told).replace("|", r"\|")


def _render(template: str, path: pathlib.Path, facts: Mapping[str, Any]) -> None:
    path.write_text(_environment().get_template(template).render(facts), encoding="utf-8")


@functools.cache
def _environment() -> "Environment":
    import jinja2

    loader = jinja2.FileSystemLoader(_TEMPLATES)
    return jinja2.Environment(
        loader=loader,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
