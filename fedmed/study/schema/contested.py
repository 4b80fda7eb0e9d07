"""What comparing algorithms finds."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

from fedmed.study.schema.price import Reached
from fedmed.study.schema.shapes import Arm, Estimate, Hospital, MeasureKey, SeededEstimate, Settings, TestedDifference
from fedmed.study.schema.tuned import TunedArm

Word: TypeAlias = Literal["better", "worse", "undecided", "no figure"]


@dataclasses.dataclass(frozen=True)
class Judged(TestedDifference):
    """A difference with the word that its family of tests allows.

    Attributes:
        p_adjusted: by Holm's procedure over the family; null where there is nothing to test.
        word: better or worse only where p_adjusted is at most 1 - level.
    """

    p_adjusted: float | None
    word: Word


@dataclasses.dataclass(frozen=True)
class Contrast:
    """An algorithm against another arm; every difference is the algorithm minus that arm.

    Attributes:
        arm: the algorithm.
        against: the first algorithm, or each hospital alone.
        mean: over the hospitals in `over`, each counting alike.
        hospitals: at each hospital.
    """

    arm: Arm
    against: Arm
    mean: Judged
    hospitals: Mapping[Hospital, Judged]


@dataclasses.dataclass(frozen=True)
class Worst:
    """Whom an arm serves worst.

    Attributes:
        hospital: whose estimate is worst.
        value: that estimate; on average worse than the worst hospital truly is, as noise takes part in who is worst.
        decile: mean over the worst tenth of the hospitals, rounded up; null below 10 hospitals with a figure.
    """

    hospital: Hospital
    value: float
    decile: float | None


@dataclasses.dataclass(frozen=True)
class Sent:
    """What an algorithm sends.

    Attributes:
        bytes_per_round: of a hospital that takes part, down and up.
        bytes_per_hospital: over all rounds, on average.
        reached: what it takes to reach the target; null without one.
    """

    bytes_per_round: int
    bytes_per_hospital: int
    reached: Reached | None


@dataclasses.dataclass(frozen=True)
class Contender:
    """An algorithm, or each hospital alone.

    Attributes:
        label: for pages.
        about: what it is, in a sentence.
        set: what it changes of the config, before tuning.
        hospitals: the primary metric at each hospital, of the weights that the hospital would use.
        mean: over the hospitals in `over`.
        worst: null where no hospital has a figure.
        sent: null for each hospital alone.
        sentence: what is shown of it in the mean; "" for each hospital alone.
    """

    label: str
    about: str
    set: Settings
    hospitals: Mapping[Hospital, SeededEstimate]
    mean: Estimate
    worst: Worst | None
    sent: Sent | None
    sentence: str


@dataclasses.dataclass(frozen=True)
class ContestTarget:
    """A value of the primary metric over all test rows that each algorithm's rounds are counted to.

    Attributes:
        value: that is to be reached.
        why: who chose it.
    """

    value: float
    why: str


@dataclasses.dataclass(frozen=True)
class Contest:
    """Algorithms on the same splits, each tuned alike.

    Attributes:
        metric: the primary one.
        first: the algorithm that the others are set against.
        over: the hospitals with a figure, which means are over.
        arms: the algorithms in the order asked for, then each hospital alone.
        to_first: every other algorithm against the first.
        to_local: every algorithm against each hospital alone.
        left_out: algorithms that could not be judged, and why.
        target: null where there is neither a target in the config nor pooled training.
        tuned: what each was given at each seed, by which hospital, and with how many trials and rounds.
        summary: what is shown, in a sentence or two.
        estimand: what is estimated.
        tuning: how each was tuned.
        method: how the intervals and words are made.
    """

    metric: MeasureKey
    first: Arm
    over: tuple[Hospital, ...]
    arms: Mapping[Arm, Contender]
    to_first: tuple[Contrast, ...]
    to_local: tuple[Contrast, ...]
    left_out: Mapping[Arm, str]
    target: ContestTarget | None
    tuned: tuple[TunedArm, ...]
    summary: str
    estimand: str
    tuning: str
    method: str
