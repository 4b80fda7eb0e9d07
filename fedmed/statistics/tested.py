"""What models predicted for a hospital's test rows, and how many patients stand behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from fedmed.data.examples import Task

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class ArmTest:
    """One model's predictions for a hospital's test rows at one seed.

    Attributes:
        y: [n] labels.
        p: predictions as for `metrics.evaluate`.
        patient: [n] identifiers, the same at every seed; row numbers of the data set where each row is a patient.
        site: [n] the hospital of each row where there are several: rankings then compare patients of the same one.
    """

    y: Array
    p: Array
    patient: Array
    site: Array | None = None


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """Two models' predictions for the same test rows of a hospital at one seed.

    Attributes:
        y: [n] labels.
        a: predictions of the arm compared against.
        b: predictions of the arm of interest; a difference is b minus a.
        patient: [n] identifiers, the same at every seed; row numbers of the data set where each row is a patient.
        site: [n] as of an ArmTest.
    """

    y: Array
    a: Array
    b: Array
    patient: Array
    site: Array | None = None

    @property
    def arms(self) -> tuple[ArmTest, ArmTest]:
        """The two models' tests, a and b."""
        return (
            ArmTest(self.y, self.a, self.patient, self.site),
            ArmTest(self.y, self.b, self.patient, self.site),
        )


def informative_patients(task: Task, tests: Sequence[ArmTest] | Sequence[PairedTest], metric: str | None = None) -> int:
    """Returns how many distinct patients carry the information, over all seeds.

    For a class it is the smaller of two numbers: patients with a row of the most common label, and patients with a row
    of any other (so for a binary label, the rarer of events and non-events). A ranking of several classes (AUROC) rests
    on the rarest class as much as on any: there it is that one's patients. For a count it is patients with a row above
    0. For regression, all patients.

    Args:
        task: what kind of label.
        tests: of all seeds.
        metric: what is told of them, by name; None for none in particular.
    """
    if not tests:
        return 0
    patient, y = np.concatenate([t.patient for t in tests]), np.concatenate([t.y for t in tests])
    if task == "regression" or not len(y):
        return len(np.unique(patient))
    if task == "count":
        return len(np.unique(patient[y > 0]))
    labels, counts = np.unique(y, return_counts=True)
    if task == "multiclass" and metric == "auroc" and len(labels) > 1:
        return min(len(np.unique(patient[y == label])) for label in labels)
    common = y == labels[counts.argmax()]
    return min(len(np.unique(patient[common])), len(np.unique(patient[~common])))
