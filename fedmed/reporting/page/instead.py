"""What a hospital could do besides: recalibrate the federated model, or do without federated training."""

import re
from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Block, Cell, Fold, Items, Section, Table, Text
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes


def headline(view: View) -> str:
    """Returns for the first screen where models without federated training do better; "" without reference models."""
    found = view.study.get("references")
    if not found:
        return ""
    said = []
    for choice, rows in (("alone", "the hospital's own rows"), ("pooled", "everybody's rows in one place")):
        outcomes = {hospital: found["hospitals"][hospital][choice]["outcome"] for hospital in view.hospitals}
        better = [hospital for hospital, outcome in outcomes.items() if outcome == "reference better"]
        where = f"{len(better)} of {len(outcomes)} hospitals" if view.many else words.listed(better)
        said += [f"than one of {rows} at {where}"] if better else []
    start = f"By {view.metric['label']} the federated model"
    if not said:
        return f"{start} is nowhere shown to do worse than a tuned tree or regression."
    worse = " and ".join(said).replace("than one of", "than a tuned tree or regression of", 1)
    return f"{start} does worse {worse} (each by its own interval)."


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
    about = Text(words.sentence(found["about"]))
    return Section(
        "recalibration",
        "What recalibration at each hospital buys",
        [*_told(view, found["hospitals"]), Fold("How it is done, and before and after", [about, table])],
        printed=not view.many,
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
    about = Text(words.sentence(found["about"]))
    return Section(
        "instead",
        "What one would do instead",
        [*_counted(view, found), *_told(view, found["hospitals"]), Fold("The figures of each way", [about, table])],
    )


_OUTCOMES = {
    "reference better": "better without federated training",
    "federated better": "better with it",
    "no evidence": "no evidence either way",
    "no figure": "no figure",
}


def _counted(view: View, found: Mapping[str, Any]) -> list[Block]:
    """Returns at how many hospitals either way is better, where there are too many for a sentence each."""
    if not view.many:
        return []
    rows = []
    for choice, way in (("alone", "tuned models of its own rows"), ("pooled", "tuned models of everybody's rows")):
        outcomes = [own[choice]["outcome"] for own in found["hospitals"].values()]
        rows.append([way, *(str(outcomes.count(outcome)) for outcome in _OUTCOMES)])
    return [Table(f"Hospitals, by what {view.metric['label']} speaks for", ["instead", *_OUTCOMES.values()], rows)]


def _told(view: View, hospitals: Mapping[str, Any]) -> list[Block]:
    """Returns a sentence a hospital, folded where there are many."""
    told = _sentences(view, hospitals)
    return [Fold(f"In a sentence for each of {view.hospitals_told}", [told])] if view.many else [told]


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
