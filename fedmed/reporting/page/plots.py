"""The two drawings that all figures are made of: marks in rows, and lines."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.reporting.page import drawing, words
from fedmed.reporting.page.drawing import COLOURS, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW, _MARK, _FOOT = 27.0, 7.0, 46.0
_MOST_POINTS = 160
_STEPS = [1, 2, 5, 10]


@dataclasses.dataclass(frozen=True)
class Mark:
    """A value with an interval, and a thicker one within it; nothing is drawn where it is None."""

    value: float | None
    low: float | None
    high: float | None
    look: Look
    filled: bool = True
    inner: tuple[float | None, float | None] = (None, None)


@dataclasses.dataclass(frozen=True)
class Row:
    """A name, what is said beside it, and marks one below the other (or all on one line)."""

    name: str
    marks: Sequence[Mark]
    text: str = ""
    one_line: bool = False

    @property
    def height(self) -> float:
        """In points."""
        return _ROW + _MARK * (0 if self.one_line else max(0, len(self.marks) - 1))


@dataclasses.dataclass(frozen=True)
class Axis:
    """What a row chart's axis shows.

    Attributes:
        label: its name.
        zero: where a line is drawn.
        ends: words for the left and the right of that line.
        flip: whether small values are on the right.
        limits: of the axis; by default all that is drawn.
    """

    label: str
    zero: float | None = None
    ends: tuple[str, str] | None = None
    flip: bool = False
    limits: tuple[float, float] | None = None


def rows_chart(rows: Sequence[Row], axis: Axis, alt: str, width: float = drawing.WIDE) -> str:
    """Returns SVG of rows with their names above the marks, so that long names have room on a phone."""
    height = sum(row.height for row in rows) + 8
    with drawing.style():
        figure = drawing.blank(width, height + _FOOT)
        axes = figure.add_axes((8 / width, _FOOT / (height + _FOOT), 1 - 16 / width, height / (height + _FOOT)))
        axes.set(ylim=(height, 0), yticks=[], xlim=axis.limits or limits(rows, axis.zero))
        if axis.flip:
            axes.invert_xaxis()
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        if axis.zero is not None:
            axes.axvline(axis.zero, color=COLOURS["ink"], linewidth=0.9)
        top = 4.0
        for row in rows:
            _draw_row(axes, row, top)
            top += row.height
        axes.locator_params(axis="x", nbins=5)
        _label(axes, axis)
        return drawing.svg(figure, alt)


def limits(rows: Sequence[Row], zero: float | None) -> tuple[float, float]:
    """Returns an axis that holds all marks, and zero if there is one."""
    seen = [v for row in rows for m in row.marks for v in (m.value, m.low, m.high, *m.inner) if v is not None]
    seen += [] if zero is None else [zero]
    low, high = (min(seen), max(seen)) if seen else (-1.0, 1.0)
    room = 0.06 * (high - low) or 0.1 * max(abs(low), 0.1)
    return low - room, high + room


def _draw_row(axes: "Axes", row: Row, top: float) -> None:
    across = axes.get_yaxis_transform()
    # Words stand on paper of their own, so that no line of the axis runs through them.
    on = {"transform": across, "va": "baseline", "bbox": {"facecolor": COLOURS["paper"], "linewidth": 0, "pad": 1.0}}
    axes.text(0, top + 8, words.short(row.name, max(24, 46 - len(row.text))), **on)
    if row.text:
        axes.text(1, top + 8, row.text, ha="right", color=COLOURS["muted"], fontsize=8, **on)
    for number, mark in enumerate(row.marks):
        if mark.value is None:
            continue
        y = top + 16 + (0 if row.one_line else _MARK * number)
        if mark.low is not None and mark.high is not None:
            axes.plot([mark.low, mark.high], [y, y], color=mark.look.hex, linewidth=1.6, solid_capstyle="butt")
        first, last = mark.inner
        if first is not None and last is not None:
            axes.plot([first, last], [y, y], color=mark.look.hex, linewidth=4.0, solid_capstyle="butt")
        face = mark.look.hex if mark.filled else COLOURS["paper"]
        axes.plot(
            [mark.value], [y], marker=mark.look.marker, markersize=5.5, color=face, markeredgecolor=mark.look.hex,
            markeredgewidth=1.2, linestyle="", clip_on=False,
        )  # fmt: skip


def _label(axes: "Axes", axis: Axis) -> None:
    below = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False, "va": "baseline"}
    axes.annotate(axis.label, (0.5, 0), (0, -28), ha="center", **below)
    if axis.ends:
        left, right = (words.short(end, 28) for end in axis.ends)
        muted: dict[str, Any] = {**below, "color": COLOURS["muted"], "fontsize": 8}
        axes.annotate(f"← {left}", (0, 0), (0, -41), ha="left", **muted)
        axes.annotate(f"{right} →", (1, 0), (0, -41), ha="right", **muted)


@dataclasses.dataclass(frozen=True)
class Line:
    """A line, with a band from low to high or bars at its points."""

    x: Sequence[float]
    y: Sequence[float | None]
    look: Look
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    bars: bool = False
    line: bool = True
    width: float = 1.5


@dataclasses.dataclass(frozen=True)
class Frame:
    """What a line chart's axes show; limits may leave either axis to what is drawn, ticks are (place, name)."""

    x: str
    y: str
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    whole: bool = False
    square: bool = False
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()


