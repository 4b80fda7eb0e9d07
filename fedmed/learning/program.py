"""Everything the two computations of a round are made of, whichever runtime runs them."""

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from fedmed.data.store import Field
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, Broadcast, ServerState
from fedmed.learning.lane import Lane, LaneOutput, Work, run_lane
from fedmed.learning.learner import Learner
from fedmed.learning.objective import Objective
from fedmed.learning.weights import Weights
from fedmed.models.catalog import KerasModel


@dataclasses.dataclass(frozen=True)
class Program:
    """A federated training program.

    Attributes:
        build: makes a fresh Keras model; called once a runtime lane.
        objective: loss and predictions of the task.
        algorithm: client and server computations.
        layout: fields of the clients' files.
        clip_norm: bound on each update's L2 norm, or None.
        initial: NumPy weights of the global model before the first round.
    """

    build: Any
    objective: Objective
    algorithm: Algorithm
    layout: tuple[Field, ...]
    clip_norm: float | None
    initial: Weights

    def lane(self) -> Lane:
        """Builds a model in the current graph (or eagerly) and returns the lane's computation on it."""
        learner = Learner(self._built(), self.objective)
        step = self.algorithm.client(learner)
        return functools.partial(run_lane, step, self.layout, self.clip_norm)

    def _built(self) -> KerasModel:
        # The broadcast weights overwrite whatever the initialisers draw, so nothing is drawn.
        with tf.variable_creator_scope(_zero_creator):
            model = self.build()
            if not model.built:
                model(self._one_row(), training=False)
        return model

    def _one_row(self) -> Any:
        rows = {
            f.name: tf.zeros([1, *f.shape], tf.float32 if f.dtype == "uint8" else tf.as_dtype(f.dtype))
            for f in self.layout[:-1]
        }
        return rows[""] if list(rows) == [""] else rows

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

    def weight_specs(self) -> Weights:
        """Returns the weights' TensorSpecs."""
        return weight_ops.map_weights(lambda w: tf.TensorSpec(w.shape, tf.float32), self.initial)

    def broadcast_specs(self) -> Broadcast:
        """Returns the broadcast's TensorSpecs."""
        return Broadcast(self.weight_specs(), tf.TensorSpec([], tf.float32))


WORK_SPECS = Work(
    tf.TensorSpec([None], tf.string),
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([None, 2], tf.int32),
    tf.TensorSpec([None], tf.float32),
)


def add_outputs(outputs: list[LaneOutput]) -> tuple[Weights, tf.Tensor]:
    """Sums the lanes' totals and shares, in lane order."""
    total = functools.reduce(lambda a, b: weight_ops.map_weights(tf.add, a, b), [output.total for output in outputs])
    return total, tf.add_n([output.share for output in outputs])


def model_weights(model: KerasModel) -> Weights:
    """Returns a Keras model's weights as NumPy arrays."""
    from fedmed.learning.learner import moving_variables

    return Weights([v.numpy() for v in model.trainable_variables], [v.numpy() for v in moving_variables(model)])


def set_model_weights(model: KerasModel, weights: Weights) -> None:
    """Sets a Keras model's variables from NumPy arrays."""
    from fedmed.learning.learner import moving_variables

    for variable, value in zip(model.trainable_variables, weights.trainable, strict=True):
        variable.assign(value)
    for variable, value in zip(moving_variables(model), weights.moving, strict=True):
        variable.assign(np.asarray(value))


def _zero_creator(next_creator: Any, **kwargs: Any) -> Any:
    shape, dtype = kwargs.get("shape"), kwargs.get("dtype") or tf.float32
    if shape is not None and callable(kwargs.get("initial_value")) and tf.TensorShape(shape).is_fully_defined():
        kwargs["initial_value"] = lambda: tf.zeros(shape, dtype)
    return next_creator(**kwargs)
