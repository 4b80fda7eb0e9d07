"""Whom a model serves worst: the worst client's figure and the worst decile's mean, beside the mean over clients."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

FEWEST_FOR_DECILE = 10
"""Clients below which a tenth of them is less than one."""


@dataclasses.dataclass(frozen=True)
class WorstServed:
    """A metric over the clients that have a figure, each counting alike.

    The worst of several noisy figures is on average worse than the worst client truly is, and whose it is may be
    chance: read it beside the client's test rows.

    Attributes:
        clients: how many have one.
        without: how many have none.
        mean: the plain mean.
        worst: whose figure is worst, the lowest where higher is better, the highest of a loss; of equal ones the first.
        value: that figure.
        worst_decile: mean of the worst tenth of them, rounded up to whole clients; null below 10 clients.
    """

    clients: int
    without: int
    mean: float
    worst: str
    value: float
    worst_decile: float | None


def worst_served(figures: Mapping[str, float | None], better: Literal["higher", "lower"]) -> WorstServed | None:
    """Returns the mean, the worst client and the mean of the worst decile; None where no client has a figure.

    The worst of several noisy figures is on average worse than the worst client is, since noise takes part in who is
    worst: the minimum of estimates is biased downwards (Jensen's inequality; E[min] <= min E), and so, less, is the
    decile. The fewer rows a client is scored on, the more.

    Args:
        figures: of each client; None or not finite where it has none.
        better: of the metric; worst is the lowest figure where higher is better, the highest of a loss.

    Source: Li et al. 2020, "Fair Resource Allocation in Federated Learning" (q-FFL), section 4, which reports the mean
    over the worst 10 % of the clients beside the mean over all.
    """
    known = [(name, float(value)) for name, value in figures.items() if value is not None and math.isfinite(value)]
    if not known:
        return None
    ordered = sorted(known, key=lambda pair: pair[1], reverse=better == "lower")  # stable: of equals the first is first
    values = [value for _, value in ordered]
    few = values[: math.ceil(len(values) / 10)]
    decile = None if len(values) < FEWEST_FOR_DECILE else math.fsum(few) / len(few)
    return WorstServed(
        clients=len(known),
        without=len(figures) - len(known),
        mean=math.fsum(values) / len(values),
        worst=ordered[0][0],
        value=values[0],
        worst_decile=decile,
    )
