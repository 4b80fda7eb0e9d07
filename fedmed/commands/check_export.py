"""`fedmed check-export DIR`: does an exported job train what fedmed trains, on the rows that are here?"""

import pathlib
from collections.abc import Sequence

from absl import flags

from fedmed.commands.command import Command
from fedmed.export import verification
from fedmed.system import quiet

_OTHER = 1


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_integer("rounds", 2, "Rounds that both train.", lower_bound=1, flag_values=values)
    flags.DEFINE_string("rows", None, "A folder to be made: files as hospitals would have.", flag_values=values)


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    quiet.silence()
    found = verification.compared(
        pathlib.Path(arguments[0]), values.rounds, pathlib.Path(values.rows) if values.rows else None
    )
    word = "round" if found.rounds == 1 else "rounds"
    print(
        f"After {found.rounds} {word} the largest difference of any weight is {found.largest:.1e}, "
        f"where training has moved weights by up to {found.moved:.1e}."
    )
    if found.changed:
        print(f"Not as fedmed exports them: {', '.join(found.changed)}. Read what was changed, or export again.")
    if not found.is_same:
        print(f"More than {verification.TOLERANCE:.0e}: the exported job trains something else.")
    if found.is_same and not found.changed:
        print("The exported job trains what fedmed trains, and its files are as fedmed exports them.")
        return 0
    return _OTHER


COMMAND = Command("check-export", "DIR", "Does an exported job train what fedmed trains?", _define, _execute)
