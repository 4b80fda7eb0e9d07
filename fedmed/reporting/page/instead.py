"""What a hospital could do besides: recalibrate the federated model, or do without federated training."""

import re
from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Cell, Items, Section, Table, Text
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes


def recalibration(view: View) -> Section | None:
    """Returns what recalibrating the federated model buys each hospital, and what it takes."""
    found = view.study.get("recalibration")
    if not found:
        return None
    threshold, notes, rows = found["threshold"], Notes(), []
    for hospital in view.hospitals:
        own = found["hospitals"][hospital]
        sides = [notes.estimate(own[f"agreement_{side}"]) for side in ("before", "after")]
        benefits = [words.number(own["benefit_before"]), words.number(own["benefit_after"])]
        grown = words.estimate(own["benefit_difference"], sign=True)
        labelled = "hidden" if own["labelled"] is None else words.count(own["labelled"])
        rows.append([hospital, *sides, *([*benefits, grown] if threshold is not None else []), labelled])
    header = ["hospital", *(f"{found['agreement']}, {side} ({view.level} interval)" for side in ("before", "after"))]
    if threshold is not None:
        at = f"at {words.percent(threshold)}"
        header += [f"net benefit {at}, before", "after", f"difference ({view.level} interval)"]
    table = Table("Before and after recalibration", [*header, "labelled patients it takes"], rows, notes.listed())
    return Section(
        "recalibration",
        "What recalibration at each hospital buys",
        [Text(words.sentence(found["about"])), _sentences(view, found["hospitals"]), table],
    )


def references(view: View) -> Section | None:
    """Returns what one would do instead, in one table, and which is better in a sentence a hospital."""
    found = view.study.get("references")
    if not found:
        return None
    notes, arms = Notes(), found["arms"]
    places = [(hospital, found["hospitals"][hospital]["figures"]) for hospital in view.hospitals]
    rows = [[name, *(_cell(found, figures.get(arm["name"]) or {}, notes) for arm in arms)]
            for name, figures in [*places, ("all hospitals", found["all"])]]  # fmt: skip
    first, *others = found["measures"].values()
    below = f", below it {words.listed(others)}" if others else ""
    header = ["hospital", *(arm["label"] for arm in arms)]
    table = Table(f"{words.capital(first)} ({view.level} interval){below}", header, rows, notes.listed())
    return Section(
        "instead",
        "What one would do instead",
        [Text(words.sentence(found["about"])), _sentences(view, found["hospitals"]), table],
    )


def _sentences(view: View, hospitals: Mapping[str, Any]) -> Items:
    told = [(hospital, hospitals[hospital]["sentence"].removeprefix(f"{hospital}: ")) for hospital in view.hospitals]
    return Items([(f"{hospital}.", words.sentence(re.sub(r"(?<!\w)-(?=\d)", "−", text))) for hospital, text in told])


def _cell(found: Mapping[str, Any], figures: Mapping[str, Any], notes: Notes) -> str | Cell:
    """Returns the primary metric with its interval, and the others below it."""
    first, *others = found["measures"]
    shown = notes.estimate(figures.get(first))
    if (figures.get(first) or {}).get("estimate") is None:
        return shown
    return Cell(
        str(shown), " · ".join(str(notes.estimate({**(figures.get(name) or {}), "low": None})) for name in others)
    )
