"""`fedmed tune CONFIG`: the learning rate, chosen on validation patients; leaves a config to run or study with."""

import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from fedmed.commands.command import Command, define_set
from fedmed.settings import config
from fedmed.system import interruption, quiet

_NOTHING_CHOSEN = 1


def _define(values: flags.FlagValues) -> None:
    define_set(values)
    flags.DEFINE_string("out", None, "The directory; default tuning/NAME.", flag_values=values)
    flags.DEFINE_multi_string(
        "grid", [], "KEY=V1,V2 also tries these values of a setting; may be repeated.", flag_values=values
    )
    flags.DEFINE_integer("seeds", 2, "How many seeds, each with other validation patients.", flag_values=values)
    flags.DEFINE_boolean("quiet", False, "Print nothing but errors.", flag_values=values)


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    quiet.silence()
    settings = config.load(arguments[0], values.set)
    out = pathlib.Path(values.out) if values.out else pathlib.Path("tuning") / settings.name
    with interruption.watched() as asked:
        try:
            tuning = _tuned(settings, out, values)
        except BaseException:  # a stop in the middle of an import can come out as any error
            if asked.status is None:
                raise
            with contextlib.suppress(OSError):  # the terminal may be gone
                print("stopped; the same command goes on", file=sys.stderr)
            return asked.status
    return _told(tuning, out, values.quiet)


def _tuned(settings: config.RunConfig, out: pathlib.Path, values: flags.FlagValues) -> dict[str, Any]:
    from fedmed.study.tuning import grid, tuner

    wanted = grid.parsed(values.grid)
    return tuner.run(settings, out, grid=wanted, seeds=values.seeds, quiet=values.quiet)


def _told(tuning: dict[str, Any], out: pathlib.Path, is_quiet: bool) -> int:
    """Prints the table and where the tuned config is; returns the exit status."""
    from fedmed.reporting import trials

    nothing = tuning["chosen"] is None
    if not is_quiet:
        print("\n".join(trials.console(tuning)))
        print(f"Results: {out}" if nothing else f"Config: {out / 'tuned.toml'}")
    if nothing:
        print(f"fedmed: {tuning['warnings'][0]}", file=sys.stderr)
    return _NOTHING_CHOSEN if nothing else 0


COMMAND = Command("tune", "CONFIG", "Choose the learning rate on validation patients.", _define, _execute)
