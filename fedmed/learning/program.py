"""Everything the two computations of a round are made of, whichever runtime runs them."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fedmed.data.store import Field
from fedmed.learning import max_pool, tracing
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm
from fedmed.learning.lane import LaneOutput, Work, run_lane
from fedmed.learning.learner import Learner, moving_variables
from fedmed.learning.tracing import Recording
from fedmed.learning.values import Broadcast, ServerState, Weights
from fedmed.models import refusals
from fedmed.models.spec import KerasModel


@dataclasses.dataclass(frozen=True, repr=False)  # TensorFlow's warnings would print the whole graph
class Program:
    """A federated training program.

    Attributes:
        algorithm: client and server computations.
        lane: the clients' side, recorded: (Broadcast, Work) -> LaneOutput.
        initial: NumPy weights of the global model before the first round.
    """

    algorithm: Algorithm
    lane: Recording
    initial: Weights

    def initial_state(self) -> ServerState:
        """Returns the server's state before the first round."""
        return self.algorithm.initial_state(weight_ops.map_weights(tf.constant, self.initial))

    def next_state(self, state: ServerState, total: Weights, share: tf.Tensor) -> ServerState:
        """Applies the mean update; when no client contributed, only the round is counted."""
        return tf.cond(
            share > 0,
            lambda: self.algorithm.server_update(state, weight_ops.map_weights(lambda t: t / share, total)),
            lambda: state._replace(round=state.round + 1),
        )

    def broadcast(self, state: ServerState, learning_rate: tf.Tensor) -> Broadcast:
        """Returns what every client of the round receives."""
        return Broadcast(state.weights, learning_rate)


WORK_SPECS = Work(
    tf.TensorSpec([None], tf.string),
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([None, 2], tf.int32),
    tf.TensorSpec([None], tf.float32),
)


def record_lane(
    learner: Learner,
    algorithm: Algorithm,
    layout: Sequence[Field],
    clip_norm: float | None,
    initial: Weights,
    fuse: bool,
) -> Recording:
    """Records the lane's computation on a learner.

    Args:
        learner: holds the model.
        algorithm: trains it.
        layout: fields of the clients' files.
        clip_norm: bound on each update's L2 norm, or None.
        initial: weights, for their shapes.
        fuse: whether the graph will run where XLA can fuse the max-pool gradient; TFF's worker has no XLA.

    Raises:
        ModelError: the model's own code fails, or it uses a resource that cannot be copied.
    """
    step = algorithm.client(learner)
    lane = functools.partial(run_lane, step, layout, clip_norm)
    with refusals.in_one_line("training", calls=True), max_pool.fusing(fuse):
        return tracing.record(lane, broadcast_specs(initial), WORK_SPECS)


def broadcast_specs(initial: Weights) -> Broadcast:
    """Returns the broadcast's TensorSpecs."""
    weights = weight_ops.map_weights(lambda w: tf.TensorSpec(w.shape, tf.float32), initial)
    return Broadcast(weights, tf.TensorSpec([], tf.float32))


def add_outputs(outputs: Sequence[LaneOutput]) -> tuple[Weights, tf.Tensor]:
    """Sums the lanes' totals and shares, in lane order."""
    total = functools.reduce(lambda a, b: weight_ops.map_weights(tf.add, a, b), [output.total for output in outputs])
    return total, tf.add_n([output.share for output in outputs])


def model_weights(model: KerasModel) -> Weights:
    """Returns a Keras model's weights as NumPy arrays."""
    return Weights([v.numpy() for v in model.trainable_variables], [v.numpy() for v in moving_variables(model)])


def set_model_weights(model: KerasModel, weights: Weights) -> None:
    """Sets a Keras model's variables from NumPy arrays."""
    for variable, value in zip(model.trainable_variables, weights.trainable, strict=True):
        variable.assign(value)
    for variable, value in zip(moving_variables(model), weights.moving, strict=True):
        variable.assign(np.asarray(value))
