"""The arms against each other: forest plots of paired differences, and every figure of every arm by hospital."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import explaining, plots, serving, words
from fedmed.reporting.page.blocks import Block, Cell, Figure, Fold, Panel, Section, Table, Text
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Axis, Mark, Row
from fedmed.reporting.page.view import OUTCOMES, View
from fedmed.reporting.page.words import Notes

_ALL = Look("ink", (), "D")
_ACROSS = 5
_TALL = 20
"""Rows of a panel: what a printed page holds."""


def arms(view: View) -> Section:
    """Returns what the arms are and what a difference between them means."""
    design = view.study["design"]
    rows = [[view.label(arm["name"]), arm["about"], _changes(arm.get("set") or {})] for arm in design["arms"]]
    said = [("What a difference means. ", design["estimand"]), ("Splits. ", design["splits"])]
    said += [("Intervals. ", design["interval_method"]), ("Verdict. ", design["verdict_rule"])]
    table = Table("Arms", ["arm", "what it is", "settings changed"], rows, words=True)
    blocks = [Text(words.sentence(text), lead) for lead, text in said if text]
    method = Fold("What a difference means, and how intervals and verdicts are made", blocks)
    return Section("arms", "What was compared, and how", [table, method, *_tuned(view)])


def _tuned(view: View) -> list[Block]:
    """Returns how learning rates were searched and what each arm was given, nothing where they are the config's."""
    design = view.study["design"]
    if not design.get("tuning"):
        return []
    seeds = [f"seed {seed}" for seed in view.study["seeds"]]
    rows = [
        [
            ", ".join(filter(None, [view.label(own["arm"]), own["hospital"]])),
            *(f"{rate:g}" for rate in own["learning_rates"]),
        ]
        for own in design["tuned"]
    ]
    notes = [("", words.sentence(f"{row[0]}: {text}")) for row, own in zip(rows, design["tuned"], strict=True)
             for text in own["notes"]]  # fmt: skip
    table = Table("Learning rates", ["arm", *seeds], rows, notes)
    return [Text(words.sentence(design["tuning"]), "Tuning. "), Fold("The learning rate of each arm", [table])]


def _changes(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in changed.items()) or "none"


def differences(view: View) -> Section | None:
    """Returns a forest plot a comparison, the primary one first, and all differences as tables."""
    comparisons = view.study["comparisons"]
    if not comparisons:
        return None
    name = view.metric["name"]
    label = view.metric["label"]
    primary = [c for c in comparisons if c["primary"]] or comparisons[:1]
    read = (
        f"Each line is the {view.level} interval of a hospital's difference in {label}; the mark is the estimate. A "
        "line that crosses 0 is compatible with no difference. Green triangles point up where the verdict is a gain "
        "and vermillion ones down where it is harm; blue diamonds are no worse, grey dots undecided; the black diamond "
        "is all hospitals' test rows together."
    )
    title = f"Differences in {label} by hospital"
    shown = _forests(view, primary, name, title, read)
    others = [c for c in comparisons if c not in primary]
    more = [_forests(view, others, name, f"{title}: the other comparisons", "Read as the one above.")] if others else []
    folded = [Fold("The other comparisons", more)] if more else []
    return Section("differences", "Arms compared", [shown, *folded, *_other(view, comparisons, name)])


def _forests(view: View, comparisons: Sequence[Mapping[str, Any]], name: str, title: str, read: str) -> Figure:
    panels = [panel for comparison in comparisons for panel in _forest(view, comparison, name)]
    return Figure(title, read, panels, [_table(view, comparison, name) for comparison in comparisons])


def _title(view: View, comparison: Mapping[str, Any]) -> str:
    return view.versus(comparison) + (" (primary)" if comparison.get("primary") else "")


def _forest(view: View, comparison: Mapping[str, Any], name: str) -> list[Panel]:
    """Returns a comparison's panels, all on one scale; of many hospitals several, each no taller than a page."""
    rows = [_row(hospital, own, name) for hospital, own in view.places(comparison)]
    each = math.ceil(len(rows) / math.ceil(len(rows) / _TALL)) if rows else 1
    parts = [rows[start : start + each] for start in range(0, len(rows), each)]
    limits = plots.limits(rows, 0.0) if len(parts) > 1 else None
    axis = Axis(f"difference in {view.metric['label']}", 0.0, view.ends(comparison), view.flips(name), limits)
    alt = f"Forest plot, {axis.label}: {view.versus(comparison)}, with intervals"
    titles = [_title(view, comparison), *[f"{_title(view, comparison)}, continued"] * (len(parts) - 1)]
    return [Panel(title, plots.rows_chart(part, axis, alt)) for title, part in zip(titles, parts, strict=True)]


