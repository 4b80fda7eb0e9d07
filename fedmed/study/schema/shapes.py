"""What many parts of study.json are made of: names that are keys, an Estimate, something for each hospital."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

Hospital: TypeAlias = Annotated[str, "HOSPITAL", "a client's id"]
Arm: TypeAlias = Annotated[str, "ARM", "an arm's name"]
ComparisonId: TypeAlias = Annotated[str, "COMPARISON", "two arms as B-A; every difference is B minus A"]
MeasureKey: TypeAlias = Annotated[
    str, "MEASURE", "such as auroc; `measures` has what it is called and which way is better"
]
Setting: TypeAlias = Annotated[str, "SETTING", "a dotted key of a config"]
Settings: TypeAlias = Mapping[Setting, Any]
Better: TypeAlias = Literal["higher", "lower", "target"]

X = TypeVar("X")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its interval. Either it has numbers, or `reason` says why all three are null.

    Attributes:
        estimate: the figure.
        low: lower end; with `high` alone null where the figure has no honest interval, and `method` then says so.
        high: upper end.
        method: how the interval was made, in words; "" without a figure.
        reason: why there is no figure, in words for the page; else "".
    """

    estimate: float | None
    low: float | None
    high: float | None
    method: str
    reason: str


@dataclasses.dataclass(frozen=True)
class SeededEstimate(Estimate):
    """A figure and what it is at each seed.

    Attributes:
        by_seed: at each of `seeds`, in that order; null where it is not defined or few patients stand behind it.
    """

    by_seed: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class TestedDifference(Estimate):
    """A difference of two arms and a test of it.

    Attributes:
        p_value: two-sided, of no difference; null where there is no figure or nothing to test it by.
    """

    __test__ = False  # it is no test of pytest's

    p_value: float | None


@dataclasses.dataclass(frozen=True)
class Difference(TestedDifference):
    """A tested difference and what it is at each seed.

    Attributes:
        by_seed: at each of `seeds`, in that order; null as with an arm's figure.
        error: its standard error; null without an interval.
    """

    by_seed: tuple[float | None, ...]
    error: float | None


@dataclasses.dataclass(frozen=True)
class ByUnit(Generic[X]):
    """Something for each hospital and for all of them.

    Attributes:
        hospitals: a hospital that has none is left out: an arm trained at one hospital has no figure at another.
        all: over all hospitals' test rows together; null where it is withheld.
    """

    hospitals: Mapping[Hospital, X]
    all: X | None


@dataclasses.dataclass(frozen=True)
class Spread:
    """What a value is over seeds, at each of several places.

    Attributes:
        mean: null where it is not defined at a seed.
        low: the least.
        high: the greatest.
    """

    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
