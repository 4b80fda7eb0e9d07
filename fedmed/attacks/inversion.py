"""Gradient inversion: looks for rows whose simulated training gives the update that was seen.

Deep leakage from gradients (Zhu et al. 2019) compares one gradient; here the client's local steps are simulated in the
graph, so updates of several steps are attacked too (as Dimitrov et al. 2022 do, without their prior on the order).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from keras.src.engine import base_layer

from fedmed.attacks import descent
from fedmed.attacks.descent import Search
from fedmed.attacks.observation import Array, Seen, Work
from fedmed.attacks.substitution import is_substitutable, substituted
from fedmed.data.examples import Task
from fedmed.learning import batches
from fedmed.learning.learner import moving_variables
from fedmed.learning.objective import Objective

MOST_STEPS = 32
"""Local steps that are simulated; each is a copy of the model in the graph."""
_SCALE = 1e3  # of the mismatch, whose float32 gradients would otherwise be lost near its minimum


@dataclasses.dataclass(frozen=True)
class Target:
    """What a server knows beside the update: the model, what its clients minimise, the weights that it sent them.

    Attributes:
        model: its variables are set to `received` by an attack.
        task: of the labels.
        objective: what the clients minimise.
        received: the trainable variables' values, in model order.
    """

    model: tf.keras.Model
    task: Task
    objective: Objective
    received: tuple[Array, ...]

    def restore(self) -> None:
        """Sets the model's variables to the weights that were sent."""
        for variable, value in zip(self.model.trainable_variables, self.received, strict=True):
            variable.assign(value)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found: rows [clients x rows, ...] float32, and how far their update is from the one seen.

    Attributes:
        rows: in any order.
        labels: that were assumed for them.
        mismatch: the distance left, relative to the update's own size; 0 for a perfect match.
    """

    rows: Array
    labels: Array
    mismatch: float


@dataclasses.dataclass(frozen=True)
class NotAttempted:
    """An attack that was not tried, and why; it says nothing of how safe anything is."""

    reason: str


def obstacle(model: tf.keras.Model, work: Work) -> str:
    """Returns why inversion is not attempted on a model's updates, "" where it is."""
    if isinstance(model.input_shape, dict | list):
        return "the model has several inputs"
    steps = work.steps * work.clients
    if steps > MOST_STEPS:
        return f"{steps:,} local steps would have to be simulated, and {MOST_STEPS} are the most that is tried"
    if any(isinstance(module, base_layer.BaseRandomLayer) for module in model.submodules):
        return "a layer draws at random (dropout), which the simulation would have to guess"
    if moving_variables(model):
        return "a layer keeps moving statistics (BatchNorm), which ties the rows of a batch together"
    return "" if is_substitutable(model) else "some of the model's variables are not attributes of its layers"


def invert(target: Target, seen: Seen, labels: Array, search: Search, rng: np.random.Generator) -> Found | NotAttempted:
    """Looks for the rows behind an update.

    Args:
        target: whose update it is.
        seen: the update.
        labels: [clients x rows] of the rows, known or inferred. In several batches it matters which row has which.
        search: how.
        rng: of the starts.
    """
    reason = obstacle(target.model, seen.work)
    if reason:
        return NotAttempted(reason)
    target.restore()
    shape = (seen.work.in_all, *target.model.input_shape[1:])
    try:
        mismatch = _mismatch(target, seen, tf.constant(labels), search, shape)
    except LookupError:  # TensorFlow knows no gradient of some operation's gradient
        return NotAttempted("a layer's gradient has no gradient in TensorFlow")
    rows, left = descent.least(mismatch, shape, search, rng)
    return Found(rows, np.asarray(labels), left / _SCALE)


def simulated(model: tf.keras.Model, objective: Objective, work: Work, x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
    """Returns the summed update that clients holding these rows would send, in a graph that gradients pass through.

    Args:
        model: holds the weights that the clients received. Penalties on weights are taken at these.
        objective: what is minimised.
        work: the clients' steps.
        x: [clients x rows, ...] float32.
        y: [clients x rows].
    """
    start = [tf.convert_to_tensor(v) for v in model.trainable_variables]
    penalty = _penalty_gradients(model)
    total = [tf.zeros_like(w) for w in start]
    for client in range(work.clients):
        own = slice(client * work.rows, (client + 1) * work.rows)
        held_x, held_y, weights = x[own], y[own], start
        for rows in work.visits(client):
            with substituted(model, weights):
                output = model(tf.gather(held_x, rows), training=True)
                loss = tf.reduce_mean(objective.loss(tf.gather(held_y, rows), output))
            gradients = tf.gradients(loss, weights)
            weights = [
                w if g is None else w - work.learning_rate * (g + p)
                for w, g, p in zip(weights, gradients, penalty, strict=True)
            ]
        total = [t + w - s for t, w, s in zip(total, weights, start, strict=True)]
    return total


def knowing_order(work: Work, seeds: Sequence[Array]) -> Work:
    """Returns the work with the rows of each step, as a server knows them that knows the clients' seeds.

    Args:
        work: of clients that train as `learning.local_training` does.
        seeds: [2] int32 of each client's turn.
    """
    size = work.batch or work.rows

    def steps(seed: Array) -> tuple[tuple[int, ...], ...]:
        made: list[tuple[int, ...]] = []
        for epoch in range(work.epochs):
            order = batches.epoch_order(tf.constant(seed, tf.int32), tf.constant(epoch), tf.constant(work.rows)).numpy()
            made += [tuple(order[start : start + size].tolist()) for start in range(0, work.rows, size)]
        return tuple(made)

    return dataclasses.replace(work, order=tuple(steps(seed) for seed in seeds))


def _penalty_gradients(model: tf.keras.Model) -> list[tf.Tensor]:
    variables = model.trainable_variables
    if not model.losses:
        return [tf.zeros(v.shape) for v in variables]
    found = tf.gradients(tf.add_n(model.losses), variables)
    return [tf.zeros(v.shape) if g is None else g for g, v in zip(found, variables, strict=True)]


def _mismatch(target: Target, seen: Seen, y: tf.Tensor, search: Search, shape: tuple[int, ...]) -> descent.Slope:
    """Returns what is minimised, a function of rows [clients x rows, ...]."""
    wanted = [tf.constant(part, tf.float32) for part in seen.update]
    size = tf.add_n([tf.reduce_sum(tf.square(t)) for t in wanted])

    def distance(x: tf.Tensor) -> tf.Tensor:
        made = simulated(target.model, target.objective, seen.work, x, y)
        if search.distance == "squared":
            return tf.add_n([tf.reduce_sum(tf.square(m - t)) for m, t in zip(made, wanted, strict=True)]) / size
        product = tf.add_n([tf.reduce_sum(m * t) for m, t in zip(made, wanted, strict=True)])
        own = tf.add_n([tf.reduce_sum(tf.square(m)) for m in made])
        return 1 - product / tf.sqrt(size * own + 1e-30)

    def whole(x: tf.Tensor) -> tf.Tensor:
        left = distance(x)
        if search.variation:
            left += search.variation * tf.reduce_mean(tf.image.total_variation(x)) / np.prod(shape[1:])
        return _SCALE * left

    return descent.slope(whole, shape)
