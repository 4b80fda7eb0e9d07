"""The synthetic hospitals: three profiles, hospitals drawn between them, and the dials that bring them together.

A profile is numbers only, grouped by the kind of shift they make, so that a hospital between two others, or one at
half severity, is a weighted mean of profiles, group by group.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from fedmed.system import errors, seeds


@dataclasses.dataclass(frozen=True)
class Covariates:
    """Who comes: mean and SD of each margin before clipping, and shares of male and of parental diabetes."""

    age_mean: float
    age_sd: float
    bmi_mean: float
    bmi_sd: float
    sbp_mean: float
    sbp_sd: float
    hdl_mean: float
    hdl_sd: float
    ln_tg_mean: float
    ln_tg_sd: float
    glucose_mean: float
    glucose_sd: float
    parental: float
    male: float


@dataclasses.dataclass(frozen=True)
class Prior:
    """What no column explains: added to the intercept of the log-odds."""

    intercept: float


@dataclasses.dataclass(frozen=True)
class Concept:
    """How the same finding acts otherwise here: added to the log-odds ratios of these terms."""

    parental: float
    glucose: float
    obese: float


@dataclasses.dataclass(frozen=True)
class Measurement:
    """How the hospital records what is true. Shares are of patients; the bias is in mg/dL.

    Lipids (HDL and triglycerides) are one blood test, so they are missing together, at a rate that may differ below
    the age of 45. Parental history is unknown for `unknown_as_no` + `unknown_as_minus_nine` of the patients. HbA1c is
    measured with log-odds `hba1c_log_odds` + the patient's glucose in the hospital's standard deviations.
    """

    mmol: float
    glucose_bias: float
    glucose_sd: float
    rounded_bp: float
    no_lipids_below_45: float
    no_lipids_from_45: float
    hba1c_log_odds: float
    unknown_as_no: float
    unknown_as_minus_nine: float
    sensitivity: float
    specificity: float


@dataclasses.dataclass(frozen=True)
class Profile:
    """A hospital's law: everything that decides what its patients are and what its records say."""

    name: str
    patients: float
    covariate: Covariates
    prior: Prior
    concept: Concept
    measurement: Measurement


HBA1C_LOG_ODDS = -1.7993
"""The mean of sigmoid(this + z) over a standard normal z is 0.18, so every hospital measures HbA1c in 18 %."""

URBAN_TEACHING = Profile(
    name="urban_teaching",
    patients=6000.0,
    covariate=Covariates(52, 14, 27.8, 5.0, 124, 17, 54, 14, 4.75, 0.50, 95, 9, parental=0.18, male=0.48),
    prior=Prior(0.0),
    concept=Concept(parental=0.0, glucose=0.0, obese=0.0),
    measurement=Measurement(
        mmol=0.0,
        glucose_bias=0.0,
        glucose_sd=0.0,
        rounded_bp=0.0,
        no_lipids_below_45=0.05,
        no_lipids_from_45=0.05,
        hba1c_log_odds=HBA1C_LOG_ODDS,
        unknown_as_no=0.0,
        unknown_as_minus_nine=0.0,
        sensitivity=0.95,
        specificity=0.995,
    ),
)

SAFETY_NET = Profile(
    name="safety_net",
    patients=2500.0,
    covariate=Covariates(44, 13, 31.5, 6.8, 127, 18, 50, 13, 4.90, 0.52, 99, 11, parental=0.30, male=0.42),
    prior=Prior(0.45),
    concept=Concept(parental=0.30, glucose=0.0, obese=0.0),
    measurement=Measurement(
        mmol=1.0,
        glucose_bias=0.0,
        glucose_sd=0.0,
        rounded_bp=1.0,
        no_lipids_below_45=0.25,
        no_lipids_from_45=0.0,
        hba1c_log_odds=HBA1C_LOG_ODDS,
        unknown_as_no=0.20,
        unknown_as_minus_nine=0.0,
        sensitivity=0.75,
        specificity=0.995,
    ),
)

SMALL_RURAL = Profile(
    name="small_rural",
    patients=900.0,
    covariate=Covariates(66, 11, 27.0, 4.6, 136, 19, 53, 14, 4.80, 0.48, 98, 10, parental=0.15, male=0.55),
    prior=Prior(0.25),
    concept=Concept(parental=0.0, glucose=-0.40, obese=-0.35),
    measurement=Measurement(
        mmol=0.0,
        glucose_bias=4.0,
        glucose_sd=5.0,
        rounded_bp=0.0,
        no_lipids_below_45=0.10,
        no_lipids_from_45=0.10,
        hba1c_log_odds=HBA1C_LOG_ODDS,
        unknown_as_no=0.0,
        unknown_as_minus_nine=0.20,
        sensitivity=0.85,
        specificity=0.995,
    ),
)

