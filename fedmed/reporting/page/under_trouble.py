"""The federated arm under trouble: what each scenario does to each rule of aggregation, as far as it is shown."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import judged, plots, words
from fedmed.reporting.page.blocks import Block, Cell, Figure, Fold, Items, Panel, Section, Table, Text
from fedmed.reporting.page.plots import Axis, Row
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes


def headline(view: View) -> str:
    """Returns what trouble does, for the first screen; "" where none was tried."""
    found = view.study.get("stress")
    return f"When things go wrong: {judged.minus(found['summary'])}" if found else ""


def section(view: View) -> Section | None:
    """Returns the differences from training as planned as a figure, and all figures, prices and absences as tables."""
    found = view.study.get("stress")
    if not found:
        return None
    said = [(f"{row['label']}.", row["about"]) for row in found["scenarios"].values()]
    said += [(f"{name.replace('_', ' ')}.", words.sentence(f"Not here: {why}")) for name, why in
             found["left_out"].items()]  # fmt: skip
    label = words.capital(view.metric["label"])
    folds: list[Block] = [
        Fold("What goes wrong in each scenario, and where", [Text(found["whom"]), Items(said)]),
        Fold(f"{label} of each scenario and rule", _figures(view, found)),
        Fold("What it takes: rounds, traffic and hours", [_price(view, found)]),
    ]
    if missed := _missed(found):
        folds.append(Fold("Who was to contribute and did not", [missed]))
    folds.append(Fold("What is estimated, what is not, and how words are made", _method(found)))
    return Section(
        "trouble", "When things go wrong", [Text(judged.minus(found["summary"])), _figure(view, found), *folds]
    )


def _figure(view: View, found: Mapping[str, Any]) -> Figure:
    """Returns the mean's differences from training as planned by the first rule, a panel a rule."""
    metric, first = view.metric, found["first"]
    rows = {
        rule: [_row(row["label"], row["rules"][rule]) for row in found["scenarios"].values()] for rule in found["rules"]
    }
    limits = plots.limits([row for own in rows.values() for row in own], 0.0)
    label = f"difference in mean {metric['label']}"
    axis = Axis(label, 0.0, ("worse than planned", "better"), view.flips(metric["name"]), limits)
    width = View.width(len(rows))
    panels = [
        Panel(f"by {rule}", plots.rows_chart(own, axis, f"{label} from training as planned by {first}: {rule}", width))
        for rule, own in rows.items()
    ]
    read = (
        f"Each line is the {view.level} interval, by itself, of the mean {metric['label']} over {_hospitals(found)} in "
        f"a scenario minus that as planned by {first}, on the same patients; the mark is the estimate. A vermillion "
        "triangle pointing down is shown to be worse and a green one pointing up better, once it is allowed for "
        "all that was asked; a grey dot is undecided, also where an interval by itself leaves out 0. All panels have "
        "one scale."
    )
    return Figure(f"What trouble does to {metric['label']}, by rule", read, panels, [_differences(view, found)])


def _row(label: str, own: Mapping[str, Any]) -> Row:
    if own["difference"] is None:
        return Row(label, [], "what all is set against")
    return Row(label, [], "diverged") if own["diverged"] else judged.row(label, own["difference"])


def _diverged(found: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Returns what stands for a figure where training diverged, else ""."""
    return (
        f"diverged at {len(own['diverged'])} of {words.plural(len(found['seeds']), 'seed')}" if own["diverged"] else ""
    )


def _hospitals(found: Mapping[str, Any]) -> str:
    return f"the {words.plural(len(found['over']), 'hospital')} with a figure"


def _differences(view: View, found: Mapping[str, Any]) -> Table:
    notes, rows = Notes(), []
    for row in found["scenarios"].values():
        cells: list[str | Cell] = [row["label"]]
        for rule in found["rules"]:
            own = row["rules"][rule]
            if own["difference"] is None or own["diverged"]:
                cells.append(_diverged(found, own) or words.NONE)
            else:
                cells.append(judged.cell(notes, own["difference"]))
        rows.append(cells)
    caption = (
        f"Mean {view.metric['label']} minus that as planned by {found['first']} ({view.level} interval, by itself)"
    )
    general = (
        "p is adjusted by Holm's procedure over all cells. Alike: the models do exactly as well on these test patients."
    )
    return Table(caption, ["", *(f"by {rule}" for rule in found["rules"])], rows, notes.listed(general))


def _figures(view: View, found: Mapping[str, Any]) -> list[Block]:
    """Returns a table for each rule: the metric at each hospital, its mean, and whom it serves worst."""
    shown = view.apart
    tables: list[Block] = []
    for rule in found["rules"]:
        notes, rows = Notes(), []
        for row in found["scenarios"].values():
            own = row["rules"][rule]
            worst = own["worst"]
            served = Cell(words.number(worst["value"]), worst["hospital"]) if worst else words.NONE
            lost = _diverged(found, own)
            at = [lost or notes.estimate(own["hospitals"].get(hospital)) for hospital in shown]
            rows.append([row["label"], *at, lost or notes.estimate(own["mean"]), served])
        without = [name for name in view.hospitals if name not in found["over"]]
        left = f"Means are without {words.listed(without)}, which have no figure." if without else ""
        general = "The worst of several estimates is on average worse than the worst hospital truly is."
        header = ["by " + rule, *shown, "mean over hospitals", "worst hospital"]
        caption = f"{words.capital(view.metric['label'])} by {rule} ({view.level} interval)"
        tables.append(Table(caption, header, rows, notes.listed(general, left, view.apart_told)))
    return tables


def _price(view: View, found: Mapping[str, Any]) -> Table:
    """Returns what each scenario and rule takes: rounds and bytes to the target, hours of all rounds."""
    target = found["target"]
    rows = []
    for row in found["scenarios"].values():
        for rule, own in row["rules"].items():
            cells = [f"{row['label']}, {rule}"]
            if target:
                reached = own["reached"]
                cells.append("not reached" if reached["rounds"] is None else f"{reached['rounds']:,}")
                cells.append(words.size(reached["bytes_per_hospital"]))
            rows.append([*cells, words.seconds(own["clock_seconds"])])
    header = ["", *(["rounds to the target", "sent until then, per hospital"] if target else []), "all rounds, virtual"]
    waits = "a round waits for its slowest hospital, or for the deadline"
    notes = [("", f"The virtual clock is that of [clock] in the config; {waits}.")]
    if target:
        value = f"{view.metric['label']} {words.number(target['value'])}"
        about = f"The target is {value} over all hospitals' test rows together, {target['why']}"
        notes.append(("", words.sentence(f"{about}; a round is counted where the mean over seeds is as good.")))
    return Table("Price in each scenario", header, rows, notes)


def _missed(found: Mapping[str, Any]) -> Items | None:
    """Returns who missed, once where it is the same by every rule."""
    said = []
    for row in found["scenarios"].values():
        told = {rule: " ".join(own["missed"]) for rule, own in row["rules"].items()}
        if len(set(told.values())) == 1:
            told = {"": next(iter(told.values()))}
        said += [(f"{row['label']}{f', {rule}' if rule else ''}.", text) for rule, text in told.items() if text]
    return Items(said) if said else None


def _method(found: Mapping[str, Any]) -> list[Block]:
    rules = Table("Rules of aggregation", ["", "what it is"], [list(one) for one in found["rules"].items()], words=True)
    return [Text(found["estimand"], "Estimand. "), Text(found["method"], "Words. "), rules]
