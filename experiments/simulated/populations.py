"""Studies whose hospitals are drawn anew: does the consortium's answer hold for all hospitals such as theirs?"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.simulated.judged import AUROC, StudyJudged
from experiments.simulated.tallies import Coverage, Share, coverage_of, null_means, share


@dataclasses.dataclass(frozen=True)
class PopulationSummary:
    """Over the studies of a cell, each with hospitals of its own.

    Attributes:
        studies: how many.
        mean: of the consortium's mean; expected is the mean over all the studies' hospitals, own that of the study's.
        predicted: how often a study's prediction interval holds the difference at another study's hospital.
        null: consortium means of an arm against itself whose interval leaves out 0.
    """

    studies: int
    mean: Coverage
    predicted: Share
    null: Share


def population(studies: Sequence[StudyJudged]) -> PopulationSummary:
    """Returns how often the studies of one cell are right, at least one of them with a mean."""
    truths = [[own.told[AUROC].truth for own in study.hospitals.values() if AUROC in own.told] for study in studies]
    everywhere = float(np.mean([value for own in truths for value in own]))
    known = [(study.mean, everywhere) for study in studies if study.mean is not None]
    held = [
        study.prediction[0] <= value <= study.prediction[1]
        for place, study in enumerate(studies)
        for others in truths[:place] + truths[place + 1 :]
        for value in others
        if study.prediction is not None
    ]
    return PopulationSummary(len(studies), coverage_of(known), share(held), null_means(studies))


def by_cell(studies: Sequence[StudyJudged]) -> dict[str, PopulationSummary]:
    """Returns a summary of each cell."""
    names = dict.fromkeys(study.cell for study in studies)
    return {name: population([study for study in studies if study.cell == name]) for name in names}
