"""Makes the hospitals' columns mean the same, as `data.harmonise` says: units, levels and codes for missing."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from fedmed.data.columns import parsed
from fedmed.data.examples import Array, Dataset, Examples, Feature
from fedmed.data.labels import RARE, plain
from fedmed.settings.harmonise import Harmonise
from fedmed.system import errors


def harmonised(dataset: Dataset, changes: Sequence[Harmonise]) -> Dataset:
    """Returns the data set with each change made to its column, in order; without changes the data set as it is.

    Raises:
        ConfigError: the data are no table, or a column, a site or a level is not there.
    """
    if not changes:
        return dataset
    if not dataset.is_table:
        raise errors.ConfigError(f"data.harmonise: {dataset.name} is no table, so it has no columns to harmonise")
    features = list(dataset.features)
    parts = [dataset.examples] if dataset.test is None else [dataset.examples, dataset.test]
    tables = [np.array(part.x, dtype=np.float64) for part in parts]
    names = [feature.name for feature in features]
    for number, change in enumerate(changes):
        where = f"data.harmonise[{number}]"
        if change.column not in names:
            raise errors.ConfigError(errors.unknown(f"{where}.column", "column", change.column, names))
        place = names.index(change.column)
        rows = [_rows(part, change, where) for part in parts]
        columns = [x[:, place] for x in tables]
        feature = features[place]
        make = _category if feature.is_category else _number
        features[place], changed = make(feature, columns, rows, change, where)
        for x, column in zip(tables, changed, strict=True):
            x[:, place] = column
    train, *test = [dataclasses.replace(part, x=x) for part, x in zip(parts, tables, strict=True)]
    return dataclasses.replace(dataset, examples=train, test=test[0] if test else None, features=tuple(features))


def _rows(examples: Examples, change: Harmonise, where: str) -> Array:
    """Returns bool [n] the rows that a change is for; a shared test set has no sites, so it gets what all get."""
    if not change.sites:
        return np.ones(len(examples), bool)
    known = [] if examples.site is None else np.unique(examples.site).tolist()
    for site in change.sites:
        if site not in known:
            raise errors.ConfigError(errors.unknown(f"{where}.sites", "site", site, known))
    return np.isin(np.asarray(examples.site), change.sites)


def _number(
    feature: Feature, columns: Sequence[Array], rows: Sequence[Array], change: Harmonise, where: str
) -> tuple[Feature, list[Array]]:
    codes = _numbers(list(change.missing), f"{where}.missing", feature.name)
    old, new = (_numbers(list(words), f"{where}.recode", feature.name) for words in _pairs(change.recode))
    changed = []
    for column, here in zip(columns, rows, strict=True):
        values = np.where(here & np.isin(column, codes), np.nan, column)
        recoded = values.copy()
        for before, after in zip(old, new, strict=True):
            recoded[here & (values == before)] = after
        low = -np.inf if change.above is None else change.above
        high = np.inf if change.below is None else change.below
        meant = here & (recoded > low) & (recoded < high) if np.isfinite([low, high]).any() else here
        changed.append(np.where(meant, recoded * change.times + change.plus, recoded))
    return _in_new_unit(feature, change), changed


def _in_new_unit(feature: Feature, change: Harmonise) -> Feature:
    """Returns the feature with bounds that go with a conversion of every number; one of some brings them into line."""
    if feature.bounds is None or change.sites or change.above is not None or change.below is not None:
        return feature
    low, high = (bound * change.times + change.plus for bound in feature.bounds)
    return dataclasses.replace(feature, bounds=(low, high))


def _pairs(recode: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return list(recode), list(recode.values())


def _numbers(values: Sequence[float | str], where: str, name: str) -> Array:
    numbers = parsed(np.array([plain(value) for value in values], dtype=object))
    if np.isnan(numbers).any():
        wrong = values[int(np.flatnonzero(np.isnan(numbers))[0])]
        raise errors.ConfigError(f"{where}: column {name!r} holds numbers, got {errors.shown(wrong)}")
    return numbers


def _category(
    feature: Feature, columns: Sequence[Array], rows: Sequence[Array], change: Harmonise, where: str
) -> tuple[Feature, list[Array]]:
    if change.converts:
        raise errors.ConfigError(f"{where}: column {feature.name!r} is a category; times and plus are for numbers")
    common = _common(feature, columns)
    place = {level: code for code, level in enumerate(feature.levels)}
    missing = [_code(plain(level), place, common, f"{where}.missing") for level in change.missing]
    old = [_code(level, place, common, f"{where}.recode") for level in change.recode]
    levels = [*feature.levels, *dict.fromkeys(name for name in change.recode.values() if name not in place)]
    into = dict(zip(old, (levels.index(name) for name in change.recode.values()), strict=True))
    changed = []
    for column, here in zip(columns, rows, strict=True):
        codes = np.where(here & np.isin(column, missing), np.nan, column)
        for before, after in into.items():
            codes[here & (column == before)] = after
        changed.append(codes)
    return _without_empty(dataclasses.replace(feature, levels=tuple(levels)), changed, {*missing, *old}, where)


def _common(feature: Feature, columns: Sequence[Array]) -> list[str]:
    """Returns the levels that a message may name: not those of few rows, which may be a patient's."""
    codes = np.concatenate(list(columns))
    counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(feature.levels))
    return [level for level, count in zip(feature.levels, counts, strict=True) if count >= RARE]


def _code(level: str, place: Mapping[str, int], common: Sequence[str], where: str) -> int:
    if level not in place:
        raise errors.ConfigError(errors.unknown(where, "level", level, common))
    return place[level]


def _without_empty(
    feature: Feature, columns: Sequence[Array], emptied: set[int], where: str
) -> tuple[Feature, list[Array]]:
    """Returns the category without those of the `emptied` levels that no row holds any more."""
    held = set(np.unique(np.concatenate(list(columns))).tolist())
    kept = [code for code in range(len(feature.levels)) if code in held or code not in emptied]
    if not kept:
        raise errors.ConfigError(f"{where}: leaves column {feature.name!r} without a level")
    place = np.full(len(feature.levels) + 1, np.nan)  # the last one is for a missing value
    place[kept] = np.arange(len(kept))
    levels = tuple(feature.levels[code] for code in kept)
    codes = [place[np.where(np.isnan(column), -1, column).astype(np.int64)] for column in columns]
    return dataclasses.replace(feature, levels=levels), codes
