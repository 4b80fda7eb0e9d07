"""`fedmed run CONFIG`: one run, from a config to a run directory and a table for each hospital."""

import contextlib
import functools
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from fedmed.commands.command import Command, UsageError, define_set
from fedmed.settings import config
from fedmed.system import interruption, quiet


def _define(values: flags.FlagValues) -> None:
    define_set(values)
    flags.DEFINE_string("out", None, "The run directory; default runs/NAME, by the config's name.", flag_values=values)
    flags.DEFINE_boolean("resume", False, "Go on with the run that the directory holds.", flag_values=values)
    flags.DEFINE_boolean("overwrite", False, "Replace the run that the directory holds.", flag_values=values)
    flags.DEFINE_boolean("quiet", False, "Print nothing but errors.", flag_values=values)


_NOTHING_LEARNED = 1


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    if values.resume and values.overwrite:
        raise UsageError("run: --resume goes on with the run that --overwrite would remove; give one of them")
    quiet.silence()
    settings = config.load(arguments[0], values.set)
    out = pathlib.Path(values.out) if values.out else pathlib.Path("runs") / settings.name
    with interruption.watched() as asked:
        try:
            summary = _run(settings, out, values, asked)
        except BaseException:  # a stop in the middle of an import can come out as any error
            if asked.status is None:
                raise
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(_how_to_go_on(arguments[0], out, values), file=sys.stderr)
            return asked.status
    if not values.quiet:
        from fedmed.reporting import tables

        print("\n".join(tables.final_table(summary)))
        print(f"Results: {out}")
    if summary["nothing_learned"]:
        print(f"fedmed: {summary['warnings'][0]}", file=sys.stderr)
        return _NOTHING_LEARNED
    return 0


def _run(
    settings: config.RunConfig, out: pathlib.Path, values: flags.FlagValues, asked: interruption.Interruption
) -> dict[str, Any]:
    from fedmed.reporting import first_lines
    from fedmed.reporting.progress import Progress
    from fedmed.runs import experiment

    observers = [Progress(settings.stop.metric, quiet=values.quiet), asked]
    tell = functools.partial(first_lines.tell, settings.runtime, quiet=values.quiet)
    return experiment.run(
        settings, out, resume=values.resume, overwrite=values.overwrite, observers=observers, tell=tell
    )


def _how_to_go_on(path: str, out: pathlib.Path, values: flags.FlagValues) -> str:
    """Returns the command that resumes a stopped run, if there is something to resume."""
    if not (out / "config.toml").is_file():
        return "stopped; there is nothing to go on with yet"
    words = ["fedmed", "run", path]
    for override in values.set:
        words += ["--set", override]
    words += ["--out", values.out] if values.out else []
    words += ["--quiet"] if values.quiet else []
    return f"stopped; go on with: {shlex.join([*words, '--resume'])}"


COMMAND = Command("run", "CONFIG", "Train across the clients and leave a run directory.", _define, _execute)
