"""The built-in data set: synthetic hospitals that differ the way real ones do, with a known risk of diabetes.

Patients and risk are in `diabetes_patients`, the hospitals in `diabetes_sites`, their records in `diabetes_records`.
"""

import dataclasses

import numpy as np

from fedmed.data import diabetes_patients, registries
from fedmed.data.diabetes_patients import Patients
from fedmed.data.diabetes_records import FEATURES, records
from fedmed.data.diabetes_sites import DEFAULT, Dials, Profile, profile
from fedmed.data.examples import Array, Dataset, Examples
from fedmed.system import errors, seeds

_IDS_PER_HOSPITAL = 10**9


@dataclasses.dataclass(frozen=True)
class Cohort:
    """n patients of one hospital: what is recorded of them, and the truth behind it.

    Attributes:
        people: true values. x: float64 [n, 10], the record (columns `FEATURES`). y: int64 [n], the recorded outcome.
        y_true: int64 [n], the outcome. risk_true: float64 [n], its probability under the hospital's own law.
    """

    people: Patients
    x: Array
    y: Array
    y_true: Array
    risk_true: Array


def draw(law: Profile, count: int, rng: np.random.Generator) -> Cohort:
    """Draws `count` patients of a hospital with outcome and record; the same law for training and for scoring."""
    people = diabetes_patients.patients(law, count, rng)
    risk_true = diabetes_patients.risk(law, people)
    y_true = (rng.random(count) < risk_true).astype(np.int64)
    x, y = records(law.measurement, people, y_true, rng)
    return Cohort(people, x, y, y_true, risk_true)


def fresh(hospital: int, count: int, *, seed: int = 0, dials: Dials = DEFAULT, replicate: int = 0) -> Cohort:
    """Draws patients of hospital 0, 1, ... whom the data set of the same seed and dials does not contain.

    They follow the very law, observation layer included, of that hospital's rows in `diabetes_ehr`. Each `replicate`
    is an independent draw. Memory is about 0.5 kB a patient.

    Raises:
        ConfigError: `hospital` is negative or `count` is not positive.
    """
    if count < 1:
        raise errors.ConfigError(f"count: expected a number >= 1, got {count!r}")
    rng = seeds.generator(seed, "diabetes_ehr.fresh", hospital, replicate)
    return draw(profile(hospital, seed=seed, dials=dials), count, rng)


@registries.datasets.register("diabetes_ehr")
def diabetes_ehr(
    *,
    hospitals: int = 3,
    patients: float = 1.0,
    seed: int = 0,
    severity: float = 1.0,
    covariate: bool = True,
    prior: bool = True,
    concept: bool = True,
    measurement: bool = True,
    quantity: bool = True,
    units: bool = True,
    bias: bool = True,
    missing: bool = True,
    coding: bool = True,
    label_noise: bool = True,
) -> Dataset:
    """Synthetic electronic health records: 8-year onset of type 2 diabetes (Framingham Offspring, Wilson et al. 2007).

    x is float64 [n, 10] (`FEATURES`), y int64 [n] the recorded outcome, site the hospital's name, group the patient's
    number (one row each; hospital number times 1e9 plus a count). truth holds risk_true and y_true. Hospital k depends
    on (seed, k, the other dials) only, never on how many hospitals there are.

    Args:
        hospitals: the urban teaching, safety net and small rural hospital in this order, then ones drawn between them.
        patients: scales the hospitals' sizes (6,000, 2,500 and 900).
        seed: of the hospitals and their patients.
        severity: 0 to 1, scales every hospital's departure from the urban one, sizes apart.
        covariate: whether hospitals differ in who comes.
        prior: whether they differ in risk that no column explains.
        concept: whether the same finding acts differently among them.
        measurement: whether they differ in how they record; if not, all record as the urban one does.
        quantity: whether they differ in size.
        units: whether units may differ; false stores mg/dL everywhere.
        bias: whether the rural glucometer is biased and the safety net rounds blood pressure.
        missing: whether values are missing; false completes lipids and HbA1c.
        coding: whether unknown parental history exists and is miscoded.
        label_noise: whether the recorded outcome may be wrong; false records y_true.

    Raises:
        ConfigError: a number is out of range, or a hospital would have no patient.
    """
    if hospitals < 1:
        raise errors.ConfigError(f"data.args.hospitals: expected a whole number >= 1, got {hospitals!r}")
    if not 0 < patients < float("inf"):
        raise errors.ConfigError(f"data.args.patients: expected a number > 0, got {patients!r}")
    if seed < 0:
        raise errors.ConfigError(f"data.args.seed: expected a whole number >= 0, got {seed!r}")
    dials = Dials(
        severity=severity,
        covariate=covariate,
        prior=prior,
        concept=concept,
        measurement=measurement,
        quantity=quantity,
        units=units,
        bias=bias,
        missing=missing,
        coding=coding,
        label_noise=label_noise,
    )
    laws = [profile(hospital, seed=seed, dials=dials) for hospital in range(hospitals)]
    counts = [_size(law, patients) for law in laws]
    cohorts = [
        draw(law, count, seeds.generator(seed, "diabetes_ehr.patients", hospital))
        for hospital, (law, count) in enumerate(zip(laws, counts, strict=True))
    ]
    return _dataset(laws, cohorts)


def _size(law: Profile, scale: float) -> int:
    count = round(scale * law.patients)
    if count < 1:
        raise errors.ConfigError(
            f"data.args.patients: {scale!r} leaves {law.name} without a patient; give a larger number"
        )
    return count


def _dataset(laws: list[Profile], cohorts: list[Cohort]) -> Dataset:
    counts = [len(cohort.y) for cohort in cohorts]
    ids = [np.arange(count) + (k + 1) * _IDS_PER_HOSPITAL + 1 for k, count in enumerate(counts)]
    examples = Examples(
        x=np.concatenate([cohort.x for cohort in cohorts]),
        y=np.concatenate([cohort.y for cohort in cohorts]),
        site=np.repeat([law.name for law in laws], counts),
        group=np.concatenate(ids).astype(np.int64),
    )
    return Dataset(
        "diabetes_ehr",
        examples,
        task="binary",
        classes=2,
        class_names=("no diabetes", "diabetes"),
        features=FEATURES,
        truth={
            "risk_true": np.concatenate([cohort.risk_true for cohort in cohorts]),
            "y_true": np.concatenate([cohort.y_true for cohort in cohorts]),
        },
    )
