"""Further views of a scenario: learning curves, price, known truth, transfer and the part that seeds play."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fedmed.data.examples import Array
from fedmed.statistics import ArmTest, against_truth, informative_patients
from fedmed.study import estimates
from fedmed.study.estimates import Rules, number
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes, Unit
from fedmed.study.risks import by_unit
from fedmed.study.schema import (
    Answer,
    ArmCurves,
    Curves,
    SeedSensitivity,
    SeedSpread,
    Spread,
    Transfer,
    TrueDistance,
    Truth,
)
from fedmed.study.suppression import small_hospitals


def curves(outcomes: Outcomes, metric: str) -> Curves:
    """Returns each arm's metric by round: mean, least and greatest over seeds."""
    arms = {arm.name: arm_curves(outcomes, arm.name) for arm in outcomes.arms if arm.kind != "recalibrated"}
    if small_hospitals(outcomes) and metric == "accuracy":  # a model that is not trained yet calls everybody alike
        arms = {name: dataclasses.replace(own, all=None) for name, own in arms.items()}
    return Curves(metric, arms)


def arm_curves(outcomes: Outcomes, arm: str) -> ArmCurves:
    """Returns one arm's curves; those of few patients are left out."""
    found = [(key, result) for key, result in outcomes.results.items() if key[0] == arm]
    rounds = found[0][1].rounds
    places: dict[int, list[Array]] = {}
    for (_, _, hospital), result in found:
        own = range(len(outcomes.hospitals) + 1) if hospital is None else [outcomes.hospitals.index(hospital)]
        for place in own:
            places.setdefault(place, []).append(result.curve[:, place])
    told = {place: _spread(np.stack(values)) for place, values in places.items()}
    small = small_hospitals(outcomes)
    shown = [(place, name) for place, name in enumerate(outcomes.hospitals) if name not in small]
    hospitals = {name: told[place] for place, name in shown if place in told}
    return ArmCurves(tuple(rounds.tolist()), hospitals, told.get(len(outcomes.hospitals)))


def _spread(values: Array) -> Spread:
    """Returns mean, least and greatest of [seeds, rounds], None where a seed has no value."""
    return Spread(*(tuple(map(number, part)) for part in (values.mean(axis=0), values.min(axis=0), values.max(axis=0))))


def truth(outcomes: Outcomes) -> Truth | None:
    """Returns each arm's distances to the true risk, mean over seeds; None where it is not known."""
    known = outcomes.consortium.dataset.truth.get("risk_true")
    if known is None or outcomes.task != "binary":
        return None

    def distances(arm: str, unit: Unit) -> TrueDistance | None:
        found = [
            against_truth(outcomes.predictions(arm, seed, unit), known[outcomes.rows(seed, unit)])
            for seed in outcomes.seeds
        ]
        told = [one for one in found if one is not None]
        if not told:
            return None
        names = [field.name for field in dataclasses.fields(TrueDistance)]
        return TrueDistance(**{n: number(float(np.mean([getattr(one, n) for one in told]))) for n in names})

    arms = {arm.name: by_unit(outcomes, lambda unit, a=arm.name: distances(a, unit)) for arm in outcomes.arms}
    about = "Distances to the patients' true risks, known since the data are synthetic; mean over seeds, 0 is perfect."
    return Truth(about, arms)


def transfer(outcomes: Outcomes, metric: Measure, rules: Rules) -> Transfer | None:
    """Returns the metric of each hospital's own model at each hospital, mean over seeds; None without local arms."""
    if not any(arm.name == "local" for arm in outcomes.arms):
        return None
    names = tuple(outcomes.hospitals)
    values = (tuple(_transferred(outcomes, at, there, metric, rules) for there in names) for at in names)
    return Transfer(metric.name, trained_at=names, tested_at=names, values=tuple(values))


def _transferred(outcomes: Outcomes, at: str, there: str, metric: Measure, rules: Rules) -> float | None:
    tests, place = [], outcomes.hospitals.index(there)
    for seed in outcomes.seeds:
        rows = outcomes.rows(seed, there)
        p = outcomes.results["local", seed, at].predictions[place].astype(np.float64)
        if len(rows):
            tests.append(ArmTest(outcomes.consortium.dataset.examples.y[rows], p, outcomes.consortium.patient[rows]))
    if estimates.withheld(outcomes, tests, rules, metric) or informative_patients(outcomes.task, tests) < 1:
        return None
    found = [metric.of.value(test) for test in tests]
    return number(float(np.nanmean(found))) if np.isfinite(found).any() else None


def seed_sensitivity(answer: Answer | None, seeds: Sequence[int]) -> SeedSensitivity | None:
    """Returns how far each hospital's difference depends on the seed."""
    if answer is None or len(seeds) < 2:
        return None
    hospitals = {}
    for name, own in answer.hospitals.items():
        values = [value for value in own.difference.by_seed if value is not None]
        if len(values) > 1:
            hospitals[name] = SeedSpread(
                by_seed=own.difference.by_seed,
                sd=float(np.std(values, ddof=1)),
                least=min(values),
                greatest=max(values),
                signs_agree=bool(min(values) > 0 or max(values) < 0),
            )
    about = "A seed draws the split of the patients and the training's randomness anew."
    return SeedSensitivity(answer.comparison, hospitals, about)
