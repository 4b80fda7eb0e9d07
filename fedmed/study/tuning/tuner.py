"""`fedmed tune`: from a config to tuned.toml, a config with the settings that did best on validation patients."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmed.engine import attendance, checks, identity, soundness
from fedmed.engine.runtimes import cluster
from fedmed.reporting import first_lines, rates, trials
from fedmed.settings import config
from fedmed.statistics import metrics
from fedmed.study import results, suited
from fedmed.study.locking import locked
from fedmed.study.plan import Job, job_name
from fedmed.study.schema.tuned import Fate, RateTrial, Tuning
from fedmed.study.session import Assignment
from fedmed.study.tuning import grid as grids
from fedmed.study.tuning import search
from fedmed.study.tuning.halving import Trial
from fedmed.study.tuning.search import FRACTION, Answer, Question, Runner, Score, Searches
from fedmed.study.validation import Inner, Validation, Validations
from fedmed.system import errors, files, plain

SEEDS = 2
TUNED = "tuned.toml"
_MOST_SEEDS = 100
_ARM = "federated"


def run(
    settings: config.RunConfig,
    out: pathlib.Path,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    seeds: int = SEEDS,
    quiet: bool = False,
    here: bool = False,
) -> dict[str, Any]:
    """Searches the client's learning rate, or goes on with it, and returns what tuning.json holds.

    Args:
        settings: the config; its learning rate is where the search begins.
        out: the directory, in which tuned.toml, tuning.json, tuning.md and a picture are left.
        grid: other settings, by dotted keys, to the values that are tried with each rate.
        seeds: how many; each has validation patients of its own among the training patients of the config's seed.
        quiet: no progress.
        here: train in this process instead of several others.

    Raises:
        UserError: a setting, the data or the model cannot be used; or another tuning is writing in `out`.
    """
    cluster.check(settings.runtime)
    soundness.check_tuning(settings)
    question = _question(settings, grid or {}, seeds)
    validations = Validations()
    validation = validations.of(question.hospitals, question.inner)
    _check(question, validation)
    lanes = question.jobs[0].settings.runtime.lanes
    made = suited.missing(out)
    with (
        locked(out, "tuning"),
        search.runner(settings.runtime, 9 * seeds, lanes, out / "workers.log", here=here) as runner,
    ):
        with suited.unmade(made):
            _check_suited(question, validation, out / "jobs", runner)
        first_lines.tell(settings.runtime, [], quiet=quiet)
        (answer,) = Searches([question], validations, out / "jobs", runner, quiet=quiet).answered()
        tuning = found(settings, answer, validation)
        told = plain.checked(tuning)
        _write(settings, answer, told, out)
        search.forget(out / "jobs")
    return told


def _question(settings: config.RunConfig, grid: Mapping[str, Sequence[Any]], seeds: int) -> Question:
    if not 1 <= seeds <= _MOST_SEEDS:
        where = errors.argument("seeds", "--seeds")
        raise errors.ConfigError(f"{where}: expected a number >= 1 and <= {_MOST_SEEDS}, got {errors.shown(seeds)}")
    own = dataclasses.replace(
        settings,
        runtime=attendance.side_by_side(settings.runtime),
        stop=config.Stop(),
        study=config.studies.DEFAULT,
        arms=(),
    )
    jobs = tuple(
        Job(job_name("", _ARM, seed, None), _ARM, _ARM, dataclasses.replace(own, seed=seed))
        for seed in range(settings.seed, settings.seed + seeds)
    )
    return Question("", own, Inner(FRACTION, settings.seed), jobs, grids.combinations(own, grid))


def _check(question: Question, validation: Validation) -> None:
    """Raises a UserError for all that the user can have wrong and is known without training."""
    for combination in question.combinations:
        checks.check_names(combination.settings)
    for combination in question.combinations:
        attendance.cohort_size(combination.settings.cohort, len(validation.hospitals))
    for job in question.jobs:
        validation.rows(job.settings.seed)


def _check_suited(question: Question, validation: Validation, folder: pathlib.Path, runner: Runner) -> None:
    """Raises a ConfigError, with what was changed, where an algorithm is not for its model."""
    changes = {trials.told(one.changes): one for one in question.combinations}
    tries = suited.doubtful({name: one.settings for name, one in changes.items()}, question.hospitals)
    tasks, checksums = [], validation.dataset.checksums()
    for job in tries.values():
        own = job.identity(checksums, identity.code_of(job.settings))
        path = results.path_of(folder, job.name)
        tasks.append(Assignment(question.hospitals, job, path, own, question.inner))
    todo = [task for task in tasks if results.read(task.path, task.identity.key) is None]
    if todo:
        runner(todo, lambda task: None)
    told = {task.job.name: results.read(task.path, task.identity.key) for task in tasks}
    where = {name: f"{grids.GRID} {name}: " if name else "" for name in tries}
    suited.check(tries, {name: result for name, result in told.items() if result is not None}, where)


def found(settings: config.RunConfig, answer: Answer, validation: Validation) -> Tuning:
    """Returns what a search has found.

    Args:
        settings: where it began.
        answer: all that was tried.
        validation: the hospitals.
    """
    question, losses, best = answer.question, answer.losses, answer.chosen
    last = question.halving.budgets[-1]
    untrained = float(np.mean([score.untrained for score in next(iter(answer.scores.values()))]))
    chosen = None if best is None else _trial(answer, Trial(best, last), losses)
    tried = tuple(_trial(answer, trial, losses) for trial in sorted(answer.scores))
    task = validation.dataset.task
    tuning = Tuning(
        schema=1,
        name=settings.name,
        task=task,
        measure=metrics.metric(task, "loss").label,
        learning_rate=settings.client.learning_rate,
        seeds=tuple(job.settings.seed for job in question.jobs),
        validation=question.inner.fraction,
        budgets=question.halving.budgets,
        trials=tried,
        untrained=untrained if math.isfinite(untrained) else None,
        chosen=chosen,
        warnings=(),
    )
    at_end = best is not None and question.halving.at_end(best)
    return dataclasses.replace(tuning, warnings=_warnings(tuning, at_end))


def _trial(answer: Answer, trial: Trial, losses: Mapping[Trial, float]) -> RateTrial:
    scores, loss = answer.scores[trial], losses[trial]
    combination = answer.question.combinations[trial.candidate.combination]
    rate = answer.settings(trial.candidate).client.learning_rate
    by_seed = tuple(score.loss if math.isfinite(score.loss) else None for score in scores)
    return RateTrial(
        learning_rate=rate,
        set=dict(combination.changes),
        rounds=trial.rounds,
        loss=loss if math.isfinite(loss) else None,
        by_seed=by_seed,
        fate=_fate(scores),
    )


def _fate(scores: Sequence[Score]) -> Fate:
    if any(score.refused for score in scores):
        return "refused"
    return "trained" if all(math.isfinite(score.loss) for score in scores) else "diverged"


def _warnings(tuning: Tuning, at_end: bool) -> tuple[str, ...]:
    """Returns what makes the choice doubtful, in sentences."""
    rates_tried = [trial.learning_rate for trial in tuning.trials]
    span = f"{min(rates_tried):g} to {max(rates_tried):g}"
    chosen = tuning.chosen
    if chosen is None:
        return (f"At every learning rate that was tried, {span}, training diverged or an update was refused.",)
    said = []
    if at_end:
        said.append(
            f"The best learning rate, {chosen.learning_rate:g}, is at the end of what was tried, {span}; a better one "
            "may lie beyond. Start from it: the search goes on where the config's rate is."
        )
    if tuning.untrained is not None and chosen.loss is not None and chosen.loss >= tuning.untrained:
        said.append(
            f"No candidate is better than its untrained model: {tuning.measure} {chosen.loss:.5g}, untrained "
            f"{tuning.untrained:.5g}. No learning rate mends that."
        )
    return tuple(said)


def _write(settings: config.RunConfig, answer: Answer, told: Mapping[str, Any], out: pathlib.Path) -> None:
    """Leaves the results, each file whole; no tuned.toml where nothing was chosen."""
    best = answer.chosen
    if best is None:
        (out / TUNED).unlink(missing_ok=True)
    else:
        files.write_atomically(out / TUNED, _tuned(settings, answer, told))
    files.write_atomically(out / "tuning.json", json.dumps(told, indent=1, allow_nan=False) + "\n")
    files.write_atomically(out / "tuning.md", trials.markdown(told))
    rates.write_rates(told, out)


def _tuned(settings: config.RunConfig, answer: Answer, told: Mapping[str, Any]) -> str:
    """Returns the chosen config as TOML, with what it was chosen by."""
    best = answer.chosen
    if best is None:
        raise ValueError("nothing was chosen")
    rate = answer.settings(best).client.learning_rate
    changes = answer.question.combinations[best.combination].changes
    own = grids.with_rate(grids.changed(settings, changes), rate)
    own = dataclasses.replace(own, name=f"{settings.name}_tuned")
    said = [
        f"Written by fedmed tune. {trials.answer(told)}",
        f"By the {told['measure']} on {100 * told['validation']:g} % of each hospital's training patients, over "
        f"{len(told['seeds'])} seed(s); no test row was looked at.",
        *(f"Warning. {text}" for text in told["warnings"]),
    ]
    return "".join(f"# {' '.join(text.split())}\n" for text in said) + "\n" + config.dumps(own)
