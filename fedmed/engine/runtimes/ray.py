"""Rounds on a cluster: each lane in a process of its own, wherever there is a processor for it, by Ray.

The weights are put into Ray's object store once a round, and the computation once a program. A lane keeps nothing from
round to round that a new process would lack, so one that is lost is run again elsewhere, with the same bits.
"""

import itertools
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray
import tensorflow as tf

from fedmed.engine.runtimes import cargo
from fedmed.engine.runtimes.adding_up import AddingUp
from fedmed.engine.runtimes.crew import Crew
from fedmed.engine.runtimes.remote_lane import Answer, Broadcast, Order, Taught
from fedmed.engine.runtimes.runtime import Reports
from fedmed.learning.lane import LaneOutput, Work
from fedmed.learning.program import Program, RoundFacts, constants
from fedmed.learning.values import Nest
from fedmed.system import errors

_NUMBERS = itertools.count()


class RayRuntime:
    """Runs rounds of a program on a crew of `RemoteLane`, which outlives it.

    Attributes:
        seconds: where the last round's time went.
    """

    def __init__(self, program: Program, lanes: int, crew: Crew, *, sees_files: bool) -> None:
        """Prepares rounds; nothing is sent yet.

        Args:
            program: to run.
            lanes: at most so many a round.
            crew: a member for each lane.
            sees_files: whether all hosts see this one's files under the same paths; else they are sent.
        """
        self.seconds: dict[str, float] = {}
        self._program, self._crew = program, crew
        self._number = next(_NUMBERS)
        self._shipped = None if sees_files else cargo.Shipped()
        self._add_up = AddingUp(program, lanes)
        specs = [(tuple(part.shape), part.dtype.name) for part in tf.nest.flatten(program.received)]
        self._taught = ray.put(Taught(program.lane.sent(), specs))  # held: who comes later needs it too

    def next(self, state: Nest, facts: RoundFacts, lanes: Sequence[Work]) -> tuple[Nest, list[Reports]]:
        """Runs one round; returns the new state, as NumPy arrays, and each lane's reports.

        Raises:
            UserError: processes were lost too often, or do not see the clients' files.
        """
        here = tf.nest.map_structure(tf.constant, state)
        told = constants(facts)
        received = [part.numpy() for part in tf.nest.flatten(self._program.broadcast(here, told))]
        began = time.perf_counter()
        answers, ends = self._answers(Broadcast(received, told.learning_rate.numpy()), lanes)
        after = self._add_up(here, [self._output(answer) for answer in answers], told)
        self.seconds = {
            "until the first lane is done": ends[0] - began,
            "until the last lane is done": ends[-1] - began,
            "adding up, the server's update": time.perf_counter() - ends[-1],
        }
        return after

    def _answers(self, broadcast: Broadcast, lanes: Sequence[Work]) -> tuple[list[Answer], list[float]]:
        """Returns what comes of each lane, once all are done, and when each was, the first one first."""
        sent = ray.put(broadcast)
        answers: dict[int, Answer] = {}
        ends: list[float] = []

        def send(member: int, lane: int) -> Any:
            known = self._crew.known[member]
            taught = None if self._number in known else self._taught
            known.add(self._number)
            return self._crew.members[member].run.remote(self._order(lanes[lane], known), sent, taught)

        def done(member: int, lane: int, answer: Answer) -> None:
            del member
            answers[lane] = _checked(answer)
            ends.append(time.perf_counter())

        self._crew.run(range(len(lanes)), send, done)
        for answer in answers.values():  # only now, since of a round that is repeated nothing may be left
            for path, content in answer.kept.items():
                pathlib.Path(path).write_bytes(content)
        return [answers[lane] for lane in range(len(lanes))], ends

    def _order(self, work: Work, known: set[Any]) -> Order:
        parts = [np.asarray(part) for part in work]
        if self._shipped is None:
            return Order(self._number, parts, None, False)
        files, fresh = self._shipped.lacking(list(work.paths), known)
        return Order(self._number, parts, {**files, **cargo.kept(list(work.kept))}, fresh)

    def _output(self, answer: Answer) -> LaneOutput:
        flat = [tf.constant(part) for part in answer.outputs]
        return tf.nest.pack_sequence_as(self._program.lane.structure, flat)


def _checked(answer: Answer) -> Answer:
    if answer.unseen:
        raise errors.UserError(
            f"runtime.shared: a host of the cluster does not see {answer.unseen}; make the temporary folder ($TMPDIR) "
            "one that all hosts share, or leave runtime.shared out"
        )
    if answer.refused:  # as it would be raised in this process
        raise tf.errors.InternalError(None, None, answer.refused)
    return answer
