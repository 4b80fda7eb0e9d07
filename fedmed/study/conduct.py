"""A study from settings to study.json: train what is not trained yet, then compare."""

import contextlib
import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.data.examples import Task
from fedmed.engine import attendance, checks, fates, identity, soundness
from fedmed.engine.runtimes import cluster
from fedmed.reporting import first_lines
from fedmed.settings import config
from fedmed.statistics.metrics import METRICS
from fedmed.study import (
    analysis,
    contenders,
    grow,
    guarantees,
    leakage,
    plan,
    privacy_price,
    reference_models,
    results,
    stress,
    subgroups,
    suited,
)
from fedmed.study.analysis import Part
from fedmed.study.consortium import Consortium
from fedmed.study.locking import locked
from fedmed.study.plan import Job
from fedmed.study.progress import JobProgress
from fedmed.study.results import Result
from fedmed.study.session import Assignment
from fedmed.study.tuning import arms, search
from fedmed.study.tuning.arms import ArmsTuning, Rate
from fedmed.study.tuning.search import Runner
from fedmed.system import errors, files, plain

_DEFAULT_METRIC: Mapping[Task, str] = {"binary": "auroc", "multiclass": "accuracy", "count": "deviance"}


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
    runtime = settings.runtime
    cluster.check(runtime)
    settings = dataclasses.replace(settings, runtime=attendance.side_by_side(runtime))
    parts, metric = _planned(settings)
    searches, made = ArmsTuning(_searched(parts)), suited.missing(out)
    with locked(out, "study"):
        planned = [job for part in parts for job in part.jobs]
        lanes = max(job.settings.runtime.lanes for job in planned)
        with search.runner(runtime, len(planned), lanes, out / "workers.log", here=here) as runner:
            with suited.unmade(made):
                _check_suited(settings, parts, out, runner)
            first_lines.tell(runtime, parts[0].consortium.faults, quiet=quiet)
            files.write_atomically(out / "config.toml", config.dumps(settings))
            parts = [_fitted(part, settings, out, runner) for part in parts]
            unfit = {job.name for job in planned} - {job.name for part in parts for job in part.jobs}
            rates = searches.rates(out / "tuning", runner, quiet=quiet, without=unfit)
            tuned = {part.scenario.name: arms.told(part.jobs, rates) for part in parts}
            rates = {**rates, **_of_attacks(parts, rates)}
            parts = [dataclasses.replace(part, jobs=[arms.tuned(job, rates) for job in part.jobs]) for part in parts]
            parts = [_sharing(part, parts[0]) for part in parts]
            tasks = _tasks(parts, out / "jobs")
            _train(tasks, runner, quiet=quiet)
        trained = time.monotonic()
        found = {task.job.name: _read(task) for task in tasks}
        study = plain.checked(analysis.findings(settings, parts, found, metric, command, tuned))
        files.write_atomically(out / "study.json", json.dumps(study, indent=1, allow_nan=False) + "\n")
        _write_timing(out, found, trained - began, time.monotonic() - trained)
    return study


