"""Numbers and words that stand for a missing value: -9, 999, a cholesterol of 0, "unknown"."""

import re

import numpy as np

from fedmed.data.examples import Array
from fedmed.data.faults.conversions import hinted, words_of
from fedmed.data.faults.fault import FEW, Fault, harmonisable, listed, share
from fedmed.data.faults.readings import Reading, Sites
from fedmed.data.missing_words import means_missing
from fedmed.settings.harmonise import Harmonise

_NEGATIVE = (-1.0, -7.0, -8.0, -9.0, -77.0, -88.0, -99.0, -777.0, -888.0, -999.0, -9999.0, -99999.0)
_SMALL = (7.0, 8.0, 9.0)
_HIGH = (77.0, 88.0, 99.0, 777.0, 888.0, 999.0, 7777.0, 8888.0, 9999.0, 88888.0, 99999.0, 999999.0)
_HUGE = 1e10
_NOT_ZERO = r"bmi|hr|heart.?rate|pulse|thala?ch|age"
_ENOUGH = 20
_VARIOUS = 10


def codes(reading: Reading, sites: Sites) -> tuple[list[Fault], Reading]:
    """Returns a column's codes for missing, and the column with these missing."""
    marks = _of_levels(reading) if reading.feature.is_category else _of_numbers(reading, sites)
    if not marks:
        return [], reading
    values, faults = reading.values.copy(), []
    for said, rows in marks:
        counts = sites.counts(rows)
        values[rows] = np.nan
        faults.append(_fault(reading, sites, said, counts))
    return faults, Reading(reading.feature, values)


def _fault(reading: Reading, sites: Sites, said: float | str, counts: Array) -> Fault:
    where = np.flatnonzero(counts)
    everywhere = len(where) == len(sites.names)
    whole, part = where[counts[where] == sites.rows[where]], where[counts[where] < sites.rows[where]]
    parts = [f"in every row at {listed(sites.named(whole))}"] if len(whole) and not everywhere else []
    if len(part):
        at = "" if everywhere else f" at {listed(sites.named(part))}"
        # Of several sites a share over all would tell a small count, once the others' are known.
        how = share(int(counts[part[0]]), int(sites.rows[part[0]])) if len(part) == 1 else "in some rows"
        parts.append(f"{how}{at}")
    if not isinstance(said, str) and abs(said) >= _HUGE and counts.sum() < FEW:  # no usual code, so a patient's value
        text = f"{reading.name} is beyond {_HUGE:.0e} {' and '.join(parts)}: a code for missing, or a typing error?"
        return Fault("code", reading.name, sites.named(where), text)
    shown = f"“{said}”" if isinstance(said, str) else f"{said:g}"
    text = f"{reading.name} is {shown} {' and '.join(parts)}: a code for missing?"
    chosen = () if everywhere else sites.named(where)
    return harmonisable(
        "code", reading.name, sites.named(where), text, Harmonise(reading.name, chosen, missing=(said,))
    )


def _of_levels(reading: Reading) -> list[tuple[str, Array]]:
    levels = reading.feature.levels
    numbers = [_as_number(level) for level in levels]
    plain = [n for n in numbers if n is not None and n not in _NEGATIVE and n not in (*_SMALL, *_HIGH)]
    found = []
    for code, (level, number) in enumerate(zip(levels, numbers, strict=True)):
        negative = number is not None and number < 0 and number in _NEGATIVE and all(n >= 0 for n in plain)
        far = number in (*_SMALL, *_HIGH) and len(plain) + 1 == len(levels) and number >= max(plain, default=9.0) + 4
        if means_missing(level) or negative or far:
            found.append((level, reading.values == code))
    return [mark for mark in found if mark[1].any()] if len(found) < len(levels) else []


def _as_number(level: str) -> float | None:
    try:
        return float(level)
    except ValueError:
        return None


def _of_numbers(reading: Reading, sites: Sites) -> list[tuple[float, Array]]:
    """Returns codes of a column of numbers, each with the rows that hold it."""
    values = reading.values
    with np.errstate(invalid="ignore"):
        extreme = np.abs(values) >= _HUGE
        found = _extreme(values, extreme)
        rest = np.where(extreme, np.nan, values) if found else values
        candidates = [code for code in (*_NEGATIVE, *_SMALL, *_HIGH) if (rest == code).any()]
        others = rest[~np.isnan(rest) & ~np.isin(rest, candidates)] if candidates else rest[~np.isnan(rest)]
        if len(others) < _ENOUGH:
            return found
        few = _few_values(others)
        for code in candidates:
            rows = _marked(rest, code, others, few, sites)
            if rows.any():
                found.append((code, rows))
        if not len(few) and (rest == 0).any() and (rows := _zeros(reading.name, rest, sites)).any():
            found.append((0.0, rows))
    return found


