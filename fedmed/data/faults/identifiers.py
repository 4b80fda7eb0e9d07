"""Columns that name a row or a patient instead of measuring anything, and columns of a single value."""

import re

import numpy as np

from fedmed.data.examples import Array
from fedmed.data.faults.conversions import words_of
from fedmed.data.faults.fault import Fault
from fedmed.data.faults.readings import Reading, Sites

_HINTS = (
    r"id|ids|.*_?uid|guid|uuid|mrn|nhs|ssn|hn|pid|patid|patientid|subjid|subjectid|studyid|caseid|encounterid|visitid|"
    r"recordid|rowid|rownames?|rownum|rownumber|index|idx|unnamed|nr|no|number|serial|seq|sequence|barcode|accession|"
    r"record|mrno|uhid|nric"
)
_ENOUGH = 20
_MANY = 200


def identifiers(reading: Reading, sites: Sites) -> list[Fault]:
    """Returns whether a column numbers rows or patients, or has one value only."""
    values = reading.values
    some = values[max(sites.sampled, key=len)[:500]]  # of one site: each may number its own rows
    some = some[~np.isnan(some)]
    distinct = len(np.unique(some))
    if distinct < 2 and (constant := _constant(reading)):
        return constant
    named = is_named_so(reading.name)
    if len(some) < _ENOUGH or distinct < (0.5 if named else 0.98) * len(some) or not (some == np.floor(some)).all():
        return []
    present = values[~reading.is_missing]
    if reading.feature.is_category:
        return [_fault(reading.name, "has as many levels as rows")] if _unique(present) > 0.5 else []
    if not (present == np.floor(present)).all():
        return []
    if _numbers_rows(reading, sites):
        return [_fault(reading.name, "numbers the rows")]
    share = _unique(present)
    if named and share > 0.5:
        return [_fault(reading.name, "differs from row to row, as its name says")]
    if share == 1 and len(present) >= _MANY and len(present) == len(values):
        return [_fault(reading.name, "is a whole number that no two rows share")]
    return []


def is_named_so(column: str) -> bool:
    """Returns whether a column's name speaks of a number of a row or a patient: "patient_id", "MRN", "Unnamed: 0"."""
    words = words_of(column)
    joined = "".join(words)
    return any(re.fullmatch(_HINTS, word) for word in (*words[-1:], *words[:1], joined)) or not re.search(
        r"[a-z]", joined
    )


def _fault(name: str, what: str) -> Fault:
    return Fault("identifier", name, (), f"{name} {what}: an identifier is no finding of a patient")


def _constant(reading: Reading) -> list[Fault]:
    present = reading.values[~reading.is_missing]
    if len(present) and (present != present[0]).any():
        return []
    return [Fault("constant", reading.name, (), f"{reading.name} has one value only")]


def _unique(present: Array) -> float:
    return len(np.unique(present)) / len(present)


def _numbers_rows(reading: Reading, sites: Sites) -> bool:
    """Returns whether a whole number rises by one step from row to row, of all rows or within each site."""
    values = reading.values
    if reading.is_missing.any():
        return False
    steps = np.diff(values)
    if len(values) >= _ENOUGH and abs(steps[0]) >= 1 and (steps == steps[0]).all():
        return True
    if len(values) >= 50 and ((steps > 0).all() or (steps < 0).all()):
        return True
    ordered = np.sort(values)
    if len(values) >= _ENOUGH and (np.diff(ordered) == 1).all():
        return True
    large = [np.sort(values[sites.of_row == k]) for k in np.flatnonzero(sites.rows >= _ENOUGH)]
    return len(large) > 0 and all((np.diff(own) == 1).all() for own in large)
