"""The TFF iterative process: placement, broadcast and aggregation around fedmed's own computations."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedmed.engine.runtimes.context import execution_context
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning.lane import LaneOutput, Work
from fedmed.learning.program import WORK_SPECS, Program, broadcast_specs
from fedmed.learning.values import ServerState


def build_process(program: Program) -> tff.templates.IterativeProcess:
    """Builds `initialize` and `next` for a program.

    `next` takes the server's state, the round's learning rate, and one Work a lane; a lane is a TFF client that holds
    several federated clients. It returns the state and each lane's reports, a list of [k, len(REPORT)] in lane order.
    """

    @tff.tensorflow.computation
    def initial_state() -> ServerState:
        return program.initial_state()

    state_type = initial_state.type_signature.result
    broadcast_type = tff.types.to_type(tff.types.tensorflow_to_type(broadcast_specs(program.initial)))
    work_type = tff.types.tensorflow_to_type(WORK_SPECS)

    @tff.tensorflow.computation(broadcast_type, work_type)
    def train(broadcast: Any, work: Any) -> LaneOutput:
        return program.lane.replay(program.lane.variables(), broadcast, work)

    @tff.tensorflow.computation(state_type, tff.TensorType(np.float32))
    def to_broadcast(state: ServerState, learning_rate: tf.Tensor) -> Any:
        return program.broadcast(state, learning_rate)

    @tff.tensorflow.computation(state_type, train.type_signature.result.total, tff.TensorType(np.float32))
    def update(state: ServerState, total: Any, share: tf.Tensor) -> ServerState:
        return tf.function(program.next_state, autograph=False)(state, total, share)

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_eval(initial_state, tff.SERVER)

    @tff.federated_computation(
        tff.FederatedType(state_type, tff.SERVER),
        tff.FederatedType(np.float32, tff.SERVER),
        tff.FederatedType(work_type, tff.CLIENTS),
    )
    def next_round(state: Any, learning_rate: Any, work: Any) -> Any:
        broadcast = tff.federated_broadcast(tff.federated_map(to_broadcast, (state, learning_rate)))
        outputs = tff.federated_map(train, (broadcast, work))
        total, share = tff.federated_sum(outputs.total), tff.federated_sum(outputs.share)
        return tff.federated_map(update, (state, total, share)), outputs.reports

    return tff.templates.IterativeProcess(initialize, next_round)  # pyright: ignore[reportArgumentType]


@contextlib.contextmanager
def _tensorflows_errors() -> Iterator[None]:
    """Raises what an operation refused in the worker as it would be raised in this process."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.INTERNAL:
            raise
        raise tf.errors.InternalError(None, None, error.details()) from None


class TffRuntime:
    """Runs rounds on TFF's executor, in the given worker (already started; it is not stopped here)."""

    def __init__(self, program: Program, worker: Worker) -> None:
        self._context = execution_context(worker)
        with tff.framework.get_context_stack().install(self._context):
            self.process = build_process(program)

    def initialize(self) -> ServerState:
        """Returns the first state, as NumPy arrays."""
        with tff.framework.get_context_stack().install(self._context):
            return self.process.initialize()

    def next(
        self, state: ServerState, learning_rate: float, lanes: Sequence[Work]
    ) -> tuple[ServerState, list[np.ndarray]]:
        """Runs one round; returns the new state and each lane's reports [k, len(REPORT)]."""
        with tff.framework.get_context_stack().install(self._context), _tensorflows_errors():
            state, reports = self.process.next(state, np.float32(learning_rate), list(lanes))
        return state, [np.asarray(report) for report in reports]
