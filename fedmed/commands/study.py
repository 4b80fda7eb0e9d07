"""`fedmed study CONFIG`: is federation worth it, and for whom; the verdict for each hospital, and a page."""

import contextlib
import json
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from fedmed.commands.command import Command, define_set
from fedmed.settings import config
from fedmed.system import interruption, quiet


def _define(values: flags.FlagValues) -> None:
    define_set(values)
    flags.DEFINE_string("out", None, "The study's directory; default studies/NAME.", flag_values=values)
    flags.DEFINE_integer("seeds", None, "How many seeds; default the config's, else 5.", flag_values=values)
    flags.DEFINE_boolean("leave_one_out", False, "Also test at each hospital without it.", flag_values=values)
    flags.DEFINE_boolean("grow", False, "Also: how a small hospital gains as others join.", flag_values=values)
    flags.DEFINE_boolean("leakage", False, "Also attack the models: who can be recognised.", flag_values=values)
    flags.DEFINE_list(
        "compare",
        None,
        "Also compare algorithms, each tuned alike, with the first of them: fedavg,fedprox,scaffold,fedadam,...",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "stress", False, "Also train under what goes wrong, by several rules of aggregation.", flag_values=values
    )
    flags.DEFINE_string(
        "uplink", None, "A hospital's uplink, for the time of sending, e.g. 10Mbit.", flag_values=values
    )
    flags.DEFINE_boolean("quiet", False, "Print nothing but errors.", flag_values=values)


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    quiet.silence()
    settings = config.load(arguments[0], [*values.set, *_overrides(values)])
    out = pathlib.Path(values.out) if values.out else pathlib.Path("studies") / settings.name
    with interruption.watched() as asked:
        try:
            _answer(settings, out, values, _command(arguments[0], values))
        except BaseException:  # a stop in the middle of an import can come out as any error
            if asked.status is None:
                raise
            with contextlib.suppress(OSError):  # the terminal may be gone
                print("stopped; the same command goes on", file=sys.stderr)
            return asked.status
    return 0


def _overrides(values: flags.FlagValues) -> list[str]:
    """Returns the flags as settings, so that the config that is kept says all."""
    found = []
    if values.seeds is not None:
        found.append(f"study.seeds={values.seeds}")
    if values.leave_one_out:
        found.append("study.leave_one_out=true")
    if values.grow:
        found.append("study.grow=true")
    if values.leakage:
        found.append("study.leakage.attack=true")
    if values.stress:
        found.append("study.stress.run=true")
    if values.compare:
        found.append(f"study.compare={json.dumps([name.strip() for name in values.compare])}")
    if values.uplink is not None:
        found.append(f'clock.uplink="{values.uplink}"')
    return found


def _answer(settings: config.RunConfig, out: pathlib.Path, values: flags.FlagValues, command: str) -> None:
    """Runs the study, tells the verdicts and writes the page."""
    from fedmed.reporting.display import verdicts
    from fedmed.study import conduct

    study = conduct.run(settings, out, command=command, quiet=values.quiet)
    if not values.quiet:
        print("\n".join([*verdicts(study), ""]), flush=True)
    page = _page(study, out)
    if not values.quiet:
        print(f"Page: {page}")


def _command(path: str, values: flags.FlagValues) -> str:
    words = ["fedmed", "study", path]
    for override in values.set:
        words += ["--set", override]
    words += ["--seeds", str(values.seeds)] if values.seeds is not None else []
    words += [f"--{name}" for name in ("leave_one_out", "grow", "leakage", "stress") if values[name].value]
    words += [f"--compare={','.join(name.strip() for name in values.compare)}"] if values.compare else []
    return shlex.join([*words, *(["--uplink", values.uplink] if values.uplink else [])])


def _page(study: dict[str, Any], out: pathlib.Path) -> pathlib.Path:
    """Writes the page and returns it; the numbers alone where pages cannot be written."""
    try:
        from fedmed.reporting.page import write_study
    except ImportError:
        return out / "study.json"
    write_study(study, out)
    return out / "report.html"


COMMAND = Command("study", "CONFIG", "Is federation worth it, and for whom? Leaves a page.", _define, _execute)
