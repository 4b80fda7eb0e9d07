"""How far the hospitals are from each other, in outcome and in features."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import plots, words
from fedmed.reporting.page.blocks import Block, Cell, Figure, Fold, Key, Panel, Section, Table
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Axis, Mark, Row
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes

_ACROSS = 6  # hospitals side by side: what an A4 page holds
_DRAWN = 22  # rows: what an A4 page holds with its title
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


def shift(view: View) -> Section:
    """Returns how different the hospitals are in outcome and in features."""
    blocks: list[Block] = [_labels(view)]
    if (view.study["shift"].get("features") or {}).get("columns"):
        blocks.append(Fold("Feature by feature", [_features(view)]))
    return Section("shift", "How different the hospitals are", blocks)


def _labels(view: View) -> Figure:
    label = view.study["shift"]["label"]
    rows = []
    for hospital in view.hospitals:
        mark, text = _label_mark(view.study["task"], label.get(hospital) or {})
        rows.append(Row(hospital, [mark], text if mark.value is not None else "withheld"))
    names = view.study["data"].get("class_names") or []
    axis, read = {
        "binary": (
            f"share with “{names[1] if len(names) > 1 else 'the event'}”",
            "Each dot is a hospital, its line the interval. Dots far apart mean that hospitals see patients of "
            "different risk, which makes one shared model harder to calibrate.",
        ),
        "multiclass": (
            "distance to the others",
            "How far each hospital's mix of outcomes is from the others': 0 is the same mix, 1 has nothing in common. "
            "The farther, the more local training and federated training differ.",
        ),
    }.get(view.study["task"], ("mean of the outcome", "The mean outcome of each hospital's patients."))
    title = "Outcome by hospital"
    shown = plots.rows_chart(rows[:_DRAWN], Axis(axis), f"{title}: {axis}, a dot for each hospital")
    return Figure(title, read, [Panel("", shown)], [_label_table(view, title, names)])


def _label_mark(task: str, own: Mapping[str, Any]) -> tuple[Mark, str]:
    if task == "binary":
        share = (own.get("shares") or [{}, {}])[1]
        mark = Mark(share.get("estimate"), share.get("low"), share.get("high"), Look("blue"))
        return mark, words.percent(mark.value)
    value = own.get("distance" if task == "multiclass" else "mean")
    return Mark(value, None, None, Look("blue")), words.number(value)


def _label_table(view: View, title: str, names: Sequence[str]) -> Table:
    label, notes, rows = view.study["shift"]["label"], Notes(), []
    classes = view.study["task"] in ("binary", "multiclass")
    for hospital in view.hospitals:
        own = label.get(hospital) or {}
        if not classes:
            rows.append([hospital, words.number(own.get("mean"))])
            continue
        shares = own.get("shares") or [None] * len(names)
        told = [notes.estimate(share, why=own.get("reason") or "") for share in shares]
        rows.append([hospital, *told, _or_why(own.get("distance"), own.get("reason"), notes)])
    shares_of = [*(f"share of {name}" for name in names), "distance to the others"]
    return Table(title, ["hospital", *(shares_of if classes else ["mean"])], rows, notes.listed())


def _or_why(value: float | None, reason: str | None, notes: Notes) -> str:
    """Returns a number, or the mark of the reason why there is none."""
    if value is None and reason:
        return f"withheld [{notes.mark(reason)}]"
    return words.number(value)


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
        notes = Notes()
        rows = [[column, *(_shift_cell(by[h], k, notes) for h in group)] for k, column in enumerate(columns)]
        part = f" ({group[0]} to {group[-1]})" if len(hospitals) > _ACROSS else ""
        note = "Below each difference: the share missing here minus the share missing elsewhere, where it is not 0."
        tables.append(Table(f"Distance to the other hospitals{part}", ["feature", *group], rows, notes.listed(note)))
    return tables


def _shift_cell(own: Mapping[str, Any], k: int, notes: Notes) -> Cell:
    value, missing = own["difference"][k], (own.get("missing") or {k: None})[k]
    reason = own["reason"][k] if own.get("reason") else ""
    shown = _or_why(value, reason, notes) if value is None or own["kind"][k] == "category" else words.signed(value)
    shade = None if value is None or abs(value) < _SHADED_FROM else min(1.0, abs(value))
    below = f"{'+' if missing > 0 else ''}{words.percent(missing)} missing" if missing else ""
    return Cell(shown, below, shade)
