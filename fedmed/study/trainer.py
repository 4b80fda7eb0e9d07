"""Trains a job's model: a federation from start to end, tested at every hospital. Uses TensorFlow."""

import collections
import contextlib
import functools
import pathlib
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from fedmed.data.examples import Array, Examples
from fedmed.engine import contributions
from fedmed.engine.checkpoints import Checkpoints, Saved, files_of
from fedmed.engine.contributions import Attendance, Contribution
from fedmed.engine.evaluation import predict_parts
from fedmed.engine.federation import Done, Federation, Position
from fedmed.engine.identity import Identity
from fedmed.engine.programs import PROGRAMS, Beginnings, Programs
from fedmed.settings import config
from fedmed.settings.study import Kind
from fedmed.statistics import ArmTest, metrics, statistic
from fedmed.statistics.null_model import LOSS
from fedmed.study import further, shadows
from fedmed.study.consortium import POOLED, Consortium, Material
from fedmed.study.guarantees import training_settings
from fedmed.study.plan import Job
from fedmed.study.results import Result
from fedmed.system import errors, plain

_MOST_POINTS = 100  # of a curve
_SECONDS_BETWEEN_CHECKPOINTS = 10.0


class Trainer:
    """Trains jobs one after another on the same hospitals.

    Args:
        consortium: the hospitals.
        worker: what the runtime works with, started; see `runtimes.starting`.
        programs: recorded programs, shared with trainers of other hospitals.
        pause: seconds between a job's checkpoints.
        beginnings: what models begin from, shared likewise.
    """

    def __init__(
        self,
        consortium: Consortium,
        *,
        worker: Any = None,
        programs: Programs = PROGRAMS,
        pause: float = _SECONDS_BETWEEN_CHECKPOINTS,
        beginnings: Beginnings | None = None,
    ) -> None:
        self.consortium = consortium
        self._worker, self._programs, self._pause = worker, programs, pause
        self._beginnings: Beginnings = collections.OrderedDict() if beginnings is None else beginnings

    def run(
        self,
        job: Job,
        path: pathlib.Path | None = None,
        identity: Identity | None = None,
        *,
        lasting: bool = False,
    ) -> Result:
        """Trains and tests a job's model.

        Args:
            job: what to train.
            path: of the job's checkpoint, from which it goes on if there is one; None for a job that keeps none.
            identity: what the checkpoint belongs to.
            lasting: the checkpoint is also saved at the end, for a job of more rounds to go on from.

        Raises:
            UserError: the model or the algorithm does not fit.
        """
        material = self._material(job)
        settings = training_settings(job, list(material.train), len(job.members or self.consortium.hospitals))
        folder = None if path is None else _kept_of(path)
        with contextlib.closing(
            self._federation(settings, material.train, folder, changed=material.changed)
        ) as federation:
            checkpoints = Checkpoints(path, identity, federation) if path is not None and identity is not None else None
            course = _Course(job, federation, material.test, checkpoints, self._pause, lasting)
            position = course.trained()
            found = dict(course.predictions(position))
            if job.kind == "fine_tuned":
                make, epochs = self._federation, job.fine_tune_epochs
                own = further.fine_tuned(federation, position, material.train, material.test, epochs=epochs, make=make)
                found = own.predictions
                course.end_with(found, own.refused)
            elif federation.is_personal and material.newcomers:
                # As clients do, but that what they have of the model before their first round is the trained one.
                make = functools.partial(self._federation, initial=federation.weights(position), label=federation.label)
                own = further.newcomers(
                    federation, position, material.newcomers, material.test, epochs=job.fine_tune_epochs, make=make
                )
                found |= own.predictions
                course.end_with(found, own.refused)
            return course.result(list(found.values()))

    def _material(self, job: Job) -> Material:
        if job.shadow is not None:
            return shadows.material(self.consortium, job)
        own, kind = job.settings, cast(Kind, job.kind)  # reference models are trained elsewhere
        return self.consortium.material(
            kind, own.seed, own.data.preprocessing, job.hospital, job.members, job.share, own.privacy
        )

    def forget(self, path: pathlib.Path) -> None:
        """Removes what a job saved on its way: checkpoints, and what its clients kept."""
        for file in files_of(path):
            file.unlink()
        if _kept_of(path).is_dir():
            shutil.rmtree(_kept_of(path))

    def _federation(
        self, settings: config.RunConfig, train: Mapping[str, Examples], folder: pathlib.Path | None = None, **more: Any
    ) -> Federation:
        own = {"worker": self._worker, "programs": self._programs, "beginnings": self._beginnings}
        return Federation(settings, self.consortium.dataset, train, folder=folder, **own, **more)


def _kept_of(path: pathlib.Path) -> pathlib.Path:
    """Returns the folder for what a job's clients keep, beside its checkpoint."""
    return path.with_suffix(".kept")


