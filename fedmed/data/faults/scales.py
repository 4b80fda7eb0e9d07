"""Columns that one site keeps in another unit, told from a mere difference of patients.

Another unit moves all quantiles of a column by one factor, so that on the log scale the distribution moves and keeps
its spread; other patients move it less, continuously from site to site, and change its shape. A name such as
"glucose" makes a factor that is known for it enough; without a name, distributions must lie wholly apart.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from fedmed.data.faults.conversions import CONVERSIONS, Conversion, hinted, nearest_factor
from fedmed.data.faults.fault import Fault, harmonisable, listed
from fedmed.data.faults.mixtures import mixed
from fedmed.data.faults.quantiles import Shape, groups, joined, shapes
from fedmed.data.faults.readings import Reading, Sites
from fedmed.settings.harmonise import Harmonise

_LEAST_RATIO = math.log(1.7)
_LEAST_OTHER = math.log(3)
_LEAST_KNOWN = math.log(1.5)


@dataclasses.dataclass(frozen=True)
class Match:
    """How one shape becomes another: times and plus, and the known conversion that it is, if any."""

    times: float
    plus: float
    known: Conversion | None
    is_hinted: bool


@dataclasses.dataclass(frozen=True)
class _Compared:
    """A column's shapes by site, the one that most sites share, and those that become it in another unit."""

    reading: Reading
    each: Sequence[Shape]
    reference: Shape
    matches: Sequence[tuple[Shape, Match]]


def unit_faults(readings: Sequence[Reading], sites: Sites) -> list[Fault]:
    """Returns the columns, without codes for missing, that are in different units."""
    columns = [_compared(reading, each) for reading in readings if len(each := shapes(reading, sites)) > 1]
    many = sum(bool(column.matches) for column in columns) > max(1, len(columns) / 3)
    found = []
    for column in columns:
        told = [
            (shape, match)
            for shape, match in column.matches
            # Where most columns have moved, or all have a little, it is the patients that differ.
            if (match.is_hinted or not many) and _moved(shape, column.reference) > 4 * _usual(columns, shape.sites)
        ]
        found += [_fault(column.reading.name, shape, column.reference, match, sites) for shape, match in told]
        done = {site for shape, _ in told for site in shape.sites}
        rest = [shape for shape in column.each if not done & set(shape.sites)]
        found += mixed(column.reading, column.reference, rest, sites)
    return found


def _moved(shape: Shape, reference: Shape) -> float:
    """Returns how far a shape is from the reference in standard deviations of the log."""
    return abs(shape.middle - reference.middle) / max(shape.spread, reference.spread)


def _usual(columns: Sequence[_Compared], places: Sequence[int]) -> float:
    """Returns how far these sites are from the others in the columns that no unit explains: their median."""
    moved = []
    for column in columns:
        explained = {site for shape, _ in column.matches for site in shape.sites}
        moved += [
            _moved(shape, column.reference) for shape in column.each if set(shape.sites) & set(places) - explained
        ]
    return float(np.median(moved)) if moved else 0.0


def _compared(reading: Reading, each: Sequence[Shape]) -> _Compared:
    known = hinted(reading.name)
    parts = groups(each, by_gap=True)
    if len(parts) == 1 and known:
        parts = groups(each, by_gap=False)
    reference, *others = map(joined, parts)
    matches = [(shape, match) for shape in others if (match := _match(shape, reference, known)) is not None]
    return _Compared(reading, each, reference, matches)


def _match(shape: Shape, reference: Shape, known: Sequence[Conversion]) -> Match | None:
    """Returns how a shape becomes the reference's, None where they are of different patients."""
    tried = [*known, *(c for c in CONVERSIONS if c.plus and c not in known)]
    options = [Match(*c.way(up=up), c, c in known) for c in tried for up in (True, False)]
    fits = [(misfit, match) for match in options if (misfit := _misfit(shape, reference, match)) is not None]
    return min(fits, key=lambda fit: fit[0])[1] if fits else _by_ratio(shape, reference, bool(known))


def _misfit(shape: Shape, reference: Shape, match: Match) -> float | None:
    """Returns how far a shape is from the reference once converted, None where it is no match."""
    mapped, moved = shape.mapped(match.times, match.plus), abs(shape.middle - reference.middle)
    if not mapped.is_positive or moved < _LEAST_KNOWN:
        return None
    # Where values of both sites overlap, other units are told from other patients by other decimals: 17, but 6.1.
    if not shape.lies_apart(reference) and (not match.is_hinted or shape.decimals == reference.decimals):
        return None
    off, wide, unlike = (
        abs(mapped.middle - reference.middle),
        max(mapped.spread, reference.spread),
        mapped.unlike(reference),
    )
    allowed = max(0.12, 0.8 * wide) if match.is_hinted else 0.8 * wide
    # Once converted, the site must be much nearer to the others than it was.
    if off > min(allowed, 0.4 * moved) or unlike > math.log(2.2 if match.is_hinted else 1.3):
        return None
    return off / wide + unlike


def _by_ratio(shape: Shape, reference: Shape, is_hinted: bool) -> Match | None:
    """Returns a factor for which the column's name does not speak, where the shapes lie apart and are alike."""
    moved = reference.middle - shape.middle
    # Of a quantity whose factors are known another one must be large.
    least = _LEAST_OTHER if is_hinted else _LEAST_RATIO
    if abs(moved) < least or not shape.lies_apart(reference) or shape.unlike(reference) > math.log(1.6):
        return None
    near = nearest_factor(math.exp(abs(moved)))
    if near is None:
        return Match(float(f"{math.exp(moved):.3g}"), 0.0, None, is_hinted=False)
    return Match(near.way(up=moved > 0)[0], 0.0, near if near.quantity else None, is_hinted=False)


def _fault(name: str, shape: Shape, reference: Shape, match: Match, sites: Sites) -> Fault:
    named = sites.named(shape.sites)
    moved = reference.middle - shape.middle
    way = f"{math.exp(abs(moved)):.3g} times {'smaller' if moved > 0 else 'larger'}"
    verb = "is" if len(named) < 2 else "are"
    text = f"{name} at {listed(named)} {verb} about {way} than at the other hospitals{_units(match)}"
    times, plus = (float(f"{number:.5g}") for number in (match.times, match.plus))
    return harmonisable("unit", name, named, text, Harmonise(name, named, times=times, plus=plus))


def _units(match: Match) -> str:
    if match.known is None:
        return ", with a like spread: in another unit?"
    here, there = (match.known.smaller, match.known.larger)[:: 1 if match.times > 1 else -1]
    units = f"{here} here, {there} there"
    return f": {units}?" if match.is_hinted else f", as {units} are for {match.known.quantity}: in another unit?"
