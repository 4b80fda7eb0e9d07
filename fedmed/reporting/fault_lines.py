"""Tells on the console what is probably wrong with the data, and the line of the config that mends it."""

import sys
from collections.abc import Sequence
from typing import TextIO

from fedmed.data.faults import MENDED_BY, Fault, mending_lines
from fedmed.reporting.tables import printable

_MOST = 12


def lines(faults: Sequence[Fault]) -> list[str]:
    """Returns a line for each fault and below it one that mends it; of many faults the first twelve."""
    told = []
    for fault in faults[:_MOST]:
        told.append(f"data, {fault.kind}: {printable(fault.text)}")
        told += [f"    {MENDED_BY}{printable(fault.mend)}"] if fault.mend else []
    if len(faults) > _MOST:
        told.append(f"data: {len(faults) - _MOST} more; `fedmed data CONFIG` tells all")
    return told


def all_lines(faults: Sequence[Fault]) -> list[str]:
    """Returns a line for each fault and, last, what to put into the config to mend all that can be harmonised."""
    told = [f"{fault.kind}: {printable(fault.text)}" for fault in faults]
    told += [f"    {MENDED_BY}{printable(fault.mend)}" for fault in faults if fault.mend and not fault.changes]
    return [
        *told,
        *(["", "To harmonise them, under [data]:", ""] if any(f.changes for f in faults) else []),
        *map(printable, mending_lines(faults)),
    ]


def tell(faults: Sequence[Fault], *, quiet: bool = False, stream: TextIO | None = None) -> None:
    """Prints the lines on standard error, nothing when quiet."""
    if faults and not quiet:
        print("\n".join(lines(faults)), file=stream or sys.stderr, flush=True)
