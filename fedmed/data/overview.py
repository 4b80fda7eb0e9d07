"""Who holds what: the rows and label mix of each client that a partition gives, as a table and as a picture."""

import dataclasses
import io
import itertools
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedmed.data.examples import Array, Dataset
from fedmed.system import errors, files, pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 30
MOST_LABELS = 12
MOST_BARS = 200
_WIDTH = 14
_OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
_HIDDEN = "*"


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """Rows of each label at each client.

    Attributes:
        clients: client ids.
        labels: names of the classes or, for an amount, of up to 5 quantile bins; beyond 12 classes the rarest are one.
        counts: int64 [clients, labels].
        hidden: bool [clients, labels] counts that are not to be shown.
        rows_hidden: bool [clients] clients whose number of rows is not to be shown.
    """

    clients: tuple[str, ...]
    labels: tuple[str, ...]
    counts: Array
    hidden: Array
    rows_hidden: Array


def label_counts(rows_by_client: Mapping[str, Array], dataset: Dataset, *, suppress_below: int = 0) -> LabelCounts:
    """Returns how many rows of each label each client holds.

    Args:
        rows_by_client: client id to row numbers of dataset.examples.
        dataset: the data.
        suppress_below: counts of 1 to suppress_below - 1 are hidden, and with one of them the client's next smallest,
            so that it cannot be worked out from the client's number of rows. 0 hides nothing.
    """
    labels, codes = _codes(dataset)
    counts = np.stack([np.bincount(codes[rows], minlength=len(labels)) for rows in rows_by_client.values()])
    hidden = (counts > 0) & (counts < suppress_below)
    for client in np.flatnonzero(hidden.sum(axis=1) == 1):
        others = np.flatnonzero((counts[client] > 0) & ~hidden[client])
        if len(others):
            hidden[client, others[np.argmin(counts[client, others])]] = True
    return LabelCounts(tuple(rows_by_client), labels, counts, hidden, counts.sum(axis=1) < suppress_below)


def label_table(rows_by_client: Mapping[str, Array], dataset: Dataset, *, suppress_below: int = 0) -> list[str]:
    """Returns aligned lines of text: a header, a line a client (of more than 30 the first 25), and one for all.

    Args:
        rows_by_client: client id to row numbers of dataset.examples.
        dataset: the data.
        suppress_below: hide small counts, see `label_counts`; sums from which they follow are left out too.
    """
    mix = label_counts(rows_by_client, dataset, suppress_below=suppress_below)
    cells = [["client", "rows", *(_cut(label) for label in mix.labels)]]
    shown = len(mix.clients) if len(mix.clients) <= MOST_LINES else MOST_LINES - 5
    for client in range(shown):
        rows = _HIDDEN if mix.rows_hidden[client] else str(mix.counts[client].sum())
        counts = [_HIDDEN if hide else str(n) for n, hide in zip(mix.counts[client], mix.hidden[client], strict=True)]
        cells.append([mix.clients[client], rows, *counts])
    sums = [_HIDDEN if mix.hidden.any() else str(count) for count in mix.counts.sum(axis=0)]
    cells.append(["all", _HIDDEN if mix.rows_hidden.any() else str(mix.counts.sum()), *sums])
    lines = _aligned(cells)
    if shown < len(mix.clients):
        lines.insert(-1, _rest(mix, shown))
    if mix.hidden.any():
        lines.append(f"{_HIDDEN} fewer than {suppress_below}, or hidden so that such a count cannot be worked out")
    return lines


def label_picture(
    rows_by_client: Mapping[str, Array], dataset: Dataset, path: pathlib.Path, *, suppress_below: int = 0
) -> None:
    """Writes a PNG or SVG of stacked bars, one a client: its rows by label. Of more than 200 clients, the first 200.

    Raises:
        ConfigError: the path ends neither in .png nor in .svg.
    """
    if path.suffix not in (".png", ".svg"):
        raise errors.ConfigError(f"{path}: a picture's name must end in .png or .svg")
    import matplotlib

    mix = label_counts(rows_by_client, dataset, suppress_below=suppress_below)
    content = io.BytesIO()
    fixed = {"Date": None} if path.suffix == ".svg" else None  # the same data give the same file
    with matplotlib.rc_context(pictures.RC):
        _figure(mix, f"{dataset.name}: labels by client").savefig(
            content, format=path.suffix[1:], dpi=120, metadata=fixed
        )
    files.write_atomically(path, content.getvalue())


