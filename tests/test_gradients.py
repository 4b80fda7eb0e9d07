"""The faster gradients are TensorFlow's: max-pooling's to the bit, ties included; the others to float32 rounding."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny_models

from fedmed.learning import gradients, max_pool
from fedmed.learning.learner import Learner
from fedmed.learning.objective import objective
from fedmed.models import Spec

SHAPE = (5, 6, 8, 3)
DATA: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "random": lambda rng: rng.normal(size=SHAPE),
    "after a relu": lambda rng: np.maximum(rng.normal(size=SHAPE), 0),
    "few grey levels": lambda rng: rng.integers(0, 3, SHAPE) / 255,
    "flat": lambda rng: np.zeros(SHAPE),
    "flat background": lambda rng: np.where(rng.random(SHAPE) < 0.8, 0.25, rng.random(SHAPE)),
    "negative": lambda rng: -1 - rng.random(SHAPE),
    "negative with ties": lambda rng: -rng.integers(1, 3, SHAPE).astype(float),
    "both zeros": lambda rng: np.where(rng.random(SHAPE) < 0.5, 0.0, -0.0),
}


def reference(x: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    y = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return tf.raw_ops.MaxPoolGrad(
        orig_input=x, orig_output=y, grad=gradient, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"
    )


def fused(x: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    return max_pool.fused_gradient(x, tf.nn.max_pool2d(x, 2, 2, "VALID"), gradient)


compiled = tf.function(fused, jit_compile=True)


@pytest.mark.parametrize("ours", [fused, compiled], ids=["fused", "compiled"])
@pytest.mark.parametrize("data", DATA)
def test_the_gradient_is_tensorflows_to_the_bit(ours: Callable[..., tf.Tensor], data: str) -> None:
    rng = np.random.default_rng(0)
    x = tf.constant(DATA[data](rng), tf.float32)
    gradient = tf.constant(rng.normal(size=(5, 3, 4, 3)), tf.float32)
    np.testing.assert_array_equal(ours(x, gradient), reference(x, gradient))


def test_the_first_maximum_in_row_major_order_gets_it_all() -> None:
    x = tf.reshape(tf.constant([[1.0, 5.0], [5.0, 5.0]]), [1, 2, 2, 1])
    expected = [[0.0, 7.0], [0.0, 0.0]]
    gradient = tf.fill([1, 1, 1, 1], 7.0)
    assert tf.squeeze(fused(x, gradient)).numpy().tolist() == expected


def taken(pool: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray, fuse: bool) -> tuple[np.ndarray, np.ndarray, set[str]]:
    """Returns the gradient of a weighted sum by the override and by a tape, and the kinds of operation in the graph."""
    weights = np.random.default_rng(1).normal(size=pool(tf.constant(x)).numpy().shape).astype(x.dtype)

    def by_override(t: tf.Tensor) -> tf.Tensor:
        with gradients.fast_gradients():
            y = pool(t)
        return tf.gradients(tf.reduce_sum(y * weights), t)[0]

    with max_pool.fusing(fuse):
        concrete = tf.function(by_override).get_concrete_function(tf.TensorSpec([None, *x.shape[1:]], x.dtype))
    with tf.GradientTape() as tape:
        inside = tf.constant(x)
        tape.watch(inside)
        total = tf.reduce_sum(pool(inside) * weights)
    return concrete(tf.constant(x)).numpy(), tape.gradient(total, inside).numpy(), kinds(concrete.graph.as_graph_def())


def kinds(graph: Any) -> set[str]:
    """Returns the kinds of operation in a graph and its functions."""
    inner = [node.op for function in graph.library.function for node in function.node_def]
    return {node.op for node in graph.node} | set(inner)


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "kernel"])
@pytest.mark.parametrize(
    ("size", "window", "strides", "padding", "fast"),
    [
        ((6, 8), 2, 2, "VALID", True),
        ((6, 8), 2, 2, "SAME", True),
        ((5, 8), 2, 2, "VALID", False),
        ((6, 7), 2, 2, "SAME", False),
        ((6, 8), 3, 3, "VALID", False),
        ((6, 8), 3, 2, "SAME", False),
        ((6, 8), 2, 1, "VALID", False),
        ((6, 8), (1, 2), (1, 2), "VALID", False),
    ],
)
def test_other_windows_fall_back_and_stay_right(
    fuse: bool, size: Sequence[int], window: Any, strides: Any, padding: str, fast: bool
) -> None:
    x = np.random.default_rng(0).integers(-1, 3, (4, *size, 2)).astype(np.float32)
    ours, tapes, operations = taken(lambda t: tf.nn.max_pool2d(t, window, strides, padding), x, fuse)
    # Where windows overlap, TensorFlow itself adds up their gradients in another order from run to run.
    np.testing.assert_allclose(ours, tapes, rtol=0 if fast else 1e-5, atol=0 if fast else 1e-6)
    assert ("MaxPoolGrad" in operations) is not (fast and fuse)


def test_doubles_and_unknown_sizes_fall_back() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1))
    ours, tapes, operations = taken(lambda t: tf.nn.max_pool2d(t, 2, 2, "VALID"), x, True)
    np.testing.assert_array_equal(ours, tapes)
    assert "MaxPoolGrad" in operations


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "kernel"])
def test_a_users_keras_model_gets_it_untouched(fuse: bool) -> None:
    model = tiny_models.pooled_image(Spec((8, 8, 1), "binary", 2))
    task = objective("binary", "mean")
    learner = Learner(model, task)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.integers(0, 3, (6, 8, 8, 1)) / 2, tf.float32)
    y = tf.constant(rng.integers(0, 2, 6))
    with max_pool.fusing(fuse):
        step = tf.function(learner.gradients, autograph=False).get_concrete_function(
            tf.TensorSpec([None, 8, 8, 1]), tf.TensorSpec([None], tf.int64), tf.TensorSpec([2], tf.int32)
        )
    found, _ = step(x, y, tf.constant([0, 0]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(task.loss(y, model(x, training=True)))
    tapes_gradients: Any = tape.gradient(loss, model.trainable_variables)
    for ours, tapes in zip(found, tapes_gradients, strict=True):
        np.testing.assert_allclose(ours, tapes, rtol=1e-5, atol=1e-7)
    operations = kinds(step.graph.as_graph_def())
    assert "MaxPool" in operations
    assert ("MaxPoolGrad" in operations) is not fuse


Layers = Sequence[tf.keras.layers.Layer]


def compare(layers: Layers, inputs: Sequence[int], fuse: bool = True) -> dict[str, int]:
    """Compares a model's gradients by override and by tape, and counts the operations of the first."""
    shape = tuple(inputs)
    start = tf.keras.Input(shape)
    output: Any = start
    for layer in layers:
        output = layer(output)
    model = tf.keras.Model(
        start, tf.keras.layers.GlobalAveragePooling2D()(output) if len(output.shape) == 4 else output
    )
    rng = np.random.default_rng(0)
    x = tf.constant(rng.integers(-2, 3, (7, *shape)) / 2, tf.float32)
    weights = tf.constant(rng.normal(size=model(x).shape), tf.float32)

    def by_override(t: tf.Tensor) -> list[tf.Tensor]:
        with gradients.fast_gradients():
            total = tf.reduce_sum(model(t, training=True) * weights)
        return tf.gradients(total, model.trainable_variables)

    with max_pool.fusing(fuse):
        concrete = tf.function(by_override, autograph=False).get_concrete_function(tf.TensorSpec([None, *shape]))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(x, training=True) * weights)
    tapes_gradients: Any = tape.gradient(total, model.trainable_variables)
    for ours, tapes in zip(concrete(x), tapes_gradients, strict=True):
        np.testing.assert_allclose(ours, tapes, rtol=1e-4, atol=1e-5)
    operations = [operation.type for operation in concrete.graph.get_operations()]
    return {kind: operations.count(kind) for kind in operations}


