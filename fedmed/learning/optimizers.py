"""Optimizers of local training: fused TensorFlow kernels on variables.

Their moments start anew at each client, or go on from given ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.values import Tensor
from fedmed.settings import config


class Moments(NamedTuple):
    """What an optimizer remembers of the gradients so far.

    Attributes:
        slots: float32 tensors like the variables: velocities (momentum), or all first and then all second moments
            (Adam); [] for SGD.
        steps: [] float32, how many steps they are made of; a mean over clients need not be whole.
    """

    slots: list[Tensor]
    steps: Tensor


class Optimizer(NamedTuple):
    """An optimizer bound to variables.

    Attributes:
        reset: forgets all moments; called when a client begins.
        apply: (gradients, learning rate [], step [] from 0) changes the variables in place.
        slots: the variables that hold its moments, in the order of `Moments.slots`.
    """

    reset: Callable[[], None]
    apply: Callable[[Sequence[tf.Tensor], tf.Tensor, tf.Tensor], None]
    slots: Sequence[tf.Variable] = ()

    def begin(self, moments: Moments | None) -> None:
        """Remembers the moments, or nothing for None."""
        if moments is None:
            self.reset()
            return
        for slot, value in zip(self.slots, moments.slots, strict=True):
            slot.assign(value, read_value=False)

    def ended(self, moments: Moments | None, steps: tf.Tensor) -> Moments | None:
        """Returns the moments after `steps` [] int32 more than those it began with; None where it began anew."""
        return None if moments is None else Moments([s.read_value() for s in self.slots], counted(moments, steps))


def counted(moments: Moments | None, number: tf.Tensor) -> tf.Tensor:
    """Returns a step's number [] int32 since the client began, with the steps before added (float32) if it goes on."""
    return number if moments is None else moments.steps + tf.cast(number, tf.float32)


def no_moments(settings: config.Client, variables: Sequence[Tensor]) -> Moments:
    """Returns the moments before the first step; of variables only the shapes count."""
    copies = {"sgd": 0, "momentum": 1, "adam": 2}[settings.optimizer]
    return Moments([tf.zeros_like(v) for v in [*variables] * copies], tf.constant(0.0))


def optimizer(settings: config.Client, variables: Sequence[tf.Variable]) -> Optimizer:
    """Returns SGD, SGD with momentum (heavy ball), or Adam (Kingma and Ba 2015; beta .9, .999, epsilon 1e-7).

    After each step a variable's constraint is applied, as Keras does.
    """
    if settings.optimizer == "momentum":
        return _constrained(_momentum(variables, settings.momentum), variables)
    return _constrained(_adam(variables) if settings.optimizer == "adam" else _sgd(variables), variables)


def _constrained(made: Optimizer, variables: Sequence[tf.Variable]) -> Optimizer:
    bound = [v for v in variables if v.constraint is not None]

    def apply(gradients: Sequence[tf.Tensor], rate: tf.Tensor, step: tf.Tensor) -> None:
        made.apply(gradients, rate, step)
        for variable in bound:
            variable.assign(variable.constraint(variable), read_value=False)

    return made._replace(apply=apply) if bound else made


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

    return Optimizer(lambda: _clear(slots), apply, slots)


def _adam(variables: Sequence[tf.Variable]) -> Optimizer:
    first, second = _slots(variables), _slots(variables)

    def apply(gradients: Sequence[tf.Tensor], rate: tf.Tensor, step: tf.Tensor) -> None:
        count = tf.cast(step + 1, tf.float32)
        for variable, m, v, gradient in zip(variables, first, second, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=m.handle, v=v.handle, lr=rate,
                beta1_power=tf.pow(0.9, count), beta2_power=tf.pow(0.999, count),
                beta1=0.9, beta2=0.999, epsilon=1e-7, grad=gradient)  # fmt: skip

    return Optimizer(lambda: (_clear(first), _clear(second))[0], apply, [*first, *second])
