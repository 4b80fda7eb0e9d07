"""The TFF iterative process: placement, broadcast and aggregation around fedmed's own computations."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedmed.engine.runtimes.context import execution_context
from fedmed.engine.runtimes.runtime import Reports
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning.lane import LaneOutput, Work
from fedmed.learning.program import FACTS_SPECS, RATE_SPEC, WORK_SPECS, Program, RoundFacts, specs_of
from fedmed.learning.values import Nest, Weights


def build_process(program: Program, initial: Weights) -> tff.templates.IterativeProcess:
    """Builds `initialize` and `next` for a program.

    `next` takes the server's state, the round's facts, and one Work a lane; a lane is a TFF client that holds several
    federated clients. It returns the state and each lane's reports, a list in lane order.
    """
    aggregator = program.way.aggregator

    @tff.tensorflow.computation
    def initial_state() -> Nest:
        return program.initial_state(initial)

    state_type = initial_state.type_signature.result
    received_type, work_type, facts_type = (
        _type(specs) for specs in (specs_of(program.received), WORK_SPECS, FACTS_SPECS)
    )

    @tff.tensorflow.computation(received_type, _type(RATE_SPEC), work_type)
    def train(received: Any, learning_rate: Any, work: Any) -> LaneOutput:
        return program.lane.replay(program.lane.variables(), received, learning_rate, work)

    lane_type = train.type_signature.result

    @tff.tensorflow.computation(state_type)
    def broadcast(state: Nest) -> Nest:
        return program.algorithm.broadcast(state)

    @tff.tensorflow.computation
    def no_client() -> Nest:
        return aggregator.zero(program.way.payload)

    @tff.tensorflow.computation(lane_type.sums, lane_type.sums)
    def merge(a: Nest, b: Nest) -> Nest:
        return aggregator.merge(a, b)

    @tff.tensorflow.computation(lane_type.sums)
    def report(sums: Nest) -> Nest:
        return sums  # what comes of no client's sums is the server's to say, in `next_state`

    @tff.tensorflow.computation(state_type, lane_type.sums, lane_type.share, lane_type.accepted, facts_type)
    def update(state: Nest, sums: Nest, share: tf.Tensor, accepted: tf.Tensor, facts: RoundFacts) -> Nest:
        output = LaneOutput(sums, share, accepted, reports=None, sent=None)  # pyright: ignore[reportArgumentType]
        return tf.function(program.next_state, autograph=False)(state, output, facts)

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_eval(initial_state, tff.SERVER)

    @tff.federated_computation(
        tff.FederatedType(state_type, tff.SERVER),
        tff.FederatedType(facts_type, tff.SERVER),
        tff.FederatedType(work_type, tff.CLIENTS),
    )
    def next_round(state: Any, facts: Any, work: Any) -> Any:
        received = tff.federated_broadcast(tff.federated_map(broadcast, state))
        learning_rate = tff.federated_broadcast(facts.learning_rate)
        outputs = tff.federated_map(train, (received, learning_rate, work))
        sums = tff.federated_aggregate(outputs.sums, no_client(), merge, merge, report)  # pyright: ignore[reportCallIssue]
        share, accepted = tff.federated_sum(outputs.share), tff.federated_sum(outputs.accepted)
        state = tff.federated_map(update, (state, sums, share, accepted, facts))
        return state, tff.federated_zip((outputs.reports, outputs.sent))

    return tff.templates.IterativeProcess(initialize, next_round)  # pyright: ignore[reportArgumentType]


def _type(specs: Nest) -> tff.Type:
    return tff.types.to_type(tff.types.tensorflow_to_type(specs))


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

    def __init__(self, program: Program, initial: Weights, worker: Worker) -> None:
        self.context = execution_context(worker)
        with self.installed():
            self.process = build_process(program, initial)

    def installed(self) -> Any:
        """Returns a context manager inside which TFF's computations run in the worker."""
        return tff.framework.get_context_stack().install(self.context)

    def next(self, state: Nest, facts: RoundFacts, lanes: Sequence[Work]) -> tuple[Nest, list[Reports]]:
        """Runs one round; returns the new state, as NumPy arrays, and each lane's reports."""
        facts = RoundFacts(*(np.float32(fact) for fact in facts))
        with self.installed(), _tensorflows_errors():
            after, reports = self.process.next(state, facts, list(lanes))
        told = tf.nest.pack_sequence_as(state, [np.asarray(value) for value in tf.nest.flatten(after)])
        return told, [Reports(np.asarray(sums), np.asarray(sent)) for sums, sent in reports]
