"""What changes with the consortium: its size, a hospital outside it, and other data."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import plots, words
from fedmed.reporting.page.blocks import Block, Cell, Figure, Fold, Panel, Section, Table
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Axis, Frame, Line, Mark, Row
from fedmed.reporting.page.view import OUTCOMES, View
from fedmed.reporting.page.words import Notes

_AXES = {"hospitals": "hospitals in the consortium", "patients": "share of everybody's training patients, %"}


def grow(view: View) -> Section | None:
    """Returns the watched hospital's figure against the size of the consortium."""
    found = view.study.get("grow")
    if not found:
        return None
    label = view.measure(found["metric"])["label"]
    panels, tables = [], []
    arms = [arm for arm in view.arms if any(arm in point["performance"] for point in found["points"])]
    for axis, words_ in _AXES.items():
        points = [point for point in found["points"] if point["axis"] == axis]
        if points:
            panels.append(Panel(f"By {words_.split(',')[0]}", _grow_panel(view, points, arms, (axis, label))))
            tables.append(_grow_table(view, points, arms, words_, label))
    read = (
        f"{label} at {found['hospital']} as the consortium grows, with {view.level} intervals. Where the line is flat, "
        "more hospitals or patients of this kind would add little for this hospital."
    )
    title = f"{found['hospital']}: {label} by size of the consortium"
    figure = Figure(title, f"{found['about']} {read}", panels, tables, view.keys(arms, markers=True))
    return Section("grow", "How large a consortium is worth it", [figure])


def _grow_panel(view: View, points: Sequence[Mapping[str, Any]], arms: Sequence[str], names: tuple[str, str]) -> str:
    axis, label = names
    lines = []
    for arm in arms:
        told = [(_size(point, axis), point["performance"].get(arm) or {}) for point in points]
        told = [(x, own) for x, own in told if own.get("estimate") is not None]
        if told:
            y, low, high = ([own[key] for _, own in told] for key in ("estimate", "low", "high"))
            lines.append(Line([x for x, _ in told], y, view.look(arm), low, high, bars=True))
    frame = Frame(_AXES[axis], label, whole=axis == "hospitals")
    return plots.lines_chart(lines, frame, f"{label} by {_AXES[axis]}, a line for each arm")


def _size(point: Mapping[str, Any], axis: str) -> float:
    return point["hospitals"] if axis == "hospitals" else 100 * point["share"]


def _grow_table(view: View, points: Sequence[Mapping[str, Any]], arms: Sequence[str], axis: str, label: str) -> Table:
    notes = Notes()
    rows = [
        [
            str(point["hospitals"]),
            f"{100 * point['share']:g} %",
            "hidden" if point["train_rows"] is None else words.count(point["train_rows"]),
            *(notes.estimate(point["performance"].get(arm)) for arm in arms),
            notes.estimate(point.get("difference"), sign=True),
        ]
        for point in points
    ]
    header = ["hospitals", "share of patients", "training rows", *map(view.label, arms), "difference"]
    return Table(f"{label} by {axis.split(',')[0]} ({view.level} interval)", header, rows, notes.listed())


def external(view: View) -> Section | None:
    """Returns models tested at hospitals they were not trained at: left out, or one hospital's model elsewhere."""
    left_out, transfer = _left_out(view), _transfer(view)
    if not left_out and not transfer:
        return None
    title = "At a hospital the model has not seen"
    if left_out and not view.many:  # it was asked for by name
        blocks: list[Block] = [*left_out, *([Fold("One hospital's model at the others", transfer)] if transfer else [])]
        return Section("external", title, blocks)
    folded = Fold("Models at hospitals they were not trained at", [*left_out, *transfer])
    return Section("external", title, [folded], printed=False)


def _left_out(view: View) -> list[Table]:
    per = view.study["performance"]
    arms = [
        arm for arm in view.arms if arm in per and (view.kind(arm) == "leave_one_out" or arm in ("federated", "local"))
    ]
    if not any(view.kind(arm) == "leave_one_out" for arm in arms):
        return []
    notes, name = Notes(), view.metric["name"]
    rows = [
        [hospital, *(notes.estimate((view.at(per[arm], hospital) or {}).get(name)) for arm in arms)]
        for hospital in view.hospitals
    ]
    note = (
        "Leaving a hospital out is external validation: what the model of the others would do there on the first day. "
        "The difference to the federated model is what this hospital's own data add."
    )
    header = ["hospital left out", *(view.label(arm) for arm in arms)]
    return [Table(f"Leave one out: {view.metric['label']} ({view.level} interval)", header, rows, notes.listed(note))]


