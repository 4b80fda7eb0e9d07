"""Who was meant to contribute to a federation, and who did."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Section, Table, Text
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes

_MOST = 50
_ABOUT = (
    "Weight: a client's share of the weight of all who were asked in a round, and of all whose update was used, mean "
    "over all rounds. Rules that count clients alike, such as the median, give each the same; one that picks updates, "
    "such as krum, then leaves some out, which is not told here. A late update was computed on older weights; partial "
    "work is a part of the local steps."
)


def section(contributions: Mapping[str, Mapping[str, Any]]) -> Section | None:
    """Returns planned against real contribution, a line a client; None where it is not told, or all went as planned."""
    irregular = {client: own for client, own in contributions.items() if _is_irregular(own)}
    if not irregular:
        return None
    shown = contributions if len(contributions) <= _MOST else dict(list(irregular.items())[:_MOST])
    rows = [_row(client, own) for client, own in shown.items()]
    header = ["client", "rounds asked", "used", "last used", "late", "partial", "weight planned", "weight real", "why"]
    rest = len(contributions) - len(shown)
    more = f"{rest} more clients are in summary.json." if rest else ""
    table = Table("Planned and real contribution by client", header, rows, Notes().listed(_ABOUT, more))
    return Section("contribution", "Who contributed", [table])


def of_study(view: View) -> Section | None:
    """Returns the section of a study's first federated arm, over all seeds; None as `section`."""
    for arm, own in view.study["contributions"].items():
        found = section(own)
        if found is not None:
            seeds = f" Rounds of {len(view.study['seeds'])} seeds together." if len(view.study["seeds"]) > 1 else ""
            return replace(found, blocks=[Text(f"Of the arm “{view.label(arm)}”.{seeds}"), *found.blocks])
    return None


def _is_irregular(own: Mapping[str, Any]) -> bool:
    return own["used"] < own["asked"] or own["late"] > 0 or own["partial"] > 0


def _row(client: str, own: Mapping[str, Any]) -> list[str]:
    why = [f"{reason} ({count})" for reason, count in own["absent"].items()]
    why += [f"not finite ({own['refused']})"] if own["refused"] else []
    counts = [f"{own[name]:,}" for name in ("asked", "used")]  # rounds, not patients
    last = words.NONE if own["last"] is None else f"{own['last']:,}"
    rest = [f"{own[name]:,}" for name in ("late", "partial")]
    weights = [words.percent(own[name], 1) for name in ("planned_share", "real_share")]
    return [client, *counts, last, *rest, *weights, ", ".join(why) or words.NONE]
