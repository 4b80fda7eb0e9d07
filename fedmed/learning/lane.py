"""A lane trains several clients one after another and sums what they send, so that few payloads are alive at once.

TensorFlow Federated sees a lane as one of its clients. Federated clients stay apart inside: each starts from what was
broadcast and from what it kept itself, is checked, sent and weighted by itself, and reports under its own place.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.data.store import Field
from fedmed.learning import contract, keeping, steps
from fedmed.learning import weights as weight_ops
from fedmed.learning.aggregators import Aggregator
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows
from fedmed.learning.steps import Step
from fedmed.learning.values import Nest, Payload, Tensor, Turn
from fedmed.system import errors

OWN_SUMS = ("update_norm", "accepted")
"""What a lane adds to a client's sums: the L2 norm of its update before any step, and 1.0 if it was used."""


class Work(NamedTuple):
    """References to the clients of one lane.

    Attributes:
        paths: [k] strings, each client's file of rows.
        rows: [k] int32, rows in it.
        seeds: [k, 2] int32, of the client's shuffling and dropout in this round.
        shares: [k] float32, the weight of its payload.
        kept: [k] strings, the file of what it kept after its last round; not read by an algorithm without such.
        keep: [k] strings, the file for what it keeps after this round.
    """

    paths: Tensor
    rows: Tensor
    seeds: Tensor
    shares: Tensor
    kept: Tensor
    keep: Tensor


class LaneOutput(NamedTuple):
    """What leaves a lane.

    Attributes:
        sums: the accumulator of accepted payloads.
        share: [] float32, their summed shares.
        accepted: [] float32, how many they are.
        reports: [k, names] float32, a client's sums, in the order of `report_names`.
        sent: [k] int64, the bytes that each client sent.
    """

    sums: Nest
    share: tf.Tensor
    accepted: tf.Tensor
    reports: tf.Tensor
    sent: tf.Tensor


class Way(NamedTuple):
    """All that a lane does, but for its model.

    Attributes:
        algorithm: what clients do.
        steps: on a payload's way to the sum.
        aggregator: sums.
        layout: fields of the clients' files.
        payload: zeros in the structure of what a client sends.
        kept: zeros in the structure of what a client keeps.
    """

    algorithm: Algorithm
    steps: Sequence[Step]
    aggregator: Aggregator
    layout: Sequence[Field]
    payload: Payload
    kept: Nest

    @property
    def report_names(self) -> tuple[str, ...]:
        """What the columns of a lane's reports are."""
        return (*self.algorithm.sums, *OWN_SUMS)


def read_rows(path: tf.Tensor, rows: tf.Tensor, layout: Sequence[Field]) -> Rows:
    """Reads a client's file in the graph; see `fedmed.data.store` for its format."""
    content, offset, arrays = tf.io.read_file(path), tf.constant(0), {}
    for field in layout:
        size = rows * field.row_bytes
        part = content if len(layout) == 1 else tf.strings.substr(content, offset, size)
        flat = tf.io.decode_raw(part, tf.as_dtype(field.dtype))
        arrays[field.name] = tf.reshape(flat, tf.concat([[rows], tf.constant(field.shape, tf.int32)], axis=0))
        arrays[field.name].set_shape([None, *field.shape])
        offset += size
    y = arrays.pop("y")
    return Rows(arrays[""] if list(arrays) == [""] else arrays, y)


def run_lane(way: Way, step: ClientStep, received: Nest, learning_rate: tf.Tensor, work: Work) -> LaneOutput:
    """Trains the lane's clients in order and sums what they send."""
    count, names = tf.shape(work.paths)[0], way.report_names
    reports = tf.TensorArray(tf.float32, size=count, element_shape=[len(names)])
    sizes = tf.TensorArray(tf.int64, size=count, element_shape=[])

    def one_client(
        i: tf.Tensor, sums: Nest, counted: tf.Tensor, reports: tf.TensorArray, sizes: tf.TensorArray
    ) -> tuple[tf.Tensor, Nest, tf.Tensor, tf.TensorArray, tf.TensorArray]:
        rows, turn = read_rows(work.paths[i], work.rows[i], way.layout), Turn(work.seeds[i], learning_rate)
        output = step(received, keeping.read(work.kept[i], way.kept), rows, turn)
        _check(way, output)
        report = checked(way.algorithm.sums, output)
        accepted, share = report[-1] > 0, work.shares[i]
        payload, sent = steps.travel(way.steps, output.payload, turn.seed)
        sums = tf.cond(
            accepted, lambda: way.aggregator.accumulate(sums, payload, share), lambda: sums
        )  # a NaN times zero is a NaN, so a refused update must not be added at all
        counted += tf.where(accepted, tf.stack([share, 1.0]), tf.zeros([2]))
        with tf.control_dependencies(keeping.write(work.keep[i], output.kept, accepted)):
            return i + 1, sums, counted, reports.write(i, report), sizes.write(i, sent)

    zero = (tf.constant(0), way.aggregator.zero(way.payload), tf.zeros([2]), reports, sizes)
    _, sums, counted, reports, sizes = tf.while_loop(lambda i, *_: i < count, one_client, zero, parallel_iterations=1)
    return LaneOutput(sums, counted[0], counted[1], reports.stack(), sizes.stack())


def _check(way: Way, output: ClientOutput) -> None:
    """Raises an AlgorithmError where a client's output is not what the algorithm has said it is."""
    if not isinstance(output, ClientOutput):
        raise errors.AlgorithmError(f"algorithm: its client gives {type(output).__name__}, expected a ClientOutput")
    contract.check("its client's payload", output.payload, "payload(weights)", way.payload)
    contract.check("what its client keeps", output.kept, "kept(weights)", way.kept)
    for name in way.algorithm.sums:
        if name not in output.sums:
            raise errors.AlgorithmError(errors.unknown("algorithm: sums", "sum of its client", name, output.sums))


def checked(names: Sequence[str], output: ClientOutput) -> tf.Tensor:
    """Returns a client's report: its sums, its update's norm, and 1.0 if all that it sends and keeps is finite."""
    update, extra = output.payload
    norm, told = weight_ops.norm(update.trainable), [output.sums[name] for name in names]
    rest = [part for part in tf.nest.flatten((extra, output.kept)) if part.dtype.is_floating]
    others = weight_ops.norm(update.moving) + tf.reduce_sum(told) + weight_ops.norm(rest)
    finite = tf.math.is_finite(norm + others)
    return tf.stack([*told, norm, tf.cast(finite, tf.float32)])
