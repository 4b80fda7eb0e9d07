"""The consortium's answer: the mean effect over hospitals, and how it goes with a hospital's events."""

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


def consortium(outcomes: Outcomes, comparison: Comparison, metric: Measure, rules: Rules) -> ConsortiumAnswer | None:
    """Returns what hospitals' differences in the primary metric come to; None with fewer than two of them."""
    told = {name: own.measures[metric.name] for name, own in comparison.hospitals.items()}
    known = [name for name, one in told.items() if one.estimate is not None and one.error]
    events = {name: _trained_events(outcomes, name) for name in known}
    names = [name for name in known if events[name] >= suppression.MINIMUM_CELL]
    if len(names) < 2:
        return None
    effects = np.array([told[name].estimate for name in names], np.float64)
    errors = np.array([told[name].error for name in names], np.float64)
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
        about=_ABOUT,
    )


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


def _trained_events(outcomes: Outcomes, name: str) -> float:
    """Returns the informative patients among a hospital's training rows, mean over seeds."""
    y, patient = outcomes.consortium.dataset.examples.y, outcomes.consortium.patient
    found = []
    for seed in outcomes.seeds:
        rows = outcomes.consortium.rows(seed)[name].train
        found.append(informative_patients(outcomes.task, [ArmTest(y[rows], y[rows], patient[rows])]))
    return float(np.mean(found))
