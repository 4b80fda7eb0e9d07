"""Attacks on a study's own models: jobs of its pool, and what they found as study.json tells it."""

import dataclasses
from collections.abc import Mapping, Sequence

from fedmed.attacks import exposure
from fedmed.attacks.exposure import Exposure
from fedmed.settings import config
from fedmed.settings.study import LEAKAGE
from fedmed.statistics import Interval
from fedmed.study import estimates, plan, shadows, suppression
from fedmed.study.consortium import Consortium
from fedmed.study.plan import ArmPlan, Job, Scenario
from fedmed.study.results import Result
from fedmed.study.schema import Estimate
from fedmed.study.schema.leaked import Audited, Exposed, Leakage, MembershipFound, Rebuilt
from fedmed.study.tuning.arms import Rate
from fedmed.system import plain

NAME = LEAKAGE


def scenario(settings: config.RunConfig, consortium: Consortium) -> Scenario:
    """Returns the trainings that are attacked."""
    return Scenario(NAME, settings, tuple(shadows.arms(settings, consortium.dataset.is_table)), {})


def jobs(found: Scenario, metric: str) -> list[Job]:
    """Returns the shadow models, then the attacks that need TensorFlow."""
    settings = found.settings
    own = [
        Job(
            plan.job_name(NAME, attack, settings.seed, None),
            attack,
            "federated",
            settings,
            metric=metric,
            attack=attack,
        )
        for attack in ("rebuilding", "auditing")
    ]
    return [*shadows.jobs(settings, found.arms, metric), *own]


def rates(attacked: Sequence[Job], trained: Sequence[Job], found: Mapping[str, Rate]) -> dict[str, Rate]:
    """Returns by name the rate of each job that attacks a training of the study, where that was searched.

    What the study does not train itself, such as a model that must leak, has none.

    Args:
        attacked: the jobs of the attacks, as planned.
        trained: the study's own, as planned.
        found: what the search has found, by a job's name.
    """
    known = {_training(job): found[job.name] for job in reversed(trained) if job.name in found}
    return {job.name: known[_training(job)] for job in attacked if _training(job) in known}


def _training(job: Job) -> tuple[str, str]:
    """Returns what tells trainings of the study apart but for their randomness, and when they are scored."""
    return job.kind, repr(dataclasses.replace(job.settings, evaluation=config.Evaluation()))


def findings(found: Scenario, consortium: Consortium, trained: Sequence[Job], results: Mapping[str, Result]) -> Leakage:
    """Returns what the attacks found."""
    by_arm = shadows.by_arm(found.arms, [job for job in trained if job.shadow], results)
    told = {job.attack: results[job.name].told for job in trained if job.attack}
    seed = found.settings.seed
    rebuilt = {name: tuple(plain.from_plain(Rebuilt, one) for one in own) for name, own in told["rebuilding"].items()}
    return Leakage(
        membership=tuple(_membership(arm, consortium, by_arm[arm.name], seed) for arm in found.arms),
        rebuilt=rebuilt,
        audits=tuple(plain.from_plain(Audited, one) for one in told["auditing"].get("audits", ())),
    )


def _membership(arm: ArmPlan, consortium: Consortium, found: Sequence[Result], seed: int) -> MembershipFound:
    known = shadows.shadows(consortium, found, seed)
    attack, by_loss = exposure.lira(known), exposure.loss_threshold(known)
    return MembershipFound(
        training=arm.name,
        control=arm.name == shadows.OVERFITTED,
        models=attack.models,
        hospitals={one.hospital: _exposed(one) for one in attack.hospitals if one.hospital is not None},
        all=_exposed(attack.overall),
        loss_auc=_estimate(by_loss.overall.auc),
    )


def _exposed(one: Exposure) -> Exposed:
    """Returns an exposure as it is told; of very few patients nothing."""
    if suppression.is_small(one.patients):
        none = estimates.estimate(None, suppression.WITHHELD)
        return Exposed(None, none, {})
    caught = {f"{own.false_alarms:g}": _estimate(own.share, own.reason) for own in one.caught}
    return Exposed(one.patients, _estimate(one.auc), caught)


def _estimate(interval: Interval | None, reason: str = "") -> Estimate:
    return estimates.estimate(interval, reason)
