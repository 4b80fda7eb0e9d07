"""What a study found: arms' figures and their differences."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from fedmed.statistics.verdicts import Claim, Outcome, Question
from fedmed.study.schema.asked import HospitalCounts
from fedmed.study.schema.shapes import (
    Arm,
    ByUnit,
    ComparisonId,
    Difference,
    Estimate,
    Hospital,
    MeasureKey,
    SeededEstimate,
    Settings,
)


@dataclasses.dataclass(frozen=True)
class WorstHospital(Estimate):
    """The hospital that an arm serves worst, with its own figure and interval, among those that have a figure.

    The worst of several noisy figures is on average worse than the worst hospital truly is, and which one it is may be
    chance. The interval takes no account of its having been picked.

    Attributes:
        hospital: with the lowest figure where higher is better, the highest of a loss; null with fewer than two
            figures.
        without: hospitals without a figure.
        decile: the mean of the worst tenth of the figures, rounded up to whole hospitals; null with fewer than 10.
    """

    hospital: Hospital | None
    without: int
    decile: float | None


@dataclasses.dataclass(frozen=True)
class Performance:
    """An arm's figures, and beside those of all hospitals together their mean and the worst of them.

    Attributes:
        hospitals: at each hospital; one that has none is left out.
        all: over all hospitals' test rows together.
        mean: the plain mean over hospitals, each counting alike; withheld where a hospital has no figure.
        worst: the worst hospital and the worst decile, in what `mean` has.
    """

    hospitals: Mapping[Hospital, Mapping[MeasureKey, SeededEstimate]]
    all: Mapping[MeasureKey, SeededEstimate]
    mean: Mapping[MeasureKey, Estimate]
    worst: Mapping[MeasureKey, WorstHospital]


@dataclasses.dataclass(frozen=True)
class AnsweredQuestion:
    """What two arms' data say to one question at a hospital.

    Attributes:
        measure: by which it is told.
        claim: better or worse where the adjusted p-value is at most 1 - level.
        p_value: two-sided, of no difference; for calibration, of being off by as much.
        p_adjusted: by Holm's procedure over the hospital's questions, then by Benjamini and Bogomolov's over hospitals.
        side: which way the estimate points, claimed or not.
    """

    measure: MeasureKey
    claim: Claim
    p_value: float
    p_adjusted: float
    side: Literal["better", "worse", "neither"]


@dataclasses.dataclass(frozen=True)
class HospitalComparison:
    """Two arms at a hospital.

    Attributes:
        outcome: the verdict.
        reason: why there is no figure, or "".
        questions: the answer to each: ranking is the primary metric's.
        p_no_worse: one-sided, of the primary metric being worse by the margin or more, by Holm's procedure over
            hospitals.
        detectable: the smallest difference of the primary metric that one question at one hospital would have found.
        needed: where the verdict is undecided, tested patients of the rarer outcome (for regression, patients) with
            which "no worse" would be told at least 4 times in 5 where nothing differs, whatever the other hospitals'
            answers; null where more are not what is lacking.
        measures: a positive estimate means that `of` has the larger value, not that it is better.
    """

    outcome: Outcome
    reason: str
    questions: Mapping[Question, AnsweredQuestion]
    p_no_worse: float | None
    detectable: float | None
    needed: int | None
    measures: Mapping[MeasureKey, Difference]


@dataclasses.dataclass(frozen=True)
class ComparisonOfAll:
    """Two arms over all hospitals' test rows together.

    Attributes:
        measures: as at a hospital.
    """

    measures: Mapping[MeasureKey, Difference]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two arms against each other.

    Attributes:
        id: "OF-AGAINST".
        of: the arm that is compared.
        against: the arm that is subtracted.
        primary: whether it is the one that the answer is about.
        hospitals: at each hospital.
        all: over all of them.
    """

    id: ComparisonId
    of: Arm
    against: Arm
    primary: bool
    hospitals: Mapping[Hospital, HospitalComparison]
    all: ComparisonOfAll


@dataclasses.dataclass(frozen=True)
class SeedSpread:
    """How far a hospital's difference depends on the seed.

    Attributes:
        by_seed: as of the difference.
        sd: standard deviation.
        least: of them.
        greatest: of them.
        signs_agree: whether all seeds say the same way.
    """

    by_seed: tuple[float | None, ...]
    sd: float
    least: float
    greatest: float
    signs_agree: bool


@dataclasses.dataclass(frozen=True)
class SeedSensitivity:
    """How far answers depend on the seed.

    Attributes:
        comparison: the primary one.
        hospitals: those with a difference at two seeds or more.
        about: a sentence for the page.
    """

    comparison: ComparisonId
    hospitals: Mapping[Hospital, SeedSpread]
    about: str


@dataclasses.dataclass(frozen=True)
class Scenario:
    """The same study on other data, in short: the primary metric only.

    Attributes:
        name: of the arm that changes the data.
        label: for pages.
        set: what it changes.
        hospitals: as of the study.
        performance: each arm's figure.
        comparisons: the primary one first.
    """

    name: str
    label: str
    set: Settings
    hospitals: tuple[HospitalCounts, ...]
    performance: Mapping[Arm, ByUnit[Mapping[MeasureKey, SeededEstimate]]]
    comparisons: tuple[Comparison, ...]


@dataclasses.dataclass(frozen=True)
class GrowPoint:
    """One size of the consortium.

    Attributes:
        name: in words.
        axis: what grows: along `hospitals` all have all patients; along `patients` all hospitals have a growing share.
        hospitals: how many take part.
        share: of everybody's training patients.
        train_rows: of all who take part, mean over seeds; null where 1 to 4 patients of a hospital train, or are
            tested, at a seed: their number would follow.
        performance: of the watched hospital, under the kind of arm that was trained.
        difference: from training alone with all of its patients; null for that point itself.
    """

    name: str
    axis: Literal["hospitals", "patients"]
    hospitals: int
    share: float
    train_rows: int | None
    performance: Mapping[Literal["local", "federated"], SeededEstimate]
    difference: Difference | None


@dataclasses.dataclass(frozen=True)
class Grow:
    """The learning curve over the consortium.

    Attributes:
        hospital: the one that is watched.
        metric: the primary one.
        points: by axis and size.
        about: a sentence for the page.
    """

    hospital: Hospital
    metric: MeasureKey
    points: tuple[GrowPoint, ...]
    about: str
