"""A study from settings to study.json: train what is not trained yet, then compare."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.data.examples import Task
from fedmed.engine import attendance, checks, identity, soundness
from fedmed.learning import algorithms
from fedmed.reporting import fault_lines
from fedmed.settings import config
from fedmed.statistics.metrics import METRICS
from fedmed.study import (
    grow,
    guarantees,
    leakage,
    plan,
    pool,
    privacy_price,
    reference_models,
    report,
    results,
    subgroups,
)
from fedmed.study.consortium import Consortium
from fedmed.study.locking import locked
from fedmed.study.outcomes import Outcomes, gather
from fedmed.study.plan import Job, Scenario
from fedmed.study.progress import JobProgress
from fedmed.study.results import Result
from fedmed.study.schema import Findings, Reproduce
from fedmed.study.schema.promised import StudyPrivacy
from fedmed.study.schema.tuned import TunedArm
from fedmed.study.session import Assignment
from fedmed.study.tuning import arms
from fedmed.study.tuning.arms import ArmsTuning
from fedmed.system import errors, files, machine, plain

_DEFAULT_METRIC: Mapping[Task, str] = {"binary": "auroc", "multiclass": "accuracy", "count": "deviance"}


@dataclasses.dataclass(frozen=True)
class _Part:
    """A scenario with its hospitals and what is to be trained."""

    scenario: Scenario
    consortium: Consortium
    jobs: list[Job]


def run(
    settings: config.RunConfig, out: pathlib.Path, *, command: str = "", quiet: bool = False, here: bool = False
) -> dict[str, Any]:
    """Runs a study, or goes on with it, and returns what study.json holds (see docs/results.md).

    Args:
        settings: with the tables [study] and [[arms]].
        out: the study's directory; jobs that it holds already are not trained again.
        command: how to make the study again, for the record.
        quiet: no progress.
        here: train in this process instead of several others; TensorFlow's threads are then as the caller left them.

    Raises:
        UserError: a setting, the data or the model cannot be used; or another study is writing in `out`.
    """
    began = time.monotonic()
    runtime = config.Runtime(settings.runtime.name, settings.runtime.lanes or 1)  # jobs run side by side as it is
    settings = dataclasses.replace(settings, runtime=runtime)
    parts, metric = _planned(settings)
    searches = ArmsTuning([(part.scenario.settings, part.jobs) for part in parts] if settings.study.tune else ())
    with locked(out, "study"):
        fault_lines.tell(parts[0].consortium.faults, quiet=quiet)
        files.write_atomically(out / "config.toml", config.dumps(settings))
        rates = searches.rates(out / "tuning", out / "workers.log", quiet=quiet, here=here)
        tuned = arms.told(parts[0].jobs, rates)
        parts = [dataclasses.replace(part, jobs=[arms.tuned(job, rates) for job in part.jobs]) for part in parts]
        tasks = _tasks(parts, out / "jobs")
        _train(tasks, out, quiet, here)
        trained = time.monotonic()
        found = {task.job.name: _read(task) for task in tasks}
        study = plain.checked(_analysed(settings, parts, found, metric, command, tuned))
        files.write_atomically(out / "study.json", json.dumps(study, indent=1, allow_nan=False) + "\n")
        _write_timing(out, found, trained - began, time.monotonic() - trained)
    return study


def _planned(settings: config.RunConfig) -> tuple[list[_Part], str]:
    """Loads the data and plans the jobs; whatever the user can have wrong is found here, before anything is trained."""
    scenarios = plan.scenarios(settings)
    soundness.check_study(settings)
    for arm in (arm for scenario in scenarios for arm in scenario.arms):
        checks.check_names(arm.settings)
    main = Consortium(settings)
    metric = _metric(settings, main)
    subgroups.columns(main.dataset, settings.study)
    consortia = [main, *(Consortium(scenario.settings) for scenario in scenarios[1:])]
    scenarios = [plan.fitting(*both) for both in zip(scenarios, (own.dataset for own in consortia), strict=True)]
    parts = [
        _Part(scenario, consortium, plan.jobs(scenario, consortium.hospitals, metric))
        for scenario, consortium in zip(scenarios, consortia, strict=True)
    ]
    if settings.study.grow:
        hospital, scenario = grow.watched(settings, main), grow.scenario(settings)
        consortium = Consortium(scenario.settings)
        parts.append(_Part(scenario, consortium, grow.jobs(scenario.settings, consortium, hospital, metric)))
    if settings.study.privacy.epsilons:
        priced = privacy_price.scenario(settings)
        for arm in priced.arms:
            checks.check_names(arm.settings)
            soundness.check(arm.settings, main.dataset.task, main.dataset.is_table)
        parts.append(_Part(priced, main, privacy_price.jobs(priced, main, metric, parts[0].jobs)))
    if settings.study.leakage.attack:
        attacks = leakage.scenario(settings, main)
        parts.append(_Part(attacks, main, leakage.jobs(attacks, metric)))
    if len(main.hospitals) < 2:
        raise errors.DataError("study: there is one hospital only, and nothing to federate")
    for part in parts:
        for arm in part.scenario.arms:
            attendance.cohort_size(arm.settings.cohort, len(part.consortium.hospitals))
            if arm.kind == "leave_one_out" and arm.settings.algorithm.name in algorithms.NOT_FOR_STRANGERS:
                raise errors.ConfigError(
                    f"study.arms: leave_one_out tests a model at a hospital that took no part, and one of "
                    f"{arm.settings.algorithm.name} is not whole without what its clients keep at home"
                )
            soundness.check(arm.settings, part.consortium.dataset.task, part.consortium.dataset.is_table)
        part.consortium.rows(settings.seed)  # an empty test set is the user's to mend
        for job in part.jobs:
            guarantees.promises_of(job, part.consortium)
    return parts, metric


def _metric(settings: config.RunConfig, consortium: Consortium) -> str:
    task = consortium.dataset.task
    names = [metric.name for metric in METRICS[task]]
    asked = settings.study.metric or _DEFAULT_METRIC.get(task, "loss")
    if asked not in names:
        raise errors.ConfigError(errors.unknown("study.metric", f"metric of a {task} task", asked, names))
    return asked


def _tasks(parts: Sequence[_Part], folder: pathlib.Path) -> list[Assignment]:
    tasks: dict[str, Assignment] = {}  # by name: what a promise is compared with may be trained already
    known = {}
    for part in parts:
        checksums = part.consortium.dataset.checksums()
        for job in part.jobs:
            own = job.settings
            named = (own.data.name, own.partition.name, own.model.name, own.algorithm.name)
            if named not in known:  # reading the sources for each of many jobs would take longer than training some
                known[named] = identity.code_of(own)
            told = job.identity(checksums, {**known[named], **reference_models.code_of(job)})
            path = results.path_of(folder, job.name)
            tasks.setdefault(job.name, Assignment(part.scenario.settings, job, path, told))
    return list(tasks.values())


def _train(tasks: Sequence[Assignment], out: pathlib.Path, quiet: bool, here: bool) -> None:
    todo = [task for task in tasks if results.read(task.path, task.identity.key) is None]
    progress = JobProgress(len(tasks), len(tasks) - len(todo), quiet=quiet)
    try:
        if here:
            pool.Here().run(todo, lambda task: progress.step(task.job.name))
        elif todo:
            lanes = todo[0].job.settings.runtime.lanes
            with pool.Pool(pool.size(len(todo), lanes), lanes, out / "workers.log") as processes:
                processes.run(todo, lambda task: progress.step(task.job.name))
    finally:
        progress.close()


def _read(task: Assignment) -> Result:
    found = results.read(task.path, task.identity.key)
    if found is None:
        raise errors.UserError(f"{task.path}: the result of a model has gone; starting the study again trains it again")
    return found


def _analysed(
    settings: config.RunConfig,
    parts: Sequence[_Part],
    found: Mapping[str, Result],
    metric: str,
    command: str,
    tuned: Sequence[TunedArm],
) -> Findings:
    main, *others = parts
    scenarios = [
        report.scenario(
            part.scenario.settings, _outcomes(part, found), metric, part.scenario.name, part.scenario.changes
        )
        for part in others
        if part.scenario.name not in (grow.NAME, privacy_price.NAME, leakage.NAME)
    ]
    grown, priced, leaked = None, None, None
    primary = report.scored(settings, main.consortium, metric)[0]
    for part in others:
        if part.scenario.name == leakage.NAME:
            leaked = leakage.findings(part.scenario, part.consortium, part.jobs, found)
        if part.scenario.name == privacy_price.NAME:
            told = guarantees.told(part.jobs, part.consortium, settings.seed)
            priced = privacy_price.price(settings, _outcomes(part, found), primary, report.rules_of(settings), told)
        if part.scenario.name == grow.NAME:
            hospital = grow.watched(settings, main.consortium)
            rules = report.rules_of(settings)
            grow_metric = report.scored(settings, part.consortium, metric)[0]
            grown = grow.curve(part.scenario.settings, _outcomes(part, found), hospital, grow_metric, rules)
    told = _reproduce(settings, main.consortium, command)
    outcomes = _outcomes(main, found)
    privacy = StudyPrivacy(
        guarantees.told(main.jobs, main.consortium, settings.seed), priced, settings.aggregation.secure
    )
    return report.findings(
        settings,
        outcomes,
        metric,
        reproduce=told,
        scenarios=scenarios,
        grow=grown,
        tuned=tuned,
        privacy=privacy,
        leaked=leaked,
        doubts=guarantees.doubts(main.jobs, main.consortium, settings.seed),
    )


def _outcomes(part: _Part, found: Mapping[str, Result]) -> Outcomes:
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


def _write_timing(out: pathlib.Path, found: Mapping[str, Result], training: float, analysis: float) -> None:
    """Writes durations, which differ from run to run and so are kept out of study.json."""
    timing = {
        "models": len(found),
        "rounds_seconds": round(sum(result.seconds for result in found.values()), 3),
        "training_seconds": round(training, 3),
        "analysis_seconds": round(analysis, 3),
    }
    files.write_atomically(out / "timing.json", json.dumps(timing, indent=1) + "\n")
