"""Dealing patients to folds, so that what is fitted on some is tried on others."""

from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


def by_patient(y: Array, patient: Array, count: int, rng: np.random.Generator) -> Array:
    """Returns [n] int64 the fold of each row, 0 to count - 1; all rows of a patient are in one.

    Folds are stratified: patients are sorted by their mean label, those of the same in random order, and dealt out in
    turn. So of any k patients that follow each other at most ceil(k / count) share a fold, and a rare class is spread
    as evenly as can be.

    Args:
        y: [n] labels.
        patient: [n] identifiers.
        count: of folds.
        rng: decides among patients of the same mean label, and which fold is first.
    """
    everyone, place = np.unique(patient, return_inverse=True)
    mean = np.bincount(place, weights=y) / np.maximum(np.bincount(place), 1)
    order = np.lexsort((rng.random(len(everyone)), mean))
    fold = np.empty(len(everyone), np.int64)
    fold[order] = (np.arange(len(everyone)) + rng.integers(count)) % count
    return fold[place]
