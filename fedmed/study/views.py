"""Further views of a scenario: learning curves, price, known truth, transfer and the part that seeds play."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmed.data.examples import Array
from fedmed.settings.study import Study, bits_per_second
from fedmed.statistics import ArmTest, against_truth, informative_patients
from fedmed.study import estimates
from fedmed.study.estimates import Rules, number
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes, Unit
from fedmed.study.risks import by_unit
from fedmed.study.suppression import small_hospitals

_NEAR = 0.01  # of pooled training's value: near enough to be called as good


def curves(outcomes: Outcomes, metric: str) -> dict[str, Any]:
    """Returns each arm's metric by round: mean, least and greatest over seeds."""
    arms = {arm.name: _arm_curves(outcomes, arm.name) for arm in outcomes.arms}
    for own in arms.values() if small_hospitals(outcomes) and metric == "accuracy" else ():
        own["all"] = None  # a model that is not trained yet calls everybody alike
    return {"metric": metric, "arms": arms}


def _arm_curves(outcomes: Outcomes, arm: str) -> dict[str, Any]:
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
    return {"rounds": rounds.tolist(), "hospitals": hospitals, "all": told.get(len(outcomes.hospitals))}


def _spread(values: Array) -> dict[str, list[float | None]]:
    """Returns mean, least and greatest of [seeds, rounds], None where a seed has no value."""
    parts = {"mean": values.mean(axis=0), "low": values.min(axis=0), "high": values.max(axis=0)}
    return {name: [number(float(x)) for x in part] for name, part in parts.items()}


