"""Algorithms against the first of them and against each hospital alone: what is shown, never a ranking."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import judged, plots, words
from fedmed.reporting.page.blocks import Block, Cell, Figure, Fold, Items, Panel, Section, Table, Text
from fedmed.reporting.page.plots import Axis
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes

_LOCAL = "local"
_MEAN = "mean over hospitals"


def headline(view: View) -> str:
    """Returns what comparing algorithms showed, for the first screen; "" where none were compared."""
    found = view.study.get("contest")
    return f"Algorithms compared: {judged.minus(found['summary'])}" if found else ""


def section(view: View) -> Section | None:
    """Returns the differences as a figure, and all figures, rates and traffic as tables."""
    found = view.study.get("contest")
    if not found:
        return None
    named = [arm for arm in found["arms"] if arm != _LOCAL]
    said = [(f"{arm}.", words.sentence(judged.minus(found["arms"][arm]["sentence"]))) for arm in named]
    said += [(f"{arm}.", words.sentence(f"Left out: {why}")) for arm, why in found["left_out"].items()]
    label = view.metric["label"]
    folds: list[Block] = [
        Fold(f"{words.capital(label)} of each algorithm at each hospital", [_figures(view, found)]),
        Fold("How they were tuned, and what each was given", [Text(words.sentence(found["tuning"])), _rates(found)]),
        Fold("What each sends", [_sent(view, found)]),
        Fold("What is estimated, and how words are made", _method(found)),
    ]
    return Section(
        "algorithms",
        "Which algorithm",
        [Text(judged.minus(found["summary"])), Items(said), *_differences(view, found), *folds],
    )


def _differences(view: View, found: Mapping[str, Any]) -> list[Block]:
    """Returns the figure of the differences from the first algorithm, and folded the one from each hospital alone."""
    shown = [
        _figure(view, contrasts, against)
        for contrasts, against in ((found["to_first"], found["first"]), (found["to_local"], "each hospital alone"))
        if contrasts
    ]
    return [shown[0], *(Fold("Against each hospital alone", [one]) for one in shown[1:])]


def _figure(view: View, contrasts: Sequence[Mapping[str, Any]], against: str) -> Figure:
    label, name = view.metric["label"], view.metric["name"]
    places = [(_MEAN, "mean"), *((hospital, hospital) for hospital in view.apart)]
    rows = {title: [judged.row(one["arm"], _at(one, place)) for one in contrasts] for title, place in places}
    limits = plots.limits([row for own in rows.values() for row in own], 0.0)
    width = View.width(len(rows))
    ends = (f"{words.short(against, 14)} better", "the algorithm better")
    axis = Axis(f"difference in {label}", 0.0, ends, view.flips(name), limits)
    panels = [
        Panel(title, plots.rows_chart(own, axis, f"{axis.label} from {against}: {title}", width))
        for title, own in rows.items()
    ]
    read = (
        f"Each line is the {view.level} interval, by itself, of an algorithm's {label} minus that of {against}, on the "
        "same patients; the mark is the estimate. A green triangle that points up is shown to be better and a "
        "vermillion one that points down worse, once it is allowed for all that was asked; a grey dot is undecided. "
        f"All panels have one scale. {view.apart_told}"
    )
    return Figure(f"{words.capital(label)} against {against}", read.strip(), panels, [_table(view, contrasts, against)])


def _at(contrast: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    return contrast["mean"] if place == "mean" else contrast["hospitals"][place]


def _table(view: View, contrasts: Sequence[Mapping[str, Any]], against: str) -> Table:
    notes, rows = Notes(), []
    for title, place in ((_MEAN, "mean"), *((hospital, hospital) for hospital in view.hospitals)):
        cells: list[str | Cell] = [title]
        for one in contrasts:
            cells.append(judged.cell(notes, _at(one, place)))
        rows.append(cells)
    caption = f"Difference in {view.metric['label']} from {against} ({view.level} interval, by itself)"
    general = "p is adjusted by Holm's procedure: the means are one family, the hospitals' differences another."
    return Table(caption, ["", *(one["arm"] for one in contrasts)], rows, notes.listed(general))


def _figures(view: View, found: Mapping[str, Any]) -> Table:
    """Returns the metric itself, hospital by hospital, its mean, and whom each serves worst."""
    arms, notes = found["arms"], Notes()
    rows: list[list[str | Cell]] = [
        [hospital, *(notes.estimate(own["hospitals"].get(hospital)) for own in arms.values())]
        for hospital in view.hospitals
    ]
    rows.append([_MEAN, *(notes.estimate(own["mean"]) for own in arms.values())])
    worst = [own["worst"] for own in arms.values()]
    served = (Cell(words.number(own["value"]), own["hospital"]) if own else words.NONE for own in worst)
    rows.append(["worst hospital", *served])
    if any(w and w["decile"] is not None for w in worst):
        rows.append(["worst tenth of the hospitals", *(words.number(w["decile"]) if w else words.NONE for w in worst)])
    without = [hospital for hospital in view.hospitals if hospital not in found["over"]]
    general = (
        "The worst of several estimates is on average worse than the worst hospital truly is. Each algorithm, and each "
        "hospital alone, has rates of its own here, so that figures need not be those of the study's own arms."
    )
    left = f"Means are without {words.listed(without)}, which have no figure." if without else ""
    header = ["hospital", *(own["label"] for own in arms.values())]
    caption = f"{words.capital(view.metric['label'])} ({view.level} interval)"
    return Table(caption, header, rows, notes.listed(general, left))


def _rates(found: Mapping[str, Any]) -> Table:
    """Returns what each arm was given at each seed, and how much was tried for it."""
    rows, notes = [], []
    for own in found["tuned"]:
        name = own["hospital"] or own["arm"]
        name = f"{name}, alone" if own["hospital"] else name
        sets = own["set"] or [{} for _ in own["learning_rates"]]
        given = [
            " / ".join([f"{rate:g}", *(f"{value:g}" for value in changed.values())])
            for rate, changed in zip(own["learning_rates"], sets, strict=True)
        ]
        effort = [sum(own[key]) for key in ("trials", "rounds")]
        rows.append([name, " · ".join(given), *(f"{count:,}" if count else words.NONE for count in effort)])
        notes += [("", words.sentence(f"{name}: {text}")) for text in own["notes"]]
    header = ["", "learning rate at each seed (/ the server's)", "trials, all seeds", "rounds they trained"]
    return Table("What was chosen", header, rows, notes)


def _sent(view: View, found: Mapping[str, Any]) -> Table:
    target, rows = found["target"], []
    for arm, own in found["arms"].items():
        sent = own["sent"]
        if sent is None:
            continue
        row = [arm, words.size(sent["bytes_per_round"]), words.size(sent["bytes_per_hospital"])]
        if target:
            reached = sent["reached"]
            rounds = "not reached" if reached["rounds"] is None else f"{reached['rounds']:,}"
            row += [rounds, words.size(reached["bytes_per_hospital"])]
        rows.append(row)
    header = ["algorithm", "a round, per hospital, down and up", "all rounds, per hospital"]
    if not target:
        return Table("Traffic", header, rows)
    header += ["rounds to the target", "sent until then, per hospital"]
    why = f"The target is {view.metric['label']} {words.number(target['value'])} over all hospitals' test rows together"
    note = words.sentence(f"{why}, {target['why']}; a round is counted where the mean over seeds is as good.")
    return Table("Traffic, and what it takes to reach a target", header, rows, [("", note)])


def _method(found: Mapping[str, Any]) -> list[Block]:
    rows = [[own["label"], own["about"], _changes(own["set"])] for own in found["arms"].values()]
    table = Table("Algorithms", ["", "what it is", "settings changed"], rows, words=True)
    return [Text(found["estimand"], "Estimand. "), Text(found["method"], "Words. "), table]


def _changes(changed: Mapping[str, Any]) -> str:
    said = []
    for key, value in changed.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        said += [f"{key}{'.' if name else ''}{name} = {one}" for name, one in inner]
    return ", ".join(said) or "none"
