"""The same synthetic hospitals with other patients in each study, and fresh patients of each that tell the truth."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from fedmed.data import diabetes, registries
from fedmed.data.diabetes_records import FEATURES
from fedmed.data.diabetes_sites import NAMED, Dials, Profile, profile
from fedmed.data.examples import Dataset, Examples
from fedmed.settings import config
from fedmed.study.consortium import Consortium

_LAW = 0  # seed of the hospitals drawn between the named ones: the same ones in every study
_ANEW = 1000  # added to a study's number: seed of its own hospitals
_FRESH = 10_000  # added to a study's number: patients whom no study has

Tested: TypeAlias = dict[str, tuple[str, Examples]]


@dataclasses.dataclass(frozen=True)
class Cell:
    """Hospitals that are studied again and again.

    Attributes:
        severity: how far they differ, 0 to 1.
        hospitals: how many.
        anew: whether each study has other hospitals, drawn from all that there could be, or all have the same ones.
    """

    severity: float
    hospitals: int
    anew: bool = False

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"severity {self.severity:g}, {self.hospitals} hospitals{' drawn anew' if self.anew else ''}"


@registries.datasets.register("diabetes_again")
def diabetes_again(
    *, hospitals: int = 3, patients: float = 1.0, severity: float = 1.0, replicate: int = 0, anew: bool = False
) -> Dataset:
    """The hospitals of `diabetes_ehr` with patients that no other replicate has.

    Args:
        hospitals: how many.
        patients: scales their sizes.
        severity: how far they differ.
        replicate: which patients.
        anew: whether the replicate has hospitals of its own, none of the three that have names.
    """
    laws = _laws(hospitals, severity, replicate if anew else None)
    sizes = [round(patients * law.profile.patients) for law in laws]
    return Dataset("diabetes_again", _drawn(laws, sizes, replicate), "binary", 2, features=FEATURES)


class _Law(NamedTuple):
    """A hospital: its number and the seed that it is drawn with, and what follows from them."""

    number: int
    seed: int
    dials: Dials

    @property
    def profile(self) -> Profile:
        return profile(self.number, seed=self.seed, dials=self.dials)


def _laws(hospitals: int, severity: float, replicate: int | None) -> list[_Law]:
    """Returns hospitals with one unit and no code for the unknown: nothing to mend; those of a replicate, or of all."""
    dials = Dials(severity=severity, units=False, coding=False)
    if replicate is None:
        return [_Law(number, _LAW, dials) for number in range(hospitals)]
    return [_Law(len(NAMED) + number, _ANEW + replicate, dials) for number in range(hospitals)]


def _drawn(laws: Sequence[_Law], sizes: Sequence[int], replicate: int) -> Examples:
    """Draws so many patients of each hospital."""
    cohorts = [
        diabetes.fresh(law.number, size, seed=law.seed, dials=law.dials, replicate=replicate)
        for law, size in zip(laws, sizes, strict=True)
    ]
    x, y = (np.concatenate([getattr(cohort, part) for cohort in cohorts]) for part in ("x", "y"))
    return Examples(x, y, np.repeat([law.profile.name for law in laws], sizes))


class WithFresh(Consortium):
    """Hospitals whose models are also tested on fresh patients of each.

    Attributes:
        fresh: by hospital, never trained on.
    """

    def __init__(self, settings: config.RunConfig, count: int) -> None:
        super().__init__(settings)
        args = settings.data.args
        laws = _laws(args["hospitals"], args["severity"], args["replicate"] if args["anew"] else None)
        examples = _drawn(laws, [count] * len(laws), args["replicate"] + _FRESH)
        self.fresh = {name: examples.take(np.flatnonzero(examples.site == name)) for name in self.hospitals}

    def tested(self, seed: int) -> Tested:
        """Returns the test rows of each hospital, then its fresh patients."""
        return {**super().tested(seed), **{f"{name} fresh": (name, rows) for name, rows in self.fresh.items()}}
