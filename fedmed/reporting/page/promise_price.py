"""What a promise costs each hospital, federated and alone, and at which promises joining pays."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.engine.promises import in_words
from fedmed.reporting.page import plots, protection, words
from fedmed.reporting.page.blocks import Cell, Figure, Fold, Items, Panel, Section, Table, Text
from fedmed.reporting.page.plots import Frame, Line
from fedmed.reporting.page.view import OUTCOMES, View
from fedmed.reporting.page.words import Notes

_ARMS = ("federated", "local")


def section(view: View) -> Section | None:
    """Returns the curves of quality over epsilon, a panel a hospital, with what they say."""
    price = view.study["privacy"]["price"]
    if not price:
        return None
    label, points = view.measure(price["metric"])["label"], price["points"]
    shown = [name for name in view.apart if any(_has_figure(point, name) for point in points)]
    width = View.width(len(shown))
    panels = [Panel(name, _panel(view, points, name, label, width)) for name in shown]
    read = (
        f"{label} with {view.level} intervals, without a promise on the left, stronger promises to the right. Blue is "
        f"federated, orange is the hospital alone, at the same epsilon. {view.apart_told}"
    )
    tables = [_table(view, points, label), _costs(view, points, label)]
    figure = Figure(f"{label} by promise", f"{words.sentence(price['about'])} {read}", panels, tables, _keys(view))
    said = [(f"{name}.", words.sentence(price["sentences"][name])) for name in view.hospitals]
    items = Items(said)
    told = Fold("Each hospital in a sentence", [items]) if view.many else items
    promised = [
        protection.table(own, f"What is promised: {arm}")
        for arm, own in price["promises"].items()
        if arm.startswith(_ARMS[0])
    ]
    blocks = [Text(_summary(points)), told, figure, Fold("What is promised at each epsilon, federated", promised)]
    return Section("privacy-price", "What a promise to patients would cost", blocks)


def _has_figure(point: Mapping[str, Any], hospital: str) -> bool:
    return any((point[arm].get(hospital) or {}).get("estimate") is not None for arm in _ARMS)


def _keys(view: View) -> list[Any]:
    return view.keys(_ARMS, markers=True)


def _summary(points: Sequence[Mapping[str, Any]]) -> str:
    """Returns at how many hospitals joining pays or harms, promises of which the same is to be said together."""
    said: dict[str, list[float | None]] = {}
    for point in points:
        said.setdefault(_found(list(point["outcome"].values())), []).append(point["epsilon"])
    parts = [f"{in_words(epsilons)} joining {told}" for told, epsilons in said.items()]
    return words.sentence(f"Of {words.plural(len(points[0]['outcome']), 'hospital')}: {'; '.join(parts)}")


def _found(outcomes: Sequence[str]) -> str:
    pays, harms = outcomes.count("gains"), outcomes.count("harmed")
    shown = [f"pays at {pays}" if pays else "", f"harms {harms}" if harms else ""]
    return " and ".join(part for part in shown if part) or "is not shown to pay or to harm anywhere"


def _panel(view: View, points: Sequence[Mapping[str, Any]], hospital: str, label: str, width: float) -> str:
    lines = []
    for shift, arm in zip((-0.06, 0.06), _ARMS, strict=True):
        told = [(place + shift, point[arm].get(hospital) or {}) for place, point in enumerate(points)]
        told = [(x, own) for x, own in told if own.get("estimate") is not None]
        if told:
            y, low, high = ([own[key] for _, own in told] for key in ("estimate", "low", "high"))
            lines.append(Line([x for x, _ in told], y, view.look(arm), low, high, bars=True))
    ticks = tuple((float(place), _tick(point["epsilon"])) for place, point in enumerate(points))
    frame = Frame("epsilon", label, xlim=(-0.4, len(points) - 0.6), ticks=ticks)
    return plots.lines_chart(lines, frame, f"{label} at {hospital} by epsilon, federated and alone", width)


def _tick(epsilon: float | None) -> str:
    return "none" if epsilon is None else f"{epsilon:g}"


def _table(view: View, points: Sequence[Mapping[str, Any]], label: str) -> Table:
    notes, rows = Notes(), []
    for hospital in view.hospitals:
        for point in points:
            outcome = point["outcome"].get(hospital, "")
            mark = OUTCOMES[outcome][1] if outcome in OUTCOMES else ""
            rows.append(
                [
                    hospital,
                    _tick(point["epsilon"]),
                    *(notes.estimate(point[arm].get(hospital)) for arm in _ARMS),
                    notes.estimate(point["difference"].get(hospital), sign=True),
                    Cell(f"{mark} {outcome}".strip()),
                ]
            )
    header = ["hospital", "epsilon", "federated", "alone", "federated minus alone", "joining"]
    return Table(f"{label} by promise", header, rows, notes.listed())


def _costs(view: View, points: Sequence[Mapping[str, Any]], label: str) -> Table:
    """Returns what each promise costs against none."""
    notes, rows = Notes(), []
    for hospital in view.hospitals:
        for point in points:
            if point["epsilon"] is None:
                continue
            costs = [point[key].get(hospital) for key in ("cost_federated", "cost_local")]
            rows.append([hospital, _tick(point["epsilon"]), *(notes.estimate(own, sign=True) for own in costs)])
    header = ["hospital", "epsilon", "federated", "alone"]
    note = f"{label} at the promise minus {label} without one ({view.level} interval, each by itself)."
    return Table("What each promise costs against none", header, rows, notes.listed(note))
