"""Table 1: who the patients of each hospital are, and how far hospitals differ, with small cells hidden."""

import dataclasses

import numpy as np

from fedmed.data.examples import Array, Feature
from fedmed.study.consortium import Consortium
from fedmed.study.schema import Cell, TableOne, TableRow
from fedmed.study.suppression import (
    MINIMUM_CELL,
    RARE,
    coded,
    few,
    few_held,
    hidden,
    hidden_levels,
    is_small,
    level_counts,
    without_rare,
)

_SKEWED, _QUARTILES_FROM, _MOST_LEVELS = 1.0, 20, 16
_HIDDEN, _SMALL = "hidden", f"< {MINIMUM_CELL}"
_UNTOLD = Cell(_HIDDEN, None)


def table_one(consortium: Consortium) -> TableOne:
    """Returns the characteristics of each hospital's patients, training and test rows together."""
    dataset, held = consortium.dataset, consortium.held
    small = few_held(consortium)
    counts = {name: Cell(_HIDDEN if name in small else str(len(own)), 0.0) for name, own in held.items()}
    everyone = Cell(_HIDDEN if small else str(len(dataset.examples)), 0.0)
    rows = [TableRow("rows", "", "", "n", counts, everyone)]
    y = dataset.examples.y.astype(np.float64)
    if dataset.classes:
        names = dataset.class_names or tuple(map(str, range(dataset.classes)))
        outcome = Feature("outcome", levels=names)
        if len(names) > _MOST_LEVELS:
            rows += [_many_levels(consortium, outcome, y)]
        else:
            rows += _category(consortium, outcome, y, only=1 if dataset.task == "binary" else None)
    else:
        rows += [_amount(consortium, Feature("outcome"), y)]
    for place, feature in enumerate(dataset.features):
        values = np.asarray(dataset.examples.x)[:, place]
        known = coded(feature, values)
        if known is None:
            rows += [_amount(consortium, feature, values)]
        elif len(known[1]) > _MOST_LEVELS:
            rows += [_many_levels(consortium, Feature(feature.name, feature.unit, known[1]), known[0])]
        else:
            named, codes = without_rare(consortium, Feature(feature.name, feature.unit, known[1]), known[0])
            rows += _category(consortium, named, codes, only=None if feature.is_category else len(named.levels) - 1)
    note = (
        f"Training and test rows together. Counts of fewer than {MINIMUM_CELL} patients are shown as {_SMALL}; a count "
        f"from which one of them would follow is {_HIDDEN}. Median and quartiles where a column is skewed."
    )
    if any(row.level == RARE for row in rows):
        note += f" Levels that fewer than {MINIMUM_CELL} patients of all hospitals hold are one, “{RARE}”."
    return TableOne(tuple(consortium.hospitals), tuple(rows), note)


def _amount(consortium: Consortium, feature: Feature, values: Array) -> TableRow:
    """Returns a number's row: mean (SD), or median [IQR] where it is skewed over all hospitals."""
    present = values[~np.isnan(values)]
    spread = float(present.std()) if len(present) else 0.0
    skew = float(np.mean(((present - present.mean()) / spread) ** 3)) if spread > 0 else 0.0
    quartiles = abs(skew) > _SKEWED
    small = few_held(consortium)
    cells = {
        name: _UNTOLD if name in small else _amount_cell(values[rows], consortium.patient[rows], quartiles)
        for name, rows in consortium.held.items()
    }
    everyone = _amount_cell(values, consortium.patient, quartiles)
    if any(cell.missing is None for cell in cells.values()):
        everyone = dataclasses.replace(everyone, missing=None)
    return TableRow(feature.name, "", feature.unit, "median [IQR]" if quartiles else "mean (SD)", cells, everyone)


def _amount_cell(values: Array, patient: Array, quartiles: bool) -> Cell:
    absent = np.isnan(values)
    present, patients = values[~absent], len(np.unique(patient[~absent]))
    betrayed = few(patient[absent]) or is_small(patients)
    missing = None if betrayed else round(100 * float(absent.mean()) if len(values) else 0.0, 1)
    if patients < (_QUARTILES_FROM if quartiles else MINIMUM_CELL):
        return Cell("-" if not patients else _HIDDEN, missing)
    if quartiles:
        low, middle, high = np.quantile(present, [0.25, 0.5, 0.75])
        return Cell(f"{middle:.3g} [{low:.3g}, {high:.3g}]", missing)
    return Cell(f"{present.mean():.3g} ({present.std(ddof=1):.3g})", missing)


def _category(consortium: Consortium, feature: Feature, values: Array, *, only: int | None) -> list[TableRow]:
    """Returns a row a level (or of one level only): n (%) of the rows in which it is known."""
    counts = _counts_by_hospital(consortium, feature, values)
    everyone = level_counts(consortium, values, np.arange(len(values)), len(feature.levels))
    small, kept_back = few_held(consortium), hidden_levels(consortium, values, len(feature.levels))
    some = np.any(list(kept_back.values()), axis=0)  # the sum over hospitals would betray the one that is hidden
    found = []
    for level in range(len(feature.levels)) if only is None else (only,):
        named = only is None or feature.name == "outcome" or feature.levels != ("0", "1")
        cells = {
            name: _UNTOLD if name in small else _share_cell(own, kept_back[name], level) for name, own in counts.items()
        }
        whole = _share_cell(everyone, some | hidden(everyone[1]), level)
        found.append(
            TableRow(feature.name, feature.levels[level] if named else "", feature.unit, "n (%)", cells, whole)
        )
    return found


def _many_levels(consortium: Consortium, feature: Feature, values: Array) -> TableRow:
    """Returns the one row of a category of too many levels to list: how often it is missing."""
    counts, small = _counts_by_hospital(consortium, feature, values), few_held(consortium)
    absent = np.isnan(values)
    kept_back = {}
    for name, rows in consortium.held.items():
        sides = [consortium.patient[rows[absent[rows] == side]] for side in (True, False)]
        kept_back[name] = name in small or any(map(few, sides))
    cells = {name: Cell("-", _missing(own[0], kept_back[name])) for name, own in counts.items()}
    everyone, _ = level_counts(consortium, values, np.arange(len(values)), len(feature.levels))
    whole = Cell("-", _missing(everyone, any(kept_back.values())))
    return TableRow(feature.name, f"{len(feature.levels)} levels, not listed", feature.unit, "", cells, whole)


def _counts_by_hospital(consortium: Consortium, feature: Feature, values: Array) -> dict[str, tuple[Array, Array]]:
    return {name: level_counts(consortium, values, rows, len(feature.levels)) for name, rows in consortium.held.items()}


def _share_cell(counts: tuple[Array, Array], kept_back: Array, level: int) -> Cell:
    rows, patients = counts
    missing = _missing(rows, kept_back[-1])
    if kept_back[level]:
        return Cell(_SMALL if is_small(patients[level]) else _HIDDEN, missing)
    if kept_back[-1]:  # the share would tell in how many rows it is known, and so how many lack it
        return Cell(f"{rows[level]}", None)
    return Cell(f"{rows[level]} ({100 * rows[level] / max(1, int(rows[:-1].sum())):.1f} %)", missing)


def _missing(rows: Array, kept_back: bool) -> float | None:
    return None if kept_back else round(100 * float(rows[-1]) / max(1, int(rows.sum())), 1)
