"""The worst hospital and the worst decile, as a study's tables show them below the mean over hospitals."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Cell
from fedmed.reporting.page.words import Notes

Told: TypeAlias = Sequence[Mapping[str, Any]]
"""Of each arm, its Estimates by measure."""

ABOUT = (
    "“worst hospital” is named below its figure; its interval ignores that it was picked, and the worst of several "
    "looks worse than it is"
)
_DECILE = "; “worst decile” is the mean of the worst tenth of the hospitals, rounded up"


def places(per: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Returns (place, what each arm scores there) of the worst hospital, and of the worst decile where there is one.

    Args:
        per: each arm's Performance.
    """
    worst: list[Mapping[str, Any]] = [own.get("worst") or {} for own in per]
    if not any(worst):
        return []
    deciles: list[Mapping[str, Any]] = [
        {measure: {"estimate": own["decile"]} for measure, own in of.items() if own["decile"] is not None}
        for of in worst
    ]
    return [("worst hospital", worst), *([("worst decile", deciles)] if any(deciles) else [])]


def about(per: Sequence[Mapping[str, Any]]) -> str:
    """Returns how the rows of `places` are to be read; "" without any."""
    found = [place for place, _ in places(per)]
    return f"{ABOUT}{_DECILE if len(found) > 1 else ''}." if found else ""


def cell(notes: Notes, told: Mapping[str, Any] | None) -> str | Cell:
    """Returns an Estimate's cell; one of a worst hospital names it below, and says how many have no figure."""
    shown = notes.estimate(told)
    if not told or not told.get("hospital"):
        return shown
    without = f"; {words.plural(told['without'], 'hospital')} without a figure" if told["without"] else ""
    return Cell(str(shown), f"{told['hospital']}{without}")
