"""`fedmed list [KIND]`: what a config may name, with arguments; TensorFlow is not needed for it."""

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from fedmed.commands.command import Command, UsageError
from fedmed.settings import plugins, registry
from fedmed.system import errors

KINDS = {
    "data": "data sets", "partitions": "partitions", "models": "models", "algorithms": "algorithms",
    "aggregators": "rules of aggregation", "scenarios": "scenarios",
}  # fmt: skip
_SECTIONS = {
    "data": "data", "partitions": "partition", "models": "model", "algorithms": "algorithm",
    "aggregators": "aggregation",
}  # fmt: skip


def lines(kind: str) -> list[str]:
    """Returns the listing of one kind: names, first lines of docstrings, and a line an argument."""
    from fedmed.engine.registered import REGISTRIES, key_of  # takes a while, and help needs none of it

    if kind == "scenarios":  # a config has a list of them
        from fedmed.engine.scenarios import scenarios

        found, listed = scenarios, [f"{KINDS[kind]}: [[scenario]] name = ..., arguments in args = {{ ... }}"]
    else:
        section = _SECTIONS[kind]
        found = REGISTRIES[section]
        listed = [f"{KINDS[kind]}: [{section}] {key_of(section)} = ..., arguments in [{section}.args]"]
    for name in found.names():
        factory = found.get(name)
        listed += ["", f"  {name}", f"      {(inspect.getdoc(factory) or '').partition(chr(10))[0]}"]
        listed += [f"      goes with {fits}"] if (fits := _fits(kind, name)) else []
        given = _given(kind, factory)
        types = registry.settable_types(factory, given)
        for argument, parameter in registry.settable(factory, given).items():
            listed.append(f"      - {argument}: {registry.described(types.get(argument, Any))}{_default(parameter)}")
    return listed


def _fits(kind: str, name: str) -> str:
    """Returns what goes together: a model's data or a data set's models; "" for what is the user's own."""
    from fedmed.models import fits

    return {"models": fits.MODELS, "data": fits.DATA}.get(kind, {}).get(name, "")


def _given(kind: str, factory: Callable[..., Any]) -> int:
    """Returns how many of the first parameters fedmed gives itself: the Spec, or the shared settings."""
    from fedmed.models import takes_spec

    return int(takes_spec(factory) if kind == "models" else kind == "algorithms")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return ", required"
    return "" if parameter.default is None else f", default {json.dumps(parameter.default, default=str)}"


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_multi_string(
        "plugin", [], "A module of your own to import first; may be repeated.", flag_values=values
    )


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    kinds = arguments or list(KINDS)
    if kinds[0] not in KINDS:
        raise UsageError(errors.unknown("list", "kind", kinds[0], KINDS))
    plugins.load(values.plugin)
    print("\n\n".join("\n".join(lines(kind)) for kind in kinds))
    return 0


COMMAND = Command("list", "[KIND]", "What a config may name, with arguments: data sets, models, ...", _define, _execute)
