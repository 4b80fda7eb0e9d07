"""Everything the two computations of a round are made of, whichever runtime runs them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedmed.data.store import Field
from fedmed.learning import aggregators, compression, contract, lateness, max_pool, noising, secure_sums, steps, tracing
from fedmed.learning import weights as weight_ops
from fedmed.learning.aggregator import Aggregator
from fedmed.learning.algorithm import Algorithm, Training
from fedmed.learning.keeping import Held
from fedmed.learning.lane import LaneOutput, Way, Work, run_lane
from fedmed.learning.learner import Learner, moving_variables
from fedmed.learning.remembering import remembering
from fedmed.learning.secure_sums import Masks
from fedmed.learning.tracing import Recording
from fedmed.learning.values import Counts, Nest, Payload, Tensor, Weights
from fedmed.models import refusals
from fedmed.models.spec import KerasModel
from fedmed.settings.privacy import Privacy


class RoundFacts(NamedTuple):
    """What the server knows of a round beside its state.

    Attributes:
        learning_rate: [] float32, of the clients.
        clients: [] float32, how many there are.
        shares: [] float32, the sum of their shares.
        expected: [] float32, how many of them take part on average.
        noise: [] float32, the noise multiplier of what is promised to them; 0 where nothing is.
        noise_seed: [2] int32, of that noise.
        seed: [2] int32, of what else is drawn at the server.
        masks: those that are left in a secure sum.
    """

    learning_rate: Tensor
    clients: Tensor
    shares: Tensor
    expected: Tensor
    noise: Tensor
    noise_seed: Tensor
    seed: Tensor
    masks: Masks


@dataclasses.dataclass(frozen=True, repr=False)  # TensorFlow's warnings would print the whole graph
class Program:
    """A federated training program; it serves every federation of the same settings, model and shapes.

    Attributes:
        way: algorithm, steps and aggregator.
        lane: the clients' side, recorded: (received, learning rate, Work) -> LaneOutput.
        state: a state of the server, as NumPy arrays, for its structure and shapes.
        received: what is sent to a client, likewise.
        privacy: what is promised.
    """

    way: Way
    lane: Recording
    state: Nest
    received: Nest
    privacy: Privacy

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm of clients and server."""
        return self.way.algorithm

    def initial_state(self, weights: Weights) -> Nest:
        """Returns the server's state before the first round."""
        return self.algorithm.init(weight_ops.map_weights(tf.convert_to_tensor, weights))

    def first_held(self, weights: Weights) -> Held:
        """Returns what a client holds before its first round."""
        return Held(self.algorithm.kept(weight_ops.map_weights(tf.convert_to_tensor, weights)), self.way.memory)

    def broadcast(self, state: Nest, facts: RoundFacts) -> Nest:
        """Returns what the server sends to every client of a round."""
        return self.way.down.encode(self.algorithm.broadcast(state), facts.seed)

    def next_state(self, state: Nest, output: LaneOutput, facts: RoundFacts) -> Nest:
        """Applies the aggregate of all lanes; when no client contributed, the state stays as it is.

        Where hospitals are promised something, noise is added and applied whoever contributed: that nobody did is
        theirs to keep.
        """

        def applied(aggregate: Payload, counts: Counts) -> Nest:
            after = self.algorithm.apply(state, aggregate, counts)
            contract.check("apply(state, ...)", after, "init(weights)", state)
            return after

        if self.privacy.unit == "hospital":
            sd = facts.noise * self.privacy.clip_norm
            total = self.way.aggregator.report(output.sums)
            mean = noising.noised_mean(total, sd, facts.expected, facts.noise_seed)
            return applied(mean, Counts(facts.expected, facts.expected, facts.clients, facts.shares))
        counts = Counts(output.accepted, output.share, facts.clients, facts.shares)
        return tf.cond(
            output.accepted > 0,
            lambda: applied(self._aggregate(output, facts), counts),
            lambda: state,
        )

    def _aggregate(self, output: LaneOutput, facts: RoundFacts) -> Payload:
        aggregate = self.way.aggregator.report(output.sums)
        if self.way.secure is None:
            return aggregate
        return secure_sums.opened(self.way.secure, aggregate, output.share, facts.masks)

    def merged(self, outputs: Sequence[LaneOutput]) -> LaneOutput:
        """Merges the lanes' sums, in lane order; the reports are the first lane's."""
        first = outputs[0]
        return first._replace(
            sums=functools.reduce(self.way.aggregator.merge, [output.sums for output in outputs]),
            share=tf.add_n([output.share for output in outputs]),
            accepted=tf.add_n([output.accepted for output in outputs]),
        )

    @property
    def bytes_down(self) -> int:
        """The size of what is sent to a client in a round: of what late clients may start from, one."""
        return weight_ops.byte_count(self.received) // (1 + self.way.trouble.late)

    @functools.cached_property
    def bytes_up(self) -> int:
        """The size of what a client sends in a round, as an update of zeros has it; masks left out."""
        zeros, memory = (tf.nest.map_structure(tf.constant, part) for part in (self.way.payload, self.way.memory))
        if self.way.secure is not None:
            return int(secure_sums.size(self.way.secure, Masks(tf.zeros([0, 3], tf.int64), tf.constant(1))))
        return int(steps.travel(self.way.steps, zeros, tf.constant([0, 0]), memory).sent)


