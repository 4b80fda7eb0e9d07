"""Arguments that a registered function requires and a config that names another one does not give."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fedmed.engine.registered import key_of
from fedmed.settings import registry
from fedmed.settings.registry import Registry
from fedmed.system import errors


def required(
    registered: Registry[Callable[..., Any]],
    name: str,
    known: Mapping[str, Any],
    where: tuple[str, str],
    given: int = 0,
) -> dict[str, Any]:
    """Returns the known arguments that a registered function has; all that it requires must be among them.

    Args:
        registered: where it is.
        name: its name.
        known: arguments.
        where: the setting that names it here, and the table of a config that could give it arguments.
        given: how many of its parameters fedmed gives itself.

    Raises:
        ConfigError: it is unknown, or requires what is not known.
    """
    parameters = registry.settable(registered.get(name, where[0]), given=given)
    for argument, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and argument not in known:
            raise errors.ConfigError(
                f"{where[0]}: {name!r} requires {argument}; give it as {where[1]}.args.{argument} of a config whose "
                f"{where[1]}.{key_of(where[1])} is {name!r}"
            )
    return {argument: value for argument, value in known.items() if argument in parameters}
