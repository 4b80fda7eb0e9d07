"""Rounds in this process, without TFF: the default, and for debugging."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from fedmed.engine.runtimes.adding_up import AddingUp
from fedmed.engine.runtimes.runtime import Reports
from fedmed.learning.calling import sums_as_written
from fedmed.learning.lane import LaneOutput, Work
from fedmed.learning.program import RATE_SPEC, WORK_SPECS, Program, RoundFacts, constants, specs_of
from fedmed.learning.tracing import Recording
from fedmed.learning.values import Nest


class LocalRuntime:
    """Runs each lane in a thread of its own; TensorFlow lets go of Python's lock while a graph runs.

    Attributes:
        seconds: where the last round's time went.
    """

    def __init__(self, program: Program, lanes: int) -> None:
        self.seconds: dict[str, float] = {}
        self._program = program
        self._lanes = [callable_lane(program.lane, specs_of(program.received)) for _ in range(lanes)]
        self._add_up = AddingUp(program, lanes)
        self._threads = ThreadPoolExecutor(lanes)

    def next(self, state: Nest, facts: RoundFacts, lanes: Sequence[Work]) -> tuple[Nest, list[Reports]]:
        """Runs one round; returns the new state, as NumPy arrays, and each lane's reports."""
        if len(lanes) > len(self._lanes):
            raise ValueError(f"{len(lanes)} lanes of work for {len(self._lanes)} lanes")
        here = tf.nest.map_structure(tf.constant, state)
        told = constants(facts)
        received = self._program.broadcast(here, told)
        began = time.perf_counter()
        jobs = [
            self._threads.submit(
                _timed, lane, received, told.learning_rate, Work(*(tf.constant(part) for part in work))
            )
            for lane, work in zip(self._lanes[: len(lanes)], lanes, strict=True)
        ]
        outputs, ends = zip(*(job.result() for job in jobs), strict=True)
        after = self._add_up(here, outputs, told)
        self.seconds = {
            "until the first lane is done": min(ends) - began,
            "until the last lane is done": max(ends) - began,
            "adding up, the server's update": time.perf_counter() - max(ends),
        }
        return after


def _timed(
    lane: Callable[..., LaneOutput], received: Nest, learning_rate: tf.Tensor, work: Work
) -> tuple[LaneOutput, float]:
    output = lane(received, learning_rate, work)
    output.share.numpy()  # waits for the graph to be done
    return output, time.perf_counter()


def callable_lane(recording: Recording, received: Nest) -> Callable[..., LaneOutput]:
    """Returns a lane on variables of its own: (received, learning rate, Work) -> LaneOutput.

    Args:
        recording: of the lane.
        received: the TensorSpecs of what is sent to a client.
    """
    variables = recording.variables()
    replay = tf.function(lambda *arguments: recording.replay(variables, *arguments), autograph=False)
    return sums_as_written(replay.get_concrete_function(received, RATE_SPEC, WORK_SPECS))
