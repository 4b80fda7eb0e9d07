"""What went wrong in training and must not pass in silence: refused updates, models that learned too little."""

import functools
import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from fedmed.learning import algorithms
from fedmed.statistics import loss_curves, null_model
from fedmed.study import attended, judging
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan, label
from fedmed.study.results import Result
from fedmed.study.schema import Explained
from fedmed.system import errors

_ADVICE = "a smaller client.learning_rate may help, or fedmed tune CONFIG looks for settings"
_listed = functools.partial(errors.first_few, most=5)


def refused(outcomes: Outcomes) -> dict[str, dict[str, int]]:
    """Returns of each arm the clients whose update was not finite, and in how many rounds of all seeds together."""
    found: dict[str, dict[str, int]] = {}
    for (arm, _, _), result in outcomes.results.items():
        for client, times in result.refused.items():
            own = found.setdefault(arm, {})
            own[client] = own.get(client, 0) + times
    return found


def refusals(outcomes: Outcomes, arm: str) -> str:
    """Returns, in a sentence, whose updates an arm has refused, in how many rounds; "" for none."""
    found = refused(outcomes).get(arm, {})
    return f"Updates {_left_out(outcomes, arm, found)}." if found else ""


def _left_out(outcomes: Outcomes, arm: str, clients: Mapping[str, int]) -> str:
    rounds = {client: _rounds(outcomes, outcomes.arm(arm), client) for client in clients}
    named = ", ".join(f"{client} ({times} of {rounds[client]} rounds)" for client, times in clients.items())
    return f"were not finite and were left out: {named}"


def _rounds(outcomes: Outcomes, arm: ArmPlan, client: str) -> int:
    """Returns how many rounds an arm's models have in which a client can be, those of one epoch by itself too."""
    rounds, alone = arm.settings.rounds, arm.settings.study.fine_tune_epochs
    models = [hospital for (name, _, hospital) in outcomes.results if name == arm.name]
    own = models.count(client)
    if arm.kind == "local":
        return rounds * own
    if arm.kind == "leave_one_out":
        return rounds * (len(models) - own) + (
            alone * own if algorithms.is_personal(arm.settings.algorithm.name) else 0
        )
    return (rounds + alone if arm.kind == "fine_tuned" else rounds) * len(models)


def has_learned(outcomes: Outcomes, arm: str) -> bool:
    """Whether an arm's training diverged at no seed, and left some model other than it began."""
    return not judging.lost(outcomes, arm) and not _is_untrained(outcomes, outcomes.arm(arm))


def check_learned(outcomes: Outcomes) -> None:
    """Raises a UserError where the federated arm learned nothing: verdicts would be of untrained models."""
    arm = next((arm for arm in outcomes.arms if arm.kind == "federated"), None)
    if arm is None or not _is_untrained(outcomes, arm):
        return
    told = attended.contributed(outcomes).get(arm.name, {})
    why = sorted({reason for own in told.values() for reason in own.absent})
    lost = refused(outcomes).get(arm.name, {})
    why += [f"updates were not finite: {_listed(list(lost))}"] if lost else []
    because = f" ({'; '.join(why)})" if why else ""
    raise errors.UserError(
        f"study: nothing was learned: after all rounds the models of the arm “{label(arm)}” are what they were before "
        f"the first{because}, so that there is no answer"
    )


def warnings(outcomes: Outcomes, metric: Measure, explained: Explained, level: float) -> tuple[str, ...]:
    """Returns sentences for the top of the page; `level` is that of the intervals in `explained`."""
    said = []
    for arm, clients in refused(outcomes).items():
        left_out = f"In the arm “{label(outcomes.arm(arm))}” updates {_left_out(outcomes, arm, clients)}."
        if _is_untrained(outcomes, outcomes.arm(arm)):
            left_out += " Nothing was learned: its models are the untrained ones."
        elif outcomes.arm(arm).kind in ("fine_tuned", "leave_one_out"):  # some of it may be of one hospital alone
            left_out += " Its figures are not those of training that lacks no update."
        elif outcomes.arm(arm).kind not in ("local", "pooled"):
            left_out += " Its figures are not those of a federation in which all take part."
        said.append(left_out)
    diverged = _diverged(outcomes)
    for arm, count in diverged.items():
        models = len(_results(outcomes, arm))
        said.append(
            f"In the arm “{label(outcomes.arm(arm))}” training diverged ({count} of {models} models); {_ADVICE}."
        )
    for arm in outcomes.arms:
        if arm.name not in diverged and _is_worse_than_untrained(outcomes, arm.name, metric):
            said.append(
                f"The arm “{label(arm)}” ends worse than its untrained models; a smaller client.learning_rate may help."
            )
    return (*said, *_worse_than_null(outcomes, explained, level), *_still_improving(outcomes))


