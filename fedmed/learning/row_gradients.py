"""The gradients of single rows and patients with respect to one variable: their norms and scaled sums, seldom made.

A variable enters by one operation. From that operation's other input and the gradient of its output, the norm of a
row's gradient follows without the gradient itself: for a dense layer it is |input| |gradient of the output| (Goodfellow
2015, section 4); for a patient of several rows, the sum over pairs of rows of the products of both (Li et al. 2022,
section 4). The same two tensors give the scaled sum (Bu et al. 2023, "book-keeping"), so one backward pass is enough.
Where a row's gradient is small, as a bias's or a filter's, it is made (Bu et al. 2022, "mixed ghost clipping").
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import filters
from fedmed.learning.variable_uses import UncoveredError, Use

_LARGEST = 1 << 20  # elements of a row's gradient that is made, 4 MiB
_ROUNDING = 3e-7  # of float32 products and sums, relative to what is added up, and then some


class Patients(NamedTuple):
    """Whose rows they are: patient [b] int32, ascending from 0, and rows of each patient [p] float32."""

    patient: tf.Tensor
    counts: tf.Tensor

    def sums(self, of_rows: tf.Tensor) -> tf.Tensor:
        """Adds up [b, ...] over each patient's rows: [p, ...]."""
        return tf.math.unsorted_segment_sum(of_rows, self.patient, tf.size(self.counts))


class RowGradients(NamedTuple):
    """What is asked of rows' gradients with respect to a variable.

    Attributes:
        alone: () -> [b] squared norm of each row's.
        together: patients -> [p] squared norm of the sum over each patient's rows, never below the true one.
        total: scale [b] -> their sum, each times its scale, of the use's `shape`. What a scale of 0 leaves out may hold
            any value, NaN too.
    """

    alone: Callable[[], tf.Tensor]
    together: Callable[[Patients], tf.Tensor]
    total: Callable[[tf.Tensor], tf.Tensor]


def row_gradients(use: Use, slope: tf.Tensor) -> RowGradients:
    """Returns the rows' gradients from a variable's use and the gradient of the use's output.

    Raises:
        UncoveredError: there is no rule for this kind of operation, or not in this form.
    """
    rule = _RULES.get(use.operation.type)
    if rule is None:
        raise UncoveredError(f"{use.operation.type} {use.operation.name}")
    return rule(use, slope)


