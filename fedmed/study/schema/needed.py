"""How many rows to train on a model needs."""

import dataclasses
from collections.abc import Mapping

from fedmed.study.schema.shapes import Hospital


@dataclasses.dataclass(frozen=True)
class RowsNeeded:
    """Rows to train on; both are null where the share with the event, or the rows there are, are not shown.

    Attributes:
        needed: by the share with the event there.
        reached: whether there are as many.
    """

    needed: int | None
    reached: bool | None


@dataclasses.dataclass(frozen=True)
class SampleSize:
    """Rows that a regression of the table's columns needs by Riley et al. 2020, criterion of shrinkage.

    Attributes:
        parameters: columns that a model is given, which a linear model has a coefficient for each of.
        hospitals: of each, to train alone.
        all: all hospitals' training rows together.
        about: sentences for the page.
    """

    parameters: int
    hospitals: Mapping[Hospital, RowsNeeded]
    all: RowsNeeded
    about: str
