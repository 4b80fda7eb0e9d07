"""A lane in a process of a cluster: what crosses is bytes and NumPy arrays, never a tensor."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedmed.engine.runtimes import cargo
from fedmed.engine.runtimes.cargo import Hold
from fedmed.engine.runtimes.crew import Member


class Taught(NamedTuple):
    """A lane's computation as it is sent.

    Attributes:
        recording: see `Recording.sent`.
        received: (shape, dtype's name) of each tensor that a client is sent.
    """

    recording: Any
    received: list[tuple[tuple[int, ...], str]]


class Order(NamedTuple):
    """A lane's work in a round.

    Attributes:
        program: its number.
        work: the parts of `Work`, NumPy arrays; paths are the driver's.
        files: content of the files that this process lacks, by the driver's path, as references of Ray's; None where
            the driver's paths are seen here.
        fresh: whether the files that are here are of no use any more.
    """

    program: int
    work: list[np.ndarray]
    files: Mapping[str, Any] | None
    fresh: bool


class Broadcast(NamedTuple):
    """What every client of a round is sent, flat, and the clients' learning rate."""

    received: list[np.ndarray]
    learning_rate: np.ndarray


class Answer(NamedTuple):
    """What comes of an order.

    Attributes:
        outputs: the LaneOutput, flat.
        kept: content of the files that clients keep, by the driver's path; empty where the driver sees them.
        refused: what an operation of the model has refused, in TensorFlow's words; else "".
        unseen: a path that is not seen here; else "".
    """

    outputs: list[np.ndarray]
    kept: Mapping[str, bytes]
    refused: str = ""
    unseen: str = ""


class RemoteLane(Member):
    """Trains lanes of clients; between orders it holds computations, and files of rows, and nothing else."""

    prefix = cargo.PREFIX

    def __init__(self, environment: dict[str, str], found: Sequence[str]) -> None:
        super().__init__(environment, found)
        self._lanes: dict[int, Any] = {}
        self._hold: Hold | None = None

    def warm(self) -> None:
        """Imports TensorFlow, which takes seconds, while the driver does the same."""
        import tensorflow as tf  # noqa: F401

    def _learn(self, program: int, taught: Taught) -> None:
        """Takes a computation in, under a number."""
        import tensorflow as tf

        from fedmed.engine.runtimes.local import callable_lane
        from fedmed.learning.tracing import Recording

        specs = [tf.TensorSpec(shape, dtype) for shape, dtype in taught.received]
        self._lanes[program] = callable_lane(Recording.arrived(taught.recording), specs)

    def run(self, order: Order, broadcast: Broadcast, taught: Taught | None = None) -> Answer:
        """Trains the clients of an order.

        Args:
            order: who they are, by their files.
            broadcast: what they are sent.
            taught: the computation, where this process has not met the program before.
        """
        import tensorflow as tf

        from fedmed.learning.lane import Work

        if taught is not None:
            self._learn(order.program, taught)
        work = Work(*order.work)
        local = work if order.files is None else self._brought(order, work)
        unseen = [path for path in local.paths if not pathlib.Path(path).is_file()]
        if unseen:
            return Answer([], {}, unseen=unseen[0])
        told = Work(*(tf.constant(part) for part in local))
        received = [tf.constant(part) for part in broadcast.received]
        try:
            output = self._lanes[order.program](received, tf.constant(broadcast.learning_rate), told)
            outputs = [part.numpy() for part in tf.nest.flatten(output)]
        except tf.errors.OpError as error:
            return Answer([], {}, refused=str(error))
        if self._hold is None:
            return Answer(outputs, {})
        self._hold.drop(work.kept)
        return Answer(outputs, self._hold.hand_over(work.keep, local.keep))

    def _brought(self, order: Order, work: Any) -> Any:
        """Returns the work with paths of files here, once those that lack are written."""
        self._hold = self._hold or Hold()
        if order.fresh:
            self._hold.forget()
        self._hold.take_in(order.files or {})
        hold = self._hold
        return work._replace(
            paths=hold.places(work.paths), kept=hold.places(work.kept), keep=hold.new_places(work.keep)
        )

    def leave(self) -> None:
        """Removes the files that it has fetched."""
        if self._hold is not None:
            self._hold.close()
