"""Words for judged differences: a figure with its interval, and lists of what is shown."""

from collections.abc import Sequence
from typing import NamedTuple

from fedmed.statistics import ENOUGH_SEEDS, says_nothing
from fedmed.study.measures import Measure
from fedmed.study.schema.contested import Judged
from fedmed.study.sentences import signed


class Words(NamedTuple):
    """How figures of arms are told.

    Attributes:
        metric: the primary one.
        level: of the intervals.
        first: what the others are set against.
        hospitals: that means are over.
        seeds: how many.
    """

    metric: Measure
    level: float
    first: str
    hospitals: int
    seeds: int

    @property
    def mean(self) -> str:
        """The mean in words."""
        return f"mean {self.metric.label} over {self.hospitals} hospital{'' if self.hospitals == 1 else 's'}"


def fact(mean: Judged, seeds: int) -> str:
    """Returns a difference with its interval and its word."""
    if mean.estimate is None:
        return "no figure"
    digits = 3 if abs(mean.estimate) < 10 else 1
    span = f" (it takes at least {ENOUGH_SEEDS} seeds to tell an interval)"
    if mean.low is None or mean.high is None:
        span = ""
    elif not says_nothing(mean.low, mean.high, 1.0, seeds):
        span = f" ({signed(mean.low, digits)} to {signed(mean.high, digits)})"
    return f"{signed(mean.estimate, digits)}{span}, {mean.word}"


def leans(difference: Judged | None, words: Words) -> str:
    """Returns "better" or "worse" where the word is undecided but the interval by itself leaves out 0; else ""."""
    if difference is None or difference.word != "undecided" or difference.low is None or difference.high is None:
        return ""
    if says_nothing(difference.low, difference.high, 1.0, words.seeds) or difference.low <= 0 <= difference.high:
        return ""
    return "worse" if (difference.low > 0) == (words.metric.better == "lower") else "better"


def verb(names: Sequence[str]) -> str:
    """Returns "is" or "are"."""
    return "is" if len(names) == 1 else "are"


def named(names: Sequence[str]) -> str:
    """Returns "a", or "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