def communication(
    outcomes: Outcomes, study: Study, metric: Measure, performance: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Returns what federated training sends, until which round, for how long; None without a federated arm."""
    federated = [arm for arm in outcomes.arms if arm.kind == "federated"]
    if not federated:
        return None
    arm, bits = federated[0], bits_per_second(study.uplink)
    size = next(result for key, result in outcomes.results.items() if key[0] == arm.name).weight_bytes
    rounds, hospitals = arm.settings.rounds, len(outcomes.hospitals)
    cohort = arm.settings.cohort
    taking = cohort.size or max(1, round((cohort.fraction or 1.0) * hospitals))
    seconds = 8 * size / bits
    pooled = [outcomes.consortium.rows(seed)[name].train for seed in outcomes.seeds[:1] for name in outcomes.hospitals]
    return {
        "weights_bytes": size,
        "rounds": rounds,
        "bytes_per_round": 2 * size,
        "bytes_per_hospital": round(2 * size * rounds * taking / hospitals),
        "bytes_all": 2 * size * rounds * taking,
        "uplink": study.uplink,
        "uplink_bits": bits,
        "seconds_per_round": seconds,
        "seconds_all": seconds * rounds,
        "target": _target(outcomes, study, metric, performance, size, seconds),
        "pooled_data_bytes": _bytes_of(outcomes, sum(map(len, pooled))),
        "about": "Weights as 32-bit numbers, down and up, without compression or protocol; seconds are of sending up. "
        "Pooled data: all hospitals' training rows as they are stored in memory, sent once.",
    }


def _bytes_of(outcomes: Outcomes, rows: int) -> int:
    examples = outcomes.consortium.dataset.examples
    inputs = list(examples.x.values()) if isinstance(examples.x, Mapping) else [examples.x]
    return round(rows * sum(part.nbytes for part in [*inputs, examples.y]) / len(examples))


def _target(
    outcomes: Outcomes, study: Study, metric: Measure, performance: Mapping[str, Any], size: int, seconds: float
) -> dict[str, Any] | None:
    sign = 1.0 if metric.better == "higher" else -1.0
    ceiling = performance.get("pooled", {}).get("all", {}).get(metric.name, {}).get("estimate")
    if study.target is not None:
        value, why = study.target, "the config's study.target"
    elif ceiling is not None:
        value = ceiling - sign * _NEAR * abs(ceiling)
        why = f"within {100 * _NEAR:g} % of pooled training's {metric.label}; chosen after the fact"
    else:
        return None
    arms = {}
    for arm in outcomes.arms:
        if arm.kind == "federated":
            curve = _arm_curves(outcomes, arm.name)
            mean = (curve["all"] or {"mean": []})["mean"]
            reached = next((r for r, x in zip(curve["rounds"], mean, strict=False)
                            if x is not None and sign * x >= sign * value), None)  # fmt: skip
            arms[arm.name] = {
                "rounds": reached,
                "bytes_per_hospital": None if reached is None else 2 * size * reached,
                "seconds": None if reached is None else seconds * reached,
            }
    return {"value": value, "why": why, "arms": arms}


def truth(outcomes: Outcomes) -> dict[str, Any] | None:
    """Returns each arm's distances to the true risk, mean over seeds; None where it is not known."""
    known = outcomes.consortium.dataset.truth.get("risk_true")
    if known is None or outcomes.task != "binary":
        return None

    def distances(arm: str, unit: Unit) -> dict[str, float | None] | None:
        found = [
            against_truth(outcomes.predictions(arm, seed, unit), known[outcomes.rows(seed, unit)])
            for seed in outcomes.seeds
        ]
        told = [one for one in found if one is not None]
        names = ("mean_absolute", "root_mean_square", "loss_regret", "brier_regret", "auroc_regret")
        return {name: number(float(np.mean([getattr(one, name) for one in told]))) for name in names} if told else None

    arms = {arm.name: by_unit(outcomes, lambda unit, a=arm.name: distances(a, unit)) for arm in outcomes.arms}
    about = "Distances to the patients' true risks, known since the data are synthetic; mean over seeds, 0 is perfect."
    return {"about": about, "arms": arms}


def transfer(outcomes: Outcomes, metric: Measure, rules: Rules) -> dict[str, Any] | None:
    """Returns the metric of each hospital's own model at each hospital, mean over seeds; None without local arms."""
    if not any(arm.name == "local" for arm in outcomes.arms):
        return None
    values = [[_transferred(outcomes, at, there, metric, rules) for there in outcomes.hospitals]
              for at in outcomes.hospitals]  # fmt: skip
    names = list(outcomes.hospitals)
    return {"metric": metric.name, "trained_at": names, "tested_at": names, "values": values}


def _transferred(outcomes: Outcomes, at: str, there: str, metric: Measure, rules: Rules) -> float | None:
    tests, place = [], outcomes.hospitals.index(there)
    for seed in outcomes.seeds:
        rows = outcomes.rows(seed, there)
        p = outcomes.results["local", seed, at].predictions[place].astype(np.float64)
        if len(rows):
            tests.append(ArmTest(outcomes.consortium.dataset.examples.y[rows], p, outcomes.consortium.patient[rows]))
    if estimates.withheld(outcomes, tests, metric, rules) or informative_patients(outcomes.task, tests) < 1:
        return None
    found = [float(metric.score(test.y, test.p, None)) for test in tests]
    return number(float(np.nanmean(found))) if np.isfinite(found).any() else None


def seed_sensitivity(answer: Mapping[str, Any] | None, seeds: Sequence[int]) -> dict[str, Any] | None:
    """Returns how far each hospital's difference depends on the seed."""
    if answer is None or len(seeds) < 2:
        return None
    hospitals = {}
    for name, own in answer["hospitals"].items():
        values = [value for value in own["difference"]["by_seed"] if value is not None]
        if len(values) > 1:
            hospitals[name] = {
                "by_seed": own["difference"]["by_seed"],
                "sd": float(np.std(values, ddof=1)),
                "least": min(values),
                "greatest": max(values),
                "signs_agree": bool(min(values) > 0 or max(values) < 0),
            }
    about = "A seed draws the split of the patients and the training's randomness anew."
    return {"comparison": answer["comparison"], "hospitals": hospitals, "about": about}
