"""Tables of four hospitals, clean and with a fault put in: what the detector of `fedmed.data.faults` is tried on."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from sklearn import datasets as sklearn_data

from fedmed.data import faults, registries
from fedmed.data.examples import Array, Dataset, Examples, Feature

FOUR = ("north", "south", "east", "west")


class Put(NamedTuple):
    """A table with one fault: of a kind, in a column, at a site ("" where it is no matter of sites)."""

    kind: str
    column: str
    site: str
    what: str
    dataset: Dataset


def _dataset(x: Array, y: Array, site: Array, features: tuple[Feature, ...], classes: int) -> Dataset:
    task = "regression" if not classes else "binary" if classes == 2 else "multiclass"
    return Dataset("table", Examples(x, y, site), task, classes, features=features)


def ward(seed: int, *, case_mix: float = 0.3, sizes: tuple[int, ...] = (900, 500, 300, 150)) -> Dataset:
    """Returns made-up admissions at four hospitals; `case_mix` is how far medians differ, in standard deviations."""
    rng = np.random.default_rng([seed, 11])
    site = np.repeat(FOUR, sizes)
    count, sick = len(site), np.repeat(rng.normal(0, case_mix, 4), sizes) + rng.normal(0, 1, len(site))

    def log_normal(median: float, spread: float, weight: float, digits: int) -> Array:
        own = np.repeat(rng.normal(0, case_mix, 4), sizes)
        return np.round(median * np.exp(spread * (weight * sick + own + rng.normal(0, 1, count))), digits)

    columns: dict[str, Array] = {
        "age": np.clip(np.round(62 + 5 * sick + 14 * rng.normal(0, 1, count)), 18, 97),
        "sbp_mmhg": log_normal(128, 0.14, -0.3, 0),
        "heart_rate": log_normal(84, 0.17, 0.3, 0),
        "temperature": np.round(36.9 + 0.3 * sick + 0.4 * rng.normal(0, 1, count), 1),
        "weight_kg": log_normal(78, 0.2, 0.0, 1),
        "height_cm": np.round(169 + 9 * rng.normal(0, 1, count)),
        "creatinine": log_normal(0.95, 0.4, 0.4, 2),
        "bun": log_normal(17, 0.45, 0.4, 0),
        "glucose": log_normal(108, 0.27, 0.3, 0),
        "haemoglobin": log_normal(13.1, 0.13, -0.3, 1),
        "crp": log_normal(9, 1.2, 0.5, 1),
        "platelets": log_normal(240, 0.33, -0.2, 0),
        "hba1c": log_normal(5.9, 0.15, 0.2, 1),
        "marker_a": log_normal(3.4, 0.25, 0.5, 2),
        "smoker": (rng.random(count) < 0.3).astype(float),
        "falls": rng.poisson(0.6, count).astype(float),
        "base_excess": np.round(rng.normal(0, 3, count), 1),
    }
    y = (sick + rng.logistic(0, 1.0, count) > 1.2).astype(np.int64)
    x = np.stack([*columns.values(), rng.integers(0, 3, count).astype(float)], axis=1)
    x[rng.random(x.shape) < 0.04] = np.nan
    features = (*map(Feature, columns), Feature("admitted", levels=("emergency", "planned", "transfer")))
    return _dataset(x, y, site, features, 2)


def heart() -> Dataset:
    """Returns the heart disease data with impossible zeros masked."""
    return registries.datasets.make("heart_disease", {"mask_impossible": True}, "data")


def ehr(hospitals: int = 4, seed: int = 0) -> Dataset:
    """Returns the synthetic health records, in one unit and without codes."""
    return registries.datasets.make(
        "diabetes_ehr",
        {"hospitals": hospitals, "patients": 0.3, "seed": seed, "units": False, "coding": False},
        "data",
    )


def _split(name: str, by: int | None, seed: int = 0) -> Dataset:
    """Returns one of scikit-learn's tables at four sites, by chance or by the quarters of a column."""
    loaded = getattr(sklearn_data, f"load_{name}")()
    x, y = np.asarray(loaded.data, np.float64), np.asarray(loaded.target)
    classes = 0 if name == "diabetes" else len(np.unique(y))
    order = np.random.default_rng(seed).permutation(len(y)) if by is None else np.argsort(x[:, by], kind="stable")
    site = np.empty(len(y), dtype="<U5")
    site[order] = np.repeat(FOUR, [len(part) for part in np.array_split(order, 4)])
    features = tuple(Feature(str(column).replace(" (cm)", "")) for column in loaded.feature_names)
    return _dataset(x, y if classes else y.astype(np.float32), site, features, classes)


