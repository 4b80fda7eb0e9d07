"""What a command is: its flags, its arguments, and what it does."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from absl import flags

from fedmed.system import errors


class UsageError(errors.UserError):
    """The command line itself is wrong."""


class Command(NamedTuple):
    """One command.

    Attributes:
        name: as it is typed.
        usage: its arguments, "KIND CONFIG" or "[KIND]" (may be left out).
        summary: one line.
        define: adds the command's flags, and only these, to the values given.
        execute: does it, given flags and arguments; returns the exit status.
    """

    name: str
    usage: str
    summary: str
    define: Callable[[flags.FlagValues], None]
    execute: Callable[[flags.FlagValues, Sequence[str]], int]

    def parse(self, words: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
        """Returns flags and arguments; UsageError, with the nearest flag, when they cannot be understood."""
        values = self._flags()
        try:
            arguments = values([self.name, *words])[1:]
        except flags.UnrecognizedFlagError as error:
            close = errors.nearest(error.flagname, list(values)).replace("'", "'--", 1)
            raise UsageError(
                f"{self.name}: unknown flag {error.flagvalue.split('=')[0]!r}{close}; {self._see}"
            ) from None
        except flags.Error as error:
            said = re.sub(r"invalid literal for int\(\).*", "expected a whole number, such as 5", str(error))
            raise UsageError(f"{self.name}: {said}; {self._see}") from None
        wanted = self.usage.split()
        if len(arguments) > len(wanted):
            raise UsageError(f"{self.name}: unexpected argument {arguments[len(wanted)]!r}; {self._see}")
        if missing := [word for word in wanted[len(arguments) :] if not word.startswith("[")]:
            raise UsageError(f"{self.name}: {missing[0]} is missing; {self._see}")
        return values, arguments

    def help(self) -> str:
        """Returns usage, summary and flags as text."""
        values = self._flags()
        names = [name for name in values if name not in _ABSL]
        lines = [f"usage: fedmed {self.name} {self.usage}".rstrip() + (" [flags]" if names else ""), "", self.summary]
        for name in names:
            takes = "" if values[name].boolean else f"={(values[name].flag_type()).split()[-1].upper()}"
            lines += ["", f"  --{name}{takes}", f"      {values[name].help.splitlines()[0].rstrip(';')}"]
        return "\n".join(lines)

    @property
    def _see(self) -> str:
        return f"see fedmed {self.name} --help"

    def _flags(self) -> flags.FlagValues:
        values = flags.FlagValues()
        values.set_gnu_getopt(True)  # flags may follow arguments
        self.define(values)
        return values


_ABSL = ("flagfile", "undefok")


def define_set(values: flags.FlagValues) -> None:
    """Adds --set, which overrides a setting of the config."""
    flags.DEFINE_multi_string(
        "set",
        [],
        "KEY.PATH=VALUE overrides a setting, e.g. client.learning_rate=0.1; may be repeated.",
        flag_values=values,
    )