def _few_values(others: Array) -> Array:
    """Returns the distinct values where they are fewer than ten, else []."""
    some = np.unique(others[:2000])
    every = np.unique(others) if len(some) < _VARIOUS else some
    return every if len(every) < _VARIOUS else every[:0]


def _extreme(values: Array, extreme: Array) -> list[tuple[float, Array]]:
    """Returns the values of 1e10 and beyond where all others are a million times smaller."""
    if not extreme.any() or extreme.all():
        return []
    usual = np.nanmedian(np.abs(values[~extreme]))
    held = np.unique(values[extreme])
    if len(held) > 3 or not usual * 1e6 < np.abs(held).min():
        return []
    return [(float(value), values == value) for value in held]


def _marked(rest: Array, code: float, others: Array, few: Array, sites: Sites) -> Array:
    """Returns bool [n] the rows at which a code is no reading, site by site, since a site may have another unit."""
    rows = rest == code
    if code < 0:
        negative = others.min() < 0
        if not negative and (code != -1.0 or not len(few)):
            return rows
        return rows if negative and code <= -77 and _is_far(-code, -others) else np.zeros_like(rows)
    if code in _SMALL:
        fits = 0 < len(few) <= 4 and few[0] >= 0 and code >= few[-1] + 4 and rows.sum() >= 5
        return rows if fits else np.zeros_like(rows)
    chosen = np.zeros_like(rows)
    for site in np.flatnonzero(sites.counts(rows)):
        here = sites.of_row == site
        own = rest[here & ~rows & ~np.isnan(rest)]
        own = own[~np.isin(own, [*_HIGH, *_NEGATIVE])]
        if _is_far(code, own if len(own) >= _ENOUGH else others) or _is_spike(code, own, int((rows & here).sum())):
            chosen |= rows & here
    return chosen


def _is_far(code: float, others: Array) -> bool:
    """Returns whether a code lies as far above the largest other value as that one above the median."""
    top = others.max()
    return bool(code > top and code - top >= max(top - np.median(others), 1.0))


def _is_spike(code: float, own: Array, count: int) -> bool:
    """Returns whether a value at the top of a column is far more common than its neighbours."""
    if count < 5 or len(own) < _ENOUGH or np.mean(own < code) < 0.98:
        return False
    near = np.sum((own > 0.85 * code) & (own < 1.15 * code))
    return bool(count >= 10 * max(1, near) or (near == 0 and count >= 5))


def _zeros(name: str, rest: Array, sites: Sites) -> Array:
    """Returns the zeros of a column whose other values keep away from 0.

    In a column whose name does not say that it cannot be 0, few of the sites must have them: zeros everywhere are
    rather a dose not given or a count of nothing.
    """
    zero = rest == 0
    impossible = bool(hinted(name)) or any(re.fullmatch(_NOT_ZERO, word) for word in words_of(name))
    least = 0.6 if impossible else 1.2
    if (rest > 0).sum() < _ENOUGH or (rest < 0).any() or not _keeps_away(rest, least, sites):
        return np.zeros_like(zero)
    counts, large = sites.counts(zero), sites.rows >= _ENOUGH
    shares = counts / np.maximum(sites.rows, 1)
    confined = (large & (shares > 0.25 * shares.max())).sum() * 2 <= large.sum()
    return zero if impossible or confined or zero.mean() < 0.005 else np.zeros_like(zero)


def _keeps_away(rest: Array, least: float, sites: Sites) -> bool:
    """Returns whether at most sites with enough values these are `least` widths of their middle half away from 0."""
    told = []
    for rows in sites.sampled:
        own = rest[rows]
        own = own[own > 0]
        if len(own) >= _ENOUGH:
            low, first, third = np.quantile(own, [0.02, 0.25, 0.75])
            told.append(low > least * (third - first) and third > first and low > 0.2 * third)
    return bool(told) and sum(told) * 4 >= len(told) * 3
