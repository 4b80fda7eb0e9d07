"""Columns that one site keeps in another unit, or in two, told from a mere difference of patients.

Another unit moves all quantiles of a column by one factor, so that on the log scale the distribution moves and keeps
its spread; other patients move it less, continuously from site to site, and change its shape. A name such as
"glucose" makes a factor that is known for it enough; without a name, distributions must lie wholly apart.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from fedmed.data.examples import Array
from fedmed.data.faults.conversions import CONVERSIONS, Conversion, hinted, nearest_factor
from fedmed.data.faults.fault import Fault, harmonisable, listed
from fedmed.data.faults.readings import Reading, Sites
from fedmed.settings.harmonise import Harmonise

_ENOUGH = 20
_DISTINCT = 8
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LEAST_RATIO = 1.7
_WIDTH = 1.349  # a normal distribution's middle half in standard deviations


@dataclasses.dataclass(frozen=True)
class Shape:
    """A column at some sites.

    Attributes:
        sites: their places.
        rows: of them together.
        quantiles: [5] at 5, 25, 50, 75 and 95 %, all > 0.
    """

    sites: tuple[int, ...]
    rows: int
    quantiles: Array

    def mapped(self, times: float, plus: float = 0.0) -> "Shape":
        """Returns the shape in another unit."""
        return dataclasses.replace(self, quantiles=np.maximum(self.quantiles * times + plus, 1e-300))

    @property
    def middle(self) -> float:
        """Log of the median."""
        return float(np.log(self.quantiles[2]))

    @property
    def spread(self) -> float:
        """Standard deviation of the log, by the middle half."""
        return max(float(np.log(self.quantiles[3] / self.quantiles[1])) / _WIDTH, 1e-6)


@dataclasses.dataclass(frozen=True)
class Match:
    """How one shape becomes another: times and plus, and the known conversion that it is, if any."""

    times: float
    plus: float
    known: Conversion | None
    is_hinted: bool


def unit_faults(readings: Sequence[Reading], sites: Sites) -> list[Fault]:
    """Returns the columns, without codes for missing, that are in different units."""
    whole, apart, compared, faults = {}, 0, 0, []
    for reading in readings:
        shapes = _shapes(reading, sites)
        if len(shapes) < 2:
            continue
        compared += 1
        whole[reading.name] = _of_whole_sites(reading.name, shapes)
        apart += bool(whole[reading.name][1])
        faults.append((reading, shapes))
    other_patients = apart > max(1, compared / 3)  # when most columns move, it is the patients
    found = []
    for reading, shapes in faults:
        reference, matches = whole[reading.name]
        said = [(shape, match) for shape, match in matches if match.is_hinted or not other_patients]
        found += _grouped(reading.name, reference, said, sites)
        done = {site for shape, _ in said for site in shape.sites}
        found += _mixed(reading, reference, [shape for shape in shapes if not set(shape.sites) & done], sites)
    return found


def _shapes(reading: Reading, sites: Sites) -> list[Shape]:
    """Returns the shape of a column at each site that has enough positive readings of it."""
    shapes = []
    for site, rows in enumerate(sites.sampled):
        own = reading.values[rows]
        own = own[~np.isnan(own)]
        positive = own[own > 0]
        if len(positive) < max(_ENOUGH, 0.8 * len(own)) or len(np.unique(positive)) < _DISTINCT:
            continue
        quantiles = np.quantile(positive, _QUANTILES)
        if quantiles[3] > quantiles[1]:
            shapes.append(Shape((site,), len(positive), quantiles))
    return [] if reading.feature.is_category else shapes


def _of_whole_sites(name: str, shapes: Sequence[Shape]) -> tuple[Shape, list[tuple[Shape, Match]]]:
    """Returns the unit that most sites have, and the sites of another with how they are converted to it."""
    known = hinted(name)
    groups = _groups(shapes, by_gap=True)
    if len(groups) == 1 and known:
        groups = _groups(shapes, by_gap=False)
    groups.sort(key=lambda group: (len(group), sum(shape.rows for shape in group)), reverse=True)
    reference = _joined(groups[0])
    matches = [(_joined(group), match) for group in groups[1:] if (match := _match(_joined(group), reference, known))]
    return reference, matches


def _groups(shapes: Sequence[Shape], *, by_gap: bool) -> list[list[Shape]]:
    """Returns sites whose distributions are linked one to the next; between groups there is a gap."""
    ordered = sorted(shapes, key=lambda shape: shape.middle)
    groups = [[ordered[0]]]
    for before, after in zip(ordered, ordered[1:], strict=False):
        step, wide = after.middle - before.middle, max(before.spread, after.spread)
        gap = after.quantiles[0] > before.quantiles[4] * math.exp(0.5 * min(before.spread, after.spread))
        if (step > 2 * wide and gap) if by_gap else step > 1.3 * wide:
            groups.append([])
        groups[-1].append(after)
    return groups


def _joined(group: Sequence[Shape]) -> Shape:
    """Returns the shape of the median site in each quantile, so that one odd site does not count."""
    quantiles = np.exp(np.median([np.log(shape.quantiles) for shape in group], axis=0))
    return Shape(tuple(s for shape in group for s in shape.sites), sum(shape.rows for shape in group), quantiles)


def _match(shape: Shape, reference: Shape, known: Sequence[Conversion]) -> Match | None:
    """Returns how a shape becomes the reference's, or None where they are of different patients."""
    options = [Match(*_way(c, up), c, is_hinted=True) for c in known for up in (True, False)]
    options += [
        Match(*_way(c, up), c, is_hinted=False) for c in CONVERSIONS if c.plus and c not in known for up in (True, False)
    ]
    fits = [(score, match) for match in options if (score := _misfit(shape, reference, match)) is not None]
    if fits:
        return min(fits, key=lambda fit: fit[0])[1]
    ratio = math.exp(reference.middle - shape.middle)
    if max(ratio, 1 / ratio) < _LEAST_RATIO or not _are_apart(shape, reference):
        return None
    if _unlike(shape, reference) > math.log(1.6):
        return None
    near = nearest_factor(max(ratio, 1 / ratio))
    times = _rounded(ratio) if near is None else near.times if ratio > 1 else 1 / near.times
    return Match(times, 0.0, near if near and near.quantity else None, is_hinted=False)