def lines_chart(lines: Sequence[Line], frame: Frame, alt: str, width: float = drawing.WIDE) -> str:
    """Returns SVG of lines over an axis; the vertical axis is named above it, where it is read without turning."""
    from matplotlib.ticker import MaxNLocator

    height = width * (0.98 if frame.square else 0.72)
    with drawing.style():
        figure = drawing.blank(width, height)
        axes = figure.add_axes((34 / width, 32 / height, 1 - 44 / width, 1 - 52 / height))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        for line in lines:
            _draw_line(axes, line)
        if frame.xlim:
            axes.set_xlim(*frame.xlim)
        if frame.ylim:
            axes.set_ylim(*frame.ylim)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4 if frame.square else 5, steps=_STEPS))
        if frame.ticks:
            axes.set_xticks([place for place, _ in frame.ticks], [name for _, name in frame.ticks])
        elif frame.log:
            _log_axis(axes)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if frame.square else 5, steps=_STEPS, integer=frame.whole))
        axes.set_xlabel(frame.x, labelpad=3)
        axes.annotate(frame.y, (0, 1), (-30, 9), xycoords="axes fraction", textcoords="offset points", ha="left")
        return drawing.svg(figure, alt)


def _log_axis(axes: "Axes") -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_line(axes: "Axes", line: Line) -> None:
    look, keep = line.look, np.arange(len(line.x)) if line.bars else _thinned(len(line.x))
    x, y = _floats(line.x)[keep], _floats(line.y)[keep]
    if line.low is not None and line.high is not None:
        low, high = _floats(line.low)[keep], _floats(line.high)[keep]
        if line.bars:
            axes.vlines(x, low, high, colors=look.hex, linewidth=1.0, alpha=0.7)
        else:
            axes.fill_between(x, low, high, color=look.hex, alpha=0.16, linewidth=0)
    axes.plot(
        x, y, color=look.hex, linewidth=line.width, linestyle=look.style if line.line else "",
        marker=look.marker if line.bars else "", markersize=4.2, dash_capstyle="butt",
    )  # fmt: skip


def _thinned(points: int) -> np.ndarray:
    """Returns which points are drawn: all, or so many as a panel can show, the last one among them."""
    return (
        np.unique(np.linspace(0, points - 1, min(points, _MOST_POINTS)).round().astype(int)) if points else np.arange(0)
    )


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