def _row(hospital: str, own: Mapping[str, Any], name: str) -> Row:
    told = own["measures"].get(name) or {}
    if told.get("estimate") is None:
        return Row(hospital, [], own.get("outcome") or "withheld")
    outcome = own.get("outcome")
    look = OUTCOMES[outcome][2] if outcome in OUTCOMES else _ALL
    return Row(hospital, [Mark(told["estimate"], told["low"], told["high"], look)], words.estimate(told, sign=True))


def _table(view: View, comparison: Mapping[str, Any], name: str) -> Table:
    notes, rows = Notes(), []
    for hospital, own in view.places(comparison):
        told = own["measures"].get(name)
        detectable = words.number(own.get("detectable"))
        shown = notes.estimate(told, sign=True, why=own.get("reason") or "")
        rows.append(
            [hospital, shown, own.get("outcome") or words.NONE, words.p_value((told or {}).get("p_value")), detectable]
        )
    header = [
        "hospital",
        f"difference in {view.metric['label']} ({view.level} interval)",
        "verdict",
        "p, by itself",
        "detectable",
    ]
    general = (
        "The verdict is by all three questions, allowed for how much was asked; p and the detectable difference (found "
        "with 80 % chance) are this difference's by itself."
    )
    return Table(_title(view, comparison), header, rows, notes.listed(general))


def _other(view: View, comparisons: Sequence[Mapping[str, Any]], primary: str) -> list[Block]:
    """Returns the differences in the other measures, of which no verdict is made."""
    tables = []
    for comparison in comparisons:
        places = dict(view.places(comparison))
        names = [m["name"] for m in view.study["measures"] if m["name"] != primary]
        names = [m for m in names if any(m in own["measures"] for own in places.values())]
        for start in range(0, len(names), _ACROSS):
            notes, group = Notes(), names[start : start + _ACROSS]
            rows = []
            for place, own in places.items():
                why = own.get("reason") or ""
                told = [notes.estimate(own["measures"].get(m), sign=True, why=why) for m in group]
                rows.append([place, *told])
            header = ["hospital", *(f"{view.measure(m)['label']} ({_better(view, m)})" for m in group)]
            general = "Not adjusted for the number of measures: read as description."
            tables.append(Table(view.versus(comparison), header, rows, notes.listed(general)))
    return [Fold("Differences in the other measures", tables)] if tables else []


def _better(view: View, name: str) -> str:
    measure = view.measure(name)
    return f"best at {measure['target']:g}" if measure["better"] == "target" else f"{measure['better']} is better"


def performance(view: View) -> Section:
    """Returns the primary metric of every arm at every hospital, then all measures hospital by hospital."""
    per = {arm: view.study["performance"][arm] for arm in view.arms if arm in view.study["performance"]}
    name, labels = view.metric["name"], [view.label(arm) for arm in per]
    notes, told = Notes(), explaining.is_told(view, name)
    places = _scores(view, [*per.values(), *([explaining.null(view)] if told else [])])
    rows = [[title, *(serving.cell(notes, own.get(name)) for own in told)] for title, told in places]
    header = ["hospital", *labels, *([explaining.HEADER] if told else [])]
    caption = f"{words.capital(view.metric['label'])} by hospital and arm ({view.level} interval)"
    general = "“all hospitals”: their test rows together, ranked within each; “mean over hospitals”: each counts alike."
    means = any("mean" in own for own in per.values())
    about = [general if means else "", serving.about(list(per.values())), explaining.about(view) if told else ""]
    first = Table(caption, header, rows, notes.listed(*about))
    everywhere = _scores(view, [*per.values(), explaining.null(view)])
    header = ["measure", *labels, explaining.HEADER]
    every = Fold("All measures, hospital by hospital", [_measures(view, header, *place) for place in everywhere])
    said = "How well each arm's models do at each hospital, on test rows that no model was trained on."
    skills = Fold("Skill: how much better than knowing nothing", explaining.skills(view, list(per)))
    return Section("performance", "How good the models are", [Text(said), first, skills, every])


def _scores(view: View, per: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Returns (place, what each arm scores there): hospitals, all of them together, their plain mean, the worst."""
    units = view.units({str(number): own for number, own in enumerate(per)})
    found: list[tuple[str, list[Mapping[str, Any]]]]
    found = [(unit or "all hospitals", [view.at(own, unit) or {} for own in per]) for unit in units]
    if any("mean" in own for own in per):
        found.append(("mean over hospitals", [own.get("mean") or {} for own in per]))
    return [*found, *serving.places(per)]


def _measures(view: View, header: Sequence[str], title: str, told: Sequence[Mapping[str, Any]]) -> Table:
    notes, rows = Notes(), []
    for measure in view.study["measures"]:
        if not any(measure["name"] in own for own in told):
            continue  # the worst hospital is not sought by every measure
        name = Cell(measure["label"], _better(view, measure["name"]))
        rows.append([name, *(serving.cell(notes, own.get(measure["name"])) for own in told)])
    return Table(f"{title}: every measure by arm ({view.level} interval)", header, rows, notes.listed())
