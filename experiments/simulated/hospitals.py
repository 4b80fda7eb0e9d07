"""The same synthetic hospitals with other patients in each study, and fresh patients of each that tell the truth."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from fedmed.data import diabetes, registries
from fedmed.data.diabetes_records import FEATURES
from fedmed.data.diabetes_sites import Dials, profile
from fedmed.data.examples import Dataset, Examples
from fedmed.settings import config
from fedmed.study.consortium import Consortium

_LAW = 0  # seed of the hospitals drawn between the named ones: the same ones in every study
_FRESH = 10_000  # added to a study's number: patients whom no study has

Tested: TypeAlias = dict[str, tuple[str, Examples]]


@dataclasses.dataclass(frozen=True)
class Cell:
    """Hospitals that are studied again and again.

    Attributes:
        severity: how far they differ, 0 to 1.
        hospitals: how many.
    """

    severity: float
    hospitals: int

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"severity {self.severity:g}, {self.hospitals} hospitals"


@registries.datasets.register("diabetes_again")
def diabetes_again(*, hospitals: int = 3, patients: float = 1.0, severity: float = 1.0, replicate: int = 0) -> Dataset:
    """The hospitals of `diabetes_ehr` with patients that no other replicate has.

    Args:
        hospitals: how many.
        patients: scales their sizes.
        severity: how far they differ.
        replicate: which patients.
    """
    sizes = [round(patients * profile(number, seed=_LAW).patients) for number in range(hospitals)]
    return Dataset("diabetes_again", _drawn(sizes, severity, replicate), "binary", 2, features=FEATURES)


def _drawn(sizes: Sequence[int], severity: float, replicate: int) -> Examples:
    """Draws so many patients of hospital 0, 1, ..., with one unit and no code for the unknown: nothing to mend."""
    dials = Dials(severity=severity, units=False, coding=False)
    laws = [profile(number, seed=_LAW, dials=dials) for number in range(len(sizes))]
    cohorts = [
        diabetes.fresh(number, size, seed=_LAW, dials=dials, replicate=replicate) for number, size in enumerate(sizes)
    ]
    x, y = (np.concatenate([getattr(cohort, part) for cohort in cohorts]) for part in ("x", "y"))
    return Examples(x, y, np.repeat([law.name for law in laws], sizes))


class WithFresh(Consortium):
    """Hospitals whose models are also tested on fresh patients of each.

    Attributes:
        fresh: by hospital, never trained on.
    """

    def __init__(self, settings: config.RunConfig, count: int) -> None:
        super().__init__(settings)
        args = settings.data.args
        examples = _drawn([count] * args["hospitals"], args["severity"], args["replicate"] + _FRESH)
        self.fresh = {name: examples.take(np.flatnonzero(examples.site == name)) for name in self.hospitals}

    def tested(self, seed: int) -> Tested:
        """Returns the test rows of each hospital, then its fresh patients."""
        return {**super().tested(seed), **{f"{name} fresh": (name, rows) for name, rows in self.fresh.items()}}
