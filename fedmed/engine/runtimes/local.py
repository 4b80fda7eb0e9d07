"""The same computations run in this process, without TFF: for debugging, and where TFF's executor is not wanted."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from fedmed.learning import weights as weight_ops
from fedmed.learning.lane import LaneOutput, Work
from fedmed.learning.program import WORK_SPECS, Program, add_outputs, broadcast_specs
from fedmed.learning.values import Broadcast, ServerState


class LocalRuntime:
    """Runs each lane in a thread of its own; TensorFlow lets go of Python's lock while a graph runs.

    Attributes:
        recording: the lanes' computation.
        seconds: where the last round's time went.
    """

    def __init__(self, program: Program, lanes: int) -> None:
        self.recording, self.seconds = program.lane, {}
        self._program = program
        self._lanes = [_lane(program) for _ in range(lanes)]
        self._update = tf.function(program.next_state, autograph=False)
        self._threads = ThreadPoolExecutor(lanes)

    def initialize(self) -> ServerState:
        """Returns the first state, as NumPy arrays."""
        return _to_numpy(self._program.initial_state())

    def next(
        self, state: ServerState, learning_rate: float, lanes: Sequence[Work]
    ) -> tuple[ServerState, list[np.ndarray]]:
        """Runs one round; returns the new state and each lane's reports [k, len(REPORT)]."""
        here = ServerState(
            weight_ops.map_weights(tf.constant, state.weights),
            [tf.constant(m) for m in state.first],
            [tf.constant(v) for v in state.second],
            tf.constant(state.round),
        )
        broadcast: Broadcast = self._program.broadcast(here, tf.constant(learning_rate, tf.float32))
        began = time.perf_counter()
        jobs = [
            self._threads.submit(_timed, lane, broadcast, Work(*(tf.constant(part) for part in work)))
            for lane, work in zip(self._lanes, lanes, strict=False)
        ]
        outputs, ends = zip(*(job.result() for job in jobs), strict=True)
        total, share = add_outputs(outputs)
        state = _to_numpy(self._update(here, total, share))
        self.seconds = {
            "until the first lane is done": min(ends) - began,
            "until the last lane is done": max(ends) - began,
            "adding up, the server's update": time.perf_counter() - max(ends),
        }
        return state, [output.reports.numpy() for output in outputs]


def _timed(lane: Callable[[Broadcast, Work], LaneOutput], broadcast: Broadcast, work: Work) -> tuple[LaneOutput, float]:
    output = lane(broadcast, work)
    output.share.numpy()  # waits for the graph to be done
    return output, time.perf_counter()


def _lane(program: Program) -> Callable[[Broadcast, Work], LaneOutput]:
    variables = program.lane.variables()
    replay = tf.function(lambda *arguments: program.lane.replay(variables, *arguments), autograph=False)
    return replay.get_concrete_function(broadcast_specs(program.initial), WORK_SPECS)


def _to_numpy(state: ServerState) -> ServerState:
    return tf.nest.map_structure(lambda t: t.numpy(), state)
