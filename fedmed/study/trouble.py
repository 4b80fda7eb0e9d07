"""What went wrong in training and must not pass in silence: refused updates, models worse than untrained ones."""

import math

import numpy as np

from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import label


def refused(outcomes: Outcomes) -> dict[str, dict[str, int]]:
    """Returns of each arm the clients whose update was not finite, and in how many rounds of all seeds together."""
    found: dict[str, dict[str, int]] = {}
    for (arm, _, _), result in outcomes.results.items():
        for client, times in result.refused.items():
            own = found.setdefault(arm, {})
            own[client] = own.get(client, 0) + times
    return found


def warnings(outcomes: Outcomes, metric: Measure) -> tuple[str, ...]:
    """Returns sentences for the top of the page."""
    said = []
    for arm, clients in refused(outcomes).items():
        rounds = outcomes.arm(arm).settings.rounds * len(outcomes.seeds)
        named = ", ".join(f"{client} ({times} of {rounds} rounds)" for client, times in clients.items())
        left_out = f"In the arm “{label(outcomes.arm(arm))}” updates were not finite and were left out: {named}."
        if _is_untrained(outcomes, arm):
            left_out += " Nothing was learned: its models are the untrained ones."
        elif outcomes.arm(arm).kind not in ("local", "pooled"):
            left_out += " Its figures are not those of a federation in which all take part."
        said.append(left_out)
    for arm in outcomes.arms:
        if _is_worse_than_untrained(outcomes, arm.name, metric):
            said.append(
                f"The arm “{label(arm)}” ends worse than its untrained models; a smaller client.learning_rate may help."
            )
    return tuple(said)


def _is_untrained(outcomes: Outcomes, arm: str) -> bool:
    """Whether every model of an arm scores after its last round what it scored before the first."""
    own = [result.curve for (name, _, _), result in outcomes.results.items() if name == arm]
    return all(np.array_equal(curve[0], curve[-1], equal_nan=True) for curve in own)


def _is_worse_than_untrained(outcomes: Outcomes, arm: str, metric: Measure) -> bool:
    """Whether each model of an arm, wherever it is tested, ends worse than it began."""
    sign = 1.0 if metric.better == "higher" else -1.0
    ends = []
    for (own, _, _), result in outcomes.results.items():
        if own == arm:
            first, last = result.curve[0], result.curve[-1]
            known = [(float(a), float(b)) for a, b in zip(first, last, strict=True) if math.isfinite(a)]
            ends += [not math.isfinite(b) or sign * b < sign * a for a, b in known]
    return bool(ends) and all(ends)
