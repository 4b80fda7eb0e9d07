"""What a training process does: it trains jobs one after another, and writes each result to its file."""

import collections
import contextlib
import pathlib
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from fedmed.engine.identity import Identity
from fedmed.engine.runtimes.starting import working
from fedmed.settings import config
from fedmed.settings.study import REFERENCES
from fedmed.study import results
from fedmed.study.consortium import Consortium
from fedmed.study.plan import Job
from fedmed.study.validation import Inner, hospitals
from fedmed.system import errors


class Course(NamedTuple):
    """A training that jobs of more and more rounds go on with: its checkpoint, and what that belongs to."""

    checkpoint: pathlib.Path
    identity: Identity


class Assignment(NamedTuple):
    """A job, the settings that say who its hospitals are, where its result goes, and what that depends on.

    Given `inner`, the job is tested on validation rows. Given `course`, it goes on from where a shorter job has ended,
    and leaves its end to a longer one.
    """

    hospitals: config.RunConfig
    job: Job
    path: pathlib.Path
    identity: Identity
    inner: Inner | None = None
    course: Course | None = None


class Reply(NamedTuple):
    """What became of a job: "" when its result is written; else the user's error, or a bug's traceback."""

    error: str = ""
    bug: str = ""


Consortia: TypeAlias = Callable[[config.RunConfig, Inner | None], Consortium]
"""Gives hospitals by their settings, and their inner split or None."""


class Session:
    """Trains assignments, keeping what the next one may need: the last one's hospitals, recorded programs, a worker."""

    def __init__(self, consortia: Consortia = hospitals) -> None:
        self._consortia = consortia
        self._hospitals: tuple[config.RunConfig, Inner | None] | None = None
        self._trainer: Any = None
        self._beginnings: Any = collections.OrderedDict()
        self._open = contextlib.ExitStack()
        self._worker: Any = None

    def run(self, task: Assignment) -> None:
        """Trains a job, from its checkpoint if there is one, and writes its result."""
        if self._worker is None:
            self._worker = self._open.enter_context(working(task.job.settings, None))
        from fedmed.study import reference_models
        from fedmed.study.trainer import Trainer  # imports TensorFlow

        if self._trainer is None or (task.hospitals, task.inner) != self._hospitals:
            self._hospitals = (task.hospitals, task.inner)
            consortium = self._consortia(task.hospitals, task.inner)
            self._trainer = Trainer(consortium, worker=self._worker, beginnings=self._beginnings)
        if task.course is not None:
            found = self._trainer.run(task.job, *task.course, lasting=True)
            results.write(task.path, task.identity.key, found)
            return
        checkpoint = task.path.with_suffix(".checkpoint")
        if task.job.attack == "fitting":
            from fedmed.study import fitting

            found = fitting.tried(task.job, self._trainer.consortium)
        elif task.job.attack:
            from fedmed.study import attacking

            found = attacking.attacked(task.job, self._trainer.consortium)
        elif task.job.kind in REFERENCES:
            found = reference_models.trained(task.job, self._trainer.consortium)
        else:
            found = self._trainer.run(task.job, checkpoint, task.identity)
        results.write(task.path, task.identity.key, found)
        self._trainer.forget(checkpoint)

    def close(self) -> None:
        """Ends the worker, if there is one."""
        self._open.close()


def answer(session: Session, task: Assignment) -> Reply:
    """Trains an assignment and tells what became of it; nothing is raised, since errors do not travel well."""
    try:
        session.run(task)
    except errors.UserError as error:
        return Reply(error=str(error))
    except Exception:  # whatever it is, the parent shows it and ends
        return Reply(bug=traceback.format_exc())
    return Reply()


def check(reply: Reply, task: Assignment) -> None:
    """Raises what a reply tells of: a UserError, or a RuntimeError with a bug's traceback."""
    if reply.error:
        raise errors.UserError(reply.error)
    if reply.bug:
        raise RuntimeError(f"training {task.job.name} failed:\n{reply.bug}")
