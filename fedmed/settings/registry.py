"""One place to add a thing: a decorated function whose signature is the schema of its `args`."""

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from fedmed.system import errors

F = TypeVar("F", bound=Callable[..., Any])

_INT64 = 2**63

_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


class Registry(Generic[F]):
    """Named factories of one kind (data sets, models, partitions, algorithms)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, F] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """Returns a decorator that files a factory under `name`; a name can be taken only once."""

        def decorate(factory: F) -> F:
            if self._factories.setdefault(name, factory) is not factory:
                raise errors.ConfigError(f"{self.kind} {name!r} is registered twice")
            return factory

        return decorate

    def names(self) -> list[str]:
        """Returns the registered names, sorted."""
        return sorted(self._factories)

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    def get(self, name: str, where: str = "name") -> F:
        """Returns the factory called `name`; ConfigError names `where` and the nearest match."""
        if name not in self._factories:
            raise errors.ConfigError(errors.unknown(where, self.kind, name, self._factories))
        return self._factories[name]

    def make(self, name: str, args: Mapping[str, Any], where: str) -> Any:
        """Calls the factory `name` with `args` after checking them against its signature."""
        factory = self.get(name, f"{where}.name")
        return factory(**checked_args(factory, args, f"{where}.args"))


def checked_args(factory: Callable[..., Any], args: Mapping[str, Any], where: str, *, given: int = 0) -> dict[str, Any]:
    """Returns `args` converted to the types of `factory`'s parameters, of which fedmed itself gives the first `given`.

    Raises:
        ConfigError: a name is unknown, a required one is missing, or a value is of the wrong type.
    """
    parameters = settable(factory, given)
    hints = settable_types(factory, given)
    for name in args:
        if name not in parameters:
            raise errors.ConfigError(errors.unknown(where, "argument", name, parameters))
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in args:
            raise errors.ConfigError(f"{where}.{name}: required, but not given")
    return {name: converted(value, hints.get(name, Any), f"{where}.{name}") for name, value in args.items()}


def settable(factory: Callable[..., Any], given: int = 0) -> dict[str, inspect.Parameter]:
    """Returns the parameters of `factory` that can be set by name, in order, but the first `given`."""
    parameters = list(inspect.signature(factory).parameters.values())[given:]
    return {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def settable_types(factory: Callable[..., Any], given: int = 0) -> dict[str, Any]:
    """Returns the types of those parameters; the others' may name what is imported for type checking only."""
    own = types.SimpleNamespace(
        __annotations__={
            name: parameter.annotation
            for name, parameter in settable(factory, given).items()
            if parameter.annotation is not inspect.Parameter.empty
        }
    )
    return typing.get_type_hints(own, globalns=getattr(factory, "__globals__", {}))


def converted(value: Any, hint: Any, where: str) -> Any:
    """Returns `value` as the type `hint`; only lossless conversions (1 to 1.0, list to tuple) are made.

    Raises:
        ConfigError: the value does not fit; the message says what was expected.
    """
    fits, result = _convert(value, hint)
    if not fits:
        close = _close(value, hint)
        raise errors.ConfigError(f"{where}: expected {described(hint)}, got {errors.shown(value)}{close}")
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise errors.ConfigError(f"{where}: expected a number of 64 bits, as TOML has them, got {errors.shown(value)}")
    return result


def _convert(value: Any, hint: Any) -> tuple[bool, Any]:
    if hint is Any or hint is inspect.Parameter.empty:
        return True, value
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for part in parts:
            fits, result = _convert(value, part)
            if fits:
                return True, result
        return False, value
    if origin is typing.Literal:
        return value in parts and type(value) in {type(p) for p in parts}, value
    if origin in (Sequence, tuple, list):
        if not isinstance(value, list | tuple):
            return False, value
        converted_items = [_convert(item, parts[0]) for item in value]
        return all(fits for fits, _ in converted_items), tuple(item for _, item in converted_items)
    if origin in (Mapping, dict) or hint is dict:
        return isinstance(value, Mapping), value
    if hint is type(None):
        return value is None, value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return (True, float(value)) if -_INT64 <= value < _INT64 else (True, value)
    return isinstance(value, hint) and not (hint is not bool and isinstance(value, bool)), value


def _close(value: Any, hint: Any) -> str:
    """Returns the allowed word that is nearest to a string, or to the first of a list that is not allowed.

    A number that TOML does not read as one, such as .3, is written as it does.
    """
    if isinstance(value, str) and (hint is float or float in typing.get_args(hint)):
        return _as_number(value)
    allowed = _words(hint)
    given = value if isinstance(value, list | tuple) else [value]
    wrong = [word for word in given if isinstance(word, str) and word not in allowed]
    return errors.nearest(wrong[0], allowed) if wrong and allowed else ""


def _as_number(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return ""
    return f" (did you mean {number:g}?)" if math.isfinite(number) else ""


def _words(hint: Any) -> list[str]:
    """Returns the strings that a type names, wherever in it."""
    if typing.get_origin(hint) is typing.Literal:
        return [word for word in typing.get_args(hint) if isinstance(word, str)]
    return [word for part in typing.get_args(hint) for word in _words(part)]


def described(hint: Any) -> str:
    """Returns a type in plain words, for messages and listings: "a number", "one of 'a', 'b'"."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(described(part) for part in parts if part is not type(None))
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(part) for part in parts)
    if origin in (Sequence, tuple, list):
        return f"a list in brackets, each {described(parts[0])}"
    if origin in (Mapping, dict):
        return "a table"
    return _PLAIN.get(hint, getattr(hint, "__name__", str(hint)))
