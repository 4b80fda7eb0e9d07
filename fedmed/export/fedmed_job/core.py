"""The core of the job: the model, and one hospital's local training, as `fedmed run` does it."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the kernels that fedmed uses; numbers differ in the last digits

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .job import Array, Job, Weights
from .seeded_layers import seed_random_layers

Apply = Callable[[Sequence[tf.Tensor], tf.Tensor, tf.Tensor], None]
"""(gradients, learning rate [], step [] from 0) changes the variables in place."""


class Variables(NamedTuple):
    """A model's variables, in the order of `Weights`."""

    trainable: list[tf.Variable]
    moving: list[tf.Variable]
    fixed: list[tf.Variable]


def variables_of(model: Any) -> Variables:
    """Returns a Keras model's variables: trained, moved by training (BatchNorm's statistics), and left alone."""
    layers = [module for module in model.submodules if isinstance(module, tf.keras.layers.Layer)]
    frozen = {id(v) for layer in layers if not layer.trainable for v in layer.weights}
    moves = [v.dtype.is_floating and not v.trainable and id(v) not in frozen for v in model.non_trainable_variables]
    others = list(zip(model.non_trainable_variables, moves, strict=True))
    return Variables(list(model.trainable_variables), [v for v, m in others if m], [v for v, m in others if not m])


def build(job: Job, weights: Weights) -> Any:
    """Returns the job's Keras model with these weights."""
    model = tf.keras.models.model_from_json(job.architecture)
    for kind, values in zip(variables_of(model), weights, strict=True):
        for variable, value in zip(kind, values, strict=True):
            variable.assign(value)
    return model


def client_seed(job: Job, round_: int, number: int) -> Array:
    """Returns the seed [2] int32 of a hospital's shuffling and dropout in a round, both counted from 0."""
    sequence = np.random.SeedSequence([job.seed, zlib.crc32(b"client"), round_, number])
    return sequence.generate_state(2).astype(np.int64).astype(np.int32)


