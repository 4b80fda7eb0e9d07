"""What the programs of this folder share: what a user can mend ends in one line and status 2."""

import functools
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence

from fedmed import errors

Main = Callable[[Sequence[str]], None]


def in_one_line(main: Main) -> Main:
    """Wraps a program's main function, so that a UserError is one line on standard error, and the exit status 2."""

    @functools.wraps(main)
    def guarded(argv: Sequence[str]) -> None:
        try:
            main(argv)
        except errors.UserError as error:
            print(f"{pathlib.Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
            raise SystemExit(2) from None

    return guarded


def check_names(flag: str, kind: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    """Raises a UserError with the nearest match when one of the flag's names is not among the allowed ones."""
    known = list(allowed)
    for name in names:
        if name not in known:
            raise errors.UserError(errors.unknown(flag, kind, name, known))
