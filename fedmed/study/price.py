"""What federated training sends, as it was counted: bytes, rounds and time, in all and until a value is reached."""

from collections.abc import Mapping

import numpy as np

from fedmed.data.examples import Array
from fedmed.engine import attendance
from fedmed.settings.clock import bits_per_second
from fedmed.settings.study import Study
from fedmed.study import suppression, trouble
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema import Communication, Performance, Reached, Target
from fedmed.study.views import arm_curves

_NEAR = 0.01  # of pooled training's value: near enough to be called as good


def communication(
    outcomes: Outcomes, study: Study, metric: Measure, performance: Mapping[str, Performance]
) -> Communication | None:
    """Returns what federated training sends, until which round, for how long; None without a federated arm."""
    federated = [arm for arm in outcomes.arms if arm.kind == "federated"]
    if not federated:
        return None
    arm = federated[0]
    uplink = arm.settings.clock.uplink
    bits = bits_per_second(uplink, "clock.uplink")
    rounds, hospitals, sent = arm.settings.rounds, len(outcomes.hospitals), bytes_sent(outcomes, arm.name)
    turns = rounds * attendance.cohort_size(arm.settings.cohort, hospitals)
    size = next(result for key, result in outcomes.results.items() if key[0] == arm.name).weight_bytes
    seconds = 8 * sent[-1, 1] / turns / bits
    is_known = "pooled" in performance and trouble.has_learned(outcomes, "pooled")
    ceiling = performance["pooled"].all[metric.name].estimate if is_known else None
    target = aim(study, metric, ceiling)
    return Communication(
        weights_bytes=size,
        rounds=rounds,
        bytes_per_round=round(float(sent[-1].sum() / turns)),
        bytes_per_hospital=round(float(sent[-1].sum() / hospitals)),
        bytes_all=round(float(sent[-1].sum())),
        uplink=uplink,
        uplink_bits=bits,
        seconds_per_round=float(seconds),
        seconds_all=float(seconds * rounds),
        clock_seconds=clock_seconds(outcomes, arm.name),
        target=None if target is None else _target(outcomes, metric, *target),
        pooled_data_bytes=_pooled_bytes(outcomes),
        about="Counted while training: what the algorithm sends, numbers as they are, down and up, without protocol; "
        "seconds are of sending up. Pooled data: all hospitals' training rows as they are stored in memory, sent once.",
    )


def clock_seconds(outcomes: Outcomes, arm: str) -> float:
    """Returns how long all rounds would take among hospitals, mean over seeds."""
    return float(np.mean([result.clock[-1] for key, result in outcomes.results.items() if key[0] == arm]))


def bytes_sent(outcomes: Outcomes, arm: str) -> Array:
    """Returns the bytes sent to all hospitals and by all of them until each round of the curve, mean over seeds."""
    found = [result.sent for key, result in outcomes.results.items() if key[0] == arm]
    return np.stack(found).astype(np.float64).mean(axis=0)


def _pooled_bytes(outcomes: Outcomes) -> int | None:
    """Returns the size of all training rows at the first seed; None where a small count would follow."""
    consortium, examples = outcomes.consortium, outcomes.consortium.dataset.examples
    if any(suppression.few_on_a_side(consortium, name, outcomes.seeds) for name in consortium.hospitals):
        return None
    rows = sum(len(consortium.rows(outcomes.seeds[0])[name].train) for name in outcomes.hospitals)
    inputs = list(examples.x.values()) if isinstance(examples.x, Mapping) else [examples.x]
    return round(rows * sum(part.nbytes for part in [*inputs, examples.y]) / len(examples))


def aim(study: Study, metric: Measure, ceiling: float | None) -> tuple[float, str] | None:
    """Returns a value of the primary metric over all test rows that is to be reached, and why it is that; or None.

    Args:
        study: its settings.
        metric: the primary one.
        ceiling: what pooled training reaches, if it was trained and learned.
    """
    sign = 1.0 if metric.better == "higher" else -1.0
    if study.target is not None:
        return study.target, "the config's study.target"
    if ceiling is None:
        return None
    why = f"within {100 * _NEAR:g} % of pooled training's {metric.label}; chosen after the fact"
    return ceiling - sign * _NEAR * abs(ceiling), why


def _target(outcomes: Outcomes, metric: Measure, value: float, why: str) -> Target:
    arms = {arm.name: reached(outcomes, arm.name, metric, value)
            for arm in outcomes.arms if arm.kind == "federated"}  # fmt: skip
    return Target(value, why, arms)


def reached(outcomes: Outcomes, arm: str, metric: Measure, value: float) -> Reached:
    """Returns the first round at which the mean over seeds is as good, and what was sent until then."""
    sign = 1.0 if metric.better == "higher" else -1.0
    curve, sent = arm_curves(outcomes, arm), bytes_sent(outcomes, arm)
    mean = curve.all.mean if curve.all is not None else ()
    place = next((place for place, x in enumerate(mean) if x is not None and sign * x >= sign * value), None)
    if place is None:
        return Reached(None, None, None)
    rounds, settings = curve.rounds[place], outcomes.arm(arm).settings
    turns = rounds * attendance.cohort_size(settings.cohort, len(outcomes.hospitals))
    each = 8 * sent[place, 1] / turns / bits_per_second(settings.clock.uplink, "clock.uplink") if turns else 0.0
    return Reached(rounds, round(float(sent[place].sum() / len(outcomes.hospitals))), float(each * rounds))
