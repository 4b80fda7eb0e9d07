"""What `fedmed study --stress` trains: the federated arm under each standard scenario, by each rule of aggregation."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fedmed.engine import attendance, checks, fates, scenarios, soundness
from fedmed.engine.fates import Fate, Fates
from fedmed.learning import aggregators
from fedmed.settings import config, plugins
from fedmed.settings.mishaps import Mishap
from fedmed.settings.study import STRESS
from fedmed.study import filled_in, hardships, plan
from fedmed.study.consortium import Consortium
from fedmed.study.hardships import PLANNED, STANDARD, Circumstances, Hardship, NotHereError
from fedmed.study.plan import ArmPlan, Job, Scenario
from fedmed.study.results import Result
from fedmed.study.tuning.grid import with_rate
from fedmed.system import errors

NAME = STRESS

ARGS: Mapping[str, Mapping[str, Any]] = {
    "trimmed_mean": {"share": 0.34},  # one of three hospitals at each end, six of twenty
    "krum": {"corrupted": 1},  # as many as scenarios corrupt
    "multi_krum": {"corrupted": 1},
}
"""Arguments that rules require, where the config's own rule is another one."""


class Standing(NamedTuple):
    """The scenarios of a study.

    Attributes:
        at: where they are made for.
        hardships: by name, "as_planned" first.
        left_out: those that these data have no place for, and why.
    """

    at: Circumstances
    hardships: Mapping[str, Hardship]
    left_out: Mapping[str, str]


def standing(at: Circumstances) -> Standing:
    """Returns the scenarios that `study.stress.scenarios` asks for, in the standard order.

    Raises:
        ConfigError: a name is unknown.
    """
    asked = at.settings.study.stress.scenarios or tuple(STANDARD)
    for name in asked:
        if name not in STANDARD:
            raise errors.ConfigError(errors.unknown("study.stress.scenarios", "standard scenario", name, STANDARD))
    found, left_out = {}, {}
    for name, make in STANDARD.items():
        if name == PLANNED or name in asked:
            try:
                found[name] = make(at)
            except NotHereError as error:
                left_out[name] = str(error)
            else:
                if name != PLANNED and (why := _clash(at, found[name])):
                    left_out[name] = why
                    del found[name]
    return Standing(at, found, left_out)


def _clash(at: Circumstances, hardship: Hardship) -> str:
    """Returns why a hardship is none beside the config's own scenario; "" where it is one."""
    if _is_so_already(at, hardship):
        return "the config's own scenario has it already: it would change nothing"
    for added in hardship.mishaps:
        own = [one.name for one in at.settings.scenario if _mix(one, added) and _befall_one(at, one, added)]
        if own:
            return f"the config's own scenario has {own[0]} there already, and the two would mix"
    return ""


def _mix(own: Mishap, added: Mishap) -> bool:
    """Whether two entries change the same rows in the same way, or both multiply updates: neither is itself then."""
    one, other = scenarios.effect(own, 0), scenarios.effect(added, 0)
    same_rows = other.rows is not None and own.name == added.name and _column(own) == _column(added)
    return same_rows or (one.factor != 1.0 and math.isfinite(other.factor) and other.factor != 1.0)


def _column(mishap: Mishap) -> Any:
    return mishap.args.get("column")


def _befall_one(at: Circumstances, own: Mishap, added: Mishap) -> bool:
    """Whether two entries can befall the same hospital."""
    first, second = (fates.befallen(one, at.patients) for one in (own, added))
    return not first.isdisjoint(second)


def _is_so_already(at: Circumstances, hardship: Hardship) -> bool:
    """Whether by the config's own scenario the same befalls everybody in every round as with the hardship."""
    own = at.settings
    if not own.scenario or any(getattr(own.clock, name) != value for name, value in hardship.clock.items()):
        return False
    turns = list(itertools.product(range(own.rounds), range(len(at.patients))))
    for seed in plan.seeds_of(own)[: own.study.stress.seeds]:
        planned = dataclasses.replace(own, seed=seed)
        before, after = (Fates(one, at.patients) for one in (planned, hardship.added(planned)))
        if not all(_are_same(before.of(*turn), after.of(*turn)) for turn in turns):
            return False
    return True


def _are_same(one: Fate, other: Fate) -> bool:
    factors = one.factor, other.factor
    alike = factors[0] == factors[1] or all(map(math.isnan, factors))  # a NaN is not equal to itself
    return alike and one._replace(factor=1.0) == other._replace(factor=1.0)


def arm_name(scenario: str, rule: str) -> str:
    """Returns the name of the arm of a scenario and a rule."""
    return f"{scenario}+{rule}"


