"""The consortium's answer: the mean effect over hospitals, and how it goes with a hospital's events."""

from collections.abc import Sequence

import numpy as np

from fedmed.statistics import ArmTest, by_size, gains_below, informative_patients, p_value, random_effects
from fedmed.statistics.meta import Line
from fedmed.study import estimates, suppression
from fedmed.study.estimates import Rules, number
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema import Comparison, ConsortiumAnswer, GainBySize, TestedDifference

_ABOUT = (
    "The mean difference over hospitals such as these, each counting alike, however large. "
    "What all hospitals have in common through each seed's models is in its variance."
)


_ALIKE = " Where the two models do exactly alike, 0 is counted, with the largest standard error of the others."


def consortium(outcomes: Outcomes, comparison: Comparison, metric: Measure, rules: Rules) -> ConsortiumAnswer | None:
    """Returns what hospitals' differences in the primary metric come to; None with fewer than two of them."""
    told = {name: own.measures[metric.name] for name, own in comparison.hospitals.items()}
    known = [name for name, one in told.items() if one.estimate is not None]
    events = {name: _trained_events(outcomes, name, metric) for name in known}
    names = [name for name in known if events[name] >= suppression.MINIMUM_CELL]
    errors = _errors([told[name].error for name in names])
    if len(names) < 2 or errors is None:
        return None
    effects = np.array([told[name].estimate for name in names], np.float64)
    by_seed = np.array([[np.nan if v is None else v for v in told[name].by_seed] for name in names], np.float64)
    found = random_effects(effects, errors, by_seed, level=rules.level)
    if found is None:
        return None
    mean = estimates.estimate(found.mean)
    sizes = np.array([events[name] for name in names])
    line = by_size(effects if metric.better == "higher" else -effects, errors, sizes, level=rules.level)
    return ConsortiumAnswer(
        mean=TestedDifference(**vars(mean), p_value=number(p_value(found.mean))),
        hospitals=len(names),
        tau=found.tau,
        i_squared=found.i_squared,
        prediction=found.prediction,
        by_size=None if line is None else _told(line, dict(zip(names, sizes, strict=True))),
        about=_ABOUT + (_ALIKE if any(told[name].method == estimates.ALIKE for name in names) else ""),
    )


def _errors(known: Sequence[float | None]) -> np.ndarray | None:
    """Returns the standard errors of differences; None where none has one.

    Where two models do exactly alike no draw of the patients tells how far other patients would have them apart. It
    counts as the least certain of the others, rather than not at all, which would take the mean away from 0.
    """
    largest = max((error for error in known if error), default=None)
    return None if largest is None else np.array([error or largest for error in known], np.float64)


def _told(line: Line, sizes: dict[str, float]) -> GainBySize:
    below = gains_below(line)
    return GainBySize(
        events=tuple(float(f"{size:.3g}") for size in line.sizes),
        gain=tuple(line.effect.tolist()),
        low=tuple(line.low.tolist()),
        high=tuple(line.high.tolist()),
        per_doubling=estimates.estimate(line.slope),
        gains_below=None if below is None else float(f"{below:.2g}"),
        hospitals={name: float(f"{size:.2g}") for name, size in sizes.items()},
    )


def _trained_events(outcomes: Outcomes, name: str, metric: Measure) -> float:
    """Returns the informative patients among a hospital's training rows, mean over seeds."""
    y, patient = outcomes.consortium.dataset.examples.y, outcomes.consortium.patient
    found = []
    for seed in outcomes.seeds:
        rows = outcomes.consortium.rows(seed)[name].train
        test = ArmTest(y[rows], y[rows], patient[rows])
        found.append(informative_patients(outcomes.task, [test], metric.name))
    return float(np.mean(found))
