"""Which counts are kept back, and which figures have to be withheld so that none of them follows."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fedmed.data.examples import Array, Feature
from fedmed.study.consortium import Consortium
from fedmed.study.outcomes import Outcomes, Unit

MINIMUM_CELL = 5
"""A count of fewer patients is not shown."""

WITHHELD = "withheld: a hospital's small count would follow"

RARE = "other, rare"
"""What the levels that few patients of all hospitals together hold are called, as one: their names could be told."""

RULE = (
    f"No hospital's count of 1 to {MINIMUM_CELL - 1} patients, of all or with an outcome or a value, is shown, nor a "
    "share, a distance or a sum from which one would follow. A hospital with so few patients, or so few with, or "
    "without, the event, is left out of the pooled calibration and decision curves. Metrics such as AUROC are pooled "
    "over all hospitals all the same; that nothing about few patients can be guessed from them is not claimed"
)


def is_small(patients: int) -> bool:
    """Whether a count of patients is not shown."""
    return 0 < patients < MINIMUM_CELL


def few(patient: Array) -> bool:
    """Whether these rows, given by their patients, are of few patients."""
    return is_small(len(np.unique(patient)))


def few_held(consortium: Consortium) -> tuple[str, ...]:
    """Returns the hospitals that have few patients: no count of theirs is shown, and no sum over all hospitals."""
    return tuple(name for name, rows in consortium.held.items() if few(consortium.patient[rows]))


def few_on_a_side(consortium: Consortium, name: str, seeds: Sequence[int]) -> bool:
    """Whether a hospital trains or tests on few patients at a seed: either's rows would follow from the other's."""
    splits = [consortium.rows(seed)[name] for seed in seeds]
    return any(few(consortium.patient[side]) for own in splits for side in (own.train, own.test))


def hidden(patients: Array) -> Array:
    """Returns which counts are not shown: small ones, and next smallest ones until none can be worked out.

    What all hidden counts sum to follows from the others, and those that are hidden without being small are known not
    to be. So 1 and 1, hidden alone, are 1 and 1, and so are 1 and 5.
    """
    found = np.array([is_small(count) for count in patients], bool)
    small = int(found.sum())
    others = [place for place in np.argsort(patients, kind="stable") if patients[place] and not found[place]]
    while small and others and _can_be(small, int(found.sum()) - small, int(patients[found].sum())) < 2:
        found[others.pop(0)] = True
    return found


def _can_be(small: int, large: int, total: int) -> int:
    """Returns how many values a small count can have among others that are hidden, given what all of them sum to."""
    rest = [total - value for value in range(1, MINIMUM_CELL)]
    least = small - 1 + MINIMUM_CELL * large
    most = np.inf if large else (small - 1) * (MINIMUM_CELL - 1)
    return sum(least <= one <= most for one in rest)


def coded(feature: Feature, values: Array) -> tuple[Array, tuple[str, ...]] | None:
    """Returns codes (NaN where missing) and levels of a category or of a number of two values, else None."""
    if feature.is_category:
        return values, feature.levels
    absent = np.isnan(values)
    present = np.unique(values[~absent])
    if set(present.tolist()) <= {0.0, 1.0}:
        present = np.array([0.0, 1.0])
    if len(present) != 2:
        return None
    codes = np.where(absent, np.nan, np.searchsorted(present, values))
    return codes, tuple(f"{value:g}" for value in present)


def level_counts(consortium: Consortium, codes: Array, rows: Array, levels: int) -> tuple[Array, Array]:
    """Returns rows and patients of each level and, last, without a value."""
    own = np.where(np.isnan(codes[rows]), levels, codes[rows]).astype(np.int64)
    patients = [len(np.unique(consortium.patient[rows][own == code])) for code in range(levels + 1)]
    return np.bincount(own, minlength=levels + 1), np.array(patients)


def without_rare(consortium: Consortium, feature: Feature, codes: Array) -> tuple[Feature, Array]:
    """Returns a category and its codes with the levels that few patients of all hospitals hold as one, the last."""
    _, patients = level_counts(consortium, codes, np.arange(len(codes)), len(feature.levels))
    rare = np.array([is_small(count) for count in patients[:-1]], bool)
    if not rare.any() or feature.levels == ("0", "1"):  # a yes and a no name nobody
        return feature, codes
    kept = tuple(level for level, is_rare in zip(feature.levels, rare, strict=True) if not is_rare)
    place = np.append(np.where(rare, len(kept), np.cumsum(~rare) - 1), np.nan)
    folded = place[np.where(np.isnan(codes), len(rare), codes).astype(np.int64)]
    return dataclasses.replace(feature, levels=(*kept, RARE)), folded


def hidden_levels(consortium: Consortium, codes: Array, levels: int) -> dict[str, Array]:
    """Returns of each hospital which levels' counts (last: those without a value) are not shown."""
    small = few_held(consortium)
    return {
        name: hidden(level_counts(consortium, codes, rows, levels)[1]) | (name in small)
        for name, rows in consortium.held.items()
    }


def has_small_class(y: Array, patient: Array) -> bool:
    """Whether few patients have, or few lack, the event."""
    return any(is_small(len(np.unique(patient[y == label]))) for label in (0, 1))


def small_hospitals(outcomes: Outcomes) -> tuple[str, ...]:
    """Returns the hospitals with few patients, or few with, or without, the event, in all or among those tested."""
    y, patient = outcomes.consortium.dataset.examples.y, outcomes.consortium.patient
    found = []
    for name, held in outcomes.consortium.held.items():
        tested = np.concatenate([outcomes.rows(seed, name) for seed in outcomes.seeds])
        binary = outcomes.task == "binary"
        if any(few(patient[rows]) or (binary and has_small_class(y[rows], patient[rows])) for rows in (held, tested)):
            found.append(name)
    return tuple(found)


def pooled(outcomes: Outcomes, unit: Unit) -> Unit:
    """Returns the unit, and for all hospitals together those of which no small count would follow."""
    small = small_hospitals(outcomes) if unit is None else ()
    return tuple(name for name in outcomes.hospitals if name not in small) if small else unit


def left_out(outcomes: Outcomes) -> str:
    """Returns a sentence on whom the pooled curves leave out, "" for nobody."""
    small = small_hospitals(outcomes)
    return f" All hospitals together are without {', '.join(small)}, whose small count would follow." if small else ""
