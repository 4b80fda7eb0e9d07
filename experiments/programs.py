"""What the programs of this folder share: what a user can mend is one line and status 2; Ctrl-C is one line too."""

import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from absl import app, flags

from fedmed.system import errors

Main = Callable[[Sequence[str]], None]
_WRONG_USE, _INTERRUPTED = 2, 130


def run(main: Main) -> None:
    """Parses the flags and runs a program's main function.

    What a user can mend ends in one line and exit status 2, and Ctrl-C in one and 130.
    """

    def guarded(argv: Sequence[str]) -> None:
        try:
            main(argv)
        except errors.UserError as error:
            _end(error)
        except KeyboardInterrupt:
            _tell("stopped; the same command goes on with what it kept")
            sys.stdout.flush()
            os._exit(_INTERRUPTED)  # all that was open is closed; Python would wait for a thread in mid-round

    app.run(guarded, flags_parser=_parsed)


def _parsed(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _end(error)


def _end(error: Exception) -> NoReturn:
    _tell(str(error))
    raise SystemExit(_WRONG_USE) from None


def _tell(message: str) -> None:
    print(f"{pathlib.Path(sys.argv[0]).stem}: {' '.join(message.split())}", file=sys.stderr, flush=True)


def check_writable(flag: str, folder: pathlib.Path) -> None:
    """Makes the folder; a UserError, before any work is done, where no file can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise errors.UserError(f"{flag}: cannot write in {str(folder)!r}: {error.strerror}; choose another") from None


def check_names(flag: str, kind: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    """Raises a UserError with the nearest match when one of the flag's names is not among the allowed ones."""
    known = list(allowed)
    for name in names:
        if name not in known:
            raise errors.UserError(errors.unknown(flag, kind, name, known))
