"""How often what simulated studies say is so."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from experiments.simulated.judged import AUROC, HOSPITAL_FIGURES, MEAN, RATIOS, HospitalJudged, StudyJudged, Told

LARGE = 0.05
"""A gain in AUROC that a study should find."""


@dataclasses.dataclass(frozen=True)
class Share:
    """So many of so many; 0 of 0 where there is nothing to count."""

    count: int
    of: int


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How often intervals of 95 % hold the truth.

    Attributes:
        expected: the mean truth over studies of the same hospitals, and so over training sets: what is promised.
        own: what the study's own models have on fresh patients.
        width: mean.
        bias: mean estimate less mean truth.
    """

    expected: Share
    own: Share
    width: float
    bias: float


@dataclasses.dataclass(frozen=True)
class Claims:
    """What is said of hospitals.

    Attributes:
        null: arms against themselves that are told to gain or to be harmed, at most 5 %.
        null_mean: consortium means of such arms whose interval leaves out 0.
        at_margin: hospitals told "no worse" of a model that is worse by the margin, at most 2.5 %.
        at_margin_studies: studies that tell it to any hospital.
        wrong: claims on a question whose side the expected truth does not share.
        gains: hospitals that truly gain more than LARGE and are told so now.
        gains_with_consortium: the same, or by the consortium's mean or the line by size.
        gains_before: the same by Holm's procedure over hospitals on the AUROC alone.
        consortium_wrong: hospitals to which mean or line tell a gain that the expected truth denies.
        outcomes: verdicts of federated against local training.
    """

    null: Share
    null_mean: Share
    at_margin: Share
    at_margin_studies: Share
    wrong: Share
    gains: Share
    gains_with_consortium: Share
    gains_before: Share
    consortium_wrong: Share
    outcomes: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Summary:
    """Over the studies of a cell, or of all.

    Attributes:
        studies: how many.
        coverage: by figure; the consortium's mean among them.
        predicted: expected differences of the study's hospitals within its prediction interval.
        claims: what is said.
    """

    studies: int
    coverage: Mapping[str, Coverage]
    predicted: Share
    claims: Claims


class Expected:
    """Mean truths over the studies of a cell.

    Args:
        studies: of all cells.
    """

    def __init__(self, studies: Sequence[StudyJudged]) -> None:
        truths: dict[tuple[str, str, str], list[float]] = {}
        for study in studies:
            for name, own in study.hospitals.items():
                for figure, told in own.told.items():
                    truths.setdefault((study.cell, name, figure), []).append(told.truth)
            if study.mean is not None:
                truths.setdefault((study.cell, "", MEAN), []).append(study.mean.truth)
        self._means = {key: float(np.mean(found)) for key, found in truths.items()}

    def of(self, study: StudyJudged, figure: str, hospital: str = "") -> float:
        """Returns the expected truth of a figure."""
        return self._means[study.cell, hospital, figure]

    def better(self, study: StudyJudged, question: str, hospital: str) -> bool:
        """Whether federated training is expected to be better at a hospital in a question's measure."""
        if question == "calibration":
            federated, local = (abs(math.log(self.of(study, figure, hospital))) for figure in RATIOS.values())
            return federated < local
        return self.of(study, AUROC if question == "ranking" else HOSPITAL_FIGURES[-1], hospital) > 0


def summary(studies: Sequence[StudyJudged], expected: Expected) -> Summary:
    """Returns how often the studies are right."""
    figures: dict[str, list[tuple[Told, float]]] = {figure: [] for figure in (*HOSPITAL_FIGURES, MEAN)}
    for study, name, own in _hospitals(studies):
        for figure, told in own.told.items():
            figures[figure].append((told, expected.of(study, figure, name)))
    figures[MEAN] = [(study.mean, expected.of(study, MEAN)) for study in studies if study.mean is not None]
    predicted = [
        study.prediction[0] <= expected.of(study, AUROC, name) <= study.prediction[1]
        for study, name, own in _hospitals(studies)
        if study.prediction is not None and AUROC in own.told
    ]
    return Summary(
        len(studies),
        {figure: coverage_of(told) for figure, told in figures.items() if told},
        share(predicted),
        _claims(studies, expected),
    )


def _hospitals(studies: Sequence[StudyJudged]) -> list[tuple[StudyJudged, str, HospitalJudged]]:
    return [(study, name, own) for study in studies for name, own in study.hospitals.items()]


def coverage_of(told: Sequence[tuple[Told, float]]) -> Coverage:
    """Returns how often intervals hold their own truth and the expected one that stands beside each."""
    return Coverage(
        expected=share(one.low <= expected <= one.high for one, expected in told),
        own=share(one.low <= one.truth <= one.high for one, _ in told),
        width=float(np.mean([one.high - one.low for one, _ in told])),
        bias=float(np.mean([one.estimate - one.truth for one, _ in told])),
    )


def null_means(studies: Sequence[StudyJudged]) -> Share:
    """Returns how many consortium means of an arm against itself have an interval that leaves out 0."""
    return share(not one.low <= 0 <= one.high for study in studies for one in study.null.values())


def _claims(studies: Sequence[StudyJudged], expected: Expected) -> Claims:
    everyone = _hospitals(studies)
    judged = [one for one in everyone if one[2].outcome != "too few events"]
    large = [one for one in judged if AUROC in one[2].told and one[2].told[AUROC].truth > LARGE]
    nulls = [outcome for _, _, own in judged for outcome in own.null.values()]
    words = [own.outcome for _, _, own in everyone]
    return Claims(
        null=share(outcome in ("gains", "harmed") for outcome in nulls),
        null_mean=null_means(studies),
        at_margin=share(own.at_margin == "no worse" for _, _, own in judged),
        at_margin_studies=share(
            any(own.at_margin == "no worse" for own in study.hospitals.values()) for study in studies
        ),
        wrong=share(
            (claim == "better") != expected.better(study, question, name)
            for study, name, own in judged
            for question, claim in own.claims.items()
        ),
        gains=share(own.outcome == "gains" for _, _, own in large),
        gains_with_consortium=share(own.outcome == "gains" or _consortium(study, own) for study, _, own in large),
        gains_before=share(own.before == "gains" for _, _, own in large),
        consortium_wrong=share(
            not expected.better(study, "ranking", name) for study, name, own in judged if _consortium(study, own)
        ),
        outcomes={word: words.count(word) for word in dict.fromkeys(sorted(words))},
    )


def _consortium(study: StudyJudged, own: HospitalJudged) -> bool:
    """Whether the consortium's answer tells this hospital that it gains."""
    return own.under_line or (study.mean is not None and study.mean.low > 0)


def share(found: Iterable[bool]) -> Share:
    """Returns how many are true."""
    known = list(found)
    return Share(sum(known), len(known))


def by_cell(studies: Sequence[StudyJudged]) -> dict[str, Summary]:
    """Returns a summary of each cell, then of all."""
    expected = Expected(studies)
    cells: Mapping[str, Callable[[StudyJudged], bool]] = {
        **{name: (lambda study, n=name: study.cell == n) for name in dict.fromkeys(study.cell for study in studies)},
        "all": lambda study: True,
    }
    return {name: summary([study for study in studies if of(study)], expected) for name, of in cells.items()}
