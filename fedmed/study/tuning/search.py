"""Searches side by side: what is to be tried next of each is trained by the same processes, until nothing is."""

import contextlib
import dataclasses
import math
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from fedmed.engine import identity, scenarios
from fedmed.engine.identity import Identity
from fedmed.reporting.trials import told
from fedmed.settings import config
from fedmed.statistics import metrics
from fedmed.study import plan, pool, results
from fedmed.study.cluster_pool import ClusterPool, on_cluster
from fedmed.study.plan import Job
from fedmed.study.progress import JobProgress
from fedmed.study.results import Result
from fedmed.study.session import Assignment, Course
from fedmed.study.tuning import halving
from fedmed.study.tuning.grid import Combination
from fedmed.study.tuning.halving import FULL, Candidate, Effort, Halving, Trial
from fedmed.study.validation import Inner, Validation, Validations
from fedmed.system import errors

FRACTION = 0.25
"""Of each hospital's training patients validate, as many as are test patients of all of them by default."""

Runner: TypeAlias = Callable[[Sequence[Assignment], Callable[[Assignment], None]], None]


@dataclasses.dataclass(frozen=True)
class Question:
    """One search: for the best candidate of a model that is trained once a seed.

    Attributes:
        name: of its files.
        hospitals: the settings that say who they are.
        inner: which rows validate.
        jobs: one a seed, as the model is trained in the end, but for what is searched.
        combinations: of other settings; those of the first job, unchanged, where nothing but the rate is searched.
        effort: how much is tried.
    """

    name: str
    hospitals: config.RunConfig
    inner: Inner
    jobs: tuple[Job, ...]
    combinations: tuple[Combination, ...]
    effort: Effort = FULL

    @property
    def halving(self) -> Halving:
        """The rule of the search."""
        rounds = halving.budgets(self.jobs[0].settings.rounds, self.effort)
        return Halving(len(self.combinations), rounds, self.effort)


@dataclasses.dataclass(frozen=True)
class Score:
    """What one job of a trial has come to: losses per validation row, infinite or NaN where it diverged."""

    loss: float
    untrained: float
    refused: bool


@dataclasses.dataclass
class Answer:
    """What is known of a question: the scores of each trial, one a seed."""

    question: Question
    scores: dict[Trial, tuple[Score, ...]]

    @property
    def losses(self) -> dict[Trial, float]:
        """The mean loss over seeds of each trial; infinite where it diverged, or an update was refused, at a seed."""
        return {trial: _mean(scores) for trial, scores in self.scores.items()}

    @property
    def chosen(self) -> Candidate | None:
        """The best candidate; None where all have diverged."""
        return self.question.halving.chosen(self.losses)

    @property
    def rounds(self) -> int:
        """How many rounds were trained; a candidate of more rounds has gone on from its fewer ones."""
        most: dict[Candidate, int] = {}
        for trial in self.scores:
            most[trial.candidate] = max(trial.rounds, most.get(trial.candidate, 0))
        return sum(most.values())

    def settings(self, candidate: Candidate) -> config.RunConfig:
        """Returns the settings of a candidate."""
        return self.question.combinations[candidate.combination].at(candidate.step)


def _mean(scores: Sequence[Score]) -> float:
    usable = all(math.isfinite(score.loss) and not score.refused for score in scores)
    return float(np.mean([score.loss for score in scores])) if usable else math.inf


