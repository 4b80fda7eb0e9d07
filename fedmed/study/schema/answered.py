"""What the differences say to each hospital, and to all of them together."""

import dataclasses
from collections.abc import Mapping

from fedmed.statistics.verdicts import Outcome, Question
from fedmed.study.schema.compared import AnsweredQuestion
from fedmed.study.schema.shapes import ComparisonId, Difference, Estimate, Hospital, SeededEstimate, TestedDifference


@dataclasses.dataclass(frozen=True)
class HospitalAnswer:
    """The verdict for a hospital.

    Attributes:
        outcome: the verdict.
        sentence: in plain words with the numbers, for the page.
        difference: of the primary metric; null numbers if events are too few.
        questions: as of the comparison.
        p_no_worse: as of the comparison.
        detectable: as of the comparison.
        needed: as of the comparison.
        of: the compared arm's own value; null where the arm has none here.
        against: the other arm's own value, likewise.
    """

    outcome: Outcome
    sentence: str
    difference: Difference
    questions: Mapping[Question, AnsweredQuestion]
    p_no_worse: float | None
    detectable: float | None
    needed: int | None
    of: SeededEstimate | None
    against: SeededEstimate | None


@dataclasses.dataclass(frozen=True)
class GainBySize:
    """How the primary difference, positive where `of` is better, goes with a hospital's size.

    Attributes:
        events: sizes at which it is told: informative patients among a hospital's training rows.
        gain: the mean at each size.
        low: lower end of its band, at each size by itself.
        high: upper end.
        per_doubling: how the gain changes with each doubling of the size.
        gains_below: the largest size up to which the band is above 0; null where it is nowhere.
        hospitals: each hospital's size.
    """

    events: tuple[float, ...]
    gain: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    per_doubling: Estimate
    gains_below: float | None
    hospitals: Mapping[Hospital, float]


@dataclasses.dataclass(frozen=True)
class ConsortiumAnswer:
    """What the hospitals' differences in the primary metric come to.

    Attributes:
        mean: over hospitals such as these, each counting alike.
        hospitals: how many have a figure.
        tau: standard deviation of the true differences between hospitals.
        i_squared: share of the estimates' variance that is not chance.
        prediction: where another such hospital's true difference would lie; null with fewer than 5 hospitals.
        by_size: null with fewer than 5 hospitals, or where all are of one size.
        about: a sentence for the page.
    """

    mean: TestedDifference
    hospitals: int
    tau: float
    i_squared: float
    prediction: tuple[float, float] | None
    by_size: GainBySize | None
    about: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """The verdicts: the first screen.

    Attributes:
        comparison: the primary one.
        summary: one sentence.
        hospitals: the verdict for each.
        margin: of the primary metric, within which a hospital counts as no worse.
        threshold: risk at which net benefit is told; null but for a binary task.
        consortium: null with fewer than two hospitals that have a figure.
    """

    comparison: ComparisonId
    summary: str
    hospitals: Mapping[Hospital, HospitalAnswer]
    margin: float
    threshold: float | None
    consortium: ConsortiumAnswer | None