def _results(outcomes: Outcomes, arm: str) -> list[Result]:
    return [result for (name, _, _), result in outcomes.results.items() if name == arm]


def _diverged(outcomes: Outcomes) -> dict[str, int]:
    """Returns the arms of which models diverged, and how many of them."""
    counts = {
        arm.name: sum(loss_curves.has_diverged(result.losses.tolist()) for result in _results(outcomes, arm.name))
        for arm in outcomes.arms
    }
    return {arm: count for arm, count in counts.items() if count}


def _worse_than_null(outcomes: Outcomes, explained: Explained, level: float) -> list[str]:
    """Returns a sentence for each arm whose models are worse than the null one somewhere, beyond noise.

    Beyond noise is over 2 standard errors of its skill below 0, and more where many hospitals are looked at.
    """
    half = float(stats.norm.isf((1 - level) / 2))  # of an interval, in standard errors
    each, one = (null_model.beyond_noise(count) / half for count in (len(outcomes.hospitals), 1))
    said = []
    for arm in outcomes.arms:
        own = explained.skill[arm.name].hospitals
        named = [name for name, told in own.items() if _is_below(told["d2"].estimate, told["d2"].high, each)]
        overall = explained.skill[arm.name].all["d2"]
        where = ["over all hospitals"] if _is_below(overall.estimate, overall.high, one) else []
        where += [f"at {_listed(named)}"] if named else []
        if where:
            said.append(
                f"The arm “{label(arm)}” is worse than predicting {null_model.LABEL[outcomes.task]} of the hospital's "
                f"own training rows {' and '.join(where)}, beyond noise."
            )
    return said


def _is_below(estimate: float | None, high: float | None, wider: float) -> bool:
    return estimate is not None and high is not None and estimate + wider * (high - estimate) < 0


def _still_improving(outcomes: Outcomes) -> list[str]:
    """Returns one sentence on the arms of which most models were still improving."""
    told, rounds = [], 0
    for arm in outcomes.arms:
        found = [
            loss_curves.still_improving(r.rounds.tolist(), r.losses.tolist()) for r in _results(outcomes, arm.name)
        ]
        known = [share for share in found if share is not None]
        if len(known) > len(found) / 2:
            told.append(f"“{label(arm)}” ({np.median(known):.0%})")
            rounds = max(rounds, arm.settings.rounds)
    if not told:
        return []
    return [
        f"Still improving at the last round: {_listed(told)}, by the share of all improvement that the last "
        f"quarter of the rounds brought; rounds = {2 * rounds} would tell more, or fedmed tune CONFIG looks for "
        "settings."
    ]


def _is_untrained(outcomes: Outcomes, arm: ArmPlan) -> bool:
    """Whether every model of an arm is after its last round what it was before the first, by its scores and losses."""
    return arm.settings.rounds > 0 and all(
        np.array_equal(own[0], own[-1], equal_nan=True)
        for r in _results(outcomes, arm.name)
        for own in (r.curve, r.losses)
    )


def _is_worse_than_untrained(outcomes: Outcomes, arm: str, metric: Measure) -> bool:
    """Whether each model of an arm, wherever it is tested, ends worse than it began."""
    sign = 1.0 if metric.better == "higher" else -1.0
    ends = []
    for result in _results(outcomes, arm):
        first, last = result.curve[0], result.curve[-1]
        known = [(float(a), float(b)) for a, b in zip(first, last, strict=True) if math.isfinite(a)]
        ends += [not math.isfinite(b) or sign * b < sign * a for a, b in known]
    return bool(ends) and all(ends)
