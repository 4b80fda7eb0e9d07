"""Who the patients are and how far hospitals differ: Table 1 and shift."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from fedmed.study.schema.shapes import Estimate, Hospital


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of Table 1.

    Attributes:
        text: ready to print, e.g. "52.1 (13.9)", "210 (35.0 %)", or "< 5" and "hidden" for what is not shown.
        missing: per cent missing; null where hidden, as all cells of a hospital of 1 to 4 patients are.
    """

    text: str
    missing: float | None


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A row of Table 1.

    Attributes:
        name: of the column; the first rows are all rows and the outcome.
        level: of a category; "" for a number. Those that 1 to 4 patients of all hospitals hold are one, "other, rare".
        unit: "" where there is none.
        statistic: what cells show; "" for a category of too many levels to list.
        cells: each hospital's.
        all: over all hospitals.
    """

    name: str
    level: str
    unit: str
    statistic: Literal["n", "n (%)", "mean (SD)", "median [IQR]", ""]
    cells: Mapping[Hospital, Cell]
    all: Cell


@dataclasses.dataclass(frozen=True)
class TableOne:
    """The characteristics of each hospital's patients, training and test rows together.

    Attributes:
        hospitals: in display order.
        rows: in display order.
        note: a sentence for the page.
    """

    hospitals: tuple[Hospital, ...]
    rows: tuple[TableRow, ...]
    note: str


@dataclasses.dataclass(frozen=True)
class LabelShift:
    """How far a hospital's labels are from those of all others.

    Where a count of a class is hidden at any hospital, distances are withheld at all: the hidden one would follow.

    Attributes:
        shares: of each class; null where one is hidden or the label is a number.
        mean: of a label that is a number; null for classes and of 1 to 4 patients.
        distance: total variation distance of the label mix to the other hospitals', 0 to 1.
        reason: why a number is null, or "".
    """

    shares: tuple[Estimate, ...] | None
    mean: float | None
    distance: float | None
    reason: str


@dataclasses.dataclass(frozen=True)
class ColumnShifts:
    """How far a hospital's columns are from those of all others; each list is in the order of `columns`.

    Where a count of a level is hidden at any hospital, a column's distances are withheld at all: the hidden one would
    follow.

    Attributes:
        difference: standardised mean difference to the other hospitals' rows, signed; of a category the total variation
            distance; clipped to +-9.99.
        reason: why a difference is null, or "".
        missing: share missing here minus share missing elsewhere.
        kind: what the column holds.
    """

    difference: tuple[float | None, ...]
    reason: tuple[str, ...]
    missing: tuple[float | None, ...]
    kind: tuple[Literal["number", "category"], ...]


@dataclasses.dataclass(frozen=True)
class FeatureShift:
    """How far the hospitals' columns are from each other.

    Attributes:
        columns: their names.
        hospitals: of each, against all others.
    """

    columns: tuple[str, ...]
    hospitals: Mapping[Hospital, ColumnShifts]


@dataclasses.dataclass(frozen=True)
class Shift:
    """How different the hospitals are.

    Attributes:
        label: the outcome.
        features: the columns of a table; null for anything else.
    """

    label: Mapping[Hospital, LabelShift]
    features: FeatureShift | None