def conv(**settings: Any) -> tf.keras.layers.Layer:
    return tf.keras.layers.Conv2D(4, 3, bias_initializer=tf.keras.initializers.RandomNormal(0.0, 0.3), **settings)


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "kernel"])
def test_relu_and_bias_before_a_max_pool_are_dealt_with_at_its_size(fuse: bool) -> None:
    pool = tf.keras.layers.MaxPooling2D(2)
    counts = compare([conv(activation="relu"), pool], (10, 8, 2), fuse)
    assert counts["ReluGrad"] == counts["BiasAddGrad"] == 1
    assert compare([conv(), pool], (10, 8, 2), fuse)["BiasAddGrad"] == 1
    assert "ReluGrad" not in compare([conv(activation="elu"), pool], (10, 8, 2), fuse)


@pytest.mark.parametrize(
    "pool",
    [
        tf.keras.layers.MaxPooling2D(3, 2, "same"),
        tf.keras.layers.MaxPooling2D(2, 1),
        tf.keras.layers.MaxPooling2D(2, padding="same"),
        tf.keras.layers.AveragePooling2D(2),
    ],
    ids=["overlapping", "steps of one", "odd size", "average"],
)
def test_any_pooling_after_bias_and_relu_stays_right(pool: tf.keras.layers.Layer) -> None:
    compare([conv(activation="relu"), pool, conv(padding="same", activation="relu")], (9, 9, 2))


