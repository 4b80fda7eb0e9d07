"""What an algorithm's functions must give, so that they fit each other; checked while graphs are made."""

import tensorflow as tf

from fedmed.learning.values import Nest
from fedmed.system import errors


def check(what: str, found: Nest, model: str, expected: Nest) -> None:
    """Checks that a function's result has the structure, shapes and types of another's.

    Args:
        what: the function, as its author would write it.
        found: what it gave.
        model: whose result it must be like.
        expected: that result.

    Raises:
        AlgorithmError: it is not like that.
    """
    try:
        tf.nest.assert_same_structure(expected, found)
    except (TypeError, ValueError):
        raise errors.AlgorithmError(
            f"algorithm: {what} gives {_told(found)}, and must be structured like {model}, {_told(expected)}"
        ) from None
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        if not _fits(one, other):
            raise errors.AlgorithmError(
                f"algorithm: {what} has a tensor {_tensor(one)} where {model} has {_tensor(other)}"
            )


def _fits(one: Nest, other: Nest) -> bool:
    one, other = tf.convert_to_tensor(one), tf.convert_to_tensor(other)
    return one.dtype == other.dtype and one.shape.is_compatible_with(other.shape)


def _tensor(value: Nest) -> str:
    tensor = tf.convert_to_tensor(value)
    return f"{tensor.dtype.name} {tensor.shape}"


def _told(value: Nest) -> str:
    """Returns a structure in words: types, and how many tensors, without their values."""
    return f"{type(value).__name__} of {len(tf.nest.flatten(value))} tensors"
