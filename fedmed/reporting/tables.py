"""The table at the end of a run: how good the model is for each client, and why a number is missing."""

import math
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedmed.statistics.metrics import METRICS
from fedmed.statistics.null_model import LABEL, NOT_FOR_RANKS, SKILLS

MOST_CLIENTS = 20
"""Beyond these the table shows quantiles over clients; each client's numbers are in summary.json."""

NULL = {"binary": "prevalence", "multiclass": "class shares", "regression": "the mean", "count": "the mean"}
"""What the column of the null model is called: it predicts this of the training rows."""

NOT_SAVED = "Keras cannot save a model of this kind, so weights.npz has its weights and your code its layers"

_WIDTH = 100
_LONGEST_NAME = 28
_NAMED = 3
_NEEDED = 4  # name, training rows, test rows and the primary metric stay however narrow the terminal
_OVER = {"mean": "mean over clients", "value": "worst client", "worst_decile": "worst decile"}
_QUANTILES = (("lowest", 0), ("10 %", 10), ("median", 50), ("90 %", 90), ("highest", 100))


class Column(NamedTuple):
    """One column: its header, a number (or None) for each client, one for all, how to write one, and over clients."""

    header: str
    clients: Sequence[float | None]
    pooled: float | None
    write: Callable[[float | None], str]
    over: Mapping[str, Any] | None = None


def final_table(summary: Mapping[str, Any], width: int | None = None) -> list[str]:
    """Returns lines of text: a header, a line a client or quantiles over many, one for all, and what is to be noted.

    Args:
        summary: the run's summary.
        width: columns of the terminal, by default those of standard output. Where they are few, the metrics that come
            last are left out; the primary one and the rows stay.
    """
    if width is None:
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH
    missed = [f"Not as planned: {printable(text)}" for text in summary["missed"]]
    return [title(summary), *missed, "", *_fitted(cells(summary), width), "", *notes(summary)]


def cells(summary: Mapping[str, Any]) -> list[list[str]]:
    """Returns the table by columns: each a header, a cell for each client or quantile, for all, and over clients."""
    clients = [printable(client) for client in summary["final"]["clients"]]
    many = len(clients) > MOST_CLIENTS
    names = [name for name, _ in _QUANTILES] if many else [_cut(client) for client in clients]
    told = _columns(summary)
    over = {
        key: name for key, name in _OVER.items() if any((column.over or {}).get(key) is not None for column in told)
    }
    columns = [["client", *names, "all, pooled", *over.values()]]
    for column in told:
        values = _quantiles(column.clients) if many else column.clients
        of = column.over or {}
        figures = [column.write(of[key]) if of.get(key) is not None else "" for key in over]
        columns.append([column.header, *map(column.write, values), column.write(column.pooled), *figures])
    return columns


def _columns(summary: Mapping[str, Any]) -> list[Column]:
    """Returns rows, the primary metric, its value at the best round where that is another, then the other metrics."""
    final, best, primary = summary["final"], summary["best"], summary["metric"]
    labels = {metric.name: metric.label for metric in METRICS[summary["task"]]}
    shared = "reweighted" in summary["test"]

    def of(outcome: Mapping[str, Any], name: str, header: str) -> Column:
        values = [own.get(name) for own in outcome["clients"].values()]
        return Column(header, values, outcome["pooled"].get(name), _number, _over(outcome, name))

    def rows(name: str, header: str, write: Callable[[float | None], str]) -> Column:
        counts = [own[name] for own in final["clients"].values()]
        return Column(header, counts, sum(counts), write)

    at_best = [of(best, primary, f"best {labels[primary]}")] if best["round"] != final["round"] else []
    return [
        rows("train_rows", "train rows", _count),
        rows("test_rows", "test rows", (lambda _: "shared") if shared else _count),
        of(final, primary, labels[primary]),
        *at_best,
        *_knowing_nothing(summary),
        *(of(final, name, label) for name, label in labels.items() if name != primary),
    ]


