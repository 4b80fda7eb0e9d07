"""How a mean over seeds varies with the patients, who come or go with all their rows and at all seeds."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from fedmed.statistics.influence import Influence

Array: TypeAlias = np.ndarray

_CELLS = 4_000_000  # counts held at once (32 MB of float64)
_MOST_GAPS = 1_000_000  # numbers of patients up to which sorting them costs more than room for all


@dataclasses.dataclass(frozen=True)
class Spread:
    """A statistic of J seeds and how it varies with the patients drawn.

    Attributes:
        values: [J] the statistic at each seed where it is defined.
        variance: of its mean over seeds, over draws of patients with the models held fixed.
        within: variance between seeds to be expected from their different test patients alone, models held fixed.
    """

    values: Array
    variance: float
    within: float

    @property
    def estimate(self) -> float:
        return float(self.values.mean()) if len(self.values) else float("nan")


def patient_counts(patients: int, draws: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yields [b, patients] how often each patient is in each of `draws` samples with replacement, piece by piece."""
    step = max(1, _CELLS // max(1, patients))
    for start in range(0, draws, step):
        b = min(step, draws - start)
        chosen = rng.integers(patients, size=(b, patients)) + patients * np.arange(b)[:, None]
        yield np.bincount(chosen.ravel(), minlength=b * patients).reshape(b, patients).astype(np.float64)


def spread_of(influences: Sequence[Influence], patients: Sequence[Array]) -> Spread:
    """Returns what `bootstrap` would find with ever more draws, where each row's influence is known.

    Args:
        influences: J statistics of n_j rows; one that is not defined is left out.
        patients: J arrays [n_j] of patient identifiers; the same identifier is the same patient at every seed.
    """
    used = [j for j, influence in enumerate(influences) if np.isfinite(influence.value)]
    values = np.array([influences[j].value for j in used])
    if not used:
        return Spread(values, 0.0, 0.0)
    count, places = _numbered([patients[j] for j in used])
    moved = np.stack([np.bincount(place, influences[j].rows, count) for j, place in zip(used, places, strict=True)])
    common = moved @ moved.T  # [J, J] covariance of the seeds' values
    seeds = len(used)
    variance = float(common.sum()) / seeds**2
    within = (float(np.trace(common)) - common.sum() / seeds) / (seeds - 1) if seeds > 1 else 0.0
    return Spread(values, variance, max(0.0, float(within)))


def bootstrap(
    statistics: Sequence[Callable[[Array], Array]],
    patients: Sequence[Array],
    *,
    draws: int,
    rng: np.random.Generator,
) -> Spread:
    """Resamples patients once for all seeds, so that a patient tested at several seeds comes or goes in all of them.

    Args:
        statistics: J functions, from row weights [..., n_j] to values [...], NaN where not defined.
        patients: J arrays [n_j] of patient identifiers; the same identifier is the same patient at every seed.
        draws: number of bootstrap samples.
        rng: source of randomness.
    """
    values = np.array([float(f(np.ones(len(who)))) for f, who in zip(statistics, patients, strict=True)])
    used = np.flatnonzero(np.isfinite(values))
    if not len(used):
        return Spread(values[used], 0.0, 0.0)
    count, places = _renumbered([patients[j] for j in used])
    means, squares, complete = [], 0.0, 0
    for counts in patient_counts(count, draws, rng):
        by_seed = np.stack([statistics[j](counts[:, place]) for j, place in zip(used, places, strict=True)])
        moved = by_seed - values[used][:, None]  # so that a seed lost in a draw does not shift the mean by its level
        known = np.isfinite(moved)
        seeds = known.sum(axis=0)
        means.append(values[used].mean() + np.where(known, moved, 0.0).sum(axis=0)[seeds > 0] / seeds[seeds > 0])
        whole = moved[:, known.all(axis=0)]
        squares += np.square(whole - whole.mean(axis=0)).sum()
        complete += whole.shape[1]
    within = squares / (complete * (len(used) - 1)) if complete and len(used) > 1 else 0.0
    drawn = np.concatenate(means)
    return Spread(values[used], float(drawn.var()) if len(drawn) else 0.0, float(within))


def _numbered(patients: Sequence[Array]) -> tuple[int, Sequence[Array]]:
    """Returns numbers below a count, the same for the same patient; there may be gaps, where numbers come as such."""
    ends = [(int(p.min()), int(p.max())) for p in patients if len(p) and p.dtype.kind == "i"]
    if len(ends) == len(patients) and min(low for low, _ in ends) >= 0 and max(high for _, high in ends) < _MOST_GAPS:
        return 1 + max(high for _, high in ends), patients
    return _renumbered(patients)


def _renumbered(patients: Sequence[Array]) -> tuple[int, Sequence[Array]]:
    """Returns how many patients there are and, for each array, their numbers without gaps."""
    everyone, position = np.unique(np.concatenate(patients), return_inverse=True)
    return len(everyone), np.split(position, np.cumsum([len(p) for p in patients])[:-1])
