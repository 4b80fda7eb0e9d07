"""A lane trains several clients one after another and sums what they send, so that few payloads are alive at once.

TensorFlow Federated sees a lane as one of its clients. Federated clients stay apart inside: each starts from what was
broadcast and from what it kept itself, is checked, sent and weighted by itself, and reports under its own place.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.data.store import PATIENT, Field
from fedmed.learning import contract, keeping, secure_sums, steps
from fedmed.learning import weights as weight_ops
from fedmed.learning.aggregator import Aggregator
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows
from fedmed.learning.keeping import Held
from fedmed.learning.secure_sums import Masks, Secure
from fedmed.learning.steps import Step
from fedmed.learning.values import NO_TROUBLE, Nest, Payload, Tensor, Trouble, Turn
from fedmed.system import errors

OWN_SUMS = ("update_norm", "accepted")
"""What a lane adds to a client's sums: the L2 norm of its update before any step, and 1.0 if it was used."""


class Work(NamedTuple):
    """References to the clients of one lane.

    Attributes:
        paths: [k] strings, the file with each client's rows.
        offsets: [k] int32, the byte of it at which they begin.
        rows: [k] int32, how many they are.
        seeds: [k, 2] int32, of the client's shuffling and dropout in this round.
        shares: [k] float32, the weight of its payload.
        kept: [k] strings, the file of what it kept after its last round; not read by an algorithm without such.
        keep: [k] strings, the file for what it keeps after this round.
        noise: [k] float32, the noise multiplier of what is promised to its patients; not read where nothing is.
        masks: [k, m, 3] int64, what it adds under secure sums, else m is 0; see `secure_sums.Masks`.
        limits: [k] int32, the size of its largest value there, else 1.
        work: [k] float32, the share of its local steps that it takes; not read where all take all.
        late: [k] int32, how many updates old what it received is; not read where none is late.
        factor: [k] float32, what its update is multiplied by; not read where none is spoilt.
    """

    paths: Tensor
    offsets: Tensor
    rows: Tensor
    seeds: Tensor
    shares: Tensor
    kept: Tensor
    keep: Tensor
    noise: Tensor
    masks: Tensor
    limits: Tensor
    work: Tensor
    late: Tensor
    factor: Tensor


class LaneOutput(NamedTuple):
    """What leaves a lane.

    Attributes:
        sums: the accumulator of accepted payloads; under secure sums the masked words of all.
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
        memory: zeros in the structure of what a client remembers of its way; see `steps.memory_of`.
        down: from what the server broadcasts to what a client receives.
        secure: how sums are masked; None for sums in the clear.
        trouble: what of a scenario the lane is made for.
    """

    algorithm: Algorithm
    steps: Sequence[Step]
    aggregator: Aggregator
    layout: Sequence[Field]
    payload: Payload
    kept: Nest
    memory: Nest
    down: Step
    secure: Secure | None
    trouble: Trouble = NO_TROUBLE

    @property
    def report_names(self) -> tuple[str, ...]:
        """What the columns of a lane's reports are: all that clients tell, or what secure sums leave of it."""
        names = (*self.algorithm.sums, *OWN_SUMS)
        return names if self.secure is None else secure_sums.told(names)


def read_rows(path: tf.Tensor, offset: tf.Tensor, rows: tf.Tensor, layout: Sequence[Field]) -> Rows:
    """Reads a client's rows in the graph; see `fedmed.data.store` for the file's format."""
    content, offset, arrays = tf.io.read_file(path), tf.cast(offset, tf.int64), {}
    for field in layout:
        size = tf.cast(rows, tf.int64) * field.row_bytes  # can be above 2 GiB
        flat = tf.io.decode_raw(tf.strings.substr(content, offset, size), tf.as_dtype(field.dtype))
        arrays[field.name] = tf.reshape(flat, tf.concat([[rows], tf.constant(field.shape, tf.int32)], axis=0))
        arrays[field.name].set_shape([None, *field.shape])
        offset += size
    y, patient = arrays.pop("y"), arrays.pop(PATIENT, None)
    return Rows(arrays[""] if list(arrays) == [""] else arrays, y, patient)


def run_lane(way: Way, step: ClientStep, received: Nest, learning_rate: tf.Tensor, work: Work) -> LaneOutput:
    """Trains the lane's clients in order and sums what they send."""
    count, names, received = tf.shape(work.paths)[0], way.report_names, way.down.decode(received)
    reports = tf.TensorArray(tf.float32, size=count, element_shape=[len(names)])
    sizes = tf.TensorArray(tf.int64, size=count, element_shape=[])

    def one_client(
        i: tf.Tensor, sums: Nest, counted: tf.Tensor, reports: tf.TensorArray, sizes: tf.TensorArray
    ) -> tuple[tf.Tensor, Nest, tf.Tensor, tf.TensorArray, tf.TensorArray]:
        rows = read_rows(work.paths[i], work.offsets[i], work.rows[i], way.layout)
        share_of_work = work.work[i] if way.trouble.partial else 1.0
        turn = Turn(work.seeds[i], learning_rate, work.noise[i], share_of_work, work.late[i])
        held = keeping.read(work.kept[i], Held(way.kept, way.memory))
        output = step(received, held.own, rows, turn)
        _check(way, output)
        output = _spoilt(output, work.factor[i]) if way.trouble.spoils else output
        report = checked(way.algorithm.sums, output)
        accepted, share = report[-1] > 0, work.shares[i]
        arrived = steps.travel(way.steps, output.payload, turn.seed, held.memory)
        if way.secure is None:
            sums, sent = _added(way, sums, arrived.payload, share, accepted), arrived.sent
        else:
            masks = Masks(work.masks[i], work.limits[i])
            words = secure_sums.masked(way.secure, arrived.payload, share, accepted, masks, turn.seed)
            sums, sent = way.aggregator.accumulate(sums, words, share), secure_sums.size(way.secure, masks)
        counted += tf.where(accepted, tf.stack([share, 1.0]), tf.zeros([2]))
        with tf.control_dependencies(keeping.write(work.keep[i], Held(output.kept, arrived.memory), accepted)):
            return i + 1, sums, counted, reports.write(i, _told(way, report)), sizes.write(i, sent)

    zero = (tf.constant(0), way.aggregator.zero(way.payload), tf.zeros([2]), reports, sizes)
    _, sums, counted, reports, sizes = tf.while_loop(lambda i, *_: i < count, one_client, zero, parallel_iterations=1)
    return LaneOutput(way.aggregator.packed(sums, way.payload), counted[0], counted[1], reports.stack(), sizes.stack())


def _spoilt(output: ClientOutput, factor: tf.Tensor) -> ClientOutput:
    """Returns the output with its whole update multiplied; what else the algorithm sends stays."""
    update = weight_ops.map_weights(lambda u: factor * u, output.payload.update)
    return output._replace(payload=output.payload._replace(update=update))


def _added(way: Way, sums: Nest, payload: Payload, share: tf.Tensor, accepted: tf.Tensor) -> Nest:
    """Adds an accepted payload; a NaN times zero is a NaN, so that a refused one must not be added at all."""
    return tf.cond(accepted, lambda: way.aggregator.accumulate(sums, payload, share), lambda: sums)


def _told(way: Way, report: tf.Tensor) -> tf.Tensor:
    """Returns of a client's whole report what leaves the lane."""
    names = (*way.algorithm.sums, *OWN_SUMS)
    return report if names == way.report_names else tf.gather(report, [names.index(n) for n in way.report_names])


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