def _sum_but_first(t: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(t, axis=list(range(1, t.shape.rank)))


def _scaled(t: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Multiplies [b, ...] by [b]; a scale of 0 gives 0, of NaN too."""
    return tf.math.multiply_no_nan(t, tf.reshape(scale, [-1, *[1] * (t.shape.rank - 1)]))


def _made(each: tf.Tensor, shape: tf.TensorShape) -> RowGradients:
    """Gradients that are there, [b, ...]; `shape` is the variable's."""
    return RowGradients(
        alone=lambda: _sum_but_first(tf.square(each)),
        together=lambda patients: _sum_but_first(tf.square(patients.sums(each))),
        total=lambda scale: tf.reshape(tf.reduce_sum(_scaled(each, scale), axis=0), shape),
    )


def _outer(inputs: tf.Tensor, slopes: tf.Tensor) -> RowGradients:
    """Outer products of inputs [b, d] and slopes [b, h]."""

    def alone() -> tf.Tensor:
        return _sum_but_first(tf.square(inputs)) * _sum_but_first(tf.square(slopes))

    def together(patients: Patients) -> tf.Tensor:
        products = tf.matmul(inputs, inputs, transpose_b=True) * tf.matmul(slopes, slopes, transpose_b=True)
        same = tf.equal(patients.patient[:, tf.newaxis], patients.patient)
        whole = patients.sums(tf.reduce_sum(tf.where(same, products, tf.zeros_like(products)), axis=1))
        # Rows that nearly cancel leave mostly rounding; a norm that came out too small would let too much through.
        slack = _ROUNDING * patients.counts * patients.sums(tf.linalg.diag_part(products))
        return tf.maximum(whole, 0.0) + slack

    def total(scale: tf.Tensor) -> tf.Tensor:
        return tf.matmul(_scaled(inputs, tf.sign(scale)), _scaled(slopes, scale), transpose_a=True)

    return RowGradients(alone, together, total)


def _matrix_product(use: Use, slope: tf.Tensor) -> RowGradients:
    operation, inputs = use.operation, use.operation.inputs[0]
    plain = not operation.get_attr("transpose_a") and not operation.get_attr("transpose_b")
    if not plain or use.position != 1:
        raise UncoveredError(f"a matrix product of another form, {operation.name}")
    positions = _positions(inputs, use.shape.as_list()[0])
    if positions == 1:
        return _outer(inputs, slope)
    if positions is None or use.shape.num_elements() > _LARGEST:
        raise UncoveredError(f"a large layer, or one on sequences of any length, {operation.name}")
    by_row = [tf.reshape(t, [-1, positions, width]) for t, width in zip((inputs, slope), use.shape, strict=True)]
    return _made(tf.matmul(by_row[0], by_row[1], transpose_a=True), use.shape)


def _positions(inputs: tf.Tensor, width: int) -> int | None:
    """Returns how many rows of a product's left side [b x ..., width] belong to one row of the batch, None if unknown.

    Keras's Dense on sequences folds [b, ..., width] so; that the width stays tells it from a Flatten.
    """
    source = inputs.op
    if source.type != "Reshape":
        return 1
    shape = source.inputs[0].shape
    if shape.rank is None:
        return None
    folds = shape.rank > 2 and shape[-1] == width
    return shape[1:-1].num_elements() if folds else 1


def _elementwise(use: Use, slope: tf.Tensor) -> RowGradients:
    """A sum, difference or product with a variable of fewer axes, or of one place along the batch's."""
    operation, shape = use.operation, use.shape
    rank = slope.shape.rank
    if rank is None or rank < shape.rank or (rank == shape.rank and shape[0] != 1):
        raise UncoveredError(f"{operation.name} meets no row of a batch")
    each = slope
    if operation.type == "Mul":
        each = slope * operation.inputs[1 - use.position]
    elif operation.type == "Sub" and use.position == 1:
        each = -slope
    padded = [1] * (rank - shape.rank) + shape.as_list()
    axes = [axis for axis in range(1, rank) if padded[axis] == 1 and slope.shape[axis] != 1]
    return _made(tf.reduce_sum(each, axis=axes) if axes else each, shape)


def _bias(use: Use, slope: tf.Tensor) -> RowGradients:
    if use.operation.get_attr("data_format") != b"NHWC" or use.position != 1:
        raise UncoveredError(f"a bias of another form, {use.operation.name}")
    axes = list(range(1, slope.shape.rank - 1))
    return _made(tf.reduce_sum(slope, axis=axes) if axes else slope, use.shape)


def _filter(use: Use, slope: tf.Tensor) -> RowGradients:
    each = filters.row_gradients(use.operation, slope)
    if use.position != 1 or each is None or use.shape.num_elements() > _LARGEST:
        raise UncoveredError(f"a convolution of another form, {use.operation.name}")
    return _made(each, use.shape)


def _lookup(use: Use, slope: tf.Tensor) -> RowGradients:
    """Lines of a table [lines, width], looked up by codes [b, ...]."""
    codes = use.operation.inputs[1]
    if use.operation.get_attr("batch_dims") or codes.shape.rank is None or use.shape.rank != 2:
        raise UncoveredError(f"a lookup of another form, {use.operation.name}")
    lines, width = use.shape.as_list()
    flat = tf.reshape(slope, [-1, width])

    def spread(of_rows: tf.Tensor) -> tf.Tensor:  # [b] -> one for each code
        kept = tf.reshape(of_rows, [-1, *[1] * (codes.shape.rank - 1)])
        return tf.reshape(tf.broadcast_to(kept, tf.shape(codes)), [-1])

    def by_owner(owner: tf.Tensor, owners: tf.Tensor) -> tf.Tensor:
        """Squared norms [owners] int32 of the tables of gradients, each made of the lines its owner looked up."""
        keys, place = tf.unique(tf.cast(spread(owner), tf.int64) * lines + tf.cast(tf.reshape(codes, [-1]), tf.int64))
        squares = _sum_but_first(tf.square(tf.math.unsorted_segment_sum(flat, place, tf.size(keys))))
        return tf.math.unsorted_segment_sum(squares, keys // lines, owners)

    def total(scale: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(_scaled(flat, spread(scale)), tf.reshape(codes, [-1]), lines)

    rows = tf.shape(codes)[0]
    return RowGradients(
        alone=lambda: by_owner(tf.range(rows), rows),
        together=lambda patients: by_owner(patients.patient, tf.size(patients.counts)),
        total=total,
    )


_RULES: dict[str, Callable[[Use, tf.Tensor], RowGradients]] = {
    "MatMul": _matrix_product,
    "BiasAdd": _bias,
    "Add": _elementwise,
    "AddV2": _elementwise,
    "Sub": _elementwise,
    "Mul": _elementwise,
    "Conv2D": _filter,
    "DepthwiseConv2dNative": _filter,
    "ResourceGather": _lookup,
}
