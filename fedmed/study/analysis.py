"""From the results of a study's parts to what study.json holds. Pure: no file, no clock, no training."""

import dataclasses
from collections.abc import Mapping, Sequence

from fedmed.settings import config
from fedmed.study import (
    contenders,
    contest,
    endured,
    estimates,
    grow,
    guarantees,
    hardships,
    leakage,
    plan,
    privacy_price,
    report,
    stress,
    trouble,
)
from fedmed.study.consortium import Consortium
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes, gather
from fedmed.study.plan import Job, Scenario
from fedmed.study.results import Result
from fedmed.study.schema import Findings, Grow, Reproduce
from fedmed.study.schema.contested import Contest
from fedmed.study.schema.leaked import Leakage
from fedmed.study.schema.promised import PrivacyPrice, StudyPrivacy
from fedmed.study.schema.stressed import Stress
from fedmed.study.schema.tuned import TunedArm
from fedmed.system import machine

OF_THEIR_OWN = (grow.NAME, privacy_price.NAME, leakage.NAME, contenders.NAME, stress.NAME)
"""Parts of a study that have findings of their own kind; any other part compares the arms on other data."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A scenario with its hospitals and what is to be trained.

    Attributes:
        scenario: arms that can be compared with each other.
        consortium: the hospitals.
        jobs: of the arms.
        unfit: algorithms that were asked for and are not for the model, and why.
        round_seconds: what a round takes as planned, where a deadline was made of it.
    """

    scenario: Scenario
    consortium: Consortium
    jobs: list[Job]
    unfit: Mapping[str, str] = dataclasses.field(default_factory=dict)
    round_seconds: float | None = None


def findings(
    settings: config.RunConfig,
    parts: Sequence[Part],
    found: Mapping[str, Result],
    metric: str,
    command: str,
    tuned: Mapping[str, Sequence[TunedArm]],
) -> Findings:
    """Returns all that a study finds.

    Args:
        settings: of the study.
        parts: its own scenario first.
        found: each job's result, by name.
        metric: the primary one.
        command: how to make the study again.
        tuned: the rates that each scenario's arms were given, by its name.
    """
    main, by_name = parts[0], {part.scenario.name: part for part in parts[1:]}
    scenarios = [
        report.scenario(part.scenario.settings, _outcomes(part, found), metric, name, part.scenario.changes)
        for name, part in by_name.items()
        if name not in OF_THEIR_OWN
    ]
    outcomes = _outcomes(main, found)
    trouble.check_learned(outcomes)
    primary = report.scored(settings, main.consortium, metric)[0]
    priced = _priced(settings, by_name.get(privacy_price.NAME), found, primary)
    promised = guarantees.told(main.jobs, main.consortium, settings.seed)
    return report.findings(
        settings,
        outcomes,
        metric,
        reproduce=_reproduce(settings, main.consortium, command),
        scenarios=scenarios,
        grow=_grown(settings, by_name.get(grow.NAME), main, found, metric),
        tuned=tuned[main.scenario.name],
        privacy=StudyPrivacy(promised, priced, settings.aggregation.secure),
        leaked=_leaked(by_name.get(leakage.NAME), found),
        doubts=guarantees.doubts(main.jobs, main.consortium, settings.seed),
        contest=_contest(settings, by_name.get(contenders.NAME), found, outcomes, primary, tuned),
        stressed=_stressed(settings, by_name.get(stress.NAME), found, outcomes, primary),
    )


def _grown(
    settings: config.RunConfig, part: Part | None, main: Part, found: Mapping[str, Result], metric: str
) -> Grow | None:
    if part is None:
        return None
    hospital, rules = grow.watched(settings, main.consortium), report.rules_of(settings)
    primary = report.scored(settings, part.consortium, metric)[0]
    return grow.curve(part.scenario.settings, _outcomes(part, found), hospital, primary, rules)


def _priced(
    settings: config.RunConfig, part: Part | None, found: Mapping[str, Result], primary: Measure
) -> PrivacyPrice | None:
    if part is None:
        return None
    told = guarantees.told(part.jobs, part.consortium, settings.seed)
    return privacy_price.price(settings, _outcomes(part, found), primary, report.rules_of(settings), told)


def _leaked(part: Part | None, found: Mapping[str, Result]) -> Leakage | None:
    return None if part is None else leakage.findings(part.scenario, part.consortium, part.jobs, found)


def _contest(
    settings: config.RunConfig,
    part: Part | None,
    found: Mapping[str, Result],
    main: Outcomes,
    primary: Measure,
    tuned: Mapping[str, Sequence[TunedArm]],
) -> Contest | None:
    if part is None:
        return None
    return contest.contest(
        _outcomes(part, found),
        settings.study,
        primary,
        report.rules_of(settings),
        tuned=tuned[part.scenario.name],
        effort=contenders.effort(settings),
        left_out=part.unfit,
        ceiling=_ceiling(settings, main, primary),
    )


def _stressed(
    settings: config.RunConfig, part: Part | None, found: Mapping[str, Result], main: Outcomes, primary: Measure
) -> Stress | None:
    if part is None:
        return None
    return endured.stress(
        _outcomes(part, found),
        stress.standing(hardships.circumstances(settings, part.consortium, part.round_seconds)),
        primary,
        report.rules_of(settings),
        ceiling=_ceiling(settings, main, primary),
    )


def _ceiling(settings: config.RunConfig, main: Outcomes, primary: Measure) -> float | None:
    """Returns what the study's pooled training reaches over all test rows; None where it did not learn."""
    if not any(arm.name == "pooled" for arm in main.arms) or not trouble.has_learned(main, "pooled"):
        return None
    return estimates.performance(main, "pooled", None, primary, report.rules_of(settings)).estimate


def _outcomes(part: Part, found: Mapping[str, Result]) -> Outcomes:
    arms = part.scenario.arms
    if part.scenario.name == grow.NAME:
        arms = grow.arms(part.scenario.settings, len(part.consortium.hospitals))
    seeds = plan.seeds_of(part.scenario.settings)
    results_ = [(job, found[job.name]) for job in part.jobs]
    return gather(part.consortium, seeds, arms, results_, part.scenario.references)


def _reproduce(settings: config.RunConfig, consortium: Consortium, command: str) -> Reproduce:
    return Reproduce(
        config_toml=config.dumps(settings),
        command=command,
        seeds=tuple(plan.seeds_of(settings)),
        versions=machine.versions(),
        checksums=consortium.dataset.checksums(),
        weights=None,
    )
