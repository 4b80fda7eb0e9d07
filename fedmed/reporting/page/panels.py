"""Line charts hospital by hospital, all alike, and a sentence on the hospitals that have none."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from fedmed.reporting.page import plots, words
from fedmed.reporting.page.blocks import Panel
from fedmed.reporting.page.plots import Frame, Line
from fedmed.reporting.page.view import View

ALL = "all hospitals"
Draw: TypeAlias = Callable[[str | None], tuple[Sequence[Line], Frame] | None]
"""A hospital, or None for all together, to its lines and axes; None where there is nothing to draw."""


def panels(view: View, units: Sequence[str | None], draw: Draw, what: str) -> tuple[list[Panel], str]:
    """Returns a panel a hospital, all hospitals together last, and a sentence on those without one ("" if none)."""
    charts = [(unit, chart) for unit in units if (chart := draw(unit)) is not None and chart[0]]
    shown = [(unit, chart) for unit, chart in charts if unit in view.apart]
    shown += [(unit, chart) for unit, chart in charts if unit is None]
    width = view.width(len(shown))
    made = [
        Panel(unit or ALL, plots.lines_chart(lines, frame, f"{what}, {unit or ALL}", width))
        for unit, (lines, frame) in shown
    ]
    return made, _left_out(view, [unit for unit, _ in charts if unit is not None])


def _left_out(view: View, drawn: Sequence[str]) -> str:
    absent = [hospital for hospital in view.hospitals if hospital not in drawn]
    text = f" Not drawn, as too few patients or events make it undefined: {words.listed(absent)}." if absent else ""
    return f"{text} {view.apart_told}".rstrip()
