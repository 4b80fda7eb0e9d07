"""`[study] tune`: every arm's learning rate is searched before it is trained, with the same grid and budget for all.

At each seed the search has validation patients of that seed's training patients only, so that no test row is looked at.
A hospital alone is judged by its own validation rows, any other arm by those of all who take part. A model that goes on
from the federated one, or is the federated one of others, takes its rate.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fedmed.settings import config
from fedmed.settings.study import Kind
from fedmed.study.plan import Job
from fedmed.study.schema.tuned import TunedArm
from fedmed.study.tuning import search
from fedmed.study.tuning.grid import Combination, with_rate
from fedmed.study.tuning.search import FRACTION, Answer, Question, Searches
from fedmed.study.validation import Inner, Validations

ABOUT = (
    "The clients' learning rate was searched for each arm alike before it was trained: rates 10^(1/3) apart around the "
    "config's, by successive halving over rounds (Jamieson & Talwalkar 2016), by the loss on validation patients, "
    f"{100 * FRACTION:g} % of each hospital's training patients at each seed. A hospital alone has a rate of its own, "
    "by its own validation patients; what is made of the federated model, or leaves a hospital out, has the federated "
    "rate."
)
NOT_TUNED = "Settings other than the learning rate, such as rounds, were not tuned; all arms have the config's."

_JUDGED_AS: Mapping[str, Kind] = {
    "federated": "federated",
    "local": "local",
    "pooled": "pooled",
    "leave_one_out": "federated",
    "fine_tuned": "federated",
}
_FEW = "it keeps the config's rate, as the hospital has too few training patients to choose by"
_DIVERGED = "it keeps the config's rate, as training diverged, or an update was refused, at every rate"
_AT_END = "the best rate is at the end of what was tried"


class Rate(NamedTuple):
    """A job's learning rate, and what is to be said of how it came about, or ""."""

    learning_rate: float
    note: str


class ArmsTuning:
    """The searches for all jobs of a study; jobs that differ in name only share one.

    Args:
        parts: the settings that say who the hospitals are, and their jobs.

    Raises:
        DataError: all hospitals together have too few training patients.
    """

    def __init__(self, parts: Sequence[tuple[config.RunConfig, Sequence[Job]]]) -> None:
        self._validations, self._inner = Validations(), Inner(FRACTION)
        self._questions: dict[str, Question] = {}
        self._asked: dict[str, str] = {}  # a job's name to its question's key
        self._kept: dict[str, Rate] = {}
        for hospitals, jobs in parts:
            for job in jobs:
                self._ask(hospitals, job)

    def _ask(self, hospitals: config.RunConfig, job: Job) -> None:
        judged = _JUDGED_AS.get(job.kind)
        if judged is None:
            return
        hospital = job.hospital if judged == "local" else None
        basis = dataclasses.replace(job, arm="", name="", kind=judged, hospital=hospital, fine_tune_epochs=0)
        validation = self._validations.of(hospitals, self._inner)
        validation.rows(job.settings.seed)
        if hospital is not None and not validation.can_choose(job.settings.seed, hospital):
            self._kept[job.name] = Rate(job.settings.client.learning_rate, _FEW)
            return
        key = repr((hospitals, basis))
        self._asked[job.name] = key
        alone = (Combination({}, job.settings),)
        self._questions.setdefault(key, Question(job.name, hospitals, self._inner, (basis,), alone))

    def rates(self, folder: pathlib.Path, log: pathlib.Path, *, quiet: bool, here: bool) -> dict[str, Rate]:
        """Returns the rate of each job by its name, training what is not trained yet.

        Args:
            folder: where the searches keep their results.
            log: of the training processes.
            quiet: no progress.
            here: train in this process.
        """
        if not self._questions:
            return self._kept
        folder.mkdir(exist_ok=True)
        questions = list(self._questions.values())
        lanes = max(question.jobs[0].settings.runtime.lanes for question in questions)
        with search.runner(9 * len(questions), lanes, log, here=here) as runner:
            answers = Searches(questions, self._validations, folder, runner, quiet=quiet).answered()
        search.forget(folder)
        found = {key: _rate(answer) for key, answer in zip(self._questions, answers, strict=True)}
        return {**self._kept, **{name: found[key] for name, key in self._asked.items()}}


def _rate(answer: Answer) -> Rate:
    best = answer.chosen
    if best is None:
        return Rate(answer.question.jobs[0].settings.client.learning_rate, _DIVERGED)
    note = _AT_END if answer.question.halving.at_end(best) else ""
    return Rate(answer.settings(best).client.learning_rate, note)


def tuned(job: Job, rates: Mapping[str, Rate]) -> Job:
    """Returns a job with the rate that was found for it; unchanged where none was searched."""
    if job.name not in rates:
        return job
    return dataclasses.replace(job, settings=with_rate(job.settings, rates[job.name].learning_rate))


def told(jobs: Sequence[Job], rates: Mapping[str, Rate]) -> tuple[TunedArm, ...]:
    """Returns for the record what each arm was given, by arm and hospital in the jobs' order."""
    given: dict[tuple[str, str | None], dict[int, Rate]] = {}
    for job in jobs:
        if job.name in rates:
            hospital = job.hospital if job.kind == "local" else None
            given.setdefault((job.arm, hospital), {})[job.settings.seed] = rates[job.name]
    return tuple(
        TunedArm(arm, hospital, tuple(rate.learning_rate for rate in own.values()), _notes(own))
        for (arm, hospital), own in given.items()
    )


def _notes(own: Mapping[int, Rate]) -> tuple[str, ...]:
    by_note: dict[str, list[int]] = {}
    for seed, rate in own.items():
        by_note.setdefault(rate.note, []).append(seed)
    return tuple(f"at seed {', '.join(map(str, seeds))} {note}" for note, seeds in by_note.items() if note)
