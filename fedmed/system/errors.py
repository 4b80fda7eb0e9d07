"""Errors that are the user's to mend: each is one line, and the command line ends with status 2."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used; the message says where, what was got and what is allowed."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(UserError):
    """A data set is missing, damaged, or cannot be divided as asked."""


class ModelError(UserError):
    """A model cannot be built or does not fit its data."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Returns " (did you mean 'x'?)" for the closest allowed name, or "" when none is close."""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown(where: str, kind: str, name: object, allowed: Iterable[str]) -> str:
    """Words the message for a name that is not among the allowed ones."""
    names = sorted(allowed)
    return f"{where}: unknown {kind} {name!r}{nearest(str(name), names)}; allowed: {', '.join(names) or 'none'}"
