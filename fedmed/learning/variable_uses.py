"""By which operation each variable of a model enters its losses, found in the recorded graph of any model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf


class UncoveredError(Exception):
    """A model does something for which there is no rule here; it is no error of anybody's."""


class Use(NamedTuple):
    """The one operation by which a variable enters.

    Attributes:
        operation: that operation.
        position: which of its inputs is the variable.
        seen: that input: the variable's value, perhaps reshaped or negated; the handle of one that is looked up in.
        shape: the variable's tf.TensorShape as it is seen, known in full.
    """

    operation: tf.Operation
    position: int
    seen: tf.Tensor
    shape: Any


_KEEP_NORM = {"Identity", "Reshape", "ExpandDims", "Squeeze", "Neg", "Transpose"}
_NO_GRADIENT = {"Shape", "ShapeN", "Size", "Rank", "VariableShape", "StopGradient"}
_HIDING = {"PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Case"}


def uses(variables: Sequence[tf.Variable], losses: tf.Tensor) -> list[Use | None]:
    """Finds the use of each variable in the computation of `losses`, in the current graph; None for one without.

    Raises:
        UncoveredError: a variable is used twice, or inside a function; or a part of the computation is a function of
            its own, a branch or a loop, whose way depends on the data, so that no trial could vouch for it.
    """
    found: list[list[Use]] = [[] for _ in variables]
    graph = tf.compat.v1.get_default_graph()
    owner = {id(graph.capture(v.handle)): number for number, v in enumerate(variables)}  # of tensors, by identity
    for operation in _leading_to(losses):
        if operation.type in _HIDING:
            raise UncoveredError(f"{operation.type} {operation.name}")
        for position, tensor in enumerate(operation.inputs):
            number = owner.get(id(tensor))
            if number is None or operation.type in _NO_GRADIENT:
                continue
            if position == 0 and operation.type in {"ReadVariableOp", *_KEEP_NORM}:
                owner[id(operation.outputs[0])] = number
            else:
                shape = variables[number].shape if tensor.dtype == tf.resource else tensor.shape
                found[number].append(Use(operation, position, tensor, shape))
    for variable, several in zip(variables, found, strict=True):
        if len(several) > 1:
            raise UncoveredError(f"{variable.name} is used {len(several)} times")
    return [several[0] if several else None for several in found]


def _leading_to(tensor: tf.Tensor) -> list[tf.Operation]:
    """Returns the operations of the tensor's graph that it depends on, those first that others depend on."""
    reached, waiting = {tensor.op}, [tensor.op]
    while waiting:
        for operation in (source.op for source in waiting.pop().inputs):
            if operation not in reached:
                reached.add(operation)
                waiting.append(operation)
    return [operation for operation in tensor.graph.get_operations() if operation in reached]