def scenario(settings: config.RunConfig, consortium: Consortium, round_seconds: float | None = None) -> Scenario:
    """Returns an arm for each rule and scenario, on the study's first seeds.

    Args:
        settings: of the study.
        consortium: its hospitals.
        round_seconds: see `round_seconds`; without it the scenario with a deadline has none yet.

    Raises:
        ConfigError: a scenario or a rule is unknown or cannot be with these settings and hospitals.
    """
    study, stress = settings.study, settings.study.stress
    plugins.load(settings.plugins)
    found = standing(hardships.circumstances(settings, consortium, round_seconds)).hardships
    arms = []
    for rule in stress.rules:
        ruled = dataclasses.replace(settings, aggregation=aggregation(settings.aggregation, rule))
        for name, hardship in found.items():
            own = hardship.added(ruled)
            _check(own, consortium, f"study.stress, {rule!r}" if name == PLANNED else f"study.stress, {name!r}")
            arms.append(ArmPlan(arm_name(name, rule), "federated", own, {}))
    seeds = min(study.seeds, stress.seeds)
    fewer = dataclasses.replace(settings, study=dataclasses.replace(study, seeds=seeds))
    return Scenario(NAME, fewer, tuple(arms), {})


def aggregation(own: config.Aggregation, rule: str) -> config.Aggregation:
    """Returns the config's aggregation with a rule; its own rule keeps its arguments.

    Raises:
        ConfigError: the rule is unknown, or requires an argument that neither the config nor ARGS gives.
    """
    if rule == own.rule:
        return own
    where = ("study.stress.rules", "aggregation")
    args = filled_in.required(aggregators.aggregators, rule, ARGS.get(rule, {}), where)
    return dataclasses.replace(own, rule=rule, args=args)


def _check(own: config.RunConfig, consortium: Consortium, where: str) -> None:
    """Raises a ConfigError, which says where, for an arm that cannot be trained."""
    try:
        checks.check_names(own)
        aggregators.check_cohort(own.aggregation, attendance.cohort_size(own.cohort, len(consortium.hospitals)))
        soundness.check(own, consortium.dataset.task, consortium.dataset.is_table)
        fates.check(own, consortium.dataset, consortium.patients_held())
    except errors.ConfigError as error:
        raise errors.ConfigError(f"{where}: {error}") from None


def jobs(found: Scenario, consortium: Consortium, metric: str) -> list[Job]:
    """Returns the jobs, those together that share a recording."""
    places: dict[tuple[str, str], int] = {}
    for arm in found.arms:
        places.setdefault(recording(arm.settings), len(places))
    return sorted(plan.jobs(found, consortium.hospitals, metric), key=lambda job: places[recording(job.settings)])


def recording(settings: config.RunConfig) -> tuple[str, str]:
    """Returns what, of all that differs here, a program is recorded for: the rule, and what can befall a round."""
    return repr(settings.aggregation), repr(fates.trouble(settings))


def round_seconds(
    found: Scenario, planned: Sequence[Job], train: Callable[[list[Job]], Mapping[str, Result]]
) -> float | None:
    """Returns what a round of all hospitals takes as planned, on the virtual clock: how much is sent is counted.

    Of the config's own scenario only those who are slow in every round belong to that.

    Args:
        found: the arms; without one whose deadline is made of it, nothing is trained and None returned.
        planned: their jobs.
        train: runs jobs, and returns their results by name.
    """
    if not any(arm.name.startswith(f"{hardships.WITH_DEADLINE}+") for arm in found.arms):
        return None
    settings = found.arms[0].settings
    clock = dataclasses.replace(settings.clock, deadline=None)
    slow = tuple(one for one in settings.scenario if _is_slow_only(one))
    own = dataclasses.replace(settings, rounds=1, cohort=config.Cohort(), clock=clock, scenario=slow)
    name = plan.job_name(NAME, "clock", own.seed, None)
    return float(train([Job(name, "clock", "federated", own, metric=planned[0].metric)])[name].clock[-1])


def _is_slow_only(mishap: Mishap) -> bool:
    regular = scenarios.Effect()
    own = dataclasses.replace(scenarios.effect(mishap, 0), slower=regular.slower, uplink=regular.uplink)
    return mishap.is_planned and own == regular


def at_rates(found: Sequence[Job], trained: Sequence[Job]) -> list[Job]:
    """Returns the jobs at the rate that the study's own federated arm has at each seed, where it was searched."""
    rates = {job.settings.seed: job.settings.client.learning_rate for job in trained if job.arm == "federated"}
    return [
        dataclasses.replace(job, settings=with_rate(job.settings, rates[job.settings.seed]))
        if job.settings.seed in rates
        else job
        for job in found
    ]
