"""Was this patient's record trained on? The likelihood-ratio attack (LiRA) and the plain loss attack, from scores.

Shadow models are trained on random halves of the patients, so of each model it is known who was in. Scores come from
the caller; nothing here trains, and no TensorFlow is needed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray

ENOUGH_FOR_EACH = 64
"""Models from which each row has variances of its own; with fewer, one is shared (Carlini et al. 2022, section VI)."""
LEAST_MODELS = 8
"""Two pairs must be left to tell a variance, when one is attacked and another left out for the interval."""
_FLOOR = 0.01  # of the shared variance: a row's own may not be less, as a handful of equal scores would make it


@dataclasses.dataclass(frozen=True)
class Shadows:
    """K models trained on halves, and what each says of every row. Models 2j and 2j + 1 are trained on the two halves.

    Attributes:
        inside: [K, n] true where the row was among the model's training rows.
        score: [K, n] the higher, the more at home the model is with the row: log p_y - log(1 - p_y) of the label's
            probability p_y (Carlini et al. 2022, eq. 4), or minus the loss for regression and counts.
        hospital: [n] names of hospitals.
        patient: [n] identifiers of patients, unique within a hospital.
    """

    inside: Array
    score: Array
    hospital: Array
    patient: Array

    def __post_init__(self) -> None:
        """Raises ValueError where the attack would answer another question than the one asked."""
        models, rows = np.shape(self.score)
        if models < LEAST_MODELS or models % 2:
            raise ValueError(f"score: expected an even number of models, at least {LEAST_MODELS}, got {models}")
        if np.shape(self.inside) != (models, rows) or len(self.hospital) != rows or len(self.patient) != rows:
            raise ValueError("inside, hospital and patient must be of the same models and rows as score")
        if not np.isfinite(self.score).all():
            raise ValueError(f"score: {int((~np.isfinite(self.score)).sum())} values are not finite")
        if (self.inside[0::2] == self.inside[1::2]).any():
            raise ValueError("inside: each pair of models must be trained on two halves, as membership.halves draws")

    @property
    def pairs(self) -> int:
        """How many pairs of models there are."""
        return len(self.score) // 2

    def without(self, pair: int) -> tuple[Array, Array]:
        """Returns inside and score of all models but one pair's."""
        kept = np.arange(len(self.score)) // 2 != pair
        return self.inside[kept], self.score[kept]


@dataclasses.dataclass(frozen=True)
class Patients:
    """The rows that are one patient's, as the unit that is in or out.

    Attributes:
        place: [n] which patient a row is of.
        first: [p] a row of each patient.
    """

    place: Array
    first: Array

    @classmethod
    def of(cls, shadows: Shadows) -> "Patients":
        """Numbers the patients of all hospitals; ValueError where some rows of a patient are in and others are not."""
        _, hospitals = np.unique(shadows.hospital, return_inverse=True)
        _, names = np.unique(shadows.patient, return_inverse=True)
        keys = hospitals.astype(np.int64) * (int(names.max(initial=0)) + 1) + names
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        if (shadows.inside != shadows.inside[:, first][:, place]).any():
            raise ValueError("inside: a patient's rows must be in a model's training rows all together or not at all")
        return cls(place, first)

    def sums(self, values: Array) -> Array:
        """Adds up [K, n] values of rows to [K, p] of patients."""
        return np.stack([np.bincount(self.place, row, len(self.first)) for row in values])

    def means(self, values: Array) -> Array:
        """Averages [K, n] values of rows to [K, p] of patients."""
        return self.sums(values) / np.bincount(self.place, minlength=len(self.first))


def halves(patients: Mapping[str, int], models: int, rng: np.random.Generator) -> dict[str, Array]:
    """Draws who is in: a random half of every hospital for models 0, 2, 4, ..., and its other half for 1, 3, 5, ...

    So each patient is in exactly half of the models, and in one of each pair. Attacking a model by all others but its
    partner then leaves as many models with a patient as without. If only the model itself were left out, those with
    would be one fewer for who is in: where nothing was learned the AUC would be .474 with 8 models, .491 with 16.

    Args:
        patients: how many each hospital has, at least 2.
        models: K, even.
        rng: source of randomness.

    Returns:
        [K, patients] bool for each hospital; of an odd number, either model of a pair may have the larger half.
    """
    if models < 2 or models % 2:
        raise ValueError(f"models: expected an even number, got {models}")
    few = [name for name, count in patients.items() if count < 2]
    if few:
        raise ValueError(f"patients: a hospital needs 2 to be halved, {few[0]!r} has {patients[few[0]]}")
    return {name: _paired(count, models // 2, rng) for name, count in patients.items()}


def _paired(count: int, pairs: int, rng: np.random.Generator) -> Array:
    rank = rng.permuted(np.tile(np.arange(count), (pairs, 1)), axis=1)
    cut = count // 2 + (count % 2) * rng.integers(2, size=(pairs, 1))
    inside = rank < cut
    return np.stack([inside, ~inside], axis=1).reshape(2 * pairs, count)


def variances(models: int) -> Literal["shared", "each row's"]:
    """Tells which variances so many models allow."""
    return "each row's" if models >= ENOUGH_FOR_EACH else "shared"


def likelihood_ratios(inside: Array, score: Array) -> Array:
    """Returns how much likelier each score is if the row was in: log N(score; in) - log N(score; out).

    Means and variances are of the other pairs of models only (Carlini et al. 2022, algorithm 1, each model attacked in
    turn). A variance counts the doubt in its mean too.

    Args:
        inside: [K, n] bool, as `halves` draws.
        score: [K, n].

    Returns:
        [K, n] natural logarithms; higher speaks for membership.
    """
    first = inside[0::2]
    even, odd = score[0::2], score[1::2]
    with_row, without_row = np.where(first, even, odd), np.where(first, odd, even)
    own = variances(len(score)) == "each row's"
    of_in, of_out = _others(with_row, own), _others(without_row, own)
    ratios = np.empty_like(score, dtype=np.float64)
    for start, scores in enumerate((even, odd)):
        ratios[start::2] = _log_density(scores, *of_in) - _log_density(scores, *of_out)
    return ratios


def _others(scores: Array, own: bool) -> tuple[Array, Array]:
    """Returns mean [J, n] and predictive variance [J, n] or [J, 1] of each row's scores in the other J - 1 pairs."""
    pairs, others = len(scores), len(scores) - 1
    centre = scores.mean(axis=0)
    moved = scores - centre
    mean = -moved / others  # the sum of all is zero, so that of the others is what this one lacks
    squares = (np.square(moved).sum(axis=0) - np.square(moved)) / others - np.square(mean)
    variance = np.maximum(squares, 0.0) * others / (others - 1)
    shared = np.maximum(variance.mean(axis=1, keepdims=True), 1e-12)
    variance = np.maximum(variance, _FLOOR * shared) if own else shared
    return mean + centre, variance * pairs / others


def _log_density(scores: Array, mean: Array, variance: Array) -> Array:
    return -0.5 * np.square(scores - mean) / variance - 0.5 * np.log(variance)
