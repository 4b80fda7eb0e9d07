"""Numbers as whole numbers of bounded size, so that a sum of many fits a word: what secure sums are made of.

A value of at most `clip` becomes one of the whole numbers -L .. L, L = `limit(bits, clients)`, in steps of clip / L.
It is rounded at random to one of its two neighbours, right on average (Kairouz et al. 2021, "The Distributed Discrete
Gaussian Mechanism", section 3.1): an update has few values larger than a coarse step, and rounding to the nearest would
lose the others. No TensorFlow here: settings are checked by these numbers before it is imported.
"""

import dataclasses
import math

LEAST = 7
"""The smallest L that is of use: four bits a value, its sign among them."""


def limit(bits: int, clients: int) -> int:
    """Returns L: the largest size of a value at which a sum over the clients stays within 2^(bits - 1) - 1."""
    return (2 ** (bits - 1) - 1) // clients


@dataclasses.dataclass(frozen=True)
class Resolution:
    """How far the mean under secure sums may be from the mean of the clipped updates, as L2 norms.

    Float32 rounding of the mean is left out; it is as large as the rest at 32 bits.

    Attributes:
        step: between two neighbouring values that a client can send.
        worst: what the error never exceeds.
        typical: what its root mean square over the roundings does not exceed.
        relative: `typical` as a share of the clipping norm.
    """

    step: float
    worst: float
    typical: float
    relative: float


def resolution(bits: int, clients: int, clip: float, values: int, shares: tuple[float, ...] = ()) -> Resolution:
    """Returns the error of a mean of updates.

    Args:
        bits: of a word.
        clients: of the cohort, those who drop out included: their room stays free.
        clip: the L2 norm that updates are clipped to.
        values: in an update.
        shares: of those who were there, at most 1 each; not given, all were, and count alike.
    """
    step = clip / limit(bits, clients)
    there, total = len(shares) or clients, math.fsum(shares) or float(clients)
    # A value is moved by less than a step, with a variance of at most a quarter of its square, at each client apart.
    worst = step * math.sqrt(values) * there / total
    typical = step * math.sqrt(values / 4 * there) / total
    return Resolution(step, worst, typical, typical / clip)
