"""Table 1: who the patients of each hospital are, and how far hospitals differ, with small cells hidden."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedmed.data.examples import Array, Feature
from fedmed.statistics import feature_shift, label_shift
from fedmed.study.consortium import Consortium
from fedmed.study.estimates import MINIMUM_CELL, estimate, number

_SKEWED, _QUARTILES_FROM, _MOST_LEVELS = 1.0, 20, 8
_HIDDEN, _SMALL = "hidden", f"< {MINIMUM_CELL}"
_LARGEST = 9.99


def table_one(consortium: Consortium) -> dict[str, Any]:
    """Returns the characteristics of each hospital's patients, training and test rows together."""
    dataset, held = consortium.dataset, consortium.held
    rows = [_counts("rows", "", "n", {name: str(len(own)) for name, own in held.items()}, str(len(dataset.examples)))]
    y = dataset.examples.y.astype(np.float64)
    if dataset.classes:
        names = dataset.class_names or tuple(map(str, range(dataset.classes)))
        outcome = Feature("outcome", levels=names)
        rows += _category(consortium, outcome, y, only=1 if dataset.task == "binary" else None)
    else:
        rows += [_amount(consortium, Feature("outcome"), y)]
    for place, feature in enumerate(dataset.features):
        values = np.asarray(dataset.examples.x)[:, place]
        present = np.unique(values[~np.isnan(values)])
        if feature.is_category:
            rows += _category(consortium, feature, values, only=None)
        elif len(present) <= 2 and set(present.tolist()) <= {0.0, 1.0}:
            flag = Feature(feature.name, feature.unit, levels=("0", "1"))
            rows += _category(consortium, flag, values, only=1)
        else:
            rows += [_amount(consortium, feature, values)]
    note = (
        f"Training and test rows together. Counts of fewer than {MINIMUM_CELL} patients are shown as {_SMALL}; a count "
        f"from which one of them would follow is {_HIDDEN}. Median and quartiles where a column is skewed."
    )
    return {"hospitals": list(consortium.hospitals), "rows": rows, "note": note}


def _counts(name: str, unit: str, statistic: str, texts: Mapping[str, str], everyone: str) -> dict[str, Any]:
    cells = {hospital: {"text": text, "missing": 0.0} for hospital, text in texts.items()}
    return {"name": name, "level": "", "unit": unit, "statistic": statistic, "cells": cells,
            "all": {"text": everyone, "missing": 0.0}}  # fmt: skip


def _amount(consortium: Consortium, feature: Feature, values: Array) -> dict[str, Any]:
    """Returns a number's row: mean (SD), or median [IQR] where it is skewed over all hospitals."""
    present = values[~np.isnan(values)]
    spread = float(present.std()) if len(present) else 0.0
    skew = float(np.mean(((present - present.mean()) / spread) ** 3)) if spread > 0 else 0.0
    quartiles = abs(skew) > _SKEWED
    cells = {name: _amount_cell(values[rows], quartiles) for name, rows in consortium.held.items()}
    everyone = _amount_cell(values, quartiles)
    if any(cell["missing"] is None for cell in cells.values()):
        everyone["missing"] = None
    return {
        "name": feature.name,
        "level": "",
        "unit": feature.unit,
        "statistic": "median [IQR]" if quartiles else "mean (SD)",
        "cells": cells,
        "all": everyone,
    }


def _amount_cell(values: Array, quartiles: bool) -> dict[str, Any]:
    present = values[~np.isnan(values)]
    absent = len(values) - len(present)
    small = 0 < absent < MINIMUM_CELL or 0 < len(present) < MINIMUM_CELL
    missing = None if small else round(100 * absent / max(1, len(values)), 1)
    if len(present) < (_QUARTILES_FROM if quartiles else MINIMUM_CELL):
        return {"text": "-" if not len(present) else _HIDDEN, "missing": missing}
    if quartiles:
        low, middle, high = np.quantile(present, [0.25, 0.5, 0.75])
        return {"text": f"{middle:.3g} [{low:.3g}, {high:.3g}]", "missing": missing}
    return {"text": f"{present.mean():.3g} ({present.std(ddof=1):.3g})", "missing": missing}


