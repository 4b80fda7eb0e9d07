"""Levels of a category that are one thing under two names: m and male, Y and yes, "Male " and "male"."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fedmed.data import same_words
from fedmed.data.examples import Array
from fedmed.data.faults.fault import FEW, Fault, harmonisable, listed
from fedmed.data.faults.readings import Reading, Sites
from fedmed.settings.harmonise import Harmonise

_ENOUGH = 20


def level_faults(reading: Reading, sites: Sites) -> list[Fault]:
    """Returns a category's levels that have equivalents at other sites, or a number of two values coded otherwise."""
    if not reading.feature.is_category:
        return _of_two_numbers(reading, sites)
    counts = _counts(reading, sites)
    named = counts.sum(axis=0) >= FEW  # a level of few rows may be a patient's
    levels = reading.feature.levels
    recode = _recoded(levels, counts, named) or _by_beginning(levels, counts, named, sites)
    if recode:
        return _by_site(reading.name, levels, counts, recode, sites)
    return _without_equivalent(reading.name, counts, named, sites)


def _counts(reading: Reading, sites: Sites) -> Array:
    """Returns int64 [sites, levels] rows of each level."""
    here, width = ~reading.is_missing, len(reading.feature.levels)
    places = sites.of_row[here] * width + reading.values[here].astype(np.int64)
    return np.bincount(places, minlength=len(sites.names) * width).reshape(len(sites.names), width)


def _recoded(levels: Sequence[str], counts: Array, named: Array) -> dict[int, int]:
    """Returns of each level that has a better known equivalent that one, by spelling and by the usual words."""
    held = [code for code in range(len(levels)) if named[code]]
    found = {}
    for places in same_words.alike([levels[code] for code in held]):
        codes = [held[place] for place in places]
        best = max(codes, key=lambda code: ((counts[:, code] > 0).sum(), counts[:, code].sum(), -code))
        found |= {code: best for code in codes if code != best}
    return found


def _by_beginning(levels: Sequence[str], counts: Array, named: Array, sites: Sites) -> dict[int, int]:
    """Returns the levels of a site that begin, or are begun by, those of all others: "pos" and "positive"."""
    keys = [same_words.key(level) for level in levels]
    for site, own, others in _strangers(counts, named, sites):
        found = {}
        for code in own:
            a = keys[code]
            near = [o for o in others if keys[o].startswith(a) or a.startswith(keys[o])] if a else []
            if len(near) == 1:
                found[code] = near[0]
        if len(found) == len(own) == len(set(found.values())) and site >= 0:
            return found
    return {}


def _strangers(counts: Array, named: Array, sites: Sites) -> Iterator[tuple[int, list[int], list[int]]]:
    """Yields the sites of enough rows that share no level with any other site: (site, its levels, the others')."""
    large = [site for site in range(len(sites.names)) if counts[site].sum() >= _ENOUGH]
    for site in large if len(large) > 2 else []:
        own = np.flatnonzero((counts[site] > 0) & named)
        elsewhere = counts[[k for k in range(len(counts)) if k != site]].sum(axis=0)
        if len(own) > 1 and not elsewhere[own].any():
            yield site, own.tolist(), np.flatnonzero((elsewhere > 0) & named).tolist()


def _by_site(name: str, levels: Sequence[str], counts: Array, recode: Mapping[int, int], sites: Sites) -> list[Fault]:
    """Returns a fault for each set of sites that use the same unusual levels."""
    used: dict[tuple[int, ...], list[int]] = {}
    for site in range(len(sites.names)):
        if own := tuple(code for code in recode if counts[site, code]):
            used.setdefault(own, []).append(site)
    faults = []
    for codes, where in used.items():
        named = sites.named(where)
        pairs = {levels[code]: levels[recode[code]] for code in codes}
        told = listed([f"“{old}” for “{new}”" for old, new in pairs.items()])
        at = f" at {listed(named)}" if named else ""
        text = f"{name} has{at} {told}, as it is called elsewhere"
        chosen = named if len(where) < len(sites.names) else ()
        faults.append(harmonisable("level", name, named, text, Harmonise(name, chosen, recode=pairs)))
    return faults


def _without_equivalent(name: str, counts: Array, named: Array, sites: Sites) -> list[Fault]:
    faults = []
    for site, _, _ in _strangers(counts, named, sites):
        at = sites.named([site])
        text = (
            f"{name} has at {listed(at)} none of the levels that the other hospitals have; if they are the same under "
            "other names, name them in recode of data.harmonise"
        )
        faults.append(harmonisable("level", name, at, text))
    return faults


def _of_two_numbers(reading: Reading, sites: Sites) -> list[Fault]:
    """Returns the sites at which a number of two values has others than at most sites, as 1 and 2 for 0 and 1."""
    pairs: dict[tuple[float, ...], list[int]] = {}
    some = reading.values[sites.sample]
    if len(np.unique(some[~np.isnan(some)][:500])) > 5:
        return []
    for site, rows in enumerate(sites.sampled):
        own = reading.values[rows]
        distinct, counts = np.unique(own[~np.isnan(own)], return_counts=True)
        if len(distinct) == 2 and counts.min() >= FEW:
            pairs.setdefault(tuple(distinct.tolist()), []).append(site)
        elif len(distinct) > 2:
            return []
    usual, *others = sorted(pairs, key=lambda pair: len(pairs[pair]), reverse=True) or [()]
    faults = []
    for pair in others:
        named = sites.named(pairs[pair])
        recode = {f"{old:g}": f"{new:g}" for old, new in zip(pair, usual, strict=True)}
        text = (
            f"{reading.name} at {listed(named)} is {pair[0]:g} or {pair[1]:g}, elsewhere {usual[0]:g} or {usual[1]:g}; "
            "which is which is for you to say"
        )
        faults.append(harmonisable("level", reading.name, named, text, Harmonise(reading.name, named, recode=recode)))
    return faults
