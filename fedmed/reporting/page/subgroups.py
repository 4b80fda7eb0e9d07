"""Whom the models serve worse: the primary metric by subgroup."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import plots, words
from fedmed.reporting.page.blocks import Figure, Panel, Section, Table, Text
from fedmed.reporting.page.plots import Axis, Mark, Row
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes


def subgroups(view: View) -> Section:
    """Returns a panel a column, or says that none was looked at."""
    found = view.study["subgroups"]
    if not found:
        empty = view.study["design"].get("subgroups_asked")
        why = "study.subgroups is empty" if empty else "no column is named sex, gender or age; set study.subgroups"
        return Section("subgroups", "Subgroups", [Text(f"No subgroup was looked at: {why}.")])
    label = view.metric["label"]
    panels = [Panel(_title(column), _panel(view, column)) for column in found]
    read = (
        f"For each group, {label} of each arm with its {view.level} interval, over all hospitals' test rows. Groups "
        "whose lines lie apart are served differently; small groups have long lines and prove little."
    )
    tables = [table for column in found for table in (_table(view, column), _gaps(view, column))]
    arms = [arm for arm in view.arms if any(arm in g["performance"] for column in found for g in column["groups"])]
    keys = view.keys(arms, markers=True)
    return Section(
        "subgroups",
        "Subgroups: whom the models serve worse",
        [Figure(f"{words.capital(label)} by subgroup", read, panels, tables, keys)],
    )


def _title(column: Mapping[str, Any]) -> str:
    return f"{column['label']} ({column['unit']})" if column.get("unit") else column["label"]


def _panel(view: View, column: Mapping[str, Any]) -> str:
    rows = []
    for group in column["groups"]:
        told = [(arm, group["performance"].get(arm) or {}) for arm in view.arms]
        marks = [
            Mark(own["estimate"], own["low"], own["high"], view.look(arm))
            for arm, own in told
            if own.get("estimate") is not None
        ]
        rows.append(Row(group["name"], marks, _size(group) if marks else "withheld"))
    return plots.rows_chart(
        rows, Axis(view.metric["label"]), f"{view.metric['label']} by {column['label']}, a mark for each arm"
    )


def _size(group: Mapping[str, Any]) -> str:
    if group["suppressed"] or group["patients"] is None:
        return "suppressed" if group["suppressed"] else "patients hidden"
    return f"{words.count(group['patients'])} patients"


def _table(view: View, column: Mapping[str, Any]) -> Table:
    notes, rows = Notes(), []
    groups = column["groups"]
    arms = [arm for arm in view.arms if any(arm in group["performance"] for group in groups)]
    differences = [c for c in view.study["comparisons"] if any(c["id"] in group["differences"] for group in groups)]
    for group in groups:
        why = group.get("reason") or ""
        values = [notes.estimate(group["performance"].get(arm), why=why) for arm in arms]
        values += [notes.estimate(group["differences"].get(c["id"]), sign=True, why=why) for c in differences]
        counts = [_count(group, "patients"), _count(group, "events")]
        rows.append([group["name"], *counts, *values])
    header = ["group", "patients", "with the event", *map(view.label, arms), *(view.versus(c) for c in differences)]
    if view.study["task"] != "binary":
        header, rows = header[:2] + header[3:], [row[:2] + row[3:] for row in rows]
    caption = f"{view.metric['label']} by {_title(column)} ({view.level} interval)"
    return Table(caption, header, rows, notes.listed())


def _count(group: Mapping[str, Any], key: str) -> str:
    """Returns a count; one that is hidden though the group is shown would tell a hospital's or a group's small one."""
    if group["suppressed"]:
        return words.count(None)
    return "hidden" if group[key] is None else words.count(group[key])


def _gaps(view: View, column: Mapping[str, Any]) -> Table:
    rows = []
    for arm, gap in column["gap"].items():
        if gap is None:
            rows.append([view.label(arm), words.NONE, words.NONE, "fewer than two groups have a figure", words.NONE])
        else:
            p = words.NONE if gap.get("p_value") is None else f"{gap['p_value']:.3f}"
            rows.append([view.label(arm), gap["worst"], gap["best"], words.estimate(gap), p])
    note = (
        "The gap is never below 0, also where no group differs; p is how often a gap as wide comes about when groups "
        "are dealt to patients by chance."
    )
    header = ["arm", "worst group", "best group", f"gap ({view.level} interval)", "p"]
    return Table(f"Gap between best and worst: {_title(column)}", header, rows, (("", note),))
