"""What the engine asks of a runtime, wherever it computes."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from fedmed.learning.lane import Work
from fedmed.learning.program import RoundFacts
from fedmed.learning.values import Nest


class Reports(NamedTuple):
    """What a lane tells of its clients, in its order.

    Attributes:
        sums: [k, names] float32, columns as in `Way.report_names`.
        sent: [k] int64, bytes that each client sent.
    """

    sums: np.ndarray
    sent: np.ndarray


class Runtime(Protocol):
    """Runs rounds of one program."""

    def next(self, state: Nest, facts: RoundFacts, lanes: Sequence[Work]) -> tuple[Nest, list[Reports]]:
        """Runs one round; returns the new state, as NumPy arrays, and each lane's reports."""
        ...
