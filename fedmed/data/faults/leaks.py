"""Columns that know the outcome: they were recorded after it, or are the outcome itself."""

import math

import numpy as np

from fedmed.data.examples import Array, Dataset
from fedmed.data.faults.fault import Fault
from fedmed.data.faults.readings import Reading, Sites

KNOWS = 0.98
"""AUROC, or mean share of a class that is told, from which one column alone knows the outcome."""

_UNLIKE = 0.93  # at all other sites together, where one site alone is said to know it
_LEAST = 10
_LEAST_AT_A_SITE = 20
_CHANCE = math.log(1e-6)


def leaks(reading: Reading, dataset: Dataset, sites: Sites) -> list[Fault]:
    """Returns whether a column alone predicts the label, here or everywhere, or is there with one outcome only."""
    rows = sites.sample
    values, y = reading.values[rows], dataset.examples.y[rows]
    if not dataset.classes:
        return [_fault(reading.name, "tells the label nearly exactly")] if _follows(values, y) else []
    if dataset.classes > 2:
        return [_fault(reading.name, "tells the label nearly exactly")] if _sorts(values, y, dataset.classes) else []
    here = ~np.isnan(values)
    if _is_known(reading, values[here], y[here], _LEAST):
        return [_fault(reading.name, f"alone tells the outcome (AUROC {KNOWS:g} or more)")]
    of_row = sites.of_row[rows]
    if (present := _told_by_presence(here, y, of_row)) is not None:
        which = "only with" if present else "only without"
        return [_fault(reading.name, f"is recorded {which} the outcome")]
    return _at_one_site(reading, values, y, of_row, sites)


def _fault(name: str, what: str, at: tuple[str, ...] = ()) -> Fault:
    where = f" at {at[0]}" if at else ""
    return Fault("outcome", name, at, f"{name} {what}{where}: a copy of it, or recorded after it?")


def _is_known(reading: Reading, values: Array, y: Array, least: int) -> bool:
    events = int(y.sum())
    if min(events, len(y) - events) < least:
        return False
    if reading.feature.is_category or len(np.unique(values[:200])) <= 20:
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        if len(count) * 5 > len(values):
            return False
        if reading.feature.is_category:
            values = (np.bincount(place, weights=y) / count)[place]
    area = auroc(values, y)
    return max(area, 1 - area) >= KNOWS


def auroc(values: Array, y: Array) -> float:
    """Returns the chance that a row of class 1 has a larger value than one of class 0, ties half (Mann-Whitney)."""
    ordered = np.sort(values[y == 0])
    ones = values[y == 1]
    wins = np.searchsorted(ordered, ones, "left") + np.searchsorted(ordered, ones, "right")
    return float(wins.sum()) / (2 * len(ordered) * len(ones))


def _told_by_presence(here: Array, y: Array, of_row: Array) -> bool | None:
    """Returns the outcome that all rows with a value have where chance is no explanation, else None.

    Chance is reckoned within sites, since a column may be recorded at one site only, and its patients be alike.
    """
    if here.sum() < _LEAST or here.all():
        return None
    outcome = np.unique(y[here])
    absent = np.unique(y[~here])
    if len(outcome) == 2 and len(absent) == 2:
        return None
    told = int(outcome[0]) if len(outcome) == 1 else 1 - int(absent[0])
    judged = here if len(outcome) == 1 else ~here
    if judged.sum() < _LEAST:
        return None
    rate = np.bincount(of_row, weights=y == (told if len(outcome) == 1 else 1 - told)) / np.bincount(of_row)
    return bool(told) if float(np.log(rate[of_row[judged]]).sum()) < _CHANCE else None


def _at_one_site(reading: Reading, values: Array, y: Array, of_row: Array, sites: Sites) -> list[Fault]:
    here, found = ~np.isnan(values), []
    for site in range(len(sites.names)) if len(sites.names) > 1 else ():
        own, others = here & (of_row == site), here & (of_row != site)
        if not _is_known(reading, values[own], y[own], _LEAST_AT_A_SITE) or len(np.unique(y[others])) < 2:
            continue
        area = auroc(values[others], y[others])
        if max(area, 1 - area) <= _UNLIKE:
            found.append(_fault(reading.name, "alone tells the outcome", sites.named([site])))
    return found


def _sorts(values: Array, y: Array, classes: int) -> bool:
    """Returns whether a column of few values tells each of several classes."""
    here = ~np.isnan(values)
    held, place = np.unique(values[here], return_inverse=True)
    if 2 * here.sum() < len(values) or len(held) > 3 * classes or len(held) < 2:
        return False
    table = np.zeros((len(held), classes))
    np.add.at(table, (place, y[here]), 1)
    rows = table.sum(axis=0)
    told = np.array([table[table.argmax(axis=1) == k, k].sum() for k in range(classes)])
    return bool((rows > 0).all() and np.mean(told / rows) >= KNOWS)


def _follows(values: Array, y: Array) -> bool:
    """Returns whether a column is nearly a straight or a monotone line in a label that is an amount."""
    here = ~np.isnan(values)
    x, y = values[here], y[here]
    if 2 * here.sum() < len(values) or len(np.unique(y)) < 3 or len(np.unique(x)) < 3:
        return False
    from scipy.stats import rankdata

    both = (np.corrcoef(x, y)[0, 1], np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    return max(abs(value) for value in both) > 0.9995
