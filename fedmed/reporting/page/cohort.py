"""Who the patients are: Table 1, and how far the hospitals are from each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import plots, words
from fedmed.reporting.page.blocks import Block, Cell, Figure, Key, Panel, Section, Table, Text
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Axis, Mark, Row
from fedmed.reporting.page.view import View

_ACROSS = 6  # hospitals side by side: what an A4 page holds
_DRAWN = 30
_SHADED_FROM = 0.1
_EDGE = 2.0  # standard deviations; a mark farther out is drawn here
_LOOKS = (
    Look("blue", (), "o"),
    Look("orange", (), "s"),
    Look("green", (), "D"),
    Look("purple", (), "v"),
    Look("sky", (), "^"),
    Look("vermillion", (), "P"),
)


def table_one(view: View) -> Section:
    """Returns the characteristics of each hospital's patients, in parts where there are many hospitals."""
    one, hospitals = view.study["table1"], view.study["table1"]["hospitals"]
    groups = [hospitals[start : start + _ACROSS] for start in range(0, len(hospitals), _ACROSS)]
    tables = [_part(one, group, number, len(groups)) for number, group in enumerate(groups)]
    data = view.study["data"]
    said = (
        f"{view.hospitals_told} with {words.count(data['patients'])} patients in {words.count(data['rows'])} rows of "
        f"“{data['name']}”{' (synthetic: no patient exists)' if data['synthetic'] else ''}. Test rows: "
    )
    said += words.sentence(data["test"])
    suppressed = view.study["design"]["suppression"]
    return Section("cohort", "The patients", [Text(said), *tables, _sizes(view), Text(words.sentence(suppressed))])


def _part(one: Mapping[str, Any], group: Sequence[str], number: int, parts: int) -> Table:
    title = "Table 1: patients by hospital" + (f" (part {number + 1} of {parts})" if parts > 1 else "")
    header = ["", *group, "all"]
    rows = [[_row_name(row), *(_cell(row["cells"].get(h)) for h in group), _cell(row["all"])] for row in one["rows"]]
    return Table(title, header, rows, (("", one["note"]),) if one.get("note") else ())


def _row_name(row: Mapping[str, Any]) -> Cell:
    name = f"{row['name']}: {row['level']}" if row.get("level") else row["name"]
    unit = f"{row['unit']}, " if row.get("unit") else ""
    return Cell(name, f"{unit}{row['statistic']}".strip(", "))


def _cell(cell: Mapping[str, Any] | None) -> Cell:
    if not cell:
        return Cell(words.NONE)
    missing = cell.get("missing")
    below = "" if missing == 0 else "missing: hidden" if missing is None else f"{missing:.3g} % missing"
    return Cell(cell["text"], below)


def _sizes(view: View) -> Table:
    header = [
        "hospital",
        "patients",
        "training rows",
        "test rows",
        "patients tested",
        "with the event",
        "enough to judge",
    ]
    binary = view.study["task"] == "binary"
    rows = [
        [
            own["id"],
            words.count(own["patients"]),
            words.count(own["train_rows"]),
            words.count(own["test_rows"]),
            words.count(own["tested_patients"]),
            f"{words.count(own['events'])} ({words.percent(own['event_rate'])})"
            if own["events"] is not None
            else "< 5",
            Cell("yes" if own["enough"] else "no", own.get("reason") or ""),
        ]
        for own in view.study["hospitals"]
    ]
    if not binary:
        header, rows = header[:5] + header[6:], [row[:5] + row[6:] for row in rows]
    note = (
        f"Rows are at one seed; patients tested are over all {len(view.study['seeds'])} seeds. Below "
        f"{view.study['minimum_events']} patients who carry the information a hospital gets no figure, no rank and no "
        "verdict."
    )
    return Table("What each hospital trains and is tested on", header, rows, (("", note),))


def shift(view: View) -> Section:
    """Returns how different the hospitals are in outcome and in features."""
    blocks: list[Block] = [_labels(view)]
    if (view.study["shift"].get("features") or {}).get("columns"):
        blocks.append(_features(view))
    return Section("shift", "How different the hospitals are", blocks)