def _way(conversion: Conversion, up: bool) -> tuple[float, float]:
    """Returns times and plus from the smaller unit to the larger one, or back."""
    times, plus = conversion.times, conversion.plus
    return (times, plus) if up else (1 / times, -plus / times)


def _misfit(shape: Shape, reference: Shape, match: Match) -> float | None:
    """Returns how far a shape is from the reference once converted, None where it is no match."""
    mapped = shape.mapped(match.times, match.plus)
    if mapped.quantiles[0] <= 1e-299 or abs(shape.middle - reference.middle) < math.log(_LEAST_RATIO - 0.15):
        return None
    off, wide = abs(mapped.middle - reference.middle), max(mapped.spread, reference.spread)
    allowed = max(0.12, 0.8 * wide) if match.is_hinted else 0.8 * wide
    unlike = _unlike(mapped, reference)
    most = math.log(2.2 if match.is_hinted else 1.3)
    # Converted, the site must be much nearer to the others than it was.
    if off > min(allowed, 0.4 * abs(shape.middle - reference.middle)) or unlike > most:
        return None
    return off / wide + unlike


def _are_apart(a: Shape, b: Shape) -> bool:
    low, high = sorted((a, b), key=lambda shape: shape.middle)
    return bool(high.quantiles[0] > low.quantiles[4])


def _unlike(a: Shape, b: Shape) -> float:
    """Returns the larger of the differences in spread, of the middle half and of the middle nine tenths, as a log."""
    outer = math.log(_outer(a) / _outer(b))
    return max(abs(math.log(a.spread / b.spread)), abs(outer))


def _outer(shape: Shape) -> float:
    return max(float(np.log(shape.quantiles[4] / shape.quantiles[0])), 1e-6)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _grouped(
    name: str, reference: Shape, said: Sequence[tuple[Shape, Match]], sites: Sites
) -> list[Fault]:
    return [_fault(name, sites.named(shape.sites), shape, reference, match) for shape, match in said]