def _planned(settings: config.RunConfig) -> tuple[list[Part], str]:
    """Loads the data and plans the jobs; what the user can have wrong and is known without TensorFlow is found here."""
    scenarios = plan.scenarios(settings)
    soundness.check_study(settings)
    for own in scenarios:
        for arm in own.arms:
            with errors.within(_entry(own, arm)):
                checks.check_names(arm.settings)
    main = Consortium(settings)
    metric = _metric(settings, main)
    subgroups.columns(main.dataset, settings.study)
    consortia = [main, *map(_dealt, scenarios[1:])]
    scenarios = [plan.fitting(*both) for both in zip(scenarios, (own.dataset for own in consortia), strict=True)]
    parts = [
        Part(scenario, consortium, plan.jobs(scenario, consortium.hospitals, metric))
        for scenario, consortium in zip(scenarios, consortia, strict=True)
    ]
    if settings.study.grow:
        hospital, scenario = grow.watched(settings, main), grow.scenario(settings)
        consortium = Consortium(scenario.settings)
        parts.append(Part(scenario, consortium, grow.jobs(scenario.settings, consortium, hospital, metric)))
    if settings.study.privacy.epsilons:
        priced = privacy_price.scenario(settings)
        for arm in priced.arms:
            checks.check_names(arm.settings)
            soundness.check(arm.settings, main.dataset.task, main.dataset.is_table)
        parts.append(Part(priced, main, privacy_price.jobs(priced, main, metric, parts[0].jobs)))
    if settings.study.compare:
        compared = contenders.scenario(settings)
        parts.append(Part(compared, main, contenders.jobs(compared, main, metric)))
    if settings.study.stress.run:
        stressed = stress.scenario(settings, main)
        parts.append(Part(stressed, main, stress.jobs(stressed, main, metric)))
    if settings.study.leakage.attack:
        attacks = leakage.scenario(settings, main)
        parts.append(Part(attacks, main, leakage.jobs(attacks, metric)))
    if len(main.hospitals) < 2:
        raise errors.DataError("study: there is one hospital only, and nothing to federate")
    for part in parts:
        for arm in part.scenario.arms:
            with errors.within(_entry(part.scenario, arm)):
                attendance.cohort_size(arm.settings.cohort, len(part.consortium.hospitals))
                soundness.check(arm.settings, part.consortium.dataset.task, part.consortium.dataset.is_table)
            soundness.check_arm(
                arm.settings, arm.name, fine_tuned=arm.kind == "fine_tuned", searched=_is_searched(part)
            )
            _check_scenario(part, arm)
        part.consortium.rows(settings.seed)  # an empty test set is the user's to mend
        for job in part.jobs:
            guarantees.promises_of(job, part.consortium)
    return parts, metric


def _dealt(scenario: plan.Scenario) -> Consortium:
    with errors.within(_entry(scenario)):
        return Consortium(scenario.settings)


def _entry(scenario: plan.Scenario, arm: plan.ArmPlan | None = None) -> str:
    """Returns the entry of [[arms]] that asks for this, as a message begins; "" where the config itself does."""
    name = scenario.name or (arm.name if arm is not None and arm.changes else "")
    return f"arms, {name!r}: " if name and scenario.name not in analysis.OF_THEIR_OWN else ""


def _check_scenario(part: Part, arm: plan.ArmPlan) -> None:
    same = arm.settings.scenario == part.scenario.settings.scenario
    with errors.within("" if same else f"arms, {arm.name!r}: "):
        fates.check(arm.settings, part.consortium.dataset, part.consortium.patients_held())


def _searched(parts: Sequence[Part]) -> list[arms.Part]:
    """Returns what is tuned: everything where the study says so, algorithms that are compared in any case."""
    found = []
    for part in filter(_is_searched, parts):
        if part.scenario.name == contenders.NAME:
            found.append(contenders.searched(part.scenario, part.jobs))
        else:
            found.append(arms.Part(part.scenario.settings, part.jobs))
    return found


def _check_suited(settings: config.RunConfig, parts: Sequence[Part], out: pathlib.Path, runner: Runner) -> None:
    """Raises a ConfigError, with the arm's name, where its algorithm is not for its model."""
    for part in parts:
        if part.scenario.name in analysis.OF_THEIR_OWN:
            continue
        asked = {arm.name: arm for arm in part.scenario.arms}
        tries = suited.doubtful({name: arm.settings for name, arm in asked.items()}, settings, part.scenario.name)
        if not tries:
            continue
        told = _trained(part, list(tries.values()), out, runner)
        suited.check(tries, told, {name: _entry(part.scenario, arm) for name, arm in asked.items()})


def _trained(part: Part, tries: list[Job], out: pathlib.Path, runner: Runner) -> dict[str, Result]:
    """Returns the results of jobs of a part, by their names."""
    tasks = _tasks([dataclasses.replace(part, jobs=tries)], out / "jobs")
    _train(tasks, runner, quiet=True)
    return {task.job.name: _read(task) for task in tasks}


def _is_searched(part: Part) -> bool:
    if part.scenario.name == contenders.NAME:
        return True
    return part.scenario.settings.study.tune and part.scenario.name != stress.NAME