NAMED = (URBAN_TEACHING, SAFETY_NET, SMALL_RURAL)
SHIFTS = ("covariate", "prior", "concept", "measurement")


@dataclasses.dataclass(frozen=True)
class Dials:
    """How far hospitals depart from the urban one, and which parts of record-keeping are imperfect at all.

    Attributes:
        severity: 0 to 1, scales the departure of every shift (not of the size); at half severity half of the safety
            net's records are in mmol/L and half of its blood pressures are rounded.
        covariate, prior, concept, measurement: false keeps the urban hospital's values of that kind everywhere.
        quantity: false gives every hospital the urban hospital's size.
        units, bias, missing, coding, label_noise: false leaves that part of the record true and complete everywhere,
            at the urban hospital too.
    """

    severity: float = 1.0
    covariate: bool = True
    prior: bool = True
    concept: bool = True
    measurement: bool = True
    quantity: bool = True
    units: bool = True
    bias: bool = True
    missing: bool = True
    coding: bool = True
    label_noise: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.severity <= 1:
            raise errors.ConfigError(f"data.args.severity: expected a number in [0, 1], got {self.severity!r}")


DEFAULT = Dials()


def profile(hospital: int, *, seed: int = 0, dials: Dials = DEFAULT) -> Profile:
    """Returns the law of hospital 0, 1, 2, ...: the three named ones, then hospitals drawn between them.

    A drawn hospital is a weighted mean of the three, weights uniform over the triangle, its size the weighted
    geometric mean; its laboratory reports in mmol/L throughout or not at all, with the safety net's weight as the
    chance. It depends on (seed, hospital) alone. The dials come after the draw.

    Raises:
        ConfigError: `hospital` is negative.
    """
    if hospital < 0:
        raise errors.ConfigError(f"hospital: expected a number >= 0, got {hospital!r}")
    drawn = NAMED[hospital] if hospital < len(NAMED) else _between(hospital, seed)
    return _dialled(drawn, dials)


def _between(hospital: int, seed: int) -> Profile:
    rng = seeds.generator(seed, "diabetes_ehr.profile", hospital)
    weights = rng.dirichlet(np.ones(len(NAMED))).tolist()
    shifts = {kind: _mean([getattr(named, kind) for named in NAMED], weights) for kind in SHIFTS}
    shifts["measurement"] = dataclasses.replace(shifts["measurement"], mmol=float(rng.random() < weights[1]))
    size = math.exp(sum(w * math.log(named.patients) for w, named in zip(weights, NAMED, strict=True)))
    return Profile(name=f"hospital_{hospital + 1:03d}", patients=size, **shifts)


def _dialled(drawn: Profile, dials: Dials) -> Profile:
    """Moves a profile towards the urban hospital, by kind of shift."""
    shifts = {}
    for kind in SHIFTS:
        part = dials.severity if getattr(dials, kind) else 0.0
        shifts[kind] = _mean([getattr(drawn, kind), getattr(URBAN_TEACHING, kind)], [part, 1 - part])
    shifts["measurement"] = _without_flaws(shifts["measurement"], dials)
    size = drawn.patients if dials.quantity else URBAN_TEACHING.patients
    return Profile(name=drawn.name, patients=size, **shifts)


def _without_flaws(measurement: Measurement, dials: Dials) -> Measurement:
    """Returns record-keeping with the parts that are switched off made true and complete."""
    flawless = {
        "units": {"mmol": 0.0},
        "bias": {"glucose_bias": 0.0, "glucose_sd": 0.0, "rounded_bp": 0.0},
        "missing": {"no_lipids_below_45": 0.0, "no_lipids_from_45": 0.0, "hba1c_log_odds": math.inf},
        "coding": {"unknown_as_no": 0.0, "unknown_as_minus_nine": 0.0},
        "label_noise": {"sensitivity": 1.0, "specificity": 1.0},
    }
    for part, values in flawless.items():
        if not getattr(dials, part):
            measurement = dataclasses.replace(measurement, **values)
    return measurement


Group = TypeVar("Group", Covariates, Prior, Concept, Measurement)


def _mean(groups: Sequence[Group], weights: Sequence[float]) -> Group:
    """Returns the weighted mean of groups of numbers, field by field."""
    rows = zip(*(dataclasses.astuple(group) for group in groups), strict=True)
    values = [sum(w * value for w, value in zip(weights, row, strict=True)) for row in rows]
    return type(groups[0])(*values)
