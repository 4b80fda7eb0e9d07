"""Who takes part when algorithms are compared: which are for the model, how each is tuned, and what is trained."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from fedmed.engine import checks
from fedmed.settings import config
from fedmed.settings.study import COMPARE
from fedmed.study import plan, presets
from fedmed.study.consortium import Consortium
from fedmed.study.plan import ArmPlan, Job, Scenario
from fedmed.study.results import UNFIT, Result
from fedmed.study.suited import FOR_ANY_MODEL
from fedmed.study.tuning.arms import Part
from fedmed.study.tuning.halving import FULL, SHORT, Effort
from fedmed.system import errors

NAME = COMPARE


def scenario(settings: config.RunConfig) -> Scenario:
    """Returns an arm for each algorithm, in the order of `study.compare`, and last each hospital alone.

    Raises:
        ConfigError: a name is unknown, or the settings are not for the algorithm.
    """
    arms = []
    for name in presets.named(settings):
        own = presets.settings_of(settings, name)
        try:
            checks.check_names(own)
        except errors.ConfigError as error:
            raise errors.ConfigError(f"study.compare, {name!r}: {error}") from None
        arms.append(ArmPlan(name, "federated", own, presets.changes(settings, own)))
    return Scenario(NAME, settings, (*arms, ArmPlan(presets.LOCAL, "local", settings, {})), {})


def jobs(found: Scenario, consortium: Consortium, metric: str) -> list[Job]:
    """Returns the jobs arm by arm, so that a process records each algorithm once for all seeds."""
    places = {arm.name: place for place, arm in enumerate(found.arms)}
    return sorted(plan.jobs(found, consortium.hospitals, metric), key=lambda job: places[job.arm])


def fitted(
    found: Scenario, planned: Sequence[Job], train: Callable[[list[Job]], Mapping[str, Result]]
) -> tuple[Scenario, list[Job], dict[str, str]]:
    """Returns the scenario and its jobs without the algorithms that are not for the model, and of those why.

    Args:
        found: the scenario.
        planned: its jobs.
        train: runs jobs, and returns their results by name.

    Raises:
        ConfigError: no algorithm is for the model.
    """
    doubtful = [arm for arm in found.arms if arm.kind != "local" and arm.settings.algorithm.name not in FOR_ANY_MODEL]
    tries = {arm.name: _try(found, arm) for arm in doubtful}
    told = train(list(tries.values())) if tries else {}
    unfit = {name: told[job.name].told[UNFIT] for name, job in tries.items() if UNFIT in told[job.name].told}
    left = {name: why.removeprefix("algorithm.name: ") for name, why in unfit.items()}
    arms = tuple(arm for arm in found.arms if arm.name not in left)
    if all(arm.kind == "local" for arm in arms):
        raise errors.ConfigError(f"study.compare: no algorithm is left: {'; '.join(left.values())}")
    return dataclasses.replace(found, arms=arms), [job for job in planned if job.arm not in left], left


def _try(found: Scenario, arm: ArmPlan) -> Job:
    seed = found.settings.seed
    name = plan.job_name(NAME, arm.name, seed, None, "fitting")
    return Job(name, arm.name, "federated", dataclasses.replace(arm.settings, seed=seed), attack="fitting")


def effort(settings: config.RunConfig) -> Effort:
    """Returns how much is tried for each algorithm: with `study.tune` as much as for the study's own arms."""
    return FULL if settings.study.tune else SHORT


def searched(found: Scenario, planned: Sequence[Job]) -> Part:
    """Returns what is searched: the same rates for all, and beside them those of a server with an optimizer."""
    grids = {arm.name: presets.grid(arm.settings) for arm in found.arms if arm.kind != "local"}
    return Part(found.settings, planned, effort(found.settings), grids)


def shared(tuned: Sequence[Job], trained: Sequence[Job]) -> list[Job]:
    """Returns the tuned jobs; one that the study trains already, at the same rate, is not trained again."""
    known = {_training(job): job for job in trained}
    return [dataclasses.replace(known.get(_training(job), job), arm=job.arm) for job in tuned]


def _training(job: Job) -> tuple[str, ...]:
    """Returns what tells trainings apart within a study."""
    return job.kind, job.hospital or "", repr(job.settings)
