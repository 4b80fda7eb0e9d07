"""What federated training sends: bytes, rounds and time."""

import dataclasses
from collections.abc import Mapping

from fedmed.study.schema.shapes import Arm


@dataclasses.dataclass(frozen=True)
class Reached:
    """What it takes an arm to reach a value.

    Attributes:
        rounds: the first at which the mean over seeds is as good; null where none is.
        bytes_per_hospital: until then, down and up.
        seconds: of sending up until then.
    """

    rounds: int | None
    bytes_per_hospital: int | None
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class Target:
    """A value of the primary metric and its price.

    Attributes:
        value: that is to be reached.
        why: who chose it.
        arms: the federated ones.
    """

    value: float
    why: str
    arms: Mapping[Arm, Reached]


@dataclasses.dataclass(frozen=True)
class Communication:
    """The price of the first federated arm.

    Attributes:
        weights_bytes: one model, float32.
        rounds: of the config.
        bytes_per_round: down and up, of a hospital that takes part.
        bytes_per_hospital: over all rounds, on average.
        bytes_all: of all hospitals over all rounds.
        uplink: as the config says it, e.g. "10Mbit".
        uplink_bits: a second.
        seconds_per_round: of sending up alone, at that uplink.
        seconds_all: over all rounds.
        clock_seconds: of all rounds by the virtual clock: receiving, training and sending at the pace of `[clock]`.
        target: null where there is neither a target in the config nor pooled training.
        pooled_data_bytes: what the hospitals would send once if they pooled their training rows; null where 1 to 4
            patients of a hospital train, or are tested, at a seed: their number would follow.
        about: sentences for the page.
    """

    weights_bytes: int
    rounds: int
    bytes_per_round: int
    bytes_per_hospital: int
    bytes_all: int
    uplink: str
    uplink_bits: float
    seconds_per_round: float
    seconds_all: float
    clock_seconds: float
    target: Target | None
    pooled_data_bytes: int | None
    about: str
