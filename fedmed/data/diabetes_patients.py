"""Synthetic patients and their risk of diabetes: a Gaussian copula and the Framingham Offspring model.

Everything here is the truth before anyone writes it down; `diabetes_records` makes the records.
"""

import dataclasses
import math

import numpy as np

from fedmed.data.diabetes_sites import Profile
from fedmed.data.examples import Array

CORRELATION = np.array(
    [
        [1.00, 0.10, 0.45, 0.05, 0.12, 0.30],
        [0.10, 1.00, 0.25, -0.33, 0.30, 0.33],
        [0.45, 0.25, 1.00, -0.05, 0.18, 0.22],
        [0.05, -0.33, -0.05, 1.00, -0.45, -0.20],
        [0.12, 0.30, 0.18, -0.45, 1.00, 0.28],
        [0.30, 0.33, 0.22, -0.20, 0.28, 1.00],
    ]
)
"""Of the latent normals, in the order age, BMI, systolic BP, HDL, ln triglycerides, fasting glucose."""

HDL_BY_SEX = 5.0
"""mg/dL that men lie below and women above the hospital's centre."""

INTERCEPT = -5.517

BETAS = {
    "age 50-64": -0.018,
    "age >= 65": -0.081,
    "male": -0.010,
    "parental history": 0.565,
    "BP > 130/85 or treated": 0.498,
    "low HDL": 0.944,
    "triglycerides >= 150": 0.575,
    "glucose 100-126": 1.980,
    "BMI 25-29.9": 0.301,
    "BMI >= 30": 0.920,
}
"""Log-odds ratios of 8-year onset of type 2 diabetes (Wilson et al. 2007, PMID 17533210), in the order of `terms`."""


@dataclasses.dataclass(frozen=True)
class Patients:
    """True values of n patients, each array float64 [n].

    Attributes:
        age: years, 18 to 90. male, parental, treated: 0 or 1. sbp: mmHg. hdl: mg/dL, 15 to 120.
        triglycerides: mg/dL. glucose: fasting, mg/dL, 60 to 125.9 (nobody has diabetes yet). bmi: kg/m2.
        glucose_z: glucose in standard deviations from the hospital's mean, before clipping.
    """

    age: Array
    male: Array
    parental: Array
    sbp: Array
    treated: Array
    hdl: Array
    triglycerides: Array
    glucose: Array
    bmi: Array
    glucose_z: Array

    def __len__(self) -> int:
        return len(self.age)


def patients(profile: Profile, count: int, rng: np.random.Generator) -> Patients:
    """Draws `count` patients of a hospital.

    Latent normals with `CORRELATION` take the hospital's margins. The HDL margin's SD is that of all patients, men
    and women together, so the spread within a sex is smaller by what the sexes' difference contributes. The random
    numbers used do not depend on the profile: the same generator draws the same people into another hospital's law.
    """
    margins = profile.covariate
    z = _correlated(rng.standard_normal((count, len(CORRELATION))))
    uniforms = rng.random((3, count))
    male, parental = uniforms[0] < margins.male, uniforms[1] < margins.parental
    age = np.clip(margins.age_mean + margins.age_sd * z[:, 0], 18, 90)
    sbp = margins.sbp_mean + margins.sbp_sd * z[:, 2]
    between_sexes = 4 * HDL_BY_SEX**2 * margins.male * (1 - margins.male)
    hdl_centre = margins.hdl_mean + HDL_BY_SEX * np.where(male, -1.0, 1.0)
    return Patients(
        age=age,
        male=male.astype(np.float64),
        parental=parental.astype(np.float64),
        sbp=sbp,
        treated=(uniforms[2] < _sigmoid(-3.2 + 0.05 * (age - 50) + 0.03 * (sbp - 120))).astype(np.float64),
        hdl=np.clip(hdl_centre + math.sqrt(margins.hdl_sd**2 - between_sexes) * z[:, 3], 15, 120),
        triglycerides=np.exp(margins.ln_tg_mean + margins.ln_tg_sd * z[:, 4]),
        glucose=np.clip(margins.glucose_mean + margins.glucose_sd * z[:, 5], 60, 125.9),
        bmi=_lognormal(margins.bmi_mean, margins.bmi_sd, z[:, 1]),
        glucose_z=z[:, 5],
    )


def terms(people: Patients) -> Array:
    """Returns the model's ten 0/1 terms, float64 [n, 10] in the order of `BETAS`, from true values.

    Of 130/85 only the systolic half is there to be judged; age is in completed years, so "50-64" is below 65.
    """
    columns = (
        (people.age >= 50) & (people.age < 65),
        people.age >= 65,
        people.male == 1,
        people.parental == 1,
        (people.sbp > 130) | (people.treated == 1),
        people.hdl < np.where(people.male == 1, 40, 50),
        people.triglycerides >= 150,
        (people.glucose >= 100) & (people.glucose <= 126),
        (people.bmi >= 25) & (people.bmi < 30),
        people.bmi >= 30,
    )
    return np.stack(columns, axis=1).astype(np.float64)


def risk(profile: Profile, people: Patients) -> Array:
    """Returns the true probability of diabetes within 8 years under the hospital's own law, float64 [n].

    This is the oracle: no model can tell the hospital's patients apart better.
    """
    betas = dict(BETAS)
    betas["parental history"] += profile.concept.parental
    betas["glucose 100-126"] += profile.concept.glucose
    betas["BMI >= 30"] += profile.concept.obese
    weighted = terms(people) * np.array(list(betas.values()))
    return _sigmoid(INTERCEPT + profile.prior.intercept + weighted.sum(axis=1))


def _correlated(independent: Array) -> Array:
    """Gives independent normals [n, 6] the copula's correlation."""
    factor = np.linalg.cholesky(CORRELATION)
    # Not a matrix product: BLAS may round a row differently with the number of rows or threads, and the same seed
    # must give the same bytes.
    return (independent[:, np.newaxis, :] * factor).sum(axis=2)


def _lognormal(mean: float, sd: float, z: Array) -> Array:
    """Returns exp of a normal, scaled so that the result itself has this mean and SD."""
    variance = math.log1p((sd / mean) ** 2)
    return np.exp(math.log(mean) - variance / 2 + math.sqrt(variance) * z)


def _sigmoid(log_odds: Array) -> Array:
    return 1 / (1 + np.exp(-log_odds))
