"""How each hospital's figure grows with the rounds."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Figure, Fold, Section, Table
from fedmed.reporting.page.panels import ALL, panels
from fedmed.reporting.page.plots import Frame, Line
from fedmed.reporting.page.view import View

_START = 0.1  # share of the rounds in which a model finds its feet; the scale is made for what comes after


def learning(view: View) -> Section | None:
    """Returns the primary metric by round, a panel a hospital, all on one scale."""
    curves = view.study["curves"]
    by = {arm: curves["arms"][arm] for arm in view.arms if arm in curves["arms"]}
    units = view.units(by)
    if not units:
        return None
    label = view.measure(curves["metric"])["label"]
    frame = Frame("round", label, whole=True, ylim=_limits(view, by))

    def draw(unit: str | None) -> tuple[list[Line], Frame]:
        lines = []
        for arm, of in reversed(by.items()):
            own = view.at(of, unit)
            if own and any(value is not None for value in own["mean"]):
                lines.append(Line(of["rounds"], own["mean"], view.look(arm), own["low"], own["high"]))
        return lines, frame

    shown, absent = panels(view, units, draw, f"Learning curve, {label} by round, a line for each arm")
    several = ": the line is the mean over seeds, the band reaches from the least to the greatest"
    band = several if len(view.study["seeds"]) > 1 else ""
    read = (
        f"{words.capital(label)} on test rows after each round{band}. A curve still rising at the end "
        "means that more rounds may help. The first rounds "
        f"may lie outside the scale.{_ends_alone(view, by)}{absent}"
    )
    figure = Figure(f"{words.capital(label)} by round", read, shown, [_table(view, by, label)], view.keys(list(by)))
    return Section(
        "learning", "Learning curves", [Fold(f"{words.capital(label)} round by round", [figure])], printed=False
    )


def _ends_alone(view: View, by: Mapping[str, Any]) -> str:
    """Returns a sentence on arms that have a first and a last score only, beside others that have more."""
    most = max(len(of["rounds"]) for of in by.values())
    named = [f"“{view.label(arm)}”" for arm, of in by.items() if len(of["rounds"]) == 2 < most]
    if not named:
        return ""
    return (
        f" Of {words.listed(named)} the line joins the untrained models and the end, where each hospital has trained "
        "on by itself."
    )


def _limits(view: View, by: Mapping[str, Any]) -> tuple[float, float] | None:
    """Returns one scale for all panels, from what comes after the first rounds."""
    seen = []
    for of in by.values():
        first = _START * max(of["rounds"], default=0)
        late = [place for place, number in enumerate(of["rounds"]) if number >= first]
        for unit in view.units({"": of}):
            own = view.at(of, unit) or {}
            seen += [own[end][place] for end in ("low", "high") if end in own for place in late]
    seen = [value for value in seen if value is not None]
    room = 0.05 * (max(seen) - min(seen)) if seen else 0.0
    return (min(seen) - room, max(seen) + room) if room else None


def _table(view: View, by: Mapping[str, Any], label: str) -> Table:
    rows = []
    for unit in view.units(by):
        for arm, of in by.items():
            own = view.at(of, unit)
            if own and of["rounds"]:
                places = (0, len(of["rounds"]) // 2, len(of["rounds"]) - 1)
                cells = [f"{_seeds(own, place)} at round {of['rounds'][place]}" for place in places]
                rows.append([unit or ALL, view.label(arm), *cells])
    header = ["hospital", "arm", "first", "half way", "last"]
    spread = "mean (least to greatest over seeds)" if len(view.study["seeds"]) > 1 else "at the one seed"
    return Table(f"{label}: {spread}", header, rows)


def _seeds(own: Mapping[str, Any], place: int) -> str:
    low, high = own["low"][place], own["high"][place]
    return words.estimate({"estimate": own["mean"][place], "low": None if low == high else low, "high": high})