def _over(outcome: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Returns a metric's figures over clients; None where fewer than two have it."""
    over = outcome["over_clients"].get(name)
    return over if over and over["clients"] > 1 else None


def worst(summary: Mapping[str, Any], label: str) -> str:
    """Returns whom the final model serves worst and how that is to be read, in sentences; "" where two have no figure.

    Args:
        summary: the run's summary.
        label: of its metric.
    """
    over = _over(summary["final"], summary["metric"])
    if over is None:
        return ""
    without = f" {over['without']} without a figure, or with 1 to 4 test rows, are left out." if over["without"] else ""
    return (
        f"Worst client in {label}: {printable(over['worst'])}; another column may have another. The worst of several "
        f"figures looks worse than it is, since chance has a part in it.{without}"
    )


def ranked(summary: Mapping[str, Any], label: str) -> str:
    """Returns how a ranking of all test rows together is to be read; "" where the final model's metric is none.

    Args:
        summary: the run's summary.
        label: of its metric.
    """
    ranks, shared = summary["metric"] in NOT_FOR_RANKS, "reweighted" in summary["test"]
    if not ranks or shared or len(summary["final"]["clients"]) < 2:
        return ""
    return (
        f"All, pooled: {label} there also ranks patients of different clients, which rewards knowing how clients' "
        "outcomes differ; fedmed study ranks within hospitals."
    )


def _knowing_nothing(summary: Mapping[str, Any]) -> list[Column]:
    """Returns the model's skill and, where the primary metric means something for it, the null model's figure."""
    task, primary, clients = summary["task"], summary["metric"], summary["final"]["clients"]

    def of(told: Mapping[str, Any], name: str, header: str) -> Column:
        values = [told["clients"].get(client, {}).get(name) for client in clients]
        return Column(header, values, told["pooled"].get(name), _number)

    null = [] if primary in NOT_FOR_RANKS else [of(summary["null"], primary, NULL[task])]
    kind = SKILLS[task][0]
    return [*null, of(summary["skill"], kind.name, kind.label)]


def _quantiles(values: Iterable[float | None]) -> list[float | None]:
    defined = [value for value in values if value is not None]
    if not defined:
        return [None] * len(_QUANTILES)
    return [float(value) for value in np.percentile(defined, [share for _, share in _QUANTILES])]


def title(summary: Mapping[str, Any]) -> str:
    """Returns the line above the table: what was run, how long, and why it ended early if it did."""
    reasons = {"target": ", its target reached", "patience": ", no longer getting better"}
    return f"{printable(summary['name'])} after round {summary['final']['round']}{reasons.get(summary['stopped'], '')}"


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Returns the lines below the table: on which rows it was scored, and what is missing and why."""
    final, best, clients = summary["final"], summary["best"], summary["final"]["clients"]
    lines = [*(f"Warning. {text}" for text in summary["warnings"]), f"Scored on {summary['test']}."]
    lines += [f"Note. {printable(text)}." for text in summary["notes"]]
    lines += [promised(summary["privacy"])] if summary.get("privacy") else []
    lines.append(
        f"{SKILLS[summary['task']][0].label}: the share that the model explains of the loss of predicting "
        f"{LABEL[summary['task']]} of the client's own training rows; 1 is perfect, 0 no better, below 0 worse."
    )
    if len(clients) > MOST_CLIENTS:
        lines.append(f"Over {len(clients)} clients, each column by itself; summary.json has every client's numbers.")
    labels = {metric.name: metric.label for metric in METRICS[summary["task"]]}
    lines += filter(None, [about(summary, labels[summary["metric"]]) for about in (worst, ranked)])
    if best["round"] != final["round"]:
        lines.append(f"Best over all test rows: round {best['round']}.")
    reasons: dict[str, list[str]] = {}
    for client, own in clients.items():
        for reason in own.get("undefined", {}).values():
            reasons.setdefault(reason, []).append(client)
    lines += [f"Undefined at {_listed(named)}: {reason}." for reason, named in reasons.items()]
    if "model_file" in summary and summary["model_file"] is None:
        lines.append(f"No model.keras: {NOT_SAVED}.")
    refused = [f"{client} ({count}x)" for client, count in summary.get("refused", {}).items()]
    if refused:
        lines.append(f"Not averaged, since the update was not finite: {_listed(refused)}.")
    return lines


def promised(privacy: Mapping[str, Any]) -> str:
    """Returns what a run promises, in a sentence: the largest epsilon, rounded up, and the largest delta."""
    promises = privacy["promises"].values()
    epsilons, to = [own["epsilon"] for own in promises], "each hospital"
    if any(epsilon is None for epsilon in epsilons):
        return "No noise was added, so nothing is promised to anybody."
    if privacy["unit"] == "patient":
        to = "the patients of each hospital"
    epsilon, delta = math.ceil(100 * max(epsilons)) / 100, max(own["delta"] for own in promises)
    return f"Promised to {to}: differential privacy with epsilon at most {epsilon:g}, delta at most {delta:.2g}."


def _listed(names: Sequence[str]) -> str:
    names = [printable(name) for name in names]
    named = names if len(names) <= _NAMED + 1 else [*names[:_NAMED], f"{len(names) - _NAMED} more"]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _fitted(columns: Sequence[Sequence[str]], width: int) -> list[str]:
    """Returns the lines of as many columns as the width allows."""
    for count in range(len(columns), _NEEDED, -1):
        lines = aligned(columns[:count])
        if max(map(_width, lines)) <= width:
            return lines
    return aligned(columns[:_NEEDED])


def aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    """Returns lines of text: the first column flush left, the others flush right, each as wide as its widest cell."""
    padded = []
    for place, column in enumerate(columns):
        widest = max(map(_width, column))
        spaces = [" " * (widest - _width(cell)) for cell in column]
        padded.append([cell + gap if place == 0 else gap + cell for cell, gap in zip(column, spaces, strict=True)])
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]


def _width(text: str) -> int:
    """Returns the columns a text takes on a terminal, where Chinese characters take two and accents none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def printable(name: str) -> str:
    """Returns a name from the user's data without what would move the cursor or colour the terminal."""
    return "".join(c if c.isprintable() else "?" for c in name)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _count(number: float | None) -> str:
    return "undefined" if number is None else f"{round(number):,}"


def _number(value: float | None) -> str:
    """Returns 3 decimals of what is small, 4 digits of what may be large."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"
