"""What a simulated partition deals out: rows, or whole patients where the data tell which rows are one patient's."""

import dataclasses
from collections.abc import Callable

import numpy as np

from fedmed.data.examples import Array, Examples
from fedmed.system import errors

BINS = 10

Deal = Callable[[Array, np.random.Generator], Array]
"""Labels [u] of the units to the number of the client that owns each, [u]."""


@dataclasses.dataclass(frozen=True)
class Units:
    """The things that go to one client whole.

    Attributes:
        of_row: int64 [n] the unit that each row belongs to.
        labels: [u] the label of each unit: of a group, its first row's.
        noun: "rows" or "groups", for messages.
    """

    of_row: Array
    labels: Array
    noun: str

    def __len__(self) -> int:
        return len(self.labels)


def units(examples: Examples) -> Units:
    """Returns the units of a data set: its groups if it has them, else its rows."""
    if examples.group is None:
        return Units(np.arange(len(examples)), examples.y, "rows")
    _, first, of_row = np.unique(examples.group, return_index=True, return_inverse=True)
    return Units(of_row, examples.y[first], "groups")


def dealt(examples: Examples, clients: int, deal: Deal, rng: np.random.Generator, *, each: int = 1) -> dict[str, Array]:
    """Returns the rows of clients "client_0000", ..., whose units `deal` hands out.

    Args:
        examples: all rows.
        clients: how many there are.
        deal: gives each unit its owner.
        rng: for the deal.
        each: units that every client must get.

    Raises:
        DataError: there are fewer than clients * each units.
    """
    held = units(examples)
    if clients * each > len(held):
        need = f" of at least {each} each" if each > 1 else ""
        most = len(held) // each
        raise errors.DataError(
            f"partition.args.clients: {clients} clients cannot share {len(held)} {held.noun}{need}; at most {most}"
        )
    owner = deal(held.labels, rng)[held.of_row]
    order = np.argsort(owner, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(owner, minlength=clients))[:-1])
    width = max(4, len(str(clients - 1)))
    return {f"client_{number:0{width}d}": rows[number] for number in range(clients)}


def strata(labels: Array) -> Array:
    """Returns int64 [u] stratum numbers 0, 1, ...: the classes, or 10 quantile bins of an amount or count."""
    if labels.dtype.kind != "f":
        return np.unique(labels, return_inverse=True)[1]
    edges = np.unique(np.quantile(labels, np.arange(1, BINS) / BINS))
    return np.unique(np.searchsorted(edges, labels, side="right"), return_inverse=True)[1]


def even(total: int, parts: int) -> Array:
    """Returns int64 [parts] sizes of sum `total` that differ by at most one, the larger first."""
    return total // parts + (np.arange(parts) < total % parts)
