"""What local training is: from received weights to trained ones, along gradients that may be corrected."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from fedmed.learning.algorithm import Rows
from fedmed.learning.optimizers import Moments
from fedmed.learning.values import Turn, Weights

Correction = Callable[[Sequence[tf.Tensor], Sequence[tf.Variable]], Sequence[tf.Tensor]]
"""(gradients, variables) -> the gradients that are stepped along."""


class Trained(NamedTuple):
    """What local training leaves.

    Attributes:
        weights: trained.
        sums: METRICS, over the rows as they were met.
        steps: [] int32, that were taken.
        moments: of the optimizer; None where it began anew.
    """

    weights: Weights
    sums: Mapping[str, tf.Tensor]
    steps: tf.Tensor
    moments: Moments | None = None


def uncorrected(gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> Sequence[tf.Tensor]:
    """Returns the gradients as they are."""
    del variables
    return gradients


class LocalTraining(Protocol):
    """Trains from given weights: (start, rows, turn, correction of the gradients, moments to go on from) -> Trained.

    Without moments the optimizer starts anew.
    """

    def __call__(
        self,
        start: Weights,
        rows: Rows,
        turn: Turn,
        correct: Correction = uncorrected,
        moments: Moments | None = None,
    ) -> Trained: ...