def _fitted(part: Part, settings: config.RunConfig, out: pathlib.Path, runner: Runner) -> Part:
    """Returns the part as it is once some is tried: algorithms that are for the model, a deadline that can be kept."""

    def train(tries: list[Job]) -> dict[str, Result]:
        return _trained(part, tries, out, runner)

    if part.scenario.name == contenders.NAME:
        scenario, jobs, unfit = contenders.fitted(part.scenario, part.jobs, train)
        return Part(scenario, part.consortium, jobs, unfit)
    if part.scenario.name == stress.NAME:
        seconds = stress.round_seconds(part.scenario, part.jobs, train)
        scenario = stress.scenario(settings, part.consortium, seconds)
        return Part(scenario, part.consortium, stress.jobs(scenario, part.consortium, part.jobs[0].metric), {}, seconds)
    return part


def _sharing(part: Part, main: Part) -> Part:
    """Returns the part with jobs that the study's own scenario has too as the very same, where there can be any."""
    if part.scenario.name not in (contenders.NAME, stress.NAME):
        return part
    jobs = stress.at_rates(part.jobs, main.jobs) if part.scenario.name == stress.NAME else part.jobs
    return dataclasses.replace(part, jobs=contenders.shared(jobs, main.jobs))


def _of_attacks(parts: Sequence[Part], rates: Mapping[str, Rate]) -> dict[str, Rate]:
    """Returns the rates of the models that are attacked: those that the study's own like them were given."""
    own = [part for part in parts if part.scenario.name in (plan.MAIN, privacy_price.NAME)]
    trained = [job for part in own for job in part.jobs]
    attacked = [job for part in parts if part.scenario.name == leakage.NAME for job in part.jobs]
    return leakage.rates(attacked, trained, rates)


def _metric(settings: config.RunConfig, consortium: Consortium) -> str:
    task = consortium.dataset.task
    names = [metric.name for metric in METRICS[task]]
    asked = settings.study.metric or _DEFAULT_METRIC.get(task, "loss")
    if asked not in names:
        raise errors.ConfigError(errors.unknown("study.metric", f"metric of a {task} task", asked, names))
    return asked


def _tasks(parts: Sequence[Part], folder: pathlib.Path) -> list[Assignment]:
    tasks: dict[str, Assignment] = {}  # by name: what a promise is compared with may be trained already
    known = {}
    for part in parts:
        checksums = part.consortium.dataset.checksums()
        for job in part.jobs:
            own = job.settings
            named = (own.data.name, own.partition.name, own.model.name, own.algorithm.name, own.aggregation.rule)
            if named not in known:  # reading the sources for each of many jobs would take longer than training some
                known[named] = identity.code_of(own)
            told = job.identity(checksums, {**known[named], **reference_models.code_of(job)})
            path = results.path_of(folder, job.name)
            tasks.setdefault(job.name, Assignment(part.scenario.settings, job, path, told))
    return list(tasks.values())


def _train(tasks: Sequence[Assignment], runner: Runner, *, quiet: bool) -> None:
    todo = [task for task in tasks if results.read(task.path, task.identity.key) is None]
    progress = JobProgress(len(tasks), len(tasks) - len(todo), quiet=quiet)
    with contextlib.closing(progress):
        if todo:
            runner(todo, lambda task: progress.step(task.job.name))


def _read(task: Assignment) -> Result:
    found = results.read(task.path, task.identity.key)
    if found is None:
        raise errors.UserError(f"{task.path}: the result of a model has gone; starting the study again trains it again")
    return found


def _write_timing(out: pathlib.Path, found: Mapping[str, Result], training: float, analysis: float) -> None:
    """Writes durations, which differ from run to run and so are kept out of study.json."""
    timing = {
        "models": len(found),
        "rounds_seconds": round(sum(result.seconds for result in found.values()), 3),
        "training_seconds": round(training, 3),
        "analysis_seconds": round(analysis, 3),
    }
    files.write_atomically(out / "timing.json", json.dumps(timing, indent=1) + "\n")