WORK_SPECS = Work(
    paths=tf.TensorSpec([None], tf.string),
    offsets=tf.TensorSpec([None], tf.int32),
    rows=tf.TensorSpec([None], tf.int32),
    seeds=tf.TensorSpec([None, 2], tf.int32),
    shares=tf.TensorSpec([None], tf.float32),
    kept=tf.TensorSpec([None], tf.string),
    keep=tf.TensorSpec([None], tf.string),
    noise=tf.TensorSpec([None], tf.float32),
    masks=tf.TensorSpec([None, None, 3], tf.int64),
    limits=tf.TensorSpec([None], tf.int32),
    work=tf.TensorSpec([None], tf.float32),
    late=tf.TensorSpec([None], tf.int32),
    factor=tf.TensorSpec([None], tf.float32),
)
RATE_SPEC = tf.TensorSpec([], tf.float32)
_SEED_SPEC = tf.TensorSpec([2], tf.int32)
FACTS_SPECS = RoundFacts(
    learning_rate=RATE_SPEC,
    clients=RATE_SPEC,
    shares=RATE_SPEC,
    expected=RATE_SPEC,
    noise=RATE_SPEC,
    noise_seed=_SEED_SPEC,
    seed=_SEED_SPEC,
    masks=Masks(tf.TensorSpec([None, 3], tf.int64), tf.TensorSpec([], tf.int32)),
)


def recorded(
    learner: Learner, training: Training, algorithm: Algorithm, layout: Sequence[Field], initial: Weights, fuse: bool
) -> Program:
    """Records an algorithm's computation on a learner.

    Args:
        learner: holds the model.
        training: the settings that the algorithm was made with.
        algorithm: trains it.
        layout: fields of the clients' files.
        initial: weights, for their shapes.
        fuse: whether the graph will run where XLA can fuse the max-pool gradient; TFF's worker has no XLA.

    Raises:
        ModelError: the model's own code fails, or it uses a resource that cannot be copied.
        AlgorithmError: the algorithm's functions fail, or do not fit each other.
    """
    if training.trouble.late:
        algorithm = lateness.delayed(algorithm, training.trouble.late)
    with refusals.in_one_line("what it does before the first round", calls=True, of="algorithm"):
        aggregator = aggregators.aggregator_of(training)
        algorithm = remembering(algorithm, aggregator)
        start = weight_ops.map_weights(tf.constant, initial)
        state = algorithm.init(start)
        way = _way(training, algorithm, aggregator, layout, start, algorithm.broadcast(state))
        received = _numpy(way.down.encode(algorithm.broadcast(state), tf.constant([0, 0])))
        own = [] if algorithm.personal is None else [("personal(state, kept)", algorithm.personal(state, way.kept))]
        for what, weights in (("weights(state)", algorithm.weights(state)), *own):
            contract.check(what, weights, "the model's weights", start)
        lane = functools.partial(run_lane, way, algorithm.client(learner))
    with refusals.in_one_line("training", calls=True), max_pool.fusing(fuse):
        recording = tracing.record(lane, specs_of(received), RATE_SPEC, WORK_SPECS)
    return Program(way, recording, _numpy(state), received, training.privacy)


def _way(
    training: Training,
    algorithm: Algorithm,
    aggregator: Aggregator,
    layout: Sequence[Field],
    start: Weights,
    received: Nest,
) -> Way:
    """Returns what lanes do; `received` is what clients would receive of the state before the first round."""
    payload = _numpy(algorithm.payload(start))
    on_the_way = (*steps.steps_of(training), *compression.steps_up(training.compression, payload))
    secure = secure_sums.secure_of(training.aggregation, payload)
    return Way(
        algorithm=algorithm,
        steps=on_the_way,
        aggregator=aggregator if secure is None else secure_sums.word_sum(secure),
        layout=layout,
        payload=payload,
        kept=_numpy(algorithm.kept(start)),
        memory=_numpy(steps.memory_of(on_the_way, payload)),
        down=compression.step_down(training.compression, received),
        secure=secure,
        trouble=training.trouble,
    )


def specs_of(values: Nest) -> Nest:
    """Returns the TensorSpecs of arrays in any nest."""
    return tf.nest.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), values)


def constants(facts: RoundFacts) -> RoundFacts:
    """Returns a round's facts as tensors."""
    return tf.nest.map_structure(tf.constant, arrays(facts))


def arrays(facts: RoundFacts) -> RoundFacts:
    """Returns a round's facts as NumPy arrays of their types."""
    return tf.nest.map_structure(lambda fact, spec: np.asarray(fact, spec.dtype.as_numpy_dtype), facts, FACTS_SPECS)


def _numpy(values: Nest) -> Nest:
    return tf.nest.map_structure(lambda t: np.asarray(t), values)


def model_weights(model: KerasModel) -> Weights:
    """Returns a Keras model's weights as NumPy arrays."""
    return Weights([v.numpy() for v in model.trainable_variables], [v.numpy() for v in moving_variables(model)])


def set_model_weights(model: KerasModel, weights: Weights) -> None:
    """Sets a Keras model's variables from NumPy arrays."""
    for variable, value in zip(model.trainable_variables, weights.trainable, strict=True):
        variable.assign(value)
    for variable, value in zip(moving_variables(model), weights.moving, strict=True):
        variable.assign(np.asarray(value))
