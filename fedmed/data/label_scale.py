"""The scale on which an amount is learned: mean 0, SD 1 by sums that hospitals could share, and back into units."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from fedmed.data import preprocessing
from fedmed.data.examples import Array, Examples, Feature


@dataclasses.dataclass(frozen=True)
class LabelScale:
    """Labels in units, y, are learned as (y - mean) / scale; the scale of a label that is learned as it is: 0 and 1."""

    mean: float = 0.0
    scale: float = 1.0

    @property
    def is_plain(self) -> bool:
        """Whether labels are learned as they are."""
        return (self.mean, self.scale) == (0.0, 1.0)

    def standardised(self, examples: Examples) -> Examples:
        """Returns the examples with labels as they are learned, float32 [n]."""
        if self.is_plain:
            return examples
        y = (examples.y.astype(np.float64) - self.mean) / self.scale
        return dataclasses.replace(examples, y=y.astype(np.float32))

    def in_units(self, predictions: Array) -> Array:
        """Returns a model's predictions [n] in the label's units, float32."""
        if self.is_plain:
            return predictions
        return (predictions.astype(np.float64) * self.scale + self.mean).astype(np.float32)


def fit(train_by_client: Mapping[str, Examples]) -> LabelScale:
    """Returns the scale of all clients' training labels together, from each client's row count, sum and squares.

    The mean and (population) SD, the latter 1 where all labels are alike, by the sums that scale a table's columns
    (see `preprocessing.combine`).
    """
    label = (Feature("label"),)
    sums = [
        preprocessing.site_sums(Examples(part.y.astype(np.float64)[:, None], part.y), label)
        for part in train_by_client.values()
    ]
    column = preprocessing.fit(preprocessing.combine(sums), label).columns[0]
    return LabelScale(column.mean, column.scale)
