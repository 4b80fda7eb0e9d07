"""Sites that keep some rows of a column in another unit: a second heap of values, a known factor from the first."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from fedmed.data.examples import Array
from fedmed.data.faults.conversions import CONVERSIONS, Conversion, hinted
from fedmed.data.faults.fault import Fault, harmonisable, listed
from fedmed.data.faults.readings import Reading, Sites
from fedmed.data.faults.shapes import WIDTH, Shape
from fedmed.settings.harmonise import Harmonise

_LEAST_ROWS = 5
_LEAST_SHARE = 0.02


@dataclasses.dataclass(frozen=True)
class _Part:
    """Rows of a site that fit the others once converted.

    Attributes:
        misfit: how far they are from the others then, as a log.
        conversion: that fits.
        is_small: whether they are in its smaller unit.
        limit: halfway between the two heaps.
    """

    misfit: float
    conversion: Conversion
    is_small: bool
    limit: float


def mixed(reading: Reading, reference: Shape, each: Sequence[Shape], sites: Sites) -> list[Fault]:
    """Returns the sites, of those whose shapes are given, that hold some of a column's rows in another unit."""
    known, found = hinted(reading.name), []
    for shape in each:
        own = _logs(reading, shape.sites, sites) - reference.middle
        elsewhere = [site for site in reference.sites if site not in shape.sites]
        others = _logs(reading, elsewhere, sites) - reference.middle
        tried = known or [c for c in CONVERSIONS if not c.plus]
        parts = [_part(own, others, reference, c, s, bool(known)) for c in tried for s in (True, False)]
        if fitting := [part for part in parts if part is not None]:
            best = min(fitting, key=lambda part: part.misfit)
            found.append(_fault(reading.name, sites.named(shape.sites), best))
    return found


def _logs(reading: Reading, places: Sequence[int], sites: Sites) -> Array:
    values = np.concatenate([np.zeros(0), *(reading.values[sites.sampled[place]] for place in places)])
    return np.log(values[values > 0])


def _part(
    own: Array, others: Array, reference: Shape, conversion: Conversion, is_small: bool, is_hinted: bool
) -> _Part | None:
    """Returns the rows beyond half the way to where the conversion would put the reference, if they lie there.

    Args:
        own: [n] logs of the site's values, less the reference's median.
        others: [m] those of the other sites; few of them may lie there.
        reference: the unit that most sites have.
        conversion: between it and the other unit.
        is_small: whether the rows are looked for in the smaller unit.
        is_hinted: whether the column's name speaks of the conversion.
    """
    shift, spread = reference.mapped(*conversion.way(up=not is_small)).middle - reference.middle, reference.spread
    if abs(shift) < (4 if is_hinted else 8) * spread:
        return None
    part = own[own * np.sign(shift) > abs(shift) / 2]
    share = len(part) / len(own)
    if len(part) < _LEAST_ROWS or not _LEAST_SHARE <= share <= 1 - _LEAST_SHARE:
        return None
    if len(others) and np.mean(others * np.sign(shift) > abs(shift) / 2) > 0.25 * share:
        return None
    first, middle, third = np.quantile(part, [0.25, 0.5, 0.75])
    off, wide = abs(float(middle) - shift), float(third - first) / WIDTH
    if off > max(0.1, (0.7 if is_hinted else 0.4) * spread) or not 0.3 * spread < wide < 1.8 * spread:
        return None
    return _Part(off, conversion, is_small, float(f"{math.exp(reference.middle + shift / 2):.2g}"))


def _fault(name: str, named: tuple[str, ...], part: _Part) -> Fault:
    times, plus = (float(f"{number:.5g}") for number in part.conversion.way(up=part.is_small))
    here, there = (part.conversion.smaller, part.conversion.larger)[:: 1 if part.is_small else -1]
    side = "below" if part.is_small else "above"
    text = (
        f"{name} at {listed(named)} mixes units: some rows, {side} {part.limit:g}, fit the others once converted: "
        f"{here}, where the rest is {there}?"
    )
    ends = {side: part.limit}
    return harmonisable("unit", name, named, text, Harmonise(name, named, times=times, plus=plus, **ends))
