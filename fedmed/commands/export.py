"""`fedmed export flare|flower|files CONFIG --out DIR`: from a config to a job that real hospitals run."""

import pathlib
from collections.abc import Sequence

from absl import flags

from fedmed.commands.command import Command, UsageError, define_set
from fedmed.engine import checks
from fedmed.export import exported, job_files, plain_files
from fedmed.settings import config
from fedmed.system import errors, quiet

KINDS = ("flare", "flower", "files")


def _define(values: flags.FlagValues) -> None:
    define_set(values)
    flags.DEFINE_string("out", None, "The folder to be made; it must not be there yet.", flag_values=values)


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    kind, path = arguments
    if kind not in KINDS:
        raise UsageError(errors.unknown("export", "kind", kind, KINDS))
    if not values.out:
        raise UsageError("export: --out is missing; give the folder to be made, such as --out=job")
    quiet.silence()
    settings, out = config.load(path, values.set), pathlib.Path(values.out)
    checks.check_names(settings)
    with job_files.made_whole(out) as folder:
        told = _write(kind, settings, folder)
    print("\n".join([f"Exported: {out}", *told]))
    return 0


def _write(kind: str, settings: config.RunConfig, folder: pathlib.Path) -> list[str]:
    """Fills the folder; returns what is to be said of it."""
    if kind == "files":
        return plain_files.write(settings, folder)
    made = exported.exported(settings)
    job_files.write("flare" if kind == "flare" else "flower", settings, made, folder)
    return ["README.md in it says what to fill in and how to go on."]


COMMAND = Command(
    "export",
    "KIND CONFIG",
    "A job that real hospitals run (KIND flare, flower), or its parts (files).",
    _define,
    _execute,
)
