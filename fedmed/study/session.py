"""A training process: reads jobs from its input, trains them one after another, and writes each result to its file."""

import contextlib
import os
import pathlib
import pickle
import sys
import traceback
from typing import Any, BinaryIO, NamedTuple

from fedmed.engine.identity import Identity
from fedmed.engine.runtimes.worker import working
from fedmed.settings import config
from fedmed.settings.study import REFERENCES
from fedmed.study import results
from fedmed.study.plan import Job
from fedmed.system import errors, quiet


class Assignment(NamedTuple):
    """A job, the settings that say who its hospitals are, where its result goes, and what that depends on."""

    hospitals: config.RunConfig
    job: Job
    path: pathlib.Path
    identity: Identity


class Reply(NamedTuple):
    """What became of a job: "" when its result is written; else the user's error, or a bug's traceback."""

    error: str = ""
    bug: str = ""


class Session:
    """Trains assignments, keeping what the next one may need: the last one's hospitals, recorded programs, a worker."""

    def __init__(self) -> None:
        self._hospitals: config.RunConfig | None = None
        self._trainer: Any = None
        self._open = contextlib.ExitStack()
        self._worker: Any = None

    def run(self, task: Assignment) -> None:
        """Trains a job, from its checkpoint if there is one, and writes its result."""
        if self._worker is None:
            self._worker = self._open.enter_context(working(task.job.settings, None))
        from fedmed.study import reference_models
        from fedmed.study.consortium import Consortium
        from fedmed.study.trainer import Trainer  # imports TensorFlow

        if self._trainer is None or task.hospitals != self._hospitals:
            self._hospitals = task.hospitals
            self._trainer = Trainer(Consortium(task.hospitals), worker=self._worker)
        checkpoint = task.path.with_suffix(".checkpoint")
        if task.job.kind in REFERENCES:
            found = reference_models.trained(task.job, self._trainer.consortium)
        else:
            found = self._trainer.run(task.job, checkpoint, task.identity)
        results.write(task.path, task.identity.key, found)
        self._trainer.forget(checkpoint)

    def close(self) -> None:
        """Ends the worker, if there is one."""
        self._open.close()


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers each assignment with a Reply until the requests end."""
    with contextlib.closing(Session()) as session:
        while True:
            try:
                task: Assignment = pickle.load(requests)
            except EOFError:
                return
            pickle.dump(_answer(session, task), replies)
            replies.flush()


def _answer(session: Session, task: Assignment) -> Reply:
    try:
        session.run(task)
    except errors.UserError as error:
        return Reply(error=str(error))
    except Exception:  # whatever it is, the parent shows it and ends
        return Reply(bug=traceback.format_exc())
    return Reply()


def main() -> None:
    """Serves on standard input and output; whatever libraries print goes to the error stream instead."""
    quiet.silence()
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, replies)
