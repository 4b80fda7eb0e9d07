"""A reference page of values with fields, in Markdown: their types and docstrings, told for readers of the JSON."""

import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from fedmed.system import plain

_WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null", Any: "any value"}
_FIELD = re.compile(r"^    (\w+): (.*(?:\n        .*)*)", re.MULTILINE)


def page(title: str, intro: str, files: Mapping[str, type]) -> str:
    """Returns the page: what each file holds, a value's parts below it, each told once.

    Raises:
        ValueError: a field is not described, or the description is of no field.
    """
    reached = {name: list(_reached(kind)) for name, kind in files.items()}
    everything = dict.fromkeys(kind for kinds in reached.values() for kind in kinds)
    parts = [f"# {title}", intro, "Words in capitals stand for names:", _names(everything)]
    told: set[Any] = set()
    for name, kinds in reached.items():
        first, *others = (kind for kind in kinds if kind not in told)
        parts += [f"## {name}", _about(first), *(f"### {kind.__name__}\n\n{_about(kind)}" for kind in others)]
        told |= set(kinds)
    return "\n\n".join(parts) + "\n"


def described(kind: Any) -> tuple[str, Mapping[str, str]]:
    """Returns what a dataclass's docstring says of it, and of each field, those that it inherits left out.

    Raises:
        ValueError: a field is not described, or the description is of no field.
    """
    text, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    about = {name: " ".join(said.split()) for name, said in _FIELD.findall(attributes)}
    names = [field.name for field in _own_fields(kind)]
    if list(about) != names:
        raise ValueError(
            f"{kind.__name__}: its docstring tells of {', '.join(about)}; its fields are {', '.join(names)}"
        )
    return text, about


def _own_fields(kind: Any) -> list[dataclasses.Field[Any]]:
    inherited = {field.name for base in _bases(kind) for field in dataclasses.fields(base)}
    return [field for field in dataclasses.fields(kind) if field.name not in inherited]


def _bases(kind: Any) -> list[Any]:
    return [base for base in kind.__bases__ if dataclasses.is_dataclass(base)]


def _about(kind: Any) -> str:
    text, about = described(kind)
    more = "".join(f"\n\nIt has the fields of {_link(base)}, and:" for base in _bases(kind))
    rows = [
        f"| {name} | {of} | {about[field.name]} |" for field in _own_fields(kind) for name, of in [_told(kind, field)]
    ]
    return "\n".join([text + more, "", "| field | type | what |", "|---|---|---|", *rows])


def _told(kind: Any, field: dataclasses.Field[Any]) -> tuple[str, str]:
    """Returns a field's name and type in words; one whose keys stand beside other fields has their name."""
    hint = plain.hints(kind)[field.name]
    if plain.is_inline(field):
        key, value = typing.get_args(hint)
        return _words(key), _words(value)
    return f"`{field.name}`", _words(hint)


def _link(kind: Any) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


def _words(hint: Any) -> str:
    """Returns a type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return arguments[1]
    if dataclasses.is_dataclass(origin or hint):
        return " of ".join([_link(origin or hint), *map(_words, arguments)])
    if origin in (types.UnionType, typing.Union):
        *some, last = map(_words, arguments)
        long = any(" " in part or "{" in part for part in some)
        return f"{', '.join(some)}{',' if long else ''} or {last}"
    if origin is Literal:
        *some, last = (f"`{json.dumps(value)}`" for value in arguments)
        return f"{', '.join(some)} or {last}" if some else last
    if origin is tuple:
        inner = _words(arguments[0])
        return (
            f"list of ({inner})"
            if typing.get_origin(arguments[0]) in (types.UnionType, Literal)
            else f"list of {inner}"
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{{{_words(arguments[0])}: {_words(arguments[1])}}}"
    return hint.__name__ if isinstance(hint, typing.TypeVar) else _WORDS[hint]


def _reached(kind: Any) -> Iterator[Any]:
    """Yields a dataclass and all that its fields are made of, each once, in the order in which a reader meets them."""
    waiting, met = [kind], set()
    while waiting:
        one = waiting.pop(0)
        if one in met:
            continue
        met.add(one)
        yield one
        inner = (part for hint in plain.hints(one).values() for part in _parts(hint))
        waiting = [*_bases(one), *(part for part in inner if dataclasses.is_dataclass(part)), *waiting]


def _parts(hint: Any) -> Iterator[Any]:
    """Yields the named parts of a type: dataclasses, and names that stand for keys."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield hint
        return
    if dataclasses.is_dataclass(origin or hint):
        yield origin or hint
    for argument in () if origin is Literal else typing.get_args(hint):
        yield from _parts(argument)


def _names(kinds: Iterable[Any]) -> str:
    found = dict.fromkeys(part for kind in kinds for hint in plain.hints(kind).values() for part in _parts(hint))
    keys = [typing.get_args(part) for part in found if typing.get_origin(part) is typing.Annotated]
    return "\n".join(f"- {name}: {said}" for _, name, said in sorted(keys, key=lambda key: key[1]))
