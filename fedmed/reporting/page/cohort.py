"""Who the patients are: Table 1 and what each hospital trains and is tested on."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Cell, Fold, Section, Table, Text
from fedmed.reporting.page.view import View

_ACROSS = 6  # hospitals side by side: what an A4 page holds


def table_one(view: View) -> Section:
    """Returns the characteristics of each hospital's patients, in parts where there are many hospitals."""
    one, hospitals = view.study["table1"], view.study["table1"]["hospitals"]
    sizes = _sizes(view)
    groups = [hospitals[start : start + _ACROSS] for start in range(0, len(hospitals), _ACROSS)]
    tables = [_part(one, group, number, len(groups)) for number, group in enumerate(groups)]
    data = view.study["data"]
    patients = f"{view.patients_told} in " if view.patients_told else ""
    said = (
        f"{view.hospitals_told} with {patients}{view.rows_told} of “{data['name']}”"
        f"{' (synthetic: no patient exists)' if data['synthetic'] else ''}. Test rows: "
    )
    said += words.sentence(data["test"])
    suppressed = view.study["design"]["suppression"]
    method = Fold("Which counts are hidden", [Text(words.sentence(suppressed))])
    if not view.many:
        return Section("cohort", "The patients", [Text(said), *tables, sizes, method])
    few = _part(one, view.apart, 0, 1)
    folded = [Fold("Table 1 of every hospital", tables), Fold("What each hospital trains and is tested on", [sizes])]
    return Section("cohort", "The patients", [Text(f"{said} {view.apart_told}"), few, *folded, method])


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
    binary = view.study["task"] == "binary"
    rows = []
    for own in view.study["hospitals"]:
        enough = Cell("yes" if own["enough"] else "no", own.get("reason") or "")
        rows.append([own["id"], *_counts(view, own), *([_events(own)] if binary else []), enough])
    events = ["with the event, of all"] if binary else []
    header = ["hospital", "patients", "training rows", "test rows", "patients tested", *events, "enough to judge"]
    note = (
        f"Rows are at one seed; patients tested are {view.seeds_told}. Below "
        f"{view.study['minimum_events']} patients who carry the information a hospital gets no figure, no rank and no "
        "verdict."
    )
    needed = view.study["sample_size"]
    note += f" Needed: {words.sentence(needed['about'])}" if needed else ""
    return Table("What each hospital trains and is tested on", header, rows, (("", note),))


def _counts(view: View, own: Mapping[str, Any]) -> list[str | Cell]:
    """Returns patients, training rows, test rows and patients tested; rows are hidden where a count would follow."""
    train, test = ("hidden" if own[key] is None else words.count(own[key]) for key in ("train_rows", "test_rows"))
    wanted = (view.study["sample_size"] or {"hospitals": {}})["hospitals"].get(own["id"], {}).get("needed")
    trained = Cell(train, f"{wanted:,} needed") if wanted and own["train_rows"] is not None else train
    return [words.count(own["patients"]), trained, test, words.count(own["tested_patients"])]


def _events(own: Mapping[str, Any]) -> str:
    if own["events"] is None:
        return "hidden"
    return f"{words.count(own['events'])} ({words.percent(own['event_rate'])})"
