"""Optimizers of local training: fused TensorFlow kernels on variables, with a state that starts anew at each client."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.settings import config


class Optimizer(NamedTuple):
    """An optimizer bound to variables.

    Attributes:
        reset: forgets all moments; called when a client begins.
        apply: (gradients, learning rate [], step [] int32 from 0) changes the variables in place.
    """

    reset: Callable[[], None]
    apply: Callable[[Sequence[tf.Tensor], tf.Tensor, tf.Tensor], None]


def optimizer(settings: config.Client, variables: Sequence[tf.Variable]) -> Optimizer:
    """Returns SGD, SGD with momentum (heavy ball), or Adam (Kingma and Ba 2015; beta .9, .999, epsilon 1e-7)."""
    if settings.optimizer == "momentum":
        return _momentum(variables, settings.momentum)
    return _adam(variables) if settings.optimizer == "adam" else _sgd(variables)


def _slots(variables: Sequence[tf.Variable]) -> list[tf.Variable]:
    return [tf.Variable(tf.zeros(v.shape), trainable=False, name="slot") for v in variables]


def _clear(slots: Sequence[tf.Variable]) -> None:
    for slot in slots:
        slot.assign(tf.zeros(slot.shape), read_value=False)


def _sgd(variables: Sequence[tf.Variable]) -> Optimizer:
    def apply(gradients: Sequence[tf.Tensor], rate: tf.Tensor, step: tf.Tensor) -> None:
        del step
        for variable, gradient in zip(variables, gradients, strict=True):
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)

    return Optimizer(lambda: None, apply)


def _momentum(variables: Sequence[tf.Variable], momentum: float) -> Optimizer:
    slots = _slots(variables)

    def apply(gradients: Sequence[tf.Tensor], rate: tf.Tensor, step: tf.Tensor) -> None:
        del step
        for variable, slot, gradient in zip(variables, slots, gradients, strict=True):
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle, accum=slot.handle, lr=rate, grad=gradient, momentum=momentum
            )

    return Optimizer(lambda: _clear(slots), apply)


def _adam(variables: Sequence[tf.Variable]) -> Optimizer:
    first, second = _slots(variables), _slots(variables)

    def apply(gradients: Sequence[tf.Tensor], rate: tf.Tensor, step: tf.Tensor) -> None:
        count = tf.cast(step + 1, tf.float32)
        for variable, m, v, gradient in zip(variables, first, second, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=m.handle, v=v.handle, lr=rate,
                beta1_power=tf.pow(0.9, count), beta2_power=tf.pow(0.999, count),
                beta1=0.9, beta2=0.999, epsilon=1e-7, grad=gradient)  # fmt: skip

    return Optimizer(lambda: (_clear(first), _clear(second))[0], apply)