def _transfer(view: View) -> list[Table]:
    found = view.study.get("transfer")
    if not found:
        return []
    seen = [value for row in found["values"] for value in row if value is not None]
    low, spread = min(seen, default=0.0), (max(seen, default=1.0) - min(seen, default=0.0)) or 1.0
    rows = [
        [name, *(_shaded(value, low, spread) for value in row)]
        for name, row in zip(found["trained_at"], found["values"], strict=True)
    ]
    label = view.measure(found["metric"])["label"]
    note = (
        "Read along a row: how one hospital's own model does elsewhere; the diagonal is at home. Darker is larger. "
        "Mean over seeds; “withheld” where the tested hospital has too few events."
    )
    header = ["trained at, tested at:", *found["tested_at"]]
    return [Table(f"One hospital's model at the others: {label}", header, rows, (("", note),))]


def _shaded(value: float | None, low: float, spread: float) -> Cell:
    return Cell("withheld") if value is None else Cell(words.number(value), "", 0.15 + 0.85 * (value - low) / spread)


def scenarios(view: View) -> Section | None:
    """Returns the same study on other data: a panel a scenario, the study itself first."""
    found = view.study.get("scenarios")
    if not found:
        return None
    name, label = view.metric["name"], view.metric["label"]
    main = {"label": "this study", "comparisons": view.study["comparisons"], "performance": view.study["performance"]}
    told = [(scenario, c) for scenario in [main, *found] if (c := _primary(scenario))]
    rows_of = [[_row(hospital, own, name) for hospital, own in _places(c)] for _, c in told]
    most = _most([mark for rows in rows_of for row in rows for mark in row.marks])
    panels = []
    for (scenario, c), rows in zip(told, rows_of, strict=True):
        axis = Axis(f"difference in {label}", 0.0, view.ends(c), view.flips(name), (-most, most))
        alt = f"{scenario['label']}: {axis.label}, {view.versus(c)}"
        panels.append(Panel(scenario["label"], plots.rows_chart(rows, axis, alt)))
    read = (
        f"One panel a scenario, all on one scale: each line is the {view.level} interval of a hospital's difference. "
        "Compare a hospital from panel to panel to see what the changed setting does."
    )
    tables = [_scenario_table(view, scenario, c) for scenario, c in told]
    figure = Figure(f"Differences in {label} by scenario", read, panels, tables)
    folded = Fold(f"{words.plural(len(told), 'scenario')} side by side", [figure])
    return Section("scenarios", "The same study on other data", [folded], printed=False)


def _most(marks: Sequence[Mark]) -> float:
    seen = [abs(v) for mark in marks for v in (mark.value, mark.low, mark.high) if v is not None]
    return 1.08 * max(seen, default=1.0) or 1.0


def _places(comparison: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Returns (name, figures) of a scenario's own hospitals, which may be others than the study's."""
    everyone = [("all hospitals", comparison["all"])] if comparison.get("all") else []
    return [*comparison["hospitals"].items(), *everyone]


def _primary(scenario: Mapping[str, Any]) -> Mapping[str, Any] | None:
    comparisons = scenario["comparisons"]
    return next((c for c in comparisons if c.get("primary")), comparisons[0] if comparisons else None)


def _row(hospital: str, own: Mapping[str, Any], name: str) -> Row:
    told = own["measures"].get(name) or {}
    if told.get("estimate") is None:
        return Row(hospital, [], own.get("outcome") or "withheld")
    look = OUTCOMES[own["outcome"]][2] if own.get("outcome") in OUTCOMES else Look("ink", (), "D")
    return Row(hospital, [Mark(told["estimate"], told["low"], told["high"], look)], words.estimate(told, sign=True))


def _scenario_table(view: View, scenario: Mapping[str, Any], comparison: Mapping[str, Any]) -> Table:
    notes, rows, name = Notes(), [], view.metric["name"]
    arms = [arm for arm in view.arms if arm in scenario["performance"]]
    for hospital, own in _places(comparison):
        unit = hospital if hospital in comparison["hospitals"] else None
        values = [notes.estimate((view.at(scenario["performance"][arm], unit) or {}).get(name)) for arm in arms]
        difference = notes.estimate(own["measures"].get(name), sign=True, why=own.get("reason") or "")
        rows.append([hospital, *values, difference, own.get("outcome") or words.NONE])
    changed = ", ".join(f"{key} = {value}" for key, value in (scenario.get("set") or {}).items())
    header = ["hospital", *map(view.label, arms), view.versus(comparison), "verdict"]
    title = f"{scenario['label']}" + (f" ({changed})" if changed else "")
    return Table(title, header, rows, notes.listed())
