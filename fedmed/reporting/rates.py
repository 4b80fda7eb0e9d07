"""The picture of a tuning: loss by learning rate, a line for each number of rounds, and the rate that was chosen."""

import io
import pathlib
import statistics
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedmed.reporting import trials
from fedmed.system import files, pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#56B4E9", "#E69F00", "#0072B2")
"""Of the budgets from few rounds to all (Okabe and Ito's); colour-blind readers can tell them apart."""
_CHOSEN = "#D55E00"
_MOST_PANELS = 6
_IN_A_ROW = 3
_MOST_SHOWN = 8  # times what the middle loss is above the best: what is far worse would flatten all the rest


def write_rates(tuning: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Writes learning_rates.svg and learning_rates.png to `folder`; with many combinations, the first six.

    Args:
        tuning: what tuning.json holds.
        folder: of the tuning.
    """
    import matplotlib

    with matplotlib.rc_context(pictures.RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # in a name that the font cannot write
        figure = _figure(tuning)
        for kind, fixed in (("svg", {"Date": None}), ("png", None)):  # the same tuning gives the same file
            content = io.BytesIO()
            figure.savefig(content, format=kind, dpi=144, metadata=fixed)
            files.write_atomically(folder / f"{trials.PICTURE}.{kind}", content.getvalue())


def _figure(tuning: Mapping[str, Any]) -> "Figure":
    from matplotlib.figure import Figure  # without pyplot there is no global state and no display

    others = trials.combinations(tuning)[:_MOST_PANELS]
    across = min(len(others), _IN_A_ROW)
    down = -(-len(others) // _IN_A_ROW)
    figure = Figure(figsize=(2.2 + 3.6 * across, 0.9 + 2.9 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, own in zip(panels, others, strict=False):
        _draw(axes, tuning, own)
        axes.set_title(trials.told(own), fontsize=9)
    for axes in panels[len(others) :]:
        axes.set_visible(False)
    panels[0].set_ylabel(f"{tuning['measure']}, validation rows")
    _limit(panels[0], tuning)
    known = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(known.values()), list(known), loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _draw(axes: "Axes", tuning: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Draws the candidates with these other settings; a rate at which training diverged is a cross at the top."""
    own = [trial for trial in tuning["trials"] if trial["set"] == others]
    for place, rounds in enumerate(reversed(tuning["budgets"])):
        points = sorted((t["learning_rate"], t["loss"]) for t in own if t["rounds"] == rounds and t["loss"] is not None)
        colour = _COLOURS[-1 - place]
        label = f"after round {rounds}"
        axes.plot(*zip(*points, strict=True) if points else ([], []), "o-", color=colour, ms=3.5, lw=1.4, label=label)
    lost = sorted({trial["learning_rate"] for trial in own if trial["fate"] != "trained"})
    if lost:
        top = axes.get_xaxis_transform()  # x in data, y from 0 to 1 of the panel
        axes.plot(lost, [0.97] * len(lost), "x", color="#888888", ms=5, transform=top, label="diverged")
    chosen = tuning["chosen"]
    if chosen is not None and chosen["set"] == others:
        label = f"chosen: {chosen['learning_rate']:g}"
        axes.axvline(chosen["learning_rate"], color=_CHOSEN, lw=1, ls="--")
        axes.plot([chosen["learning_rate"]], [chosen["loss"]], "o", color=_CHOSEN, ms=7, zorder=5, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")  # matplotlib's own is a formula
    axes.set_xlabel("client.learning_rate")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)


def _limit(axes: "Axes", tuning: Mapping[str, Any]) -> None:
    """Ends the axis of the loss where rates are so bad that how bad does not matter."""
    losses = [trial["loss"] for trial in tuning["trials"] if trial["loss"] is not None]
    if not losses or min(losses) == max(losses):
        return
    best = min(losses)
    highest = min(max(losses), best + max(_MOST_SHOWN * (statistics.median(losses) - best), 0.01 * abs(best)))
    margin = 0.06 * (highest - best)
    axes.set_ylim(best - margin, highest + margin)