def _fault(name: str, named: tuple[str, ...], shape: Shape, reference: Shape, match: Match) -> Fault:
    ratio = math.exp(reference.middle - shape.middle)
    way = f"{ratio:.3g} times smaller" if ratio > 1 else f"{1 / ratio:.3g} times larger"
    are = "is" if len(named) < 2 else "are"
    text = f"{name} at {listed(named)} {are} about {way} than at the other hospitals{_units(match)}"
    return harmonisable(
        "unit", name, named, text, Harmonise(name, named, times=_significant(match.times), plus=_significant(match.plus))
    )


def _units(match: Match) -> str:
    if match.known is None:
        return ", with a like spread: in another unit?"
    units = (match.known.smaller, match.known.larger)
    here, there = units if match.times > 1 else units[::-1]
    alike = "" if match.is_hinted else ", by the factor"
    return f"{alike}: {here} here, {there} there" + (f" ({match.known.quantity})?" if not match.is_hinted else "?")


def _significant(value: float) -> float:
    return float(f"{value:.5g}")


def _mixed(reading: Reading, reference: Shape, shapes: Sequence[Shape], sites: Sites) -> list[Fault]:
    """Returns the sites that hold some of a column's rows in another unit."""
    found = []
    for shape in shapes:
        own = reading.values[sites.sampled[shape.sites[0]]]
        own = own[own > 0]
        others = _others(reading, reference, shape, sites)
        best = max(_parts(own, others, reference, hinted(reading.name)), key=lambda part: part[0], default=None)
        if best is not None:
            found.append(_fault_of_part(reading.name, sites.named(shape.sites), reference, *best[1:]))
    return found


def _others(reading: Reading, reference: Shape, shape: Shape, sites: Sites) -> Array:
    rows = [sites.sampled[site] for site in reference.sites if site not in shape.sites]
    values = reading.values[np.concatenate(rows)] if rows else np.zeros(0)
    return values[values > 0]


def _parts(
    own: Array, others: Array, reference: Shape, known: Sequence[Conversion]
) -> list[tuple[float, Conversion, bool, float]]:
    """Returns the parts of a site's rows that fit a conversion: their share, it, whether they are small, a limit."""
    spread, logs = reference.spread, np.log(own) - reference.middle
    elsewhere = np.log(others) - reference.middle
    found = []
    for conversion in known or [c for c in CONVERSIONS if not c.plus]:
        for small in (True, False):
            times, plus = _way(conversion, not small)
            target = reference.mapped(times, plus)
            shift = target.middle - reference.middle
            if abs(shift) < (4 if known else 8) * spread:
                continue
            beyond = logs * np.sign(shift) > abs(shift) / 2
            part = logs[beyond]
            if len(part) < max(5, 0.02 * len(own)) or len(part) > 0.98 * len(own):
                continue
            rare = not len(elsewhere) or np.mean(elsewhere * np.sign(shift) > abs(shift) / 2) < 0.25 * len(part) / len(own)
            first, third = np.quantile(part, [0.25, 0.75])
            wide = (third - first) / _WIDTH
            off = abs(float(np.median(part)) - shift)
            if rare and off < max(0.1, (0.7 if known else 0.4) * spread) and 0.3 * spread < wide < 1.8 * spread:
                limit = math.exp(reference.middle + shift / 2)
                found.append((len(part) / len(own) - off, conversion, small, float(f"{limit:.2g}")))
    return found


def _fault_of_part(
    name: str, named: tuple[str, ...], reference: Shape, conversion: Conversion, small: bool, limit: float
) -> Fault:
    times, plus = (_significant(number) for number in _way(conversion, small))
    here, there = (conversion.smaller, conversion.larger)[:: 1 if small else -1]
    side = "below" if small else "above"
    text = (
        f"{name} at {listed(named)} mixes units: some rows, {side} {limit:g}, fit the others once multiplied by "
        f"{times:.4g}: {here}, where the rest is {there}?"
    )
    ends = {"below": limit} if small else {"above": limit}
    return harmonisable("unit", name, named, text, Harmonise(name, named, times=times, plus=plus, **ends))
