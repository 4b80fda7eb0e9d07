"""Values with fields as plain JSON trees, and back: one rule for every file of results."""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

Value = TypeVar("Value")

INLINE: Mapping[str, bool] = {"inline": True}
"""Metadata of a field that is a mapping whose keys stand in the tree beside the other fields, not below its name."""


def to_plain(value: Any) -> Any:
    """Returns fields in order as a dict and tuples as lists; what JSON has anyway stays as it is."""
    if dataclasses.is_dataclass(value):
        tree: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            own = to_plain(getattr(value, field.name))
            tree |= own if is_inline(field) else {field.name: own}
        return tree
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def from_plain(kind: type[Value], tree: Any) -> Value:
    """Returns the value that `to_plain` made the tree of.

    Raises:
        ValueError: a key is missing or unknown, or a value is not of its field's type; says where.
    """
    return _read(kind, tree, kind.__name__)


def checked(value: Any) -> Any:
    """Returns a dataclass as a plain tree whose every leaf is of its field's type, which types alone cannot promise."""
    tree = to_plain(value)
    from_plain(type(value), tree)
    return tree


def is_inline(field: dataclasses.Field[Any]) -> bool:
    """Whether a field's keys stand in the tree beside the other fields."""
    return bool(field.metadata.get("inline"))


@functools.cache
def hints(kind: Any) -> Mapping[str, Any]:
    """Returns the type of each field of a dataclass; what a generic one is of is put in where it is told."""
    origin = typing.get_origin(kind) or kind
    asked = getattr(origin, "__parameters__", ())
    names = dict(zip(asked, typing.get_args(kind) or asked, strict=True))
    known = typing.get_type_hints(origin, include_extras=True)
    return {field.name: _filled(known[field.name], names) for field in dataclasses.fields(origin)}


def _filled(hint: Any, names: Mapping[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return names[hint]
    asked = getattr(hint, "__parameters__", ())
    return hint[tuple(names[name] for name in asked)] if asked else hint


def _read(hint: Any, tree: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _read(arguments[0], tree, where)
    if dataclasses.is_dataclass(origin or hint):
        return _read_fields(hint, tree, where)
    if origin in (types.UnionType, typing.Union):
        if tree is None and type(None) in arguments:
            return None
        return _read(next(one for one in arguments if one is not type(None)), tree, where)
    if origin is Literal:
        return tree if tree in arguments else _wrong(hint, tree, where)
    if origin is tuple:
        items = tree if isinstance(tree, list | tuple) else _wrong(hint, tree, where)
        return tuple(_read(arguments[0], item, f"{where}[{place}]") for place, item in enumerate(items))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        items = tree if isinstance(tree, Mapping) else _wrong(hint, tree, where)
        return {_read(arguments[0], k, where): _read(arguments[1], item, f"{where}.{k}") for k, item in items.items()}
    return tree if _is_of(hint, tree) else _wrong(hint, tree, where)


def _read_fields(kind: Any, tree: Any, where: str) -> Any:
    rest = dict(tree) if isinstance(tree, Mapping) else _wrong(kind, tree, where)
    fields, own, found = dataclasses.fields(typing.get_origin(kind) or kind), hints(kind), {}
    for field in (field for field in fields if not is_inline(field)):
        if field.name not in rest:
            raise ValueError(f"{where}: {field.name!r} is missing")
        found[field.name] = _read(own[field.name], rest.pop(field.name), f"{where}.{field.name}")
    for field in filter(is_inline, fields):
        found[field.name], rest = _read(own[field.name], rest, where), {}
    if rest:
        raise ValueError(f"{where}: unknown {', '.join(map(repr, rest))}")
    return kind(**found)


def _is_of(hint: Any, tree: Any) -> bool:
    if hint is Any:
        return True
    if hint is float:
        return isinstance(tree, int | float) and not isinstance(tree, bool) and math.isfinite(tree)
    return isinstance(tree, hint) and (hint is bool or not isinstance(tree, bool))


def _wrong(hint: Any, tree: Any, where: str) -> typing.NoReturn:
    raise ValueError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {tree!r}")