class Trainer:
    """A model with its local training; one of them trains in any round."""

    def __init__(self, job: Job, initial: Weights) -> None:
        self._job = job
        self.model = build(job, initial)
        self._generators = seed_random_layers(self.model)
        self._own = variables_of(self.model)
        self._reset, self._apply = _optimizer(job, self._own.trainable)
        self._start = [tf.Variable(v, trainable=False) for v in self._own.trainable] if job.local.pull else []
        self._step = self._traced()

    def train(
        self, received: Sequence[Array], x: Array, y: Array, round_: int, number: int
    ) -> tuple[list[Array], float]:
        """Returns what a hospital's training adds to the weights it received, and its mean loss a row.

        Args:
            received: what is trained, then moving statistics.
            x: [n, d] float32 inputs.
            y: [n] labels, as they are learned.
            round_: counted from 0.
            number: the hospital's.
        """
        self.assign(received)
        self._reset()
        for start, variable in zip(self._start, self._own.trainable, strict=False):
            start.assign(variable)
        seed, rate = tf.constant(client_seed(self._job, round_, number)), np.float32(self._job.learning_rate(round_))
        local, losses, met = self._job.local, 0.0, 0
        batch = local.batch or len(y)
        per_epoch = -(-len(y) // batch)
        for step in range(local.steps or local.epochs * per_epoch):
            if step % per_epoch == 0:
                order = _epoch_order(seed, step // per_epoch, len(y))
            start = step % per_epoch * batch
            picked = order[start : start + batch]
            losses += float(self._step(x[picked], y[picked], tf.constant(rate), seed, tf.constant(step)))
            met += len(picked)
        after = [v.numpy() for v in (*self._own.trainable, *self._own.moving)]
        return [a - np.asarray(b) for a, b in zip(after, received, strict=True)], losses / met

    def assign(self, received: Sequence[Array]) -> None:
        """Sets what is trained, then moving statistics."""
        for variable, value in zip((*self._own.trainable, *self._own.moving), received, strict=True):
            variable.assign(value)

    def predict(self, x: Array) -> Array:
        """Returns means [n], or probabilities [n, classes], for inputs [n, d]."""
        output = self.model(tf.constant(x), training=False)
        if self._job.scale == "link":
            links = {"binary": tf.sigmoid, "multiclass": tf.nn.softmax, "count": tf.exp}
            output = links.get(self._job.task, tf.identity)(output)
        return output.numpy() if self._job.task == "multiclass" else output.numpy()[:, 0]

    def _traced(self) -> Any:
        label = tf.int64 if self._job.label.classes else tf.float32
        width = self.model.input_shape[-1]
        signature = [
            tf.TensorSpec([None, width], tf.float32),
            tf.TensorSpec([None], label),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([2], tf.int32),
            tf.TensorSpec([], tf.int32),
        ]
        return tf.function(self._one_step, input_signature=signature, autograph=False)

    def _one_step(self, x: tf.Tensor, y: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Takes one step down the batch's mean loss plus the model's penalties; returns the sum of the rows' losses."""
        fold, variables = tf.random.experimental.stateless_fold_in, self._own.trainable
        step_seed = fold(seed, step)
        with tf.GradientTape() as tape:
            for number, generator in enumerate(self._generators):
                generator.begin(fold(step_seed, number))
            losses = _row_losses(self._job, y, self.model(x, training=True))
            total = tf.add_n([tf.reduce_mean(losses), *self.model.losses])
        gradients: Any = tape.gradient(total, variables)
        taken = [
            tf.zeros(v.shape) if g is None else tf.convert_to_tensor(g)
            for g, v in zip(gradients, variables, strict=True)
        ]
        if self._start:
            mu = self._job.local.pull
            taken = [g + mu * (v - w) for g, v, w in zip(taken, variables, self._start, strict=True)]
        self._apply(taken, rate, step)
        return tf.reduce_sum(losses)


def _epoch_order(seed: tf.Tensor, epoch: int, rows: int) -> Array:
    epoch_seed = tf.random.experimental.stateless_fold_in(seed, epoch)
    return tf.random.experimental.stateless_shuffle(tf.range(rows), seed=epoch_seed).numpy()


def _row_losses(job: Job, y: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Returns the loss [n] of each row: cross-entropy, squared error or Poisson loss."""
    is_link, target = job.scale == "link", tf.cast(y, tf.float32)[:, tf.newaxis]
    if job.task == "binary":
        return tf.keras.losses.binary_crossentropy(target, output, from_logits=is_link)
    if job.task == "multiclass":
        return tf.keras.losses.sparse_categorical_crossentropy(y, output, from_logits=is_link)
    if job.task == "regression":
        return tf.square(target[:, 0] - output[:, 0])
    return tf.nn.log_poisson_loss(target[:, 0], output[:, 0]) if is_link else tf.keras.losses.poisson(target, output)


def _optimizer(job: Job, variables: Sequence[tf.Variable]) -> tuple[Callable[[], None], Apply]:
    """Returns what forgets all moments, and a step of SGD, heavy-ball momentum or Adam."""
    count = {"sgd": 0, "momentum": 1, "adam": 2}[job.local.optimizer]
    slots = [[tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables] for _ in range(count)]

    def reset() -> None:
        for slot in (slot for group in slots for slot in group):
            slot.assign(tf.zeros(slot.shape))

    def apply(gradients: Sequence[tf.Tensor], rate: tf.Tensor, step: tf.Tensor) -> None:
        steps = tf.cast(step + 1, tf.float32)
        for place, (v, g) in enumerate(zip(variables, gradients, strict=True)):
            own = [group[place].handle for group in slots]
            if not own:
                tf.raw_ops.ResourceApplyGradientDescent(var=v.handle, alpha=rate, delta=g)
            elif len(own) == 1:
                momentum = job.local.momentum
                tf.raw_ops.ResourceApplyMomentum(var=v.handle, accum=own[0], lr=rate, grad=g, momentum=momentum)
            else:
                tf.raw_ops.ResourceApplyAdam(
                    var=v.handle, m=own[0], v=own[1], lr=rate, beta1_power=tf.pow(0.9, steps),
                    beta2_power=tf.pow(0.999, steps), beta1=0.9, beta2=0.999, epsilon=1e-7, grad=g)  # fmt: skip
            if v.constraint is not None:
                v.assign(v.constraint(v))

    return reset, apply