def _labels(view: View) -> Figure:
    label = view.study["shift"]["label"]
    names = view.study["data"].get("class_names") or []
    binary = view.study["task"] == "binary"
    rows, cells = [], []
    for hospital in view.hospitals:
        own = label.get(hospital) or {}
        shares = own.get("shares")
        rows.append(Row(hospital, *_label_marks(own, binary)))
        values = [words.estimate(share) for share in shares] if shares else [words.number(own.get("mean"))]
        cells.append([hospital, *values, words.number(own.get("distance"))])
    has_shares = any((label.get(h) or {}).get("shares") for h in view.hospitals)
    header = [
        "hospital",
        *([f"share of {name}" for name in names] if has_shares else ["mean"]),
        "distance to the others",
    ]
    title = "Outcome by hospital"
    event = names[1] if binary and len(names) > 1 else ""
    axis = Axis(f"share with “{event}”" if binary else "distance to the others (0 alike, 1 nothing in common)")
    if not has_shares:
        axis = Axis("mean of the outcome")
    read = (
        "Each dot is a hospital, its line the interval. Dots far apart mean that hospitals see patients of different "
        "risk, which makes one shared model harder to calibrate."
    )
    shown = plots.rows_chart(rows[:_DRAWN], axis, f"{title}: {axis.label}, a dot for each hospital")
    return Figure(title, read, [Panel("", shown)], [_uniform(Table(title, header, cells))])


def _label_marks(own: Mapping[str, Any], binary: bool) -> tuple[list[Mark], str]:
    shares, look = own.get("shares"), Look("blue")
    if shares and binary:
        share = shares[1]
        return [Mark(share["estimate"], share["low"], share["high"], look)], words.percent(share["estimate"])
    value = own.get("distance") if shares else own.get("mean")
    return [Mark(value, None, None, look)], words.number(value)


def _uniform(table: Table) -> Table:
    width = len(table.header)
    rows = [[*row[: width - 1], *[words.NONE] * (width - len(row)), row[-1]][:width] for row in table.rows]
    return Table(table.caption, table.header, rows, table.notes)


def _features(view: View) -> Figure:
    features = view.study["shift"]["features"]
    columns, by = features["columns"], features["hospitals"]
    hospitals = [h for h in view.hospitals if h in by]
    order = sorted(
        range(len(columns)), key=lambda k: -max((abs(by[h]["difference"][k] or 0) for h in hospitals), default=0)
    )
    looks = _LOOKS
    many = len(hospitals) > len(looks)
    rows, edge = [], _EDGE
    for k in order[:_DRAWN]:
        values = [by[h]["difference"][k] for h in hospitals]
        shown = [None if v is None else max(-edge, min(edge, v)) for v in values]
        marks = [Mark(v, None, None, looks[0] if many else looks[i], not many) for i, v in enumerate(shown)]
        rows.append(Row(columns[k], marks, _farthest(hospitals, values, always=many), one_line=True))
    beyond = any(abs(by[h]["difference"][k] or 0) > edge for h in hospitals for k in order)
    limits = (-1.06 * edge, 1.06 * edge) if beyond else None
    axis = Axis("standard deviations from the other hospitals", zero=0.0, limits=limits)
    alt = "Features: how far each hospital is from the others, in standard deviations"
    read = (
        "For each feature, a mark a hospital: how far its mean is from that of all other hospitals, in standard "
        "deviations (for a category: how much the mixes differ, 0 to 1). Within 0.1 of 0 is commonly called alike."
    )
    if beyond:
        read += f" Marks at the edge lie beyond {edge:g}: often another unit or coding rather than other patients."
    keys = [] if many else [Key(h, looks[i].colour, "", looks[i].marker, False) for i, h in enumerate(hospitals)]
    panel = Panel("", plots.rows_chart(rows, axis, alt))
    return Figure("Features by hospital", read, [panel], _feature_tables(columns, by, hospitals), keys)


def _farthest(hospitals: Sequence[str], values: Sequence[float | None], always: bool) -> str:
    """Names the hospital farthest from the others: always, or where its mark is at the edge."""
    known = [(abs(value), hospital) for value, hospital in zip(values, hospitals, strict=True) if value is not None]
    if not known or not (always or max(known)[0] > _EDGE):
        return ""
    return f"farthest: {words.short(max(known)[1], 16)}"


def _feature_tables(columns: Sequence[str], by: Mapping[str, Any], hospitals: Sequence[str]) -> list[Table]:
    tables = []
    for start in range(0, len(hospitals), _ACROSS):
        group = hospitals[start : start + _ACROSS]
        rows = [[column, *(_shift_cell(by[h], k) for h in group)] for k, column in enumerate(columns)]
        part = f" ({group[0]} to {group[-1]})" if len(hospitals) > _ACROSS else ""
        note = "Below each difference: the share missing here minus the share missing elsewhere, where it is not 0."
        tables.append(Table(f"Distance to the other hospitals{part}", ["feature", *group], rows, (("", note),)))
    return tables


def _shift_cell(own: Mapping[str, Any], k: int) -> Cell:
    value, missing = own["difference"][k], (own.get("missing") or {k: None})[k]
    shown = words.number(value) if own["kind"][k] == "category" else words.signed(value)
    shade = None if value is None or abs(value) < _SHADED_FROM else min(1.0, abs(value))
    below = f"{'+' if missing > 0 else ''}{words.percent(missing)} missing" if missing else ""
    return Cell(shown, below, shade)