class Searches:
    """Questions that are answered together; data and code are read once for all that share them.

    Args:
        questions: to be answered.
        validations: their hospitals.
        folder: an existing one, of the jobs' results.
        runner: trains them.
        quiet: no progress.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        validations: Validations,
        folder: pathlib.Path,
        runner: Runner,
        *,
        quiet: bool,
    ) -> None:
        self._questions, self._validations = questions, validations
        self._folder, self._runner, self._quiet = folder, runner, quiet
        self._checksums: dict[int, dict[str, str]] = {}
        self._code: dict[tuple[str, ...], dict[str, str]] = {}

    def answered(self) -> list[Answer]:
        """Returns the answers, in order, training what is not trained yet."""
        answers, rung = [Answer(question, {}) for question in self._questions], 0
        while wanted := [
            (answer, trial) for answer in answers for trial in answer.question.halving.next(answer.losses)
        ]:
            rung += 1
            tasks = {
                (place, trial): self._tasks(answer.question, trial) for place, (answer, trial) in enumerate(wanted)
            }
            self._train([task for own in tasks.values() for task in own], rung)
            for (place, trial), own in tasks.items():
                answer = wanted[place][0]
                answer.scores[trial] = tuple(self._score(answer.question, task) for task in own)
        return answers

    def _train(self, tasks: Sequence[Assignment], rung: int) -> None:
        todo = [task for task in tasks if results.read(task.path, task.identity.key) is None]
        most = max(task.job.settings.rounds for task in tasks)
        what = f"tuning, step {rung}, to round {most}: models"
        progress = JobProgress(len(tasks), len(tasks) - len(todo), quiet=self._quiet or not todo, what=what)
        with contextlib.closing(progress):
            if todo:
                self._runner(todo, lambda task: progress.step(task.job.name))

    def _tasks(self, question: Question, trial: Trial) -> list[Assignment]:
        """Returns the jobs of a trial; their course is the candidate's, whatever the rounds."""
        combination = question.combinations[trial.candidate.combination]
        found = []
        for job in question.jobs:
            settings = _watched_now_and_then(combination.at(trial.candidate.step), question.halving.budgets[0])
            settings = dataclasses.replace(settings, rounds=trial.rounds, seed=job.settings.seed)
            settings = scenarios.without_refusals(settings)  # what is refused in any case is no fault of a rate
            rate = f"rate{settings.client.learning_rate:g}"
            words = [told(combination.changes), rate, f"seed{job.settings.seed}"]
            course = "-".join([*filter(None, [question.name]), *(plan.safe(word) for word in words if word)])
            named = dataclasses.replace(job, name=f"{course}-round{trial.rounds}", settings=settings, metric="loss")
            own = self._identity(question, named)
            going_on = Course(self._folder / f"{course}.checkpoint", _of_course(own))
            path = results.path_of(self._folder, named.name)
            found.append(Assignment(question.hospitals, named, path, own, question.inner, going_on))
        return found

    def _identity(self, question: Question, job: Job) -> Identity:
        own = job.settings
        names = (own.data.name, own.partition.name, own.model.name, own.algorithm.name)
        if names not in self._code:
            self._code[names] = identity.code_of(own)
        told = job.identity(self._data(question), self._code[names])
        return told._replace(settings={**told.settings, "validation": repr(tuple(question.inner))})

    def _hospitals(self, question: Question) -> Validation:
        return self._validations.of(question.hospitals, question.inner)

    def _data(self, question: Question) -> dict[str, str]:
        """Returns the checksums of a question's data."""
        found = self._hospitals(question)
        if id(found) not in self._checksums:
            self._checksums[id(found)] = found.dataset.checksums()
        return self._checksums[id(found)]

    def _score(self, question: Question, task: Assignment) -> Score:
        found = results.read(task.path, task.identity.key)
        if found is None:
            raise errors.UserError(f"{task.path}: a result has gone; the same command makes it again")
        loss = loss_of(task.job, self._hospitals(question), found)
        return Score(loss, float(found.curve[0, -1]), bool(found.refused))


def loss_of(job: Job, hospitals: Validation, result: Result) -> float:
    """Returns a job's loss per validation row of the hospitals that trained; infinite where it is not finite."""
    alone = [name for name in hospitals.hospitals if name == job.hospital]
    trained = alone if job.kind == "local" else job.members or hospitals.hospitals
    rows = hospitals.rows(job.settings.seed)
    y = np.concatenate([hospitals.dataset.examples.y[rows[name].test] for name in trained])
    p = np.concatenate([result.predictions[hospitals.hospitals.index(name)] for name in trained]).astype(np.float64)
    if not np.isfinite(p).all():
        return math.inf
    with np.errstate(over="ignore"):
        loss = float(metrics.score(hospitals.dataset.task, "loss", y, p))
    return loss if math.isfinite(loss) else math.inf


def _watched_now_and_then(settings: config.RunConfig, every: int) -> config.RunConfig:
    """Returns settings that are scored seldom: predicting takes time, and only the last score of a trial counts."""
    return dataclasses.replace(settings, evaluation=dataclasses.replace(settings.evaluation, every=every))


def _of_course(told: Identity) -> Identity:
    """Returns what a training belongs to that may go on: everything but how long."""
    return told._replace(settings={name: value for name, value in told.settings.items() if name != "rounds"})


@contextlib.contextmanager
def runner(runtime: config.Runtime, jobs: int, lanes: int, log: pathlib.Path, *, here: bool) -> Iterator[Runner]:
    """Gives a function that trains assignments, in this process or in several that are started when first needed.

    Args:
        runtime: as the user has set it: whether the processes are on a cluster.
        jobs: how many there are about.
        lanes: that a job has at most.
        log: what processes on this machine say.
        here: in this process.
    """
    if here:
        with pool.Here() as trainer:
            yield trainer.run
        return
    with contextlib.ExitStack() as stack:
        opened: list[pool.Pool | ClusterPool] = []

        def run(tasks: Sequence[Assignment], done: Callable[[Assignment], None]) -> None:
            if not opened:
                made = pool.Pool(pool.size(jobs, lanes), lanes, log)
                opened.append(stack.enter_context(on_cluster(runtime, jobs, lanes) if runtime.name == "ray" else made))
            opened[0].run(tasks, done)

        yield run


def forget(folder: pathlib.Path) -> None:
    """Removes what trainings have saved on their way, once nothing goes on from it any more."""
    for file in folder.glob("*.checkpoint"):
        file.unlink()
    for kept in folder.glob("*.kept"):
        shutil.rmtree(kept)
