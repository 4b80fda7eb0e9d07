"""What a server sees of a hospital's update, and what it knows of how the update came about."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class Work:
    """How an update came about, as far as the settings tell it: plain SGD on rows that the server does not know.

    Attributes:
        rows: at each client.
        learning_rate: of its steps.
        batch: rows a step; None for all.
        epochs: passes over the rows.
        clients: whose updates were summed.
        order: for each client, the rows of each step, where the server knows them from the seed; None where it does
            not: rows are then taken in one order in all epochs, as if they were not shuffled anew.
    """

    rows: int
    learning_rate: float
    batch: int | None = None
    epochs: int = 1
    clients: int = 1
    order: tuple[tuple[tuple[int, ...], ...], ...] | None = None

    @property
    def in_all(self) -> int:
        """Rows of all clients."""
        return self.rows * self.clients

    def visits(self, client: int) -> list[tuple[int, ...]]:
        """Returns the numbers of a client's rows that each of its steps takes, as far as the server can tell."""
        if self.order is not None:
            return list(self.order[client])
        size = self.batch or self.rows
        epoch = [tuple(range(start, min(start + size, self.rows))) for start in range(0, self.rows, size)]
        return epoch * self.epochs

    @property
    def steps(self) -> int:
        """Steps of each client."""
        return self.epochs * math.ceil(self.rows / (self.batch or self.rows))


@dataclasses.dataclass(frozen=True)
class Seen:
    """An update as the server sees it.

    Attributes:
        update: trained minus received weights, of the trainable variables in model order; or their sum.
        work: how it came about.
        protection: what was done to it, in words; "" for nothing.
    """

    update: tuple[Array, ...]
    work: Work
    protection: str = ""


def bare(update: Sequence[Array], work: Work) -> Seen:
    """Returns one client's update as it is."""
    return Seen(tuple(np.asarray(part) for part in update), work)


def noised(update: Sequence[Array], work: Work, clip: float, noise: float, rng: np.random.Generator) -> Seen:
    """Returns one client's update cut to L2 norm `clip`, with Gaussian noise of SD noise times clip on each weight.

    For a step on one row it is what a step of DP-SGD would let out (Abadi et al. 2016, algorithm 1), but for the rate.

    Args:
        update: trained minus received weights.
        work: how it came about.
        clip: of the gradient that the update stands for, i.e. of the update divided by the learning rate.
        noise: the noise multiplier.
        rng: of the noise.
    """
    rate = work.learning_rate
    gradient = [np.asarray(part, dtype=np.float64) / rate for part in update]
    scale = min(1.0, clip / max(1e-30, math.sqrt(sum(float(np.square(part).sum()) for part in gradient))))
    drawn = [rate * (scale * part + noise * clip * rng.normal(size=part.shape)) for part in gradient]
    return Seen(tuple(part.astype(np.float32) for part in drawn), work, f"clip {clip:g}, noise {noise:g}")


def summed(updates: Sequence[Sequence[Array]], work: Work) -> Seen:
    """Returns the sum of clients' updates: all that the server sees under secure aggregation (Bonawitz et al. 2017).

    Args:
        updates: each client's.
        work: of each of them; its `clients` is set to their number.
    """
    total = tuple(np.sum([np.asarray(u[k]) for u in updates], axis=0) for k in range(len(updates[0])))
    return Seen(total, dataclasses.replace(work, clients=len(updates)), f"sum over {len(updates)} hospitals")