def notes(dataset: Dataset) -> list[str]:
    """Returns a line for what may be meant otherwise, and for each column that is constant or tells the label."""
    found = [f"note: {text}" for text in dataset.notes]
    if not dataset.is_table:
        return found
    x = np.asarray(dataset.examples.x)
    advice = "; consider data.args.ignore" if dataset.name == "table" else ""
    for feature, column in zip(dataset.features, x.T, strict=True):
        here = ~np.isnan(column)
        if len(np.unique(column[here])) < 2:
            found.append(f"note: column {feature.name} has one value only{advice}")
        elif 2 * here.sum() >= len(column) and _tells(column[here], dataset.examples.y[here], bool(dataset.classes)):
            found.append(f"note: column {feature.name} tells the label exactly (a copy of it?){advice}")
    return found


def _tells(column: Array, y: Array, is_class: bool) -> bool:
    """Returns whether a column is the label under other names or, for an amount, in other units."""
    if is_class:
        pairs = np.unique(np.stack([column, y]), axis=1).shape[1]
        return pairs == len(np.unique(column)) == len(np.unique(y)) > 1
    return len(np.unique(y)) > 2 and abs(np.corrcoef(column, y)[0, 1]) > 1 - 1e-6


def _figure(mix: LabelCounts, title: str) -> "Figure":
    from matplotlib.figure import Figure  # without pyplot there is no global state and no display

    names = [_cut(client, 24) for client in mix.clients[:MOST_BARS]]
    figure = Figure(figsize=(8, 1.6 + 0.16 * max(len(names), 6)), layout="constrained")
    axes = figure.subplots()
    left, place = np.zeros(len(names)), np.arange(len(names))
    for label, counts, colour, hatch in _bars(mix):
        width = counts[:MOST_BARS]
        axes.barh(place, width, left=left, label=label, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        left += width
    axes.set_yticks(place, names, fontsize=8 if len(names) <= 40 else 6)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("rows")
    more = len(mix.clients) - len(names)
    axes.set_title(title + (f" ({more} more clients not shown)" if more else ""), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(6, len(mix.labels)), fontsize=8, frameon=False)
    return figure


def _bars(mix: LabelCounts) -> list[tuple[str, Array, str, str]]:
    """Returns label, [clients] lengths, colour and hatching; past the palette's end the colours come again, hatched."""
    shown = np.where(mix.hidden | mix.rows_hidden[:, None], 0, mix.counts)
    bars = []
    for place, label in enumerate(mix.labels):
        turn, colour = divmod(place, len(_OKABE_ITO))
        bars.append((_cut(label), shown[:, place], _OKABE_ITO[colour], "////" * turn))
    unsaid = np.where(mix.rows_hidden, 0, (mix.counts * mix.hidden).sum(axis=1))
    return [*bars, ("not shown", unsaid, "#BBBBBB", "")] if mix.hidden.any() else bars


def _codes(dataset: Dataset) -> tuple[tuple[str, ...], Array]:
    """Returns the labels' names and int64 [n] the label of each row."""
    y = dataset.examples.y
    if not dataset.classes:
        edges = np.unique(np.quantile(y, [0.2, 0.4, 0.6, 0.8]))
        between = [f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)]
        names = (f"up to {edges[0]:.3g}", *between, f"over {edges[-1]:.3g}")
        return names, np.searchsorted(edges, y, side="left")
    names = dataset.class_names or tuple(str(code) for code in range(dataset.classes))
    if len(names) <= MOST_LABELS:
        return names, y
    common = np.sort(np.argsort(-np.bincount(y, minlength=len(names)), kind="stable")[: MOST_LABELS - 1])
    place = np.full(len(names), MOST_LABELS - 1)
    place[common] = np.arange(len(common))
    return (*(names[code] for code in common), f"{len(names) - len(common)} others"), place[y]


def _aligned(cells: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    first, *rest = widths
    return [
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], rest, strict=True))])
        for row in cells
    ]


def _rest(mix: LabelCounts, shown: int) -> str:
    rows = mix.counts[shown:].sum(axis=1)
    sizes = "" if mix.rows_hidden[shown:].any() else f" with {rows.min()} to {rows.max()} rows each"
    return f"... and {len(rows)} more clients{sizes}"


def _cut(name: str, width: int = _WIDTH) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
