"""Heart disease at four real hospitals: the UCI table, cut to the cohort of FLamby's Fed-Heart-Disease."""

import hashlib
import io
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from fedmed.data import registries
from fedmed.data.examples import Array, Dataset, Examples, Feature
from fedmed.system import errors

if TYPE_CHECKING:
    import pandas as pd

FILE = "heart_disease_uci.csv"
SHA256 = "574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae"

SITES = {
    "Cleveland": "cleveland",
    "Hungary": "hungary",
    "Switzerland": "switzerland",
    "VA Long Beach": "va_long_beach",
}
"""The source's name of each hospital to ours, in the order of the benchmark's clients."""

TEST_FRACTION = 0.34
"""The benchmark trains on 66 % of each hospital, rounded down: 199/104, 172/89, 30/16 and 85/45 rows."""

MISTAGGED = 304
"""The id of a row filed under Cleveland that belongs to Hungary: it is Hungary's youngest patient, aged 28."""

FEATURES = (
    Feature("age", "years", bounds=(18, 100)),
    Feature("sex", "1 = male", bounds=(0, 1)),
    Feature("trestbps", "mmHg", bounds=(70, 220)),
    Feature("chol", "mg/dL", bounds=(100, 500)),
    Feature("fbs", "1 = fasting glucose > 120 mg/dL", bounds=(0, 1)),
    Feature("thalch", "beats/min", bounds=(60, 220)),
    Feature("exang", "1 = yes", bounds=(0, 1)),
    Feature("oldpeak", "mm", bounds=(-2, 6)),
    Feature("cp=atypical angina", bounds=(0, 1)),
    Feature("cp=non-anginal", bounds=(0, 1)),
    Feature("cp=asymptomatic", bounds=(0, 1)),
    Feature("restecg=st-t abnormality", bounds=(0, 1)),
    Feature("restecg=lv hypertrophy", bounds=(0, 1)),
)
"""The benchmark's 13 columns. The dropped levels are the UCI codes' first: typical angina and a normal ECG.

The bounds are what is plausible in adults sent for angiography, chosen without looking at the table."""

_FLAGS = {"sex": "Male", "fbs": "True", "exang": "True"}
_UNUSED = ["slope", "ca", "thal"]
_ZERO_IS_IMPOSSIBLE = ("trestbps", "chol")


@registries.datasets.register("heart_disease")
def heart_disease(*, mask_impossible: bool = False) -> Dataset:
    """UCI Heart Disease (doi 10.24432/C52P4X, CC BY 4.0), as FLamby's Fed-Heart-Disease cuts it.

    740 patients of four hospitals (303, 261, 46 and 130), x float64 [740, 13] without missing values, y int64 [740]:
    1 if any vessel is narrowed (`num` > 0). Each patient is a group of its own, named by the source's id.

    Args:
        mask_impossible: a cholesterol or resting blood pressure of 0 becomes NaN. The rows stay the same; without
            this the zeros stay as the benchmark has them, and every Swiss patient has a cholesterol of 0.

    Raises:
        DataError: the packaged file has been altered.
    """
    table = _cohort(_source())
    x = np.column_stack([_column(table, feature.name) for feature in FEATURES])
    if mask_impossible:
        x = _masked(x)
    examples = Examples(
        x=x,
        y=(table["num"] > 0).to_numpy(np.int64),
        site=np.array([SITES[hospital] for hospital in table["dataset"]]),
        group=table["id"].to_numpy(np.int64),
    )
    return Dataset(
        "heart_disease",
        examples,
        task="binary",
        classes=2,
        class_names=("no disease", "disease"),
        features=FEATURES,
        site_test_fraction=dict.fromkeys(SITES.values(), TEST_FRACTION),
    )


def _source() -> "pd.DataFrame":
    """Reads the packaged table: 920 rows as published, after checking its bytes."""
    import pandas as pd  # slow to import, and only tables need it

    content = resources.files("fedmed.data").joinpath("files", FILE).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise errors.DataError(f"heart_disease: {FILE} in the package is not the published table; reinstall fedmed")
    return pd.read_csv(io.BytesIO(content), dtype=dict.fromkeys(_FLAGS, str))


def _cohort(table: "pd.DataFrame") -> "pd.DataFrame":
    """Returns the benchmark's 740 complete rows, hospital by hospital, in the source's order within each."""
    table = table.drop(columns=_UNUSED)
    table.loc[table["id"] == MISTAGGED, "dataset"] = "Hungary"
    complete = table.dropna()
    places = [list(SITES).index(hospital) for hospital in complete["dataset"]]
    return complete.iloc[np.argsort(places, kind="stable")]


def _column(table: "pd.DataFrame", name: str) -> Array:
    """Returns one column as float64 [n]: a number, a 0/1 flag, or whether a category has the level after the "="."""
    source, _, level = name.partition("=")
    values = table[source]
    if level:
        values = values == level
    elif source in _FLAGS:
        values = values.str.lower() == _FLAGS[source].lower()
    return values.to_numpy(np.float64)


def _masked(x: Array) -> Array:
    """Returns x with NaN for the zeros that no living patient has."""
    suspect = np.array([feature.name in _ZERO_IS_IMPOSSIBLE for feature in FEATURES])
    return np.where(suspect & (x == 0), np.nan, x)
