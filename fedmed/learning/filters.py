"""The gradient of each row's loss with respect to a convolution's filter, one row at a time but all in one go.

A filter's place (i, j) meets the input shifted by (i, j), so its gradient is a product of that shifted input and the
output's gradient over all positions: a small product of matrices for each row and place.
"""

from typing import Any, NamedTuple

import tensorflow as tf


class Convolution(NamedTuple):
    """What a convolution's operation is told: filter's height and width, strides, dilations, and whether it pads."""

    size: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: bool


def row_gradients(operation: tf.Operation, slope: tf.Tensor) -> tf.Tensor | None:
    """Returns each row's gradient [b, *filter's shape] of a Conv2D or DepthwiseConv2dNative, None for odd forms.

    Args:
        operation: the convolution of [b, h, w, c] inputs.
        slope: [b, oh, ow, co] gradient of the loss with respect to its output.
    """
    inputs, kernel = operation.inputs
    depthwise = operation.type == "DepthwiseConv2dNative"
    shapes: Any = (inputs.shape[1:], slope.shape[1:], kernel.shape)
    taken, given, size = (shape.as_list() for shape in shapes)
    padding, grouped = operation.get_attr("padding"), taken[-1] != size[2]
    if (
        operation.get_attr("data_format") != b"NHWC"
        or padding not in (b"SAME", b"VALID")
        or grouped
        or None in (*taken, *given)
    ):
        return None
    pairs = [tuple(operation.get_attr(name)[1:3]) for name in ("strides", "dilations")]
    layer = Convolution((size[0], size[1]), *pairs, pads=padding == b"SAME")
    parts = _shifted(layer, inputs, taken[:2], given[:2])
    places = [-1, given[0] * given[1]]
    if depthwise:
        by_channel = tf.reshape(slope, [*places, *size[2:]])
        flat = [tf.reshape(part, [*places, size[2], 1]) for part in parts]
        each = tf.stack([tf.reduce_sum(part * by_channel, axis=1) for part in flat], axis=1)
    else:
        each = _products(parts, tf.reshape(slope, [*places, size[3]]), size[2])
    return tf.reshape(each, [-1, *size])


def _products(parts: list[tf.Tensor], slope: tf.Tensor, channels: int) -> tf.Tensor:
    """Returns [b, places of the filter, c, co], or the like of one that is reshaped to it."""
    positions = slope.shape[1]
    if channels == 1:  # one product for all places
        return tf.matmul(tf.stack([tf.reshape(part, [-1, positions]) for part in parts], axis=1), slope)
    flat = [tf.reshape(part, [-1, positions, channels]) for part in parts]
    return tf.stack([tf.matmul(part, slope, transpose_a=True) for part in flat], axis=1)


def _shifted(layer: Convolution, inputs: tf.Tensor, taken: list[int], given: list[int]) -> list[tf.Tensor]:
    """Returns what each place of the filter meets, [b, oh, ow, c], row by row of the filter."""
    reach = [(size - 1) * step + 1 for size, step in zip(layer.size, layer.dilations, strict=True)]
    spans = [(length - 1) * stride + 1 for length, stride in zip(given, layer.strides, strict=True)]
    if layer.pads:
        zipped = zip(spans, reach, taken, strict=True)
        missing = [max(span + far - 1 - have, 0) for span, far, have in zipped]
        inputs = tf.pad(inputs, [[0, 0], *([lack // 2, lack - lack // 2] for lack in missing), [0, 0]])
    (down, right), (first, second) = layer.dilations, layer.strides
    return [
        inputs[:, i * down : i * down + spans[0] : first, j * right : j * right + spans[1] : second, :]
        for i in range(layer.size[0])
        for j in range(layer.size[1])
    ]
