"""What a fault of a table is, and the words for it, among which are no patient's value and no count of few."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

from fedmed.settings.harmonise import Harmonise, written

Kind: TypeAlias = Literal["unit", "code", "level", "outcome", "identifier", "constant"]

MENDED_BY = "To mend it: "

FEW = 5
"""Fewer rows than this are not counted in a sentence."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something in a column that is probably not what it seems.

    Attributes:
        kind: another unit, a code for missing, a level under two names, a column that knows the outcome, one that
            numbers rows or patients, or one of a single value.
        column: its name.
        sites: the hospitals concerned; () where it is no matter of hospitals.
        text: a sentence for the console and the page.
        changes: entries of `data.harmonise` that mend it.
        mend: the line of the config that mends it, "" where only the data's owner can.
    """

    kind: Kind
    column: str
    sites: tuple[str, ...]
    text: str
    changes: tuple[Harmonise, ...] = ()
    mend: str = ""


def harmonisable(kind: Kind, column: str, sites: tuple[str, ...], text: str, *changes: Harmonise) -> Fault:
    """Returns a fault that entries of `data.harmonise` mend."""
    return Fault(kind, column, sites, text, changes, _setting(changes) if changes else "")


def _setting(changes: Sequence[Harmonise]) -> str:
    return f"data.harmonise = [{', '.join(map(written, changes))}]"


def warnings(faults: Sequence[Fault], preprocessing: str) -> tuple[str, ...]:
    """Returns a sentence on what makes a model's figures worthless, if anything: units that are not scaled away.

    Args:
        faults: of the data.
        preprocessing: the mode; where each site scales by itself, a site that is wholly in another unit does no harm.
    """
    harmful = [fault for fault in faults if fault.kind == "unit" and not (preprocessing == "by_site" and _whole(fault))]
    if not harmful:
        return ()
    told = "; ".join(fault.text.removesuffix("?") for fault in harmful)
    mend = _setting([change for fault in harmful for change in fault.changes])
    return (f"Hospitals keep columns in different units, so these figures are worthless: {told}. {MENDED_BY}{mend}",)


def _whole(fault: Fault) -> bool:
    """Returns whether all rows of the sites are in the other unit."""
    return all(change.below is None and change.above is None for change in fault.changes)


def mending_lines(faults: Sequence[Fault]) -> list[str]:
    """Returns the lines for the config's [data] that harmonise all that can be, [] where nothing can."""
    changes = [change for fault in faults for change in fault.changes]
    return ["harmonise = [", *(f"  {written(change)}," for change in changes), "]"] if changes else []


def share(count: int, rows: int) -> str:
    """Returns how many of the rows, in words that tell no count of few: "in 12 % of rows", "in a few rows"."""
    if count == rows:
        return "in every row"
    if count < FEW:
        return "in a few rows"
    if rows - count < FEW:
        return "in nearly every row"
    return f"in {100 * count / rows:.2g} % of rows" if count / rows < 0.995 else "in nearly every row"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Returns names as a sentence has them; of many the first ones."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
