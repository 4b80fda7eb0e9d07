"""Errors that are the user's to mend: each is one line, and the command line ends with status 2.

The same message is read by who calls fedmed from Python and by who types a command. What is an argument to the one is
a flag to the other, so a message names it by `argument`, or by one of the constants made of it:

    raise errors.UserError(f"{folder}: holds a run already; add {errors.RESUME} to go on with it")

Python then says "add resume=True", the command line "add --resume". Settings have one name for both (`cohort.size`) and
are written as they are.
"""

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

# Three characters that Unicode leaves without meaning, so that they are in no file name or column of a user's.
_BEGIN, _OR, _END = "\ue000", "\ue001", "\ue002"
_ARGUMENT = re.compile(f"{_BEGIN}(.*?){_OR}(.*?){_END}", re.DOTALL)
_ENDLESS = re.compile(r"'[^']{301,}'|\"[^\"]{301,}\"|\S{301,}")  # longer than a path, so a value of somebody's


def argument(python: str, flag: str) -> str:
    """Returns text for the message of a UserError that reads as `python` there, and as `flag` on the command line."""
    return f"{_BEGIN}{python}{_OR}{flag}{_END}"


RESUME = argument("resume=True", "--resume")
OVERWRITE = argument("overwrite=True", "--overwrite")
OUT = argument("out", "--out")


class UserError(ValueError):
    """Something the user gave cannot be used; the message says where, what was got and what is allowed."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_readable(_ARGUMENT.sub(r"\1", message)))
        self._message = message

    def on_command_line(self) -> str:
        """Returns the message with its arguments spelled as flags; str() spells them as Python."""
        return _readable(_ARGUMENT.sub(r"\2", self._message))


class ConfigError(UserError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(UserError):
    """A data set is missing, damaged, or cannot be divided as asked."""


class ModelError(UserError):
    """A model cannot be built or does not fit its data."""


class AlgorithmError(UserError):
    """An algorithm of the user's own does not do what an algorithm must."""


@contextlib.contextmanager
def within(where: str) -> Iterator[None]:
    """Has the message of a UserError that is raised inside begin with `where`, such as "arms, 'late': "."""
    try:
        yield
    except UserError as error:
        raise type(error)(where + error._message) from None


_LONGEST = 100
_NAMED = 20


def _readable(message: str) -> str:
    """Returns a message whose words and quotations of hundreds of characters are cut."""
    return _ENDLESS.sub(lambda found: shortened(found[0]), message)


def shown(value: object) -> str:
    """Returns a value as a message quotes it: one of thousands of characters is cut."""
    try:
        return shortened(repr(value))
    except ValueError:  # Python does not write whole numbers of more than 4,300 digits
        return "a number of thousands of digits"


def shortened(text: str) -> str:
    """Returns a text of at most 100 characters, cut in its middle."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 21]}…{text[-20:]}"


def first_few(names: Sequence[str], most: int) -> str:
    """Returns names as a message lists them: of many the first `most`, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Returns " (did you mean 'x'?)" for the closest allowed name, or "" when none is close."""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown(where: str, kind: str, name: object, allowed: Iterable[str]) -> str:
    """Words the message for a name that is not among the allowed ones."""
    names = sorted(allowed)
    meant = nearest(str(name), names)
    more = f" and {len(names) - _NAMED} more" if len(names) > 2 * _NAMED else ""
    listed = ", ".join(names[:_NAMED] if more else names) or "none"
    return f"{shortened(where)}: unknown {kind} {shown(name)}{meant}; allowed: {listed}{more}"
