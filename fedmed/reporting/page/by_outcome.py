"""How far predicted risks tell patients with the event from those without."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import plots, words
from fedmed.reporting.page.blocks import Block, Figure, Fold, Panel, Table
from fedmed.reporting.page.panels import ALL
from fedmed.reporting.page.plots import Axis, Mark, Row
from fedmed.reporting.page.view import View

_SIDES = (("event", "with the event"), ("no_event", "without the event"))
_TITLE = "Predicted risk of patients with and without the event"


def blocks(view: View) -> list[Block]:
    """Returns strips of predicted risk, a panel a hospital, of the first comparison's arms; folded where many."""
    found = view.study.get("risk_spread")
    if not found:
        return []
    arms = [arm for arm in view.primary_arms() if arm in found["arms"]]
    by = {arm: found["arms"][arm] for arm in arms}
    units = [unit for unit in view.units(by) if any(view.at(of, unit) for of in by.values())]
    rows = {unit: [_row(view, by, unit, *side) for side in _SIDES] for unit in units}
    limits = plots.limits([row for own in rows.values() for row in own], 0.0)
    shown = [unit for unit in units if unit is None or unit in view.apart]
    axis, width = Axis("predicted risk", limits=limits), view.width(len(shown))
    panels = [
        Panel(unit or ALL, plots.rows_chart(rows[unit], axis, f"{_TITLE}, {unit or ALL}, a strip for each arm", width))
        for unit in shown
    ]
    read = (
        f"{words.sentence(found['about'])} Each strip reaches from the 5 % to the 95 % quantile, its thick part from "
        "the 25 % to the 75 %; its mark is the median. The farther apart the two outcomes' strips, the better the "
        f"model tells them apart. {view.apart_told}"
    )
    figure = Figure(_TITLE, read.rstrip(), panels, [_table(view, found, units)], view.keys(arms, markers=True))
    return [Fold(_TITLE, [figure])] if view.many else [figure]


def _row(view: View, by: Mapping[str, Any], unit: str | None, side: str, name: str) -> Row:
    marks = []
    for arm, of in by.items():
        own = view.at(of, unit)
        if own:
            lowest, low, middle, high, highest = own[side]
            marks.append(Mark(middle, lowest, highest, view.look(arm), inner=(low, high)))
    return Row(name, marks)


def _table(view: View, found: Mapping[str, Any], units: list[str | None]) -> Table:
    rows = []
    for unit in units:
        for arm in [arm for arm in view.arms if arm in found["arms"]]:
            own = view.at(found["arms"][arm], unit)
            if own:
                rows += [[unit or ALL, view.label(arm), name, *map(words.number, own[side])] for side, name in _SIDES]
    header = ["hospital", "arm", "patients", *(f"{100 * level:g} %" for level in found["levels"])]
    return Table("Quantiles of predicted risk", header, rows)