CLEAN: Mapping[str, Callable[[], Dataset]] = {
    "heart disease, zeros masked": heart,
    "three synthetic hospitals, one unit": lambda: ehr(3),
    "twenty synthetic hospitals, one unit": lambda: ehr(20),
    "breast cancer, sites by chance": lambda: _split("breast_cancer", None),
    "breast cancer, sites by mean radius": lambda: _split("breast_cancer", 0),
    "iris, sites by chance": lambda: _split("iris", None),
    "iris, sites by petal length": lambda: _split("iris", 2),
    "wine, sites by chance": lambda: _split("wine", None),
    "wine, sites by alcohol": lambda: _split("wine", 0),
    "diabetes progression, sites by chance": lambda: _split("diabetes", None),
    "diabetes progression, sites by BMI": lambda: _split("diabetes", 2),
    "ward, mild case mix": lambda: ward(1),
    "ward, strong case mix": lambda: ward(2, case_mix=1.0),
    "ward, very strong case mix": lambda: ward(3, case_mix=1.5),
}
"""Tables with no fault: each alarm is a false one."""

_WAYS = {
    "chol": (38.67,), "trestbps": (7.5006,), "thalch": (60.0,), "sbp_mmhg": (7.5006, 10.0), "creatinine": (1 / 88.42,),
    "bun": (2.8,), "glucose": (18.016,), "haemoglobin": (0.1, 1.611), "weight_kg": (1 / 2.2046,),
    "height_cm": (2.54, 100.0), "platelets": (0.001,), "crp": (10.0, 0.1), "marker_a": (3.7, 0.01, 12.0),
    "hdl_mg_dl": (38.67,), "triglycerides_mg_dl": (88.57,), "fasting_glucose_mg_dl": (18.016,),
    "systolic_bp_mmhg": (7.5006,), "bmi_kg_m2": (10.0,),
}  # fmt: skip
"""What the values of a column are divided by when a site keeps them in another unit."""


def _tables(rng: np.random.Generator) -> Dataset:
    return (heart, ehr, lambda: ward(int(rng.integers(100))))[int(rng.integers(3))]()


def _column(dataset: Dataset, rng: np.random.Generator, names: list[str]) -> int:
    known = [place for place, feature in enumerate(dataset.features) if feature.name in names]
    return int(rng.choice(known))


def _changed(dataset: Dataset, place: int, values: Array) -> Dataset:
    x = np.array(dataset.examples.x)
    x[:, place] = values
    return dataclasses.replace(dataset, examples=dataclasses.replace(dataset.examples, x=x))


def _with(dataset: Dataset, name: str, values: Array, levels: tuple[str, ...] = ()) -> Dataset:
    x = np.column_stack([np.asarray(dataset.examples.x), values])
    features = (*dataset.features, Feature(name, levels=levels))
    return dataclasses.replace(dataset, features=features, examples=dataclasses.replace(dataset.examples, x=x))


def _at(dataset: Dataset, rng: np.random.Generator, share: float, column: Array) -> tuple[str, Array]:
    """Returns a site and a share of its rows that have the column, as a mask."""
    site = np.asarray(dataset.examples.site)
    held, counts = np.unique(site[~np.isnan(column)], return_counts=True)
    name = str(rng.choice(held[counts >= 20]))
    here = (site == name) & ~np.isnan(column)
    return name, here & (rng.random(len(site)) < share)


def unit(rng: np.random.Generator) -> Put:
    """Puts a site's rows, or a share of them, into another unit."""
    dataset = _tables(rng)
    place = _column(dataset, rng, [*_WAYS, "temperature", "hba1c"])
    name, values = dataset.features[place].name, np.asarray(dataset.examples.x)[:, place].copy()
    mixes = name in ("chol", "glucose", "fasting_glucose_mg_dl", "triglycerides_mg_dl", "hdl_mg_dl", "temperature")
    share = float(rng.choice([1.0, 0.6, 0.3, 0.12])) if mixes else 1.0
    site, rows = _at(dataset, rng, share, values)
    if name in ("temperature", "hba1c"):
        times, plus = (1.8, 32.0) if name == "temperature" else (10.93, -23.5)
        what = f"times {times} plus {plus}"
        values[rows] = np.round(values[rows] * times + plus, 1)
    else:
        divisor = float(rng.choice(_WAYS[name]))
        what = f"divided by {divisor:.4g}"
        values[rows] = _rounded(values[rows] / divisor)
    return Put("unit", name, site, f"{what}, {share:.0%} of rows", _changed(dataset, place, values))


def _rounded(values: Array) -> Array:
    """Returns values with as many decimals as a laboratory would give: three figures for most of them."""
    return np.round(values, int(np.clip(2 - np.floor(np.log10(np.median(values))), 0, 4)) if len(values) else 0)


