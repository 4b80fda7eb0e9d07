"""Predictions and labels put together again: what the statistics of a scenario are made of."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from fedmed.data.examples import Array, Task
from fedmed.statistics import ArmTest, PairedTest, folds, recalibration
from fedmed.statistics.recalibration import Recalibrated
from fedmed.study.consortium import Consortium
from fedmed.study.plan import ArmPlan, Job
from fedmed.study.results import Result
from fedmed.system import seeds as seeds_

Unit: TypeAlias = str | tuple[str, ...] | None
"""A hospital, several, or None for all hospitals' test rows together."""

FOLDS = 5
"""Of a hospital's tested patients, for recalibration: each is fitted on the four others."""

_OWN_ONLY = ("local", "leave_one_out", "boosting_alone", "regression_alone")


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """All models of a scenario, by arm and seed.

    Attributes:
        consortium: the hospitals.
        seeds: in order.
        arms: as they were planned.
        results: (arm, seed, hospital that trains alone or is left out, else None) to a model's result.
        references: arms without federated training, which have a section of the page to themselves.
        recalibrated: (seed, hospital) to the federated model's predictions after recalibration there; empty without
            such an arm.
    """

    consortium: Consortium
    seeds: tuple[int, ...]
    arms: tuple[ArmPlan, ...]
    results: Mapping[tuple[str, int, str | None], Result]
    references: tuple[ArmPlan, ...] = ()
    recalibrated: Mapping[tuple[int, str], Recalibrated] = dataclasses.field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What kind of label."""
        return self.consortium.dataset.task

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Ids, in the order of the partition."""
        return self.consortium.hospitals

    @property
    def units(self) -> tuple[Unit, ...]:
        """Each hospital, then all together."""
        return (*self.hospitals, None)

    def arm(self, name: str) -> ArmPlan:
        """Returns the arm, or reference arm, of that name."""
        return next(arm for arm in (*self.arms, *self.references) if arm.name == name)

    def rows(self, seed: int, unit: Unit) -> Array:
        """Returns the test rows of a unit, as numbers of the data set."""
        split = self.consortium.rows(seed)
        return np.concatenate([np.zeros(0, np.int64), *(split[name].test for name in self._chosen(unit))])

    def predictions(self, arm: str, seed: int, unit: Unit) -> Array:
        """Returns an arm's predictions for these rows: of the model that each hospital would use."""
        kind = self.arm(arm).kind
        if kind == "recalibrated":
            parts = [self.recalibrated[seed, name].p for name in self._chosen(unit)]
        else:
            parts = [
                self.results[arm, seed, name if kind in _OWN_ONLY else None].predictions[self.hospitals.index(name)]
                for name in self._chosen(unit)
            ]
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)

    def _chosen(self, unit: Unit) -> tuple[str, ...]:
        return self.hospitals if unit is None else (unit,) if isinstance(unit, str) else unit

    def test(self, arm: str, seed: int, unit: Unit) -> ArmTest:
        """Returns an arm's test at one seed; it may have no rows."""
        rows = self.rows(seed, unit)
        y = self.consortium.dataset.examples.y[rows]
        return ArmTest(y, self.predictions(arm, seed, unit), self.consortium.patient[rows], self._site(seed, unit))

    def _site(self, seed: int, unit: Unit) -> Array | None:
        """Returns the hospital of each row of several hospitals, by number."""
        names = self._chosen(unit)
        if len(names) < 2:
            return None
        split = self.consortium.rows(seed)
        return np.repeat(np.arange(len(names)), [len(split[name].test) for name in names])

    def tests(self, arm: str, unit: Unit) -> list[ArmTest]:
        """Returns an arm's tests, one a seed, without seeds at which the unit has no test rows."""
        return [test for seed in self.seeds if len((test := self.test(arm, seed, unit)).y)]

    def pairs(self, of: str, against: str, unit: Unit) -> list[PairedTest]:
        """Returns two arms' tests, one a seed; a difference is `of` minus `against`."""
        found = []
        for seed in self.seeds:
            a, b = self.test(against, seed, unit), self.test(of, seed, unit)
            if len(a.y):
                found.append(PairedTest(a.y, a.p, b.p, a.patient, a.site))
        return found


def gather(
    consortium: Consortium,
    seeds: Sequence[int],
    arms: Sequence[ArmPlan],
    found: Sequence[tuple[Job, Result]],
    references: Sequence[ArmPlan] = (),
) -> Outcomes:
    """Files results by arm, seed and hospital, and recalibrates the federated arm's where that is an arm."""
    results = {(job.arm, job.settings.seed, job.hospital): result for job, result in found}
    outcomes = Outcomes(consortium, tuple(seeds), tuple(arms), results, tuple(references))
    if not any(arm.kind == "recalibrated" for arm in arms):
        return outcomes
    made = {(seed, name): _recalibrated(outcomes, seed, name) for seed in seeds for name in consortium.hospitals}
    return dataclasses.replace(outcomes, recalibrated=made)


def _recalibrated(outcomes: Outcomes, seed: int, hospital: str) -> Recalibrated:
    """Returns the federated model's predictions recalibrated at a hospital, in folds that seed and hospital decide."""
    test, how = outcomes.test("federated", seed, hospital), outcomes.arm("recalibrated").settings.study.recalibration
    rng = seeds_.generator(seed, "study.recalibration", zlib.crc32(hospital.encode()))
    fold = folds.by_patient(test.y, test.patient, FOLDS, rng)
    return recalibration.cross_fitted(outcomes.task, how, test.y, test.p, test.patient, fold)
