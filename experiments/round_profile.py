"""Shows where the seconds of a round go: by kind of operation inside a client's training, and around it.

    uv run python -m experiments.round_profile --workload=W1

The recorded computation is run once more in a traced TensorFlow session on one thread, with the first clients of the
workload; the shares are of the time that its operations took. The second table splits a round as fedmed runs it.
"""

import collections
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from fedmed.system import quiet

quiet.silence()  # before TensorFlow is imported

import tensorflow as tf  # noqa: E402

from experiments import programs  # noqa: E402
from experiments.speed import workloads  # noqa: E402
from fedmed.data.clients import Clients, prepare  # noqa: E402
from fedmed.data.store import ClientStore  # noqa: E402
from fedmed.engine import attendance  # noqa: E402
from fedmed.engine.evaluation import Evaluator  # noqa: E402
from fedmed.engine.federation import Federation  # noqa: E402
from fedmed.engine.masking import IN_THE_CLEAR  # noqa: E402
from fedmed.learning.lane import Work  # noqa: E402
from fedmed.learning.tracing import Recording  # noqa: E402
from fedmed.learning.values import Nest  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_enum("workload", "W1", sorted(workloads.WHAT), "which workload")
flags.DEFINE_integer("rows", 2000, "how many rows of the first client to trace", lower_bound=100)

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "convolution": ("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput", "_FusedConv2D", "_MklNativeConv2D",
                    "_MklNativeFusedConv2D", "_MklNativeConv2DBackpropFilter",
                    "_MklNativeConv2DBackpropFilterWithBias", "_MklNativeConv2DBackpropInput",
                    "_MklNativePadWithConv2D"),
    "max-pooling": ("MaxPool", "_MklNativeMaxPool"),
    "max-pooling's gradient": ("MaxPoolGrad", "_MklNativeMaxPoolGrad", "_XlaRun", "XlaLaunch", "_XlaCompile",
                               "PartitionedCall", "StatefulPartitionedCall"),
    "dense layers": ("MatMul", "_FusedMatMul", "_MklMatMul", "_MklNativeMatMul", "_MklNativeFusedMatMul",
                     "Einsum", "_MklEinsum"),
    "bias and ReLU": ("BiasAdd", "BiasAddGrad", "Relu", "ReluGrad"),
    "weights' steps": ("ResourceApplyGradientDescent", "ResourceApplyMomentum", "ResourceApplyAdam", "AssignVariableOp",
                       "ReadVariableOp"),
    "loss": ("SparseSoftmaxCrossEntropyWithLogits", "Softmax", "_MklSoftmax", "LogSoftmax", "Mean", "Sum", "ArgMax"),
    "rows": ("GatherV2", "Cast", "ReadFile", "DecodeRaw", "Substr", "StatelessShuffle", "StridedSlice", "Mul"),
}  # fmt: skip


def op_seconds(recording: Recording, received: Nest, rate: float, work: Work) -> dict[str, float]:
    """Returns the seconds spent in each kind of operation while the recording runs once, after one warm-up."""
    with tf.Graph().as_default():
        variables = recording.variables()
        here = tf.nest.map_structure(tf.constant, received)
        outputs = recording.replay(variables, here, tf.constant(rate, tf.float32), _constants(work))
        one = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
        trace = tf.compat.v1.RunMetadata()
        with tf.compat.v1.Session(config=one) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            session.run(outputs)
            session.run(outputs, options=options, run_metadata=trace)
    spent: dict[str, float] = collections.defaultdict(float)
    for device in trace.step_stats.dev_stats:
        for node in device.node_stats:
            spent[_kind(node)] += node.op_end_rel_micros / 1e6
    return dict(spent)


def _kind(node: Any) -> str:
    label = node.timeline_label.split(" = ")
    return label[1].split("(")[0].split(":")[0] if len(label) > 1 else node.node_name


def _constants(work: Work) -> Work:
    return Work(*(tf.constant(part) for part in work))


def grouped(spent: Mapping[str, float]) -> dict[str, float]:
    """Adds kinds of operation up to what they are for."""
    group_of = {kind: group for group, kinds in _GROUPS.items() for kind in kinds}
    groups: dict[str, float] = collections.defaultdict(float)
    for kind, seconds in spent.items():
        if kind not in ("While", "StatelessWhile", "StatefulPartitionedCall:"):
            groups[group_of.get(kind, "the rest")] += seconds
    return dict(sorted(groups.items(), key=lambda item: -item[1]))


def traced_client(clients: Clients) -> tuple[ClientStore, Work]:
    """Writes the first client's first rows to a store and returns the work of training it."""
    name, examples = next(iter(clients.train.items()))
    few = examples.take(np.arange(min(FLAGS.rows, len(examples))))
    store = ClientStore({name: few})
    paths, ones = np.array([str(store.places[name].path)], dtype=object), np.ones(1, np.float32)
    none, no_masks = np.array([""], dtype=object), np.zeros((1, 0, 3), np.int64)
    return store, Work(
        paths,
        np.array([store.places[name].offset], np.int32),
        np.array([len(few)], np.int32),
        np.zeros((1, 2), np.int32),
        ones,
        none,
        none,
        np.zeros(1, np.float32),
        no_masks,
        np.ones(1, np.int32),
        ones,
        np.zeros(1, np.int32),
        ones,
    )


def main(argv: Sequence[str]) -> None:
    """Prints the two tables."""
    del argv
    settings = attendance.with_lanes(workloads.settings(FLAGS.workload))
    clients = prepare(settings)
    federation = Federation(settings, clients.dataset, clients.train)
    store, work = traced_client(clients)
    program = federation.prepared.program
    spent = op_seconds(program.lane, program.received, federation.facts(0, IN_THE_CLEAR).learning_rate, work)
    store.close()
    total = sum(grouped(spent).values())
    print(f"{FLAGS.workload}: {workloads.WHAT[FLAGS.workload]}\n\nInside a client's training, one thread:")
    for group, seconds in grouped(spent).items():
        print(f"  {group:24} {100 * seconds / total:5.1f} %")
    _around(federation, Evaluator(federation, clients))


def _around(federation: Federation, evaluator: Evaluator) -> None:
    parts: dict[str, list[float]] = collections.defaultdict(list)
    position = federation.start()
    for _ in range(4):
        done = federation.round(position)
        position = done.position
        parts["a round"].append(done.seconds)
        for part, seconds in getattr(federation.prepared.runtime, "seconds", {}).items():
            parts[part].append(seconds)
        began = time.perf_counter()
        evaluator.pooled(evaluator.predictions(position))
        parts["evaluation (not part of the round)"].append(time.perf_counter() - began)
    print(f"\nA round on {federation.settings.runtime.lanes} lanes, median of 3 after a warm-up:")
    for part, seconds in parts.items():
        print(f"  {part:36} {1000 * float(np.median(seconds[1:])):9.1f} ms")
    federation.close()


if __name__ == "__main__":
    programs.run(main)
