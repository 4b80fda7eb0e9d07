"""What the hospitals record of their synthetic patients: units, bias, gaps, codes and wrong labels."""

import numpy as np

from fedmed.data.diabetes_patients import Patients
from fedmed.data.diabetes_sites import Measurement
from fedmed.data.examples import Array, Feature

FEATURES = (
    Feature("age_years", "years", bounds=(18, 90)),
    Feature("male", "1 = male", bounds=(0, 1)),
    Feature("parental_history", levels=("0", "1", "-9")),
    Feature("systolic_bp_mmhg", "mmHg", bounds=(70, 220)),
    Feature("bp_treated", "1 = yes", bounds=(0, 1)),
    Feature("hdl_mg_dl", "mg/dL", bounds=(15, 120)),
    Feature("triglycerides_mg_dl", "mg/dL", bounds=(30, 500)),
    Feature("fasting_glucose_mg_dl", "mg/dL", bounds=(50, 150)),
    Feature("bmi_kg_m2", "kg/m2", bounds=(15, 60)),
    Feature("hba1c_percent", "%", bounds=(3, 8)),
)
"""The columns, and the units that they and their bounds are meant to be in; the safety net keeps mmol/L under the same
names. The bounds are what is plausible in adults without diabetes."""

MG_DL_PER_MMOL_L = {"glucose": 18.016, "hdl": 38.67, "triglycerides": 88.57}

_MINUS_NINE = 2.0  # the code of level "-9" of parental_history


def records(measurement: Measurement, people: Patients, y_true: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Writes down n patients and their outcomes the way a hospital does.

    HbA1c follows the true glucose (the bias is the glucometer's); whether it is measured, and whether anything else is
    missing, does not depend on the outcome. Wrong labels depend on the true outcome alone.

    Returns:
        x, float64 [n, 10], the columns of `FEATURES`, NaN where nothing is recorded; y, int64 [n], the diagnosis.
    """
    count = len(people)
    normals, uniforms = rng.standard_normal((2, count)), rng.random((6, count))
    in_mmol = uniforms[0] < measurement.mmol
    glucose = people.glucose + measurement.glucose_bias + measurement.glucose_sd * normals[0]
    share_without = np.where(people.age < 45, measurement.no_lipids_below_45, measurement.no_lipids_from_45)
    no_lipids = uniforms[2] < share_without
    columns = {
        "age_years": people.age,
        "male": people.male,
        "parental_history": _parental(measurement, people.parental, uniforms[4]),
        "systolic_bp_mmhg": np.where(uniforms[1] < measurement.rounded_bp, 10 * np.round(people.sbp / 10), people.sbp),
        "bp_treated": people.treated,
        "hdl_mg_dl": _stored(people.hdl, "hdl", in_mmol, no_lipids),
        "triglycerides_mg_dl": _stored(people.triglycerides, "triglycerides", in_mmol, no_lipids),
        "fasting_glucose_mg_dl": _stored(glucose, "glucose", in_mmol, np.zeros(count, bool)),
        "bmi_kg_m2": people.bmi,
        "hba1c_percent": _hba1c(measurement, people, normals[1], uniforms[3]),
    }
    x = np.stack([columns[feature.name] for feature in FEATURES], axis=1)
    recorded_positive = np.where(y_true == 1, measurement.sensitivity, 1 - measurement.specificity)
    return x, (uniforms[5] < recorded_positive).astype(np.int64)


def _stored(values: Array, analyte: str, in_mmol: Array, missing: Array) -> Array:
    converted = np.where(in_mmol, values / MG_DL_PER_MMOL_L[analyte], values)
    return np.where(missing, np.nan, converted)


def _parental(measurement: Measurement, parental: Array, uniform: Array) -> Array:
    """Returns the codes of parental history: an unknown is written as 0, or as level "-9"."""
    unknown_as_no = uniform < measurement.unknown_as_no
    unknown = uniform < measurement.unknown_as_no + measurement.unknown_as_minus_nine
    return np.where(unknown_as_no, 0.0, np.where(unknown, _MINUS_NINE, parental))


def _hba1c(measurement: Measurement, people: Patients, noise: Array, uniform: Array) -> Array:
    """Returns HbA1c in %, by the regression of average glucose on HbA1c, where it was measured."""
    measured = uniform < 1 / (1 + np.exp(-measurement.hba1c_log_odds - people.glucose_z))
    return np.where(measured, (people.glucose + 46.7) / 28.7 + 0.25 * noise, np.nan)
