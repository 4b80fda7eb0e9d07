"""`[study] tune`: every arm's learning rate is searched before it is trained, with the same grid and budget for all.

At each seed the search has validation patients of that seed's training patients only, so that no test row is looked at.
A hospital alone is judged by its own validation rows, any other arm by those of all who take part. A model that goes on
from the federated one, or is the federated one of others, takes its rate. What is attacked is not searched.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from fedmed.settings import config
from fedmed.settings.study import Kind
from fedmed.study.plan import Job
from fedmed.study.schema.tuned import TunedArm
from fedmed.study.tuning import search
from fedmed.study.tuning.grid import Combination, changed, combinations, with_rate
from fedmed.study.tuning.halving import FULL, Effort
from fedmed.study.tuning.search import FRACTION, Answer, Question, Runner, Searches
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


class Part(NamedTuple):
    """Jobs whose rates are searched.

    Attributes:
        hospitals: the settings that say who they are.
        jobs: of models.
        effort: how much is tried for each.
        grids: by arm, other settings that are searched with its rate, by dotted keys.
    """

    hospitals: config.RunConfig
    jobs: Sequence[Job]
    effort: Effort = FULL
    grids: Mapping[str, Mapping[str, Sequence[Any]]] = MappingProxyType({})


class Rate(NamedTuple):
    """What a search has found for a job.

    Attributes:
        learning_rate: of the clients.
        note: what is to be said of how it came about, or "".
        changes: the other settings that were searched.
        trials: that were made.
        rounds: that they trained.
    """

    learning_rate: float
    note: str
    changes: Mapping[str, Any] = MappingProxyType({})
    trials: int = 0
    rounds: int = 0


class ArmsTuning:
    """The searches for all jobs of a study; jobs that differ in name only share one.

    Args:
        parts: whose jobs they are.

    Raises:
        DataError: all hospitals together have too few training patients.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._validations, self._inner = Validations(), Inner(FRACTION)
        self._questions: dict[str, Question] = {}
        self._asked: dict[str, str] = {}  # a job's name to its question's key
        self._kept: dict[str, Rate] = {}
        for part in parts:
            for job in part.jobs:
                self._ask(part, job)

    def _ask(self, part: Part, job: Job) -> None:
        judged = _JUDGED_AS.get(job.kind)
        if judged is None or job.shadow is not None or job.attack:  # attacks have rows of their own, or no model
            return
        hospital = job.hospital if judged == "local" else None
        basis = dataclasses.replace(job, arm="", name="", kind=judged, hospital=hospital, fine_tune_epochs=0)
        validation = self._validations.of(part.hospitals, self._inner)
        validation.rows(job.settings.seed)
        if hospital is not None and not validation.can_choose(job.settings.seed, hospital):
            self._kept[job.name] = Rate(job.settings.client.learning_rate, _FEW)
            return
        grid = part.grids.get(job.arm, {})
        key = repr((part.hospitals, basis, part.effort, grid))
        self._asked[job.name] = key
        if key not in self._questions:
            every = combinations(job.settings, grid) if grid else (Combination({}, job.settings),)
            self._questions[key] = Question(job.name, part.hospitals, self._inner, (basis,), every, part.effort)

    def rates(
        self, folder: pathlib.Path, runner: Runner, *, quiet: bool, without: Collection[str] = ()
    ) -> dict[str, Rate]:
        """Returns the rate of each job by its name, training what is not trained yet.

        Args:
            folder: where the searches keep their results.
            runner: trains.
            quiet: no progress.
            without: names of jobs that will not be trained after all.
        """
        asked = {name: key for name, key in self._asked.items() if name not in without}
        wanted = set(asked.values())
        questions = {key: question for key, question in self._questions.items() if key in wanted}
        if not questions:
            return self._kept
        folder.mkdir(exist_ok=True)
        answers = Searches(list(questions.values()), self._validations, folder, runner, quiet=quiet).answered()
        search.forget(folder)
        found = {key: _rate(answer) for key, answer in zip(questions, answers, strict=True)}
        return {**self._kept, **{name: found[key] for name, key in asked.items()}}


def _rate(answer: Answer) -> Rate:
    best = answer.chosen
    if best is None:
        return Rate(answer.question.jobs[0].settings.client.learning_rate, _DIVERGED)
    note = _AT_END if answer.question.halving.at_end(best) else ""
    changes = answer.question.combinations[best.combination].changes
    return Rate(answer.settings(best).client.learning_rate, note, changes, len(answer.scores), answer.rounds)


def tuned(job: Job, rates: Mapping[str, Rate]) -> Job:
    """Returns a job with the rate that was found for it; unchanged where none was searched."""
    if job.name not in rates:
        return job
    found = rates[job.name]
    settings = changed(job.settings, found.changes) if found.changes else job.settings
    return dataclasses.replace(job, settings=with_rate(settings, found.learning_rate))


def told(jobs: Sequence[Job], rates: Mapping[str, Rate]) -> tuple[TunedArm, ...]:
    """Returns for the record what each arm was given, by arm and hospital in the jobs' order."""
    given: dict[tuple[str, str | None], dict[int, Rate]] = {}
    for job in jobs:
        if job.name in rates:
            hospital = job.hospital if job.kind == "local" else None
            given.setdefault((job.arm, hospital), {})[job.settings.seed] = rates[job.name]
    return tuple(
        TunedArm(
            arm,
            hospital,
            tuple(rate.learning_rate for rate in own.values()),
            _notes(own),
            tuple(dict(rate.changes) for rate in own.values()),
            tuple(rate.trials for rate in own.values()),
            tuple(rate.rounds for rate in own.values()),
        )
        for (arm, hospital), own in given.items()
    )


def _notes(own: Mapping[int, Rate]) -> tuple[str, ...]:
    by_note: dict[str, list[int]] = {}
    for seed, rate in own.items():
        by_note.setdefault(rate.note, []).append(seed)
    return tuple(f"at seed {', '.join(map(str, seeds))} {note}" for note, seeds in by_note.items() if note)
