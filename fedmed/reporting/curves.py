"""Learning curves: the test metric and the loss by round, pooled and for each client, as SVG and PNG."""

import io
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.data.examples import Task
from fedmed.statistics.metrics import METRICS
from fedmed.statistics.null_model import LOSS
from fedmed.system import files, pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 12
# Okabe and Ito's colours, which colour-blind readers can tell apart; black is for all clients together.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_STYLES = ("-", "--")
_BANDS = ((10, 90, 0.18), (25, 75, 0.30))
_MARKED = 25
_LONGEST_NAME = 24


def write_curves(records: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Writes learning_curves.svg and learning_curves.png to `folder`, or nothing when no round was evaluated.

    Args:
        records: lines of rounds.jsonl.
        summary: the run's summary; its metric and its best round are shown.
        folder: the run directory.
    """
    import matplotlib

    tested = [record for record in records if record.get("test")]
    if not tested:
        return
    with matplotlib.rc_context(pictures.RC), warnings.catch_warnings():
        # A name that the font cannot write is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = _figure(tested, summary)
        for kind, fixed in (("svg", {"Date": None}), ("png", None)):  # the same run gives the same file
            content = io.BytesIO()
            figure.savefig(content, format=kind, dpi=144, metadata=fixed)
            figure.set_layout_engine("none")  # where all is, is found once
            files.write_atomically(folder / f"learning_curves.{kind}", content.getvalue())


def _figure(tested: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> "Figure":
    from matplotlib.figure import Figure  # without pyplot there is no global state and no display

    metrics = list(dict.fromkeys([summary["metric"], LOSS[summary["task"]]]))
    figure = Figure(figsize=(1.5 + 4.5 * len(metrics), 4.2), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, name in zip(panels, metrics, strict=True):
        _draw(axes, tested, name)
        axes.set_xlabel("round")
        axes.set_ylabel(f"{_label(summary['task'], name)}, test rows")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.get_major_locator().set_params(integer=True)
    chosen = summary.get("best") or {}
    best = None if summary.get("privacy") else chosen.get("round")  # under a promise the last one is the model
    if best is not None and (chosen.get("pooled") or {}).get(summary["metric"]) is not None:
        panels[0].axvline(best, color="#888888", linewidth=0.8, linestyle=":", label=f"best: round {best}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(_name(summary["name"]), fontsize=10)
    return figure


def _draw(axes: "Axes", tested: Sequence[Mapping[str, Any]], metric: str) -> None:
    rounds = [record["round"] for record in tested]
    marker = "o" if len(rounds) <= _MARKED else ""
    names = list(dict.fromkeys(client for record in tested for client in _clients(record)))
    values = np.array([[_value(_clients(record).get(client), metric) for client in names] for record in tested])
    if len(names) > MOST_LINES:
        _draw_bands(axes, rounds, values)
    else:
        for number, client in enumerate(names):
            turn, colour = divmod(number, len(_COLOURS))
            axes.plot(
                rounds,
                values[:, number],
                color=_COLOURS[colour],
                linestyle=_STYLES[turn % len(_STYLES)],
                linewidth=1.2,
                marker=marker,
                markersize=2.5,
                label=_name(client),
            )
    pooled = [_value(record["test"]["pooled"], metric) for record in tested]
    axes.plot(rounds, pooled, color="black", linewidth=2, marker=marker, markersize=3, label="all, pooled")


def _draw_bands(axes: "Axes", rounds: Sequence[int], values: np.ndarray) -> None:
    """Shades where the middle half and the middle four fifths of the clients are, of those that have a value."""
    defined = ~np.isnan(values).all(axis=1)
    kept, where = values[defined], np.asarray(rounds)[defined]
    if not len(kept):
        return
    for low, high, alpha in _BANDS:
        edges = np.nanpercentile(kept, [low, high], axis=1)
        label = f"{low} to {high} % of {values.shape[1]} clients"
        axes.fill_between(where, edges[0], edges[1], color=_COLOURS[0], alpha=alpha, linewidth=0, label=label)
    axes.plot(where, np.nanmedian(kept, axis=1), color=_COLOURS[0], linewidth=1.2, label="median client")


def _clients(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the scores of each client, where the record has them."""
    return record["test"].get("clients") or {}


def _name(client: str) -> str:
    """Returns a name as matplotlib shows it: "$" would start a formula there, and "_" hide a line from the legend."""
    short = client if len(client) <= _LONGEST_NAME else client[: _LONGEST_NAME - 1] + "…"
    safe = short.replace("$", r"\$")
    return f" {safe}" if safe.startswith("_") else safe


def _value(scores: Mapping[str, Any] | None, name: str) -> float:
    value = (scores or {}).get(name)
    return float("nan") if value is None else float(value)


def _label(task: Task, name: str) -> str:
    return next((metric.label for metric in METRICS[task] if metric.name == name), name)