class _Course:
    """One model's training from its start, or its checkpoint, to its last round; it notes what a result needs."""

    def __init__(
        self,
        job: Job,
        federation: Federation,
        test: Mapping[str, Examples],
        checkpoints: Checkpoints | None,
        pause: float,
        lasting: bool,
    ) -> None:
        self._lasting = lasting
        self._job, self._federation, self._test = job, federation, test
        self._checkpoints, self._pause, self._saved_at = checkpoints, pause, time.monotonic()
        own = job.kind in ("local", "leave_one_out")
        self._scored = [name for name in test if not own or name == job.hospital]
        self._facts: dict[str, Any] = {
            "rounds": [],
            "curve": [],
            "losses": [],
            "sent": [],
            "refused": {},
            "seconds": 0.0,
            "clock": [],
            "attendance": [],
        }
        self._sent, self._clock = [0, 0], 0.0
        self._noted: tuple[int, Mapping[str, Array]] | None = None
        self._owner = POOLED if job.kind == "pooled" else None

    def trained(self) -> Position:
        """Trains all rounds that are not done yet."""
        start = self._federation.start()
        position = self._continued()
        if position is None:
            position = start
            self._note(position)
        for done in self._federation.rounds(position):
            position = done.position
            self._count(done)
            if position.round % self._every == 0 or position.round == self._federation.settings.rounds:
                self._note(position)
                self._save(position)
        return position

    def predictions(self, position: Position) -> Mapping[str, Array]:
        """Returns each hospital's predictions; those of a round that was just noted are not made again."""
        if self._noted is not None and self._noted[0] == position.round and len(self._scored) == len(self._test):
            return self._noted[1]
        return predict_parts(self._federation, position, self._test, self._owner)

    def end_with(self, predictions: Mapping[str, Array], refused: Mapping[str, int]) -> None:
        """Takes these for the model's at its end; those on its way were of a model that is not the one tested.

        Args:
            predictions: by the model that was trained further.
            refused: see `Further`.
        """
        facts = self._facts
        facts["refused"] = dict(collections.Counter(facts["refused"]) + collections.Counter(refused))
        ends = {name: [facts[name][0], facts[name][-1]] for name in ("rounds", "curve", "losses", "sent", "clock")}
        ends["curve"][-1] = self._scores(predictions)
        ends["losses"][-1] = self._score(self._scored, predictions, LOSS[self._federation.task])
        self._facts = {**facts, **ends}

    def result(self, predictions: Sequence[Array]) -> Result:
        """Returns the job's result."""
        facts = self._facts
        return Result(
            predictions=list(predictions),
            rounds=np.array(facts["rounds"]),
            curve=np.array(facts["curve"], np.float32),
            sent=np.array(facts["sent"], np.int64),
            refused=dict(facts["refused"]),
            seconds=facts["seconds"],
            clock=np.array(facts["clock"], np.float64),
            weight_bytes=self._federation.weights_bytes,
            losses=np.array(facts["losses"], np.float64),
            contributions={name: plain.to_plain(own) for name, own in self._contributions().items()},
        )

    def _contributions(self) -> dict[str, Contribution]:
        rounds = [Attendance(*own) for own in self._facts["attendance"]]
        return contributions.of(rounds, self._federation.shares) if rounds else {}

    @property
    def _every(self) -> int:
        settings = self._federation.settings
        return max(settings.evaluation.every, -(-settings.rounds // _MOST_POINTS))

    def _continued(self) -> Position | None:
        try:
            for saved in self._checkpoints.saved() if self._checkpoints else ():
                if saved.positions["last"].round > self._federation.settings.rounds:
                    continue  # a longer job of the same course has been there
                self._facts, self._sent = saved.facts, list(saved.facts["sent"][-1])
                self._clock = saved.facts["clock"][-1]
                return saved.positions["last"]
        except errors.UserError:
            pass  # of what has changed since, or with damaged files: trained anew
        return None

    def _save(self, position: Position) -> None:
        """Saves a long training now and then, and a lasting one at its end; it goes on from there."""
        at_end = self._lasting and position.round == self._federation.settings.rounds
        if self._checkpoints is None or (time.monotonic() - self._saved_at < self._pause and not at_end):
            return
        self._checkpoints.save(Saved({"last": position}, self._facts))
        self._saved_at = time.monotonic()

    def _count(self, done: Done) -> None:
        self._facts["seconds"] += done.seconds
        self._sent = [self._sent[0] + done.bytes_down, self._sent[1] + done.bytes_up]
        self._clock += done.clock_seconds
        if self._federation.settings.scenario or self._federation.settings.clock.deadline is not None:
            told = Attendance(done.cohort, done.absent, done.late, done.partial, done.refused)
            self._facts["attendance"].append(list(vars(told).values()))
        for client in done.refused:
            self._facts["refused"][client] = self._facts["refused"].get(client, 0) + 1

    def _note(self, position: Position) -> None:
        self._facts["rounds"].append(position.round)
        tested = {name: self._test[name] for name in self._scored}
        predictions = predict_parts(self._federation, position, tested, self._owner)
        self._noted = (position.round, predictions)
        self._facts["curve"].append(self._scores(predictions))
        self._facts["losses"].append(self._score(self._scored, predictions, LOSS[self._federation.task]))
        self._facts["sent"].append(list(self._sent))
        self._facts["clock"].append(self._clock)

    def _scores(self, predictions: Mapping[str, Array]) -> list[float]:
        """Returns the metric at each hospital and over all; NaN where it is not defined or withheld."""
        one = {name: self._score([name], predictions) for name in self._scored}
        all_ = self._score(list(self._test), predictions) if len(self._scored) == len(self._test) else float("nan")
        return [*(one.get(name, float("nan")) for name in self._test), all_]

    def _score(self, hospitals: Sequence[str], predictions: Mapping[str, Array], name: str = "") -> float:
        task, name = self._federation.task, name or self._job.metric
        y = np.concatenate([self._test[hospital].y for hospital in hospitals])
        p = np.concatenate([predictions[hospital] for hospital in hospitals])
        if metrics.undefined(task, y, p).get(name):
            return float("nan")
        of = statistic(task, name)
        if not of.ranks or len(hospitals) < 2:
            return float(metrics.score(task, name, y, p))
        site = np.repeat(np.arange(len(hospitals)), [len(self._test[hospital]) for hospital in hospitals])
        return of.value(ArmTest(y, p, np.arange(len(y)), site))  # rankings are of patients of one hospital
