"""Where a federation stands between rounds, and what a round has been."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from fedmed.data.examples import Array
from fedmed.learning.values import Nest

Sums: TypeAlias = Mapping[str, Array]


class Position(NamedTuple):
    """Where a federation stands: all that its next round depends on.

    Attributes:
        round: rounds done.
        state: the server's state, NumPy arrays.
        kept: clients that keep something, by number, to the round after which they kept it.
    """

    round: int
    state: Nest
    kept: Mapping[int, int]


class Done(NamedTuple):
    """A finished round.

    Attributes:
        position: after it.
        learning_rate: of the clients.
        cohort: who was asked to take part.
        absent: those of them who took no part, to why; under secure sums all of them, where too few stayed to open
            the sum.
        late: those of them whose update was computed on older weights, to how many updates old these were.
        partial: those of them who took a share of their local steps only, to that share.
        refused: those of them whose update was not finite and was not used.
        sums: what the clients report by name, [senders] in the cohort's order without the absent.
        bytes_down: sent to the cohort, but for those known to be away.
        bytes_up: sent by those who were there.
        seconds: that it took.
        clock_seconds: that it would take among hospitals, by the virtual clock; under a promise to hospitals, what one
            would take that all were asked in.
    """

    position: Position
    learning_rate: float
    cohort: tuple[str, ...]
    absent: Mapping[str, str]
    late: Mapping[str, int]
    partial: Mapping[str, float]
    refused: tuple[str, ...]
    sums: Sums
    bytes_down: int
    bytes_up: int
    seconds: float
    clock_seconds: float
