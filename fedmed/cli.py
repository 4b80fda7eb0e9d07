"""The command line: `fedmed COMMAND ...`. Each command has flags of its own, and an error of the user's is one line."""

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedmed.system import errors

if TYPE_CHECKING:
    from fedmed.commands.command import Command  # what takes a while is imported where Ctrl-C is quiet already

COMMANDS = ("run", "study", "tune", "budget", "export", "check-export", "list", "data", "doctor", "version", "help")
_MODULES = {"list": "listing", "check-export": "check_export"}  # a module called `list` would hide Python's

_WRONG_USE, _FAILED, _INTERRUPTED, _BROKEN_PIPE = 2, 1, 130, 141
_STOPPED = (129, _INTERRUPTED, 143)
_NO_BUG = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status: 2 for what the user can mend, 129, 130 or 143 for a stopped run.

    Without `argv` it is the whole program. Of a run stopped in mid-round a thread may still be inside TensorFlow, which
    aborts when Python takes itself down around it; all that was open is closed by then, so the process just ends.
    """
    status = _guarded(list(sys.argv[1:] if argv is None else argv))
    if argv is None and status in _STOPPED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the terminal may be gone
                stream.flush()
        os._exit(status)
    return status


def _guarded(argv: list[str]) -> int:
    try:
        status = _dispatch(argv)
        if status not in _STOPPED:
            sys.stdout.flush()
        return status
    except errors.UserError as error:
        return _complain(error.on_command_line(), _WRONG_USE)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `fedmed list | head`: whoever reads has gone, and Python must not complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        if error.errno not in _NO_BUG:
            raise
        return _complain(f"{error.filename or 'writing'}: {error.strerror}", _FAILED)


def _dispatch(argv: list[str]) -> int:
    name, *rest = argv or ["help"]
    if name in ("--help", "-h", "-help"):
        name = "help"
    elif name == "--version":
        name = "version"
    if name == "help":
        return _help(rest)
    chosen = command(name)
    if any(word in ("--help", "-h", "-help") for word in rest):
        return _help([name])
    values, arguments = chosen.parse(rest)
    return chosen.execute(values, arguments)


def command(name: str) -> "Command":
    """Returns a command by its name; UsageError with the nearest match when there is none."""
    if name not in COMMANDS:
        from fedmed.commands.command import UsageError

        kind = "flag" if name.startswith("-") else "command"
        hint = errors.nearest(name, COMMANDS) or f"; commands: {', '.join(COMMANDS)}"
        raise UsageError(f"unknown {kind} {name!r}{hint}; see fedmed help")
    return importlib.import_module(f"fedmed.commands.{_MODULES.get(name, name)}").COMMAND


def _help(names: Sequence[str]) -> int:
    if names and names[0] != "help":
        print(command(names[0]).help())
        return 0
    print("fedmed: what would a federation of these hospitals achieve, for each of them, and at what price?\n")
    for name in COMMANDS:
        usage = "[COMMAND]" if name == "help" else command(name).usage
        about = "What a command does." if name == "help" else command(name).summary
        print(f"  fedmed {f'{name} {usage}'.ljust(22)}{about}")
    print("\nfedmed COMMAND --help tells a command's flags.")
    return 0


def _complain(message: str, status: int) -> int:
    print(f"fedmed: {' '.join(message.split())}", file=sys.stderr)
    return status