def code(rng: np.random.Generator) -> Put:
    """Puts a code for missing into a share of a site's rows, or into three of them."""
    dataset = _tables(rng)
    names = [f.name for f in dataset.features if not f.is_category and f.name not in ("base_excess", "oldpeak")]
    place = _column(dataset, rng, names)
    name, values = dataset.features[place].name, np.asarray(dataset.examples.x)[:, place].copy()
    few = np.unique(values[~np.isnan(values)]).size < 10
    zero = [0.0] if name in ("chol", "trestbps", "sbp_mmhg", "weight_kg", "height_cm", "haemoglobin") else []
    usual = [-9.0] if few else [-9.0, -99.0, -1.0, *zero, 1e30, 9999.0]
    told = float(rng.choice(usual + ([999.0] if not few and np.nanmax(values) < 500 else [])))
    share = float(rng.choice([0.02, 0.1, 0.4]))
    site, rows = _at(dataset, rng, share, values)
    if rng.random() < 0.3 or not rows.any():
        held = np.flatnonzero((np.asarray(dataset.examples.site) == site) & ~np.isnan(values))
        rows = np.isin(np.arange(len(values)), rng.choice(held, 3, replace=False))
    values[rows] = told
    return Put("code", name, site, f"{told:g} in {rows.sum()} rows", _changed(dataset, place, values))


def leak(rng: np.random.Generator) -> Put:
    """Adds a column that was recorded after the outcome."""
    dataset = _tables(rng)
    y = dataset.examples.y
    count, site = len(y), np.asarray(dataset.examples.site)
    kind = int(rng.integers(6))
    if kind == 0:
        return Put("outcome", "status", "", "a copy, 0.5 % wrong", _with(dataset, "status", _flipped(y, 0.005, rng)))
    if kind == 1:
        values = y * 4.5 + rng.normal(0, 1, count)
        return Put("outcome", "score", "", "a score, noisy", _with(dataset, "score", values))
    if kind == 2:
        values = np.where((y == 1) & (rng.random(count) < 0.6), np.round(rng.gamma(2, 9, count)), np.nan)
        return Put("outcome", "days_to_event", "", "there only with it", _with(dataset, "days_to_event", values))
    if kind == 3:
        values = np.where(y == 0, np.round(rng.gamma(3, 40, count)), np.nan)
        return Put("outcome", "follow_up", "", "there exactly without it", _with(dataset, "follow_up", values))
    if kind == 4:
        levels = ("grave", "home", "other ward")
        values = np.where(y == 1, 0.0, 1.0 + (rng.random(count) < 0.3))
        return Put("outcome", "destination", "", "its levels tell it", _with(dataset, "destination", values, levels))
    large = [name for name in np.unique(site) if min(np.bincount(y[site == name], minlength=2)) >= 25]
    own = str(rng.choice(large))
    values = np.where(site == own, y * 6 + rng.normal(0, 1, count), rng.normal(3, 3, count))
    return Put("outcome", "letter_grade", own, "tells it at one site", _with(dataset, "letter_grade", values))


def _flipped(y: Array, share: float, rng: np.random.Generator) -> Array:
    return np.where(rng.random(len(y)) < share, 1 - y, y).astype(float)


def identifier(rng: np.random.Generator) -> Put:
    """Adds a column that numbers rows or patients."""
    dataset = _tables(rng)
    count, site = len(dataset.examples), np.asarray(dataset.examples.site)
    within = np.zeros(count)
    for name in np.unique(site):
        within[site == name] = np.arange(1, (site == name).sum() + 1)
    made = {
        "rownames": np.arange(1.0, count + 1),
        "Unnamed: 0": np.arange(float(count)),
        "mrn": rng.permutation(np.arange(count) * 37 + 100_003).astype(float),
        "patient_id": np.sort(rng.integers(10**6, 10**7, count)).astype(float),
        "visit number": rng.choice(np.arange(5000, 5000 + count), count).astype(float),
        "bed": within,
        "code": rng.permutation(np.arange(count) * 7919 + 10**8).astype(float),
        "entered": np.cumsum(rng.integers(1, 9, count)).astype(float),
    }
    name = str(rng.choice([*made, "case"]))
    if name == "case":
        levels = tuple(f"P{number:05d}" for number in range(count))
        return Put("identifier", name, "", "text", _with(dataset, name, rng.permutation(count).astype(float), levels))
    return Put("identifier", name, "", "numbers", _with(dataset, name, made[name]))


MAKERS = (unit, code, leak, identifier)


def faulty(seed: int, each: int = 10) -> list[Put]:
    """Returns `each` tables of every kind of fault, drawn by the seed."""
    return [make(np.random.default_rng([seed, kind, k])) for kind, make in enumerate(MAKERS) for k in range(each)]


def is_named(put: Put) -> bool:
    """Returns whether the detector names a fault: its kind, its column and its site."""
    return any(
        found.kind == put.kind and found.column == put.column and (not put.site or put.site in found.sites)
        for found in faults.found(put.dataset)
    )
