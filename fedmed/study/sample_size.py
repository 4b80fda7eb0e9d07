"""Whether a hospital, and all of them together, have the rows that a regression of their columns needs."""

from collections.abc import Sequence

import numpy as np

from fedmed.data.preprocessing import Mode
from fedmed.statistics import shrinkage
from fedmed.study.consortium import POOLED, Consortium
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema import HospitalCounts, RowsNeeded, SampleSize

_ABOUT = (
    "Riley et al. 2020 (BMJ 368: m441): the training rows at which a regression with {parameters} coefficients, one "
    "for each column that a model is given, is expected to shrink by no more than "
    f"{100 * (1 - shrinkage.SHRINKAGE):.0f} %, if it reaches {100 * shrinkage.EXPLAINED:.0f} % of the largest "
    "Cox-Snell R². A network has more parameters and needs more"
)


def sample_size(outcomes: Outcomes, mode: Mode, counts: Sequence[HospitalCounts]) -> SampleSize | None:
    """Returns the rows needed and whether they are there; None but for a table with a binary label.

    Args:
        outcomes: of the study.
        mode: of the preprocessing, which decides how many columns a model is given.
        counts: of each hospital, as they are shown.
    """
    consortium = outcomes.consortium
    if outcomes.task != "binary" or not consortium.dataset.is_table:
        return None
    parameters = _columns(consortium, outcomes.seeds[0], mode)
    hospitals = {own.id: _needed(parameters, own.event_rate, own.train_rows) for own in counts}
    about = _ABOUT.format(parameters=parameters)
    return SampleSize(parameters, hospitals, _needed(parameters, *_together(counts)), about)


def _columns(consortium: Consortium, seed: int, mode: Mode) -> int:
    return np.asarray(consortium.material("pooled", seed, mode).train[POOLED].x).shape[1]


def _together(counts: Sequence[HospitalCounts]) -> tuple[float | None, int | None]:
    """Returns the share with the event and the training rows of all hospitals; None where a hidden one would follow."""
    events, patients, rows = ([getattr(own, key) for own in counts] for key in ("events", "patients", "train_rows"))
    if None in events or None in patients or None in rows:
        return None, None
    return sum(events) / sum(patients), sum(rows)


def _needed(parameters: int, prevalence: float | None, rows: int | None) -> RowsNeeded:
    if prevalence is None or rows is None or not 0 < prevalence < 1:
        return RowsNeeded(None, None)
    needed = shrinkage.rows_needed(parameters, prevalence)
    return RowsNeeded(needed, rows >= needed)