def _category(consortium: Consortium, feature: Feature, values: Array, *, only: int | None) -> list[dict[str, Any]]:
    """Returns a row a level (or of one level only): n (%) of the rows in which it is known."""
    counts = {name: _level_counts(consortium, values, rows, feature) for name, rows in consortium.held.items()}
    everyone = _level_counts(consortium, values, np.arange(len(values)), feature)
    hidden = {name: _hidden(own[1]) for name, own in counts.items()}
    some = np.any(list(hidden.values()), axis=0)  # the sum over hospitals would betray the one that is hidden
    levels = range(len(feature.levels)) if only is None else (only,)
    found = []
    for level in levels if len(feature.levels) <= 2 * _MOST_LEVELS else ():
        cells = {name: _share_cell(counts[name], hidden[name], level) for name in counts}
        found.append(
            {
                "name": feature.name,
                "level": feature.levels[level] if only is None or feature.name == "outcome" else "",
                "unit": feature.unit,
                "statistic": "n (%)",
                "cells": cells,
                "all": _share_cell(everyone, some | _hidden(everyone[1]), level),
            }
        )
    return found


def _level_counts(consortium: Consortium, values: Array, rows: Array, feature: Feature) -> tuple[Array, Array]:
    """Returns rows and patients of each level and, last, without a value."""
    codes = np.where(np.isnan(values[rows]), len(feature.levels), values[rows]).astype(np.int64)
    size = len(feature.levels) + 1
    patients = [len(np.unique(consortium.patient[rows][codes == code])) for code in range(size)]
    return np.bincount(codes, minlength=size), np.array(patients)


def _hidden(patients: Array) -> Array:
    """Returns which counts are not shown: small ones, and with a lone one the next smallest, which would betray it."""
    hidden = (patients > 0) & (patients < MINIMUM_CELL)
    if hidden.sum() == 1:
        others = np.flatnonzero((patients > 0) & ~hidden)
        if len(others):
            hidden[others[np.argmin(patients[others])]] = True
    return hidden


def _share_cell(counts: tuple[Array, Array], hidden: Array, level: int) -> dict[str, Any]:
    rows, patients = counts
    known = max(1, int(rows[:-1].sum()))
    missing = None if hidden[-1] else round(100 * float(rows[-1]) / max(1, int(rows.sum())), 1)
    if hidden[level]:
        return {"text": _SMALL if 0 < patients[level] < MINIMUM_CELL else _HIDDEN, "missing": missing}
    return {"text": f"{rows[level]} ({100 * rows[level] / known:.1f} %)", "missing": missing}


def shift(consortium: Consortium, level: float) -> dict[str, Any]:
    """Returns how far each hospital's labels and columns are from those of all others."""
    dataset = consortium.dataset
    site = np.empty(len(dataset.examples), dtype=object)
    for name, rows in consortium.held.items():
        site[rows] = name
    site = site.astype(str)
    found: dict[str, Any] = {"label": {}, "features": None}
    if dataset.classes:
        for name, own in label_shift(dataset.examples.y, site, dataset.classes, level=level).items():
            counts = np.bincount(dataset.examples.y[site == name], minlength=dataset.classes)
            known = not _hidden(counts).any()
            shares = [estimate(share) for share in own.prevalence] if known else None
            found["label"][name] = {"shares": shares, "mean": None, "distance": number(own.distance) if known else None}
    else:
        for name, rows in consortium.held.items():
            mean = number(float(dataset.examples.y[rows].mean())) if len(rows) >= MINIMUM_CELL else None
            found["label"][name] = {"shares": None, "mean": mean, "distance": None}
    if dataset.is_table:
        found["features"] = _features(consortium, site)
    return found


def _features(consortium: Consortium, site: Array) -> dict[str, Any]:
    features, x = consortium.dataset.features, np.asarray(consortium.dataset.examples.x)
    categories = [place for place, feature in enumerate(features) if feature.is_category]
    hospitals = {}
    for name, columns in feature_shift(x, site, categories=categories).items():
        present = (~np.isnan(x[site == name])).sum(axis=0)
        enough = [count >= MINIMUM_CELL for count in present]
        differences = [number(c.difference) if ok else None for c, ok in zip(columns, enough, strict=True)]
        hospitals[name] = {
            "difference": [None if d is None else float(np.clip(d, -_LARGEST, _LARGEST)) for d in differences],
            "missing": [
                None if 0 < absent < MINIMUM_CELL else number(c.missing)
                for c, absent in zip(columns, np.isnan(x[site == name]).sum(axis=0), strict=True)
            ],
            "kind": ["category" if feature.is_category else "number" for feature in features],
        }
    return {"columns": [feature.name for feature in features], "hospitals": hospitals}
