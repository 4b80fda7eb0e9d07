"""The virtual clock: how long a round would take among real hospitals, and who misses its deadline.

A hospital receives, trains and sends, one after the other; all do so side by side, and a round is over when the last
one that the server waits for has answered. It waits for everybody who was asked, but not for those of whom it knew
beforehand that they would be absent, nor for updates that come rounds later, unless no others come. With a deadline it
waits no longer than that, and the full time where somebody has not answered.
"""

from collections.abc import Mapping
from typing import NamedTuple

from fedmed.engine.fates import Fate
from fedmed.settings.clock import Clock, bits_per_second


class Load(NamedTuple):
    """What a client does in a round: bytes to receive, rows to train on, bytes to send."""

    bytes_down: int
    rows: float
    bytes_up: int


MISSED = "missed the deadline"


def seconds(clock: Clock, load: Load, fate: Fate) -> float:
    """Returns how long a client takes for its round."""
    down = 8 * load.bytes_down / bits_per_second(clock.downlink, "clock.downlink")
    up = 8 * load.bytes_up / (fate.uplink or bits_per_second(clock.uplink, "clock.uplink"))
    return down + load.rows * fate.slower / clock.rows_per_second + up


def with_deadline(clock: Clock, loads: Mapping[str, Load], fates: Mapping[str, Fate]) -> tuple[dict[str, Fate], float]:
    """Returns the fates with those absent who miss the deadline, and the seconds that the round takes."""
    found, times, later = dict(fates), [0.0], [0.0]
    for client, fate in fates.items():
        if fate.absent:
            times.append(0.0 if fate.announced or clock.deadline is None else clock.deadline)
            continue
        taken = seconds(clock, loads[client], fate)
        if fate.late:
            later.append(taken if clock.deadline is None else min(taken, clock.deadline))
            continue
        if clock.deadline is not None and taken > clock.deadline:
            found[client], taken = fate._replace(absent=MISSED), clock.deadline
        times.append(taken)
    return found, max(times) or max(later)
