"""Everything the two computations of a round are made of, whichever runtime runs them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedmed.data.store import Field
from fedmed.learning import aggregators, contract, max_pool, steps, tracing
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, Training
from fedmed.learning.lane import LaneOutput, Way, Work, run_lane
from fedmed.learning.learner import Learner, moving_variables
from fedmed.learning.tracing import Recording
from fedmed.learning.values import Counts, Nest, Tensor, Weights
from fedmed.models import refusals
from fedmed.models.spec import KerasModel


class RoundFacts(NamedTuple):
    """What the server knows of a round beside its state: the clients' rate, how many there are, their shares' sum."""

    learning_rate: Tensor
    clients: Tensor
    shares: Tensor


@dataclasses.dataclass(frozen=True, repr=False)  # TensorFlow's warnings would print the whole graph
class Program:
    """A federated training program; it serves every federation of the same settings, model and shapes.

    Attributes:
        way: algorithm, steps and aggregator.
        lane: the clients' side, recorded: (received, learning rate, Work) -> LaneOutput.
        state: a state of the server, as NumPy arrays, for its structure and shapes.
        received: what a client receives, likewise.
    """

    way: Way
    lane: Recording
    state: Nest
    received: Nest

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm of clients and server."""
        return self.way.algorithm

    def initial_state(self, weights: Weights) -> Nest:
        """Returns the server's state before the first round."""
        return self.algorithm.init(weight_ops.map_weights(tf.convert_to_tensor, weights))

    def next_state(self, state: Nest, output: LaneOutput, facts: RoundFacts) -> Nest:
        """Applies the aggregate of all lanes; when no client contributed, the state stays as it is."""

        def applied() -> Nest:
            counts = Counts(output.accepted, output.share, facts.clients, facts.shares)
            after = self.algorithm.apply(state, self.way.aggregator.report(output.sums), counts)
            contract.check("apply(state, ...)", after, "init(weights)", state)
            return after

        return tf.cond(output.accepted > 0, applied, lambda: state)

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
        """The size of what a client receives in a round."""
        return weight_ops.byte_count(self.received)


WORK_SPECS = Work(
    paths=tf.TensorSpec([None], tf.string),
    rows=tf.TensorSpec([None], tf.int32),
    seeds=tf.TensorSpec([None, 2], tf.int32),
    shares=tf.TensorSpec([None], tf.float32),
    kept=tf.TensorSpec([None], tf.string),
    keep=tf.TensorSpec([None], tf.string),
)
RATE_SPEC = tf.TensorSpec([], tf.float32)
FACTS_SPECS = RoundFacts(RATE_SPEC, RATE_SPEC, RATE_SPEC)


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
    with refusals.in_one_line("what it does before the first round", calls=True, of="algorithm"):
        start = weight_ops.map_weights(tf.constant, initial)
        way = Way(
            algorithm=algorithm,
            steps=steps.steps_of(training.aggregation),
            aggregator=aggregators.RULES[training.aggregation.rule](),
            layout=layout,
            payload=_numpy(algorithm.payload(start)),
            kept=_numpy(algorithm.kept(start)),
        )
        state = algorithm.init(start)
        received = _numpy(algorithm.broadcast(state))
        own = [] if algorithm.personal is None else [("personal(state, kept)", algorithm.personal(state, way.kept))]
        for what, weights in (("weights(state)", algorithm.weights(state)), *own):
            contract.check(what, weights, "the model's weights", start)
        lane = functools.partial(run_lane, way, algorithm.client(learner))
    with refusals.in_one_line("training", calls=True), max_pool.fusing(fuse):
        recording = tracing.record(lane, specs_of(received), RATE_SPEC, WORK_SPECS)
    return Program(way, recording, _numpy(state), received)


def specs_of(values: Nest) -> Nest:
    """Returns the TensorSpecs of arrays in any nest."""
    return tf.nest.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), values)


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