def test_layers_between_or_around_stay_right() -> None:
    between = [conv(), tf.keras.layers.BatchNormalization(), tf.keras.layers.ReLU(), tf.keras.layers.MaxPooling2D(2)]
    compare(between, (10, 8, 2))
    compare([conv(activation="relu"), tf.keras.layers.ReLU(max_value=0.2), tf.keras.layers.MaxPooling2D(2)], (10, 8, 2))


@pytest.mark.parametrize(
    "between",
    [
        tf.keras.layers.Dropout(0.0),
        tf.keras.layers.Lambda(tf.identity),
        tf.keras.layers.ReLU(),
        tf.keras.layers.ReLU(4),
    ],
    ids=["dropout of nothing", "identity", "two", "capped"],
)
@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "kernel"])
def test_what_hands_a_pools_gradient_on_to_a_relu_stays_right(between: tf.keras.layers.Layer, fuse: bool) -> None:
    compare([conv(activation="relu"), between, tf.keras.layers.MaxPooling2D(2)], (10, 8, 2), fuse)


class SumOfRelus(tf.keras.layers.Layer):
    """Pools a sum, whose gradient goes as it is to both of its terms."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = [conv(activation="relu", padding="same") for _ in range(3)]

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.max_pool2d(tf.add_n([layer(x) for layer in self.convs]), 2, 2, "VALID")


def test_each_relu_of_a_pooled_sum_gets_its_own_rule() -> None:
    assert compare([SumOfRelus()], (8, 8, 2))["ReluGrad"] == 3


class TwoUses(tf.keras.layers.Layer):
    """Uses a ReLU's output twice, so that two gradients are added before they reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(activation="relu", padding="same")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = self.conv(x)
        return tf.nn.max_pool2d(y, 2, 2, "VALID") + tf.nn.avg_pool2d(y, 2, 2, "VALID")


def test_a_relu_that_is_used_twice_gets_its_own_rule() -> None:
    assert compare([TwoUses()], (8, 8, 2))["ReluGrad"] == 2


def test_small_and_large_dense_layers_agree_with_the_tape() -> None:
    dense = tf.keras.layers.Dense
    counts = compare([dense(600, activation="relu"), dense(500, activation="relu"), dense(3)], (30,))
    assert counts["Einsum"] == 1  # of 600 x 500 only


class Transposed(tf.keras.layers.Layer):
    """Multiplies by a large kernel, transposed: not the plain product that has a gradient of its own."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(name="kernel", shape=(500, 600))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, self.kernel, transpose_b=True)


def test_a_transposed_product_keeps_tensorflows_gradient() -> None:
    assert "Einsum" not in compare([tf.keras.layers.Dense(600), Transposed()], (20,))


def test_sequences_stay_right() -> None:
    compare(
        [tf.keras.layers.Conv1D(4, 3, activation="relu"), tf.keras.layers.Dense(3), tf.keras.layers.Flatten()], (9, 2)
    )
