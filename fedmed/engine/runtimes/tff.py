"""The TFF iterative process: placement, broadcast and aggregation around fedmed's own computations."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedmed.engine.runtimes.context import execution_context
from fedmed.engine.runtimes.runtime import Reports
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning.lane import LaneOutput, Work
from fedmed.learning.program import FACTS_SPECS, WORK_SPECS, Program, RoundFacts, arrays
from fedmed.learning.values import Nest, Weights


class _Sums(NamedTuple):
    """What the server gets of all lanes; see `LaneOutput`."""

    payloads: Nest
    share: tf.Tensor
    accepted: tf.Tensor


def build_process(program: Program, initial: Weights) -> tff.templates.IterativeProcess:
    """Builds `initialize` and `next` for a program.

    `next` takes the server's state, the round's facts, and one Work a lane; a lane is a TFF client that holds several
    federated clients. It returns the state and each lane's reports, a list in lane order.
    """
    aggregator, like = program.way.aggregator, program.way.payload

    @tff.tensorflow.computation
    def initial_state() -> Nest:
        return program.initial_state(initial)

    state_type = initial_state.type_signature.result
    work_type, facts_type = _type(WORK_SPECS), _type(FACTS_SPECS)

    @tff.tensorflow.computation(state_type, facts_type)
    def broadcast(state: Nest, facts: RoundFacts) -> tuple[Nest, tf.Tensor]:
        return program.broadcast(state, facts), facts.learning_rate

    @tff.tensorflow.computation(broadcast.type_signature.result, work_type)
    def train(received: Any, work: Any) -> tuple[_Sums, Reports]:
        output = program.lane.replay(program.lane.variables(), *received, work)
        return _Sums(output.sums, output.share, output.accepted), Reports(output.reports, output.sent)

    sums_type = train.type_signature.result[0]

    @tff.tensorflow.computation
    def no_client() -> _Sums:
        return _Sums(aggregator.packed(aggregator.zero(like), like), tf.constant(0.0), tf.constant(0.0))

    @tff.tensorflow.computation(sums_type, sums_type)
    def merge(a: _Sums, b: _Sums) -> _Sums:
        return _Sums(aggregator.merge(a.payloads, b.payloads), a.share + b.share, a.accepted + b.accepted)

    @tff.tensorflow.computation(sums_type)
    def report(sums: _Sums) -> _Sums:
        return sums  # what comes of no client's sums is the server's to say, in `next_state`

    @tff.tensorflow.computation(state_type, sums_type, facts_type)
    def update(state: Nest, sums: _Sums, facts: RoundFacts) -> Nest:
        output = LaneOutput(*sums, reports=None, sent=None)  # pyright: ignore[reportArgumentType]
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
        received = tff.federated_broadcast(tff.federated_map(broadcast, (state, facts)))
        outputs = tff.federated_map(train, (received, work))
        sums = tff.federated_aggregate(outputs[0], no_client(), merge, merge, report)  # pyright: ignore[reportCallIssue]
        return tff.federated_map(update, (state, sums, facts)), outputs[1]

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
        facts = arrays(facts)
        with self.installed(), _tensorflows_errors():
            after, reports = self.process.next(state, facts, list(lanes))
        told = tf.nest.pack_sequence_as(state, [np.asarray(value) for value in tf.nest.flatten(after)])
        return told, [Reports(np.asarray(sums), np.asarray(sent)) for sums, sent in reports]
