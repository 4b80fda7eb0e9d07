"""The registry of rules of aggregation. TensorFlow is not imported until one is made for a run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from fedmed.learning import rule_limits
from fedmed.settings import registry
from fedmed.settings.config import Aggregation
from fedmed.settings.registry import Registry
from fedmed.system import errors

if TYPE_CHECKING:
    from fedmed.learning.aggregator import Aggregator
    from fedmed.learning.algorithm import Training

aggregators: Registry[Callable[..., Aggregator]] = Registry("rule of aggregation")


def checked(asked: Aggregation) -> Callable[[], Aggregator]:
    """Returns what makes the rule that the settings ask for; ConfigError for a wrong name or argument."""
    factory = aggregators.get(asked.rule, "aggregation.rule")
    args = registry.checked_args(factory, asked.args, "aggregation.args")
    rule_limits.check_args(asked.rule, args)
    return functools.partial(factory, **args)


def check_cohort(asked: Aggregation, cohort: int) -> None:
    """Raises a ConfigError where a round's clients are too few for what the rule is to withstand."""
    rule_limits.check_cohort(asked.rule, _args(asked), cohort)


def doubts(asked: Aggregation, cohort: int) -> tuple[str, ...]:
    """Returns, in sentences, what a round's few clients leave of what the rule is to withstand."""
    return rule_limits.doubts(asked.rule, _args(asked), cohort)


def _args(asked: Aggregation) -> rule_limits.Args:
    return checked(asked).keywords  # pyright: ignore[reportFunctionMemberAccess]


def aggregator_of(training: Training) -> Aggregator:
    """Returns the aggregator that the settings ask for; what hospitals are promised needs the sum.

    Raises:
        AlgorithmError: a rule of the user's own is no Aggregator.
    """
    from fedmed.learning import aggregator, means

    if training.privacy.unit == "hospital":
        return means.total()
    made = checked(training.aggregation)()
    if not isinstance(made, aggregator.Aggregator):
        kind = type(made).__name__
        raise errors.AlgorithmError(f"aggregation.rule: expected a fedmed.learning.Aggregator, got {kind}")
    return made


@aggregators.register("mean")
def mean() -> Aggregator:
    """The mean, weighted by shares; it withstands nobody (McMahan et al. 2017)."""
    from fedmed.learning import means

    return means.weighted_mean()


@aggregators.register("median")
def median() -> Aggregator:
    """The median of each weight, clients counting alike (Yin et al. 2018, Definition 1)."""
    from fedmed.learning import coordinates

    return coordinates.median()


@aggregators.register("trimmed_mean")
def trimmed_mean(*, share: float) -> Aggregator:
    """The mean of each weight without a share of the clients at each end (Yin et al. 2018, Definition 2)."""
    from fedmed.learning import coordinates

    return coordinates.trimmed_mean(share)


@aggregators.register("krum")
def krum(*, corrupted: int | float) -> Aggregator:
    """The one update that has the nearest neighbours (Blanchard et al. 2017)."""
    from fedmed.learning import krum

    return krum.krum(corrupted)


@aggregators.register("multi_krum")
def multi_krum(*, corrupted: int | float) -> Aggregator:
    """The mean of the updates that have the nearest neighbours (Blanchard et al. 2017)."""
    from fedmed.learning import krum

    return krum.multi_krum(corrupted)


@aggregators.register("geometric_median")
def geometric_median(*, iterations: int = 50, smoothing: float = 1e-6) -> Aggregator:
    """The point of least summed distances to the updates, weighted by shares (RFA: Pillutla et al. 2022)."""
    from fedmed.learning import geometric_median

    return geometric_median.geometric_median(iterations, smoothing)


@aggregators.register("centred_clipping")
def centred_clipping(*, radius: float | None = None, times: float = 2.0, iterations: int = 1) -> Aggregator:
    """The last aggregate and the mean of clipped ways from it, weighted by shares (Karimireddy et al. 2021)."""
    from fedmed.learning import centred_clipping

    return centred_clipping.centred_clipping(radius, times, iterations)


@aggregators.register("clipped_mean")
def clipped_mean(*, times: float = 2.0) -> Aggregator:
    """The mean, weighted by shares, of updates clipped to a multiple of their median norm."""
    from fedmed.learning import clipped_mean

    return clipped_mean.clipped_mean(times)
