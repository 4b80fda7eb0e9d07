"""How far the hospitals are from each other in outcome and columns, where no small count would follow from it."""

import numpy as np

from fedmed.data.examples import Array
from fedmed.statistics import feature_shift, label_shift
from fedmed.study.consortium import Consortium
from fedmed.study.estimates import estimate, number
from fedmed.study.schema import ColumnShifts, FeatureShift, LabelShift, Shift
from fedmed.study.suppression import MINIMUM_CELL, WITHHELD, coded, few, few_held, hidden_levels

_LARGEST = 9.99
_FEW = f"fewer than {MINIMUM_CELL} values"
_UNDEFINED = "it is not defined"


def shift(consortium: Consortium, level: float) -> Shift:
    """Returns how far each hospital's labels and columns are from those of all others."""
    dataset = consortium.dataset
    site = np.empty(len(dataset.examples), dtype=object)
    for name, rows in consortium.held.items():
        site[rows] = name
    site = site.astype(str)
    label = _classes(consortium, site, level) if dataset.classes else _means(consortium)
    return Shift(label, _features(consortium, site) if dataset.is_table else None)


def _classes(consortium: Consortium, site: Array, level: float) -> dict[str, LabelShift]:
    """Returns shares and distances; from the others' distances the mix of the one that is hidden would follow."""
    dataset = consortium.dataset
    kept_back = hidden_levels(consortium, dataset.examples.y.astype(np.float64), dataset.classes)
    betrayed = any(own.any() for own in kept_back.values())
    found = {}
    for name, own in label_shift(dataset.examples.y, site, dataset.classes, level=level).items():
        shares = None if kept_back[name].any() else tuple(map(estimate, own.prevalence))
        distance = None if betrayed else number(own.distance)
        reason = WITHHELD if betrayed else "" if distance is not None else _UNDEFINED
        found[name] = LabelShift(shares, None, distance, reason)
    return found


def _means(consortium: Consortium) -> dict[str, LabelShift]:
    y, found = consortium.dataset.examples.y, {}
    for name, rows in consortium.held.items():
        mean = None if few(consortium.patient[rows]) else number(float(y[rows].mean()))
        found[name] = LabelShift(None, mean, None, "" if mean is not None else _FEW)
    return found


def _features(consortium: Consortium, site: Array) -> FeatureShift:
    features, x = consortium.dataset.features, np.asarray(consortium.dataset.examples.x)
    categories = [place for place, feature in enumerate(features) if feature.is_category]
    betrayed = [_betrayed(consortium, place) for place in range(len(features))]
    small, hospitals = few_held(consortium), {}
    for name, columns in feature_shift(x, site, categories=categories).items():
        present = _patients_present(consortium, x, name) * (name not in small)
        told = [
            _difference(column.difference, int(count), values)
            for column, count, (values, _) in zip(columns, present, betrayed, strict=True)
        ]
        hospitals[name] = ColumnShifts(
            difference=tuple(difference for difference, _ in told),
            reason=tuple(reason for _, reason in told),
            missing=tuple(None if b[1] else number(c.missing) for c, b in zip(columns, betrayed, strict=True)),
            kind=tuple("category" if feature.is_category else "number" for feature in features),
        )
    return FeatureShift(tuple(feature.name for feature in features), hospitals)


def _patients_present(consortium: Consortium, x: Array, name: str) -> Array:
    """Returns of each column how many of a hospital's patients have a value."""
    rows = consortium.held[name]
    known, patient = ~np.isnan(x[rows]), consortium.patient[rows]
    return np.array([len(np.unique(patient[column])) for column in known.T])


def _difference(value: float, present: int, betrayed: bool) -> tuple[float | None, str]:
    if betrayed or present < MINIMUM_CELL:
        return None, WITHHELD if betrayed else _FEW
    if np.isnan(value):
        return None, _UNDEFINED
    return float(np.clip(value, -_LARGEST, _LARGEST)), ""


def _betrayed(consortium: Consortium, place: int) -> tuple[bool, bool]:
    """Returns whether the distances of a column, and whether its shares of missing values, would tell a small count."""
    values = np.asarray(consortium.dataset.examples.x)[:, place]
    known = coded(consortium.dataset.features[place], values)
    if known is not None:
        kept_back = hidden_levels(consortium, known[0], len(known[1])).values()
        return any(own.any() for own in kept_back), any(own[-1] for own in kept_back)
    small = False
    for rows in consortium.held.values():
        absent, patient = np.isnan(values[rows]), consortium.patient[rows]
        small = small or few(patient[absent]) or few(patient[~absent])
    return False, small or bool(few_held(consortium))
