"""TFF's execution context over a worker that we own, with a bound on how often a dying worker is started again."""

import time
from collections.abc import Mapping
from typing import Any

import grpc
import tensorflow_federated as tff
from tensorflow_federated.python.core.backends.native import compiler
from tensorflow_federated.python.core.impl.executor_stacks import python_executor_stacks

from fedmed.engine.runtimes.worker import Worker, WorkerError

_RESTARTS = 3
_READY_SECONDS = 30.0
_OPTIONS = [
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.enable_http_proxy", 0),  # the worker is on this machine
]


def execution_context(worker: Worker) -> Any:
    """Returns a synchronous TFF context whose computations run on `worker`.

    A worker that dies is started again and the call repeated, with the same result; at most three times in all.
    """
    connection = _Connection(worker)

    compiled: dict[int, tuple[Any, Any]] = {}

    def make_executor(cardinalities: Mapping[Any, int]) -> tff.framework.RemoteExecutor:
        executor = _Executor(connection.stub(), compiled)
        executor.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
        return executor

    return tff.framework.SyncExecutionContext(
        executor_fn=python_executor_stacks.ResourceManagingExecutorFactory(executor_stack_fn=make_executor),
        transform_args=tff.tensorflow.transform_args,
        transform_result=tff.tensorflow.transform_result,
    )


class _Executor(tff.framework.RemoteExecutor):
    """Compiles a computation once, and sends it once to the worker.

    TFF's own context finds what it has compiled by the hash of the whole computation, and sends it anew in every call;
    it holds the graph and the initial weights.

    Args:
        compiled: computations and what they compile to, by the computation's identity; kept alive, so that it is one.
    """

    def __init__(self, stub: tff.framework.RemoteExecutorGrpcStub, compiled: dict[int, tuple[Any, Any]]) -> None:
        super().__init__(stub)
        self._compiled = compiled
        self._sent: dict[int, Any] = {}

    async def create_value(self, value: Any, type_spec: Any = None) -> Any:
        if not isinstance(value, tff.framework.ConcreteComputation):
            return await super().create_value(value, type_spec)
        if id(value) not in self._compiled:
            self._compiled[id(value)] = value, compiler.desugar_and_transform_to_native(value)
        if id(value) not in self._sent:
            native = self._compiled[id(value)][1]
            self._sent[id(value)] = await super().create_value(native, native.type_signature)
        return self._sent[id(value)]


class _Connection:
    """Hands out a stub to a live worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._stub: Any = None
        self._starts = 0

    def stub(self) -> tff.framework.RemoteExecutorGrpcStub:
        if self._stub is not None and self._stub.is_ready and self._worker.is_alive():
            return self._stub
        if not self._worker.is_alive() or self._stub is not None:
            if self._starts > _RESTARTS:
                raise WorkerError(f"the TFF worker died {self._starts} times (out of memory?); giving up")
            self._worker.stop()
            self._worker.start()
        self._starts += 1
        self._worker.wait_ready()
        channel = grpc.insecure_channel(f"127.0.0.1:{self._worker.port}", _OPTIONS)
        self._stub = tff.framework.RemoteExecutorGrpcStub(channel)
        give_up = time.monotonic() + _READY_SECONDS
        while not self._stub.is_ready:
            if time.monotonic() > give_up or not self._worker.is_alive():
                raise WorkerError("the TFF worker accepted a connection but is not ready")
            time.sleep(0.01)
        return self._stub
