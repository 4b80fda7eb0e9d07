"""A lane trains several clients one after another and sums their updates, so that few updates are alive at once.

TensorFlow Federated sees a lane as one of its clients. Federated clients stay apart inside: each starts from the
broadcast weights, is checked, clipped and weighted by itself, and reports under its own place in the lane.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.data.store import Field
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import METRICS, ClientOutput, ClientStep, Rows
from fedmed.learning.values import Broadcast, Tensor, Weights

REPORT = (*METRICS, "update_norm", "accepted")
"""What a lane reports of each client: its sums, the L2 norm of its update before clipping, and 1.0 if it was used."""


class Work(NamedTuple):
    """References to the clients of one lane.

    Attributes:
        paths: [k] strings, each client's file.
        rows: [k] int32, rows in it.
        seeds: [k, 2] int32, of the client's shuffling and dropout in this round.
        shares: [k] float32, the weight of its update in the mean.
    """

    paths: Tensor
    rows: Tensor
    seeds: Tensor
    shares: Tensor


class LaneOutput(NamedTuple):
    """What leaves a lane: the weighted sum of accepted updates, their summed shares [], reports [k, len(REPORT)]."""

    total: Weights
    share: tf.Tensor
    reports: tf.Tensor


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


def run_lane(
    step: ClientStep, layout: Sequence[Field], clip_norm: float | None, broadcast: Broadcast, work: Work
) -> LaneOutput:
    """Trains the lane's clients in order and sums what they send."""
    count = tf.shape(work.paths)[0]
    reports = tf.TensorArray(tf.float32, size=count, element_shape=[len(REPORT)])

    def one_client(
        i: tf.Tensor, total: Weights, share: tf.Tensor, reports: tf.TensorArray
    ) -> tuple[tf.Tensor, Weights, tf.Tensor, tf.TensorArray]:
        rows = read_rows(work.paths[i], work.rows[i], layout)
        output = step.update(broadcast, rows, work.seeds[i])
        update, report = checked_and_clipped(output, clip_norm)
        accepted = report[-1] > 0
        total = tf.cond(
            accepted, lambda: weight_ops.add_scaled(total, work.shares[i], update), lambda: total
        )  # a NaN times zero is a NaN, so a refused update must not be added at all
        share += tf.where(accepted, work.shares[i], 0.0)
        return i + 1, total, share, reports.write(i, report)

    zero = (tf.constant(0), weight_ops.zeros_like(broadcast.weights), tf.constant(0.0), reports)
    _, total, share, reports = tf.while_loop(lambda i, *_: i < count, one_client, zero, parallel_iterations=1)
    return LaneOutput(total, share, reports.stack())


def checked_and_clipped(output: ClientOutput, clip_norm: float | None) -> tuple[Weights, tf.Tensor]:
    """Scales an update down to L2 norm `clip_norm` (trainable weights only) and says whether it is finite.

    Returns:
        The update, and the client's report [len(REPORT)].
    """
    norm = weight_ops.norm(output.update.trainable)
    finite = tf.math.is_finite(norm + weight_ops.norm(output.update.moving) + tf.reduce_sum(output.metrics))
    report = tf.concat([output.metrics, [norm, tf.cast(finite, tf.float32)]], axis=0)
    if clip_norm is None:
        return output.update, report
    scale = tf.minimum(1.0, clip_norm / tf.maximum(norm, 1e-30))
    return Weights([scale * u for u in output.update.trainable], output.update.moving), report
