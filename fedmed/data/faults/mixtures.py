"""Sites that keep some rows of a column in another unit: a second heap of values, a known factor from the first."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from fedmed.data.examples import Array
from fedmed.data.faults.conversions import CONVERSIONS, Conversion, hinted
from fedmed.data.faults.fault import Fault, harmonisable, listed
from fedmed.data.faults.quantiles import WIDTH, Shape
from fedmed.data.faults.readings import Reading, Sites
from fedmed.settings.harmonise import Harmonise

_LEAST_ROWS = 5
_LEAST_SHARE = 0.02


@dataclasses.dataclass(frozen=True)
class _Heap:
    """Where values in another unit would lie.

    Attributes:
        conversion: between the two units.
        is_small: whether they are in its smaller unit.
        shift: log of how far they are from the others.
        spread: standard deviation of the log of either.
        limit: halfway between the two.
    """

    conversion: Conversion
    is_small: bool
    shift: float
    spread: float
    limit: float


def mixed(reading: Reading, reference: Shape, each: Sequence[Shape], sites: Sites) -> list[Fault]:
    """Returns the sites, of those whose shapes are given, that hold some of a column's rows in another unit."""
    known, found = hinted(reading.name), []
    heaps = _heaps(reference, known or [c for c in CONVERSIONS if not c.plus], 4 if known else 8)
    nearest = min((abs(heap.shift) / 2 for heap in heaps), default=np.inf)
    for shape in each:
        own = _logs(reading, shape.sites, sites) - reference.middle
        if (np.abs(own) > nearest).sum() < _LEAST_ROWS:
            continue
        elsewhere = [site for site in reference.sites if site not in shape.sites]
        others = _logs(reading, elsewhere, sites) - reference.middle
        misfits = [(misfit, heap) for heap in heaps if (misfit := _misfit(own, others, heap, bool(known))) is not None]
        if misfits:
            best = min(misfits, key=lambda one: one[0])[1]
            found.append(_fault(reading.name, sites.named(shape.sites), best))
    return found


def _heaps(reference: Shape, conversions: Sequence[Conversion], least: float) -> list[_Heap]:
    """Returns where converted values may lie, those at least so many standard deviations away."""
    found = []
    for conversion in conversions:
        for is_small in (True, False):
            shift = reference.mapped(*conversion.way(up=not is_small)).middle - reference.middle
            if abs(shift) >= least * reference.spread:
                limit = float(f"{math.exp(reference.middle + shift / 2):.2g}")
                found.append(_Heap(conversion, is_small, shift, reference.spread, limit))
    return found


def _logs(reading: Reading, places: Sequence[int], sites: Sites) -> Array:
    values = np.concatenate([np.zeros(0), *(reading.values[sites.sampled[place]] for place in places)])
    return np.log(values[values > 0])


def _misfit(own: Array, others: Array, heap: _Heap, is_hinted: bool) -> float | None:
    """Returns how far a site's rows beyond the limit are from the heap, as a log; None where they are no such heap.

    Args:
        own: [n] logs of the site's values, less the reference's median.
        others: [m] those of the other sites; few of them may lie there.
        heap: where the values would be.
        is_hinted: whether the column's name speaks of the conversion.
    """
    side, half = np.sign(heap.shift), abs(heap.shift) / 2
    part = own[own * side > half]
    share = len(part) / len(own)
    if len(part) < _LEAST_ROWS or not _LEAST_SHARE <= share <= 1 - _LEAST_SHARE:
        return None
    if len(others) and np.mean(others * side > half) > 0.25 * share:
        return None
    between = np.mean((own * side > 0.7 * half) & (own * side < 1.3 * half))
    if not is_hinted and between > 0.1 * share:
        return None
    first, middle, third = np.quantile(part, [0.25, 0.5, 0.75])
    off, wide = abs(float(middle) - heap.shift), float(third - first) / WIDTH
    near = off <= max(0.1, (0.7 if is_hinted else 0.4) * heap.spread)
    return off if near and 0.3 * heap.spread < wide < 1.8 * heap.spread else None


def _fault(name: str, named: tuple[str, ...], heap: _Heap) -> Fault:
    times, plus = (float(f"{number:.5g}") for number in heap.conversion.way(up=heap.is_small))
    here, there = (heap.conversion.smaller, heap.conversion.larger)[:: 1 if heap.is_small else -1]
    side = "below" if heap.is_small else "above"
    text = (
        f"{name} at {listed(named)} mixes units: some rows, {side} {heap.limit:g}, fit the others once converted: "
        f"{here}, where the rest is {there}?"
    )
    change = Harmonise(name, named, times=times, plus=plus)
    ended = dataclasses.replace(change, **{side: heap.limit})
    return harmonisable("unit", name, named, text, ended)
