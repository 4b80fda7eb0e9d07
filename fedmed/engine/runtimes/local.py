"""Rounds in this process, without TFF: the default, and for debugging."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from fedmed.engine.runtimes.runtime import Reports
from fedmed.learning.lane import LaneOutput, Work
from fedmed.learning.program import FACTS_SPECS, RATE_SPEC, WORK_SPECS, Program, RoundFacts, constants, specs_of
from fedmed.learning.values import Nest


class LocalRuntime:
    """Runs each lane in a thread of its own; TensorFlow lets go of Python's lock while a graph runs.

    Attributes:
        seconds: where the last round's time went.
    """

    def __init__(self, program: Program, lanes: int) -> None:
        self.seconds: dict[str, float] = {}
        self._program = program
        self._lanes = [_lane(program) for _ in range(lanes)]
        # By number of lanes: calling what is found costs less than finding it anew. The first is made before any round,
        # so that a server's step that cannot be is told before anything is written.
        self._updates: dict[int, Any] = {lanes: self._traced(lanes)}
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
        after = self._update(here, outputs, told)
        state = tf.nest.map_structure(lambda t: t.numpy(), after)
        self.seconds = {
            "until the first lane is done": min(ends) - began,
            "until the last lane is done": max(ends) - began,
            "adding up, the server's update": time.perf_counter() - max(ends),
        }
        return state, [Reports(output.reports.numpy(), output.sent.numpy()) for output in outputs]

    def _update(self, state: Nest, outputs: tuple[LaneOutput, ...], facts: RoundFacts) -> Nest:
        """Adds the lanes up and lets the server take its step, in one graph."""
        if len(outputs) not in self._updates:
            self._updates[len(outputs)] = self._traced(len(outputs))
        return self._updates[len(outputs)](state, outputs, facts)

    def _traced(self, lanes: int) -> Any:
        program = self._program

        def update(state: Nest, outputs: tuple[LaneOutput, ...], facts: RoundFacts) -> Nest:
            return program.next_state(state, program.merged(outputs), facts)

        lane = specs_of(program.lane.structure)  # what lanes put out may have another length in the next round
        specs = (specs_of(program.state), (lane,) * lanes, FACTS_SPECS)
        return tf.function(update, autograph=False).get_concrete_function(*specs)


def _timed(
    lane: Callable[..., LaneOutput], received: Nest, learning_rate: tf.Tensor, work: Work
) -> tuple[LaneOutput, float]:
    output = lane(received, learning_rate, work)
    output.share.numpy()  # waits for the graph to be done
    return output, time.perf_counter()


def _lane(program: Program) -> Callable[..., LaneOutput]:
    variables = program.lane.variables()
    replay = tf.function(lambda *arguments: program.lane.replay(variables, *arguments), autograph=False)
    return replay.get_concrete_function(specs_of(program.received), RATE_SPEC, WORK_SPECS)
