"""What a client keeps between rounds lies in a file of its own; a graph reads and writes it by its path.

The file is one serialised vector of bytes: the little-endian values of each tensor, one tensor after the other.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedmed.learning.values import Nest


class Held(NamedTuple):
    """What a client's file holds.

    Attributes:
        own: what its algorithm keeps.
        memory: what steps on the way left out of its updates so far; see `steps.memory_of`.
    """

    own: Nest
    memory: Nest = ()


def read(path: tf.Tensor, like: Nest) -> Nest:
    """Returns what the file holds, in the structure and shapes of `like`; nothing is read where it holds no tensor."""
    if not tf.nest.flatten(like):
        return like
    content = tf.io.parse_tensor(tf.io.read_file(path), tf.uint8)
    values, offset = [], 0
    for tensor in map(tf.convert_to_tensor, tf.nest.flatten(like)):
        count, size = int(tensor.shape.num_elements() or 0), tensor.dtype.size
        part = content[offset : offset + count * size]
        values.append(tf.reshape(tf.bitcast(tf.reshape(part, [count, size]), tensor.dtype), tensor.shape))
        offset += count * size
    return tf.nest.pack_sequence_as(like, values)


def write(path: tf.Tensor, kept: Nest, wanted: tf.Tensor) -> list[tf.Tensor]:
    """Writes the file where `wanted`; returns what is to be waited for, nothing where there is no tensor to keep."""
    if not tf.nest.flatten(kept):
        return []
    return [tf.cond(wanted, lambda: _written(path, kept), lambda: tf.constant(False))]


def _written(path: tf.Tensor, kept: Nest) -> tf.Tensor:
    with tf.control_dependencies([tf.io.write_file(path, serialised(kept))]):
        return tf.constant(True)


def serialised(kept: Nest) -> tf.Tensor:
    """Returns the content of a file, [] string."""
    parts = [tf.reshape(tf.bitcast(tensor, tf.uint8), [-1]) for tensor in tf.nest.flatten(kept)]
    return tf.io.serialize_tensor(tf.concat(parts, axis=0))


def to_numpy(content: bytes, like: Nest) -> Nest:
    """Returns what a file with this content holds, as NumPy arrays in the structure of `like`."""
    found, offset = tf.io.parse_tensor(content, tf.uint8).numpy(), 0
    values = []
    for array in map(np.asarray, tf.nest.flatten(like)):
        values.append(found[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape))
        offset += array.nbytes
    return tf.nest.pack_sequence_as(like, values)
