"""A training process: reads jobs from its input, trains them one after another, and writes each result to its file."""

import os
import pathlib
import pickle
import sys
import traceback
from typing import Any, BinaryIO, NamedTuple

from fedmed.settings import config
from fedmed.study import results
from fedmed.study.plan import Job
from fedmed.system import errors, quiet


class Task(NamedTuple):
    """A job, the settings that say who its hospitals are, and where its result goes under which key."""

    hospitals: config.RunConfig
    job: Job
    path: pathlib.Path
    key: str


class Reply(NamedTuple):
    """What became of a job: "" when its result is written; else the user's error, or a bug's traceback."""

    error: str = ""
    bug: str = ""


class Session:
    """Trains tasks, keeping what the next one may need: the hospitals of the last task and all traced programs."""

    def __init__(self) -> None:
        self._hospitals: config.RunConfig | None = None
        self._trainer: Any = None
        self._traced: dict[str, Any] = {}

    def run(self, task: Task) -> None:
        """Trains a job and writes its result."""
        from fedmed.study.consortium import Consortium
        from fedmed.study.trainer import Trainer  # imports TensorFlow

        if self._trainer is None or task.hospitals != self._hospitals:
            self._trainer, self._hospitals = Trainer(Consortium(task.hospitals), self._traced), task.hospitals
        results.write(task.path, task.key, self._trainer.run(task.job))


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers each task with a Reply until the requests end."""
    session = Session()
    while True:
        try:
            task: Task = pickle.load(requests)
        except EOFError:
            return
        pickle.dump(_answer(session, task), replies)
        replies.flush()


def _answer(session: Session, task: Task) -> Reply:
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
