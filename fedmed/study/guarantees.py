"""What each model of a study promises to the patients that it is trained on; solved before anything is trained."""

import dataclasses
from collections.abc import Sequence
from typing import cast

from fedmed.engine import attendance, promises, worth
from fedmed.engine.promises import Promises, PromisesTold
from fedmed.settings import config
from fedmed.settings.mishaps import BY_SIZE, Mishap
from fedmed.settings.privacy import NONE
from fedmed.settings.study import REFERENCES, Kind
from fedmed.study import shadows
from fedmed.study.consortium import Consortium
from fedmed.study.plan import Job


def promises_of(job: Job, consortium: Consortium) -> Promises | None:
    """Returns what a job's model promises; raises as `promises.made`."""
    if job.kind in REFERENCES or not job.settings.privacy.is_on:
        return None
    seed, kind = job.settings.seed, cast(Kind, job.kind)
    if job.shadow is not None:
        units = shadows.patients_trained(consortium, job)
    else:
        units = consortium.patients_trained(kind, seed, job.hospital, members=job.members, share=job.share)
    settings = training_settings(job, list(units), len(job.members or consortium.hospitals))
    return promises.made(settings, units)


def doubts(jobs: Sequence[Job], consortium: Consortium, seed: int) -> tuple[str, ...]:
    """Returns what makes promises of the federated model of little worth, at a seed."""
    own = [job for job in jobs if job.settings.seed == seed and job.arm == "federated"]
    made = promises_of(own[0], consortium) if own else None
    return () if made is None else worth.doubts(made)


def told(jobs: Sequence[Job], consortium: Consortium, seed: int) -> dict[str, PromisesTold]:
    """Returns, for each arm that promises anything, what it promises at a seed, all hospitals' models together."""
    found: dict[str, PromisesTold] = {}
    for job in jobs:
        made = promises_of(job, consortium) if job.settings.seed == seed else None
        if made is None:
            continue
        own, known = made.told(made.rounds), found.get(job.arm)
        together = {**(known.promises if known else {}), **own.promises}
        found[job.arm] = dataclasses.replace(own, promises=together)
    return found


def training_settings(job: Job, clients: Sequence[str], members: int) -> config.RunConfig:
    """Returns the settings of a training: a model of one client is trained by it in every round.

    A scenario befalls those only who train; whoever trains alone, or where all rows are in one place, is spared.
    Where a client's steps are fixed, pooled training takes the steps of all the clients that a round would have had,
    so that it sees as many rows.
    """
    runtime = dataclasses.replace(job.settings.runtime, lanes=job.settings.runtime.lanes or 1)
    settings = dataclasses.replace(job.settings, seed=job.training_seed, runtime=runtime)
    size = settings.cohort.size
    cohort = dataclasses.replace(settings.cohort, size=None if size is None else min(size, len(clients)))
    if job.kind == "pooled" and settings.client.steps is not None:
        asked = attendance.cohort_size(settings.cohort, max(members, size or 1))
        together = settings.client.steps * min(members, asked)
        settings = dataclasses.replace(settings, client=dataclasses.replace(settings.client, steps=together))
    if len(clients) == 1:
        return _alone(settings)
    return dataclasses.replace(settings, cohort=cohort, scenario=_befalling(settings.scenario, clients))


def _befalling(scenario: Sequence[Mishap], clients: Sequence[str]) -> tuple[Mishap, ...]:
    """Returns the scenario of a federation in which some of the hospitals that it names may not be."""
    found = []
    for mishap in scenario:
        there = tuple(name for name in mishap.clients if name in clients or name in BY_SIZE)
        if there or not mishap.clients:
            found.append(dataclasses.replace(mishap, clients=there))
    return tuple(found)


def _alone(settings: config.RunConfig) -> config.RunConfig:
    """Returns the settings of a client that trains by itself: it sends nothing, and hospitals are promised nothing."""
    return dataclasses.replace(
        settings,
        cohort=config.Cohort(),
        compression=config.Compression(),
        aggregation=dataclasses.replace(settings.aggregation, secure=False),
        scenario=(),
        clock=dataclasses.replace(settings.clock, deadline=None),
        privacy=NONE if settings.privacy.unit == "hospital" else settings.privacy,
    )
