"""A plain TensorFlow loop, as fast as we know how to write one by hand for these four workloads; it shares no code
of fedmed's training.

Clients run in parallel threads, one thread an operation; rows stay uint8 in memory; shuffling, batching and the loop
over batches are in the graph; SGD uses the fused kernel; max-pooling has an exact gradient that XLA fuses, and comes
before bias and ReLU; and a large dense layer has a faster gradient. Updates are summed as they come.
"""

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from experiments.speed import workloads
from fedmed.data.clients import prepare as prepare_clients
from fedmed.engine import attendance

_THREADS = os.cpu_count() or 1


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _pool_gradient(x: tf.Tensor, y: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    """Gives the gradient to the first maximum of each 2 x 2 window, as TensorFlow does."""
    h, w, c = (int(size or 0) for size in x.shape[1:])
    blocks = tf.reshape(x, [-1, h // 2, 2, w // 2, 2, c])
    order = tf.reshape(tf.range(4), [1, 1, 2, 1, 2, 1])
    found = tf.where(tf.equal(blocks, y[:, :, None, :, None, :]), order, 4)
    first = tf.equal(order, tf.reduce_min(found, axis=[2, 4], keepdims=True))
    return tf.reshape(tf.where(first, dy[:, :, None, :, None, :], 0.0), tf.shape(x))


@tf.custom_gradient
def _max_pool(x: Any) -> Any:
    y = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return y, lambda dy: _pool_gradient(x, y, dy)


@tf.custom_gradient
def _large_dense(x: Any, kernel: Any) -> Any:
    """Multiplies; in small batches, Eigen's gradient of x is faster than oneDNN's."""
    return x @ kernel, lambda dy: (tf.einsum("nh,dh->nd", dy, kernel), tf.matmul(x, dy, transpose_a=True))


def _cnn(x: tf.Tensor, w: list[tf.Variable], padding: Literal["VALID", "SAME"]) -> tf.Tensor:
    for kernel, bias in zip(w[:-4:2], w[1:-4:2], strict=True):
        # Max-pooling first: it commutes with adding a bias and with ReLU, which then have a quarter of the work.
        x = tf.nn.relu(tf.nn.bias_add(_max_pool(tf.nn.conv2d(x, kernel, 1, padding)), bias))
    x = tf.reshape(x, [-1, w[-4].shape[0]])
    return tf.nn.relu(_large_dense(x, w[-4].read_value()) + w[-3]) @ w[-2] + w[-1]


def _mlp(x: tf.Tensor, w: list[tf.Variable]) -> tf.Tensor:
    for kernel, bias in zip(w[:-2:2], w[1:-2:2], strict=True):
        x = tf.nn.relu(x @ kernel + bias)
    return x @ w[-2] + w[-1]


def _shapes(workload: str, columns: int) -> list[tuple[int, ...]]:
    if workload == "W4":
        return [(columns, 32), (32,), (32, 16), (16,), (16, 1), (1,)]
    if workload == "W2":
        return [(5, 5, 1, 32), (32,), (5, 5, 32, 64), (64,), (3136, 512), (512,), (512, 10), (10,)]
    return [(3, 3, 1, 32), (32,), (5408, 64), (64,), (64, 10), (10,)]


class _Lane:
    """One thread's weights and its traced training of a client."""

    def __init__(self, workload: str, shapes: list[tuple[int, ...]]) -> None:
        local = workloads.settings(workload).client
        self._w = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._is_table = workload == "W4"
        self._padding: Literal["VALID", "SAME"] = "SAME" if workload == "W2" else "VALID"
        self._rate, self._batch, self._steps = local.learning_rate, int(local.batch_size), local.steps
        self.train = tf.function(self._train, autograph=False, reduce_retracing=True)

    def _loss(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        if self._is_table:
            target = tf.cast(y, tf.float32)[:, None]
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, _mlp(x, self._w)))
        logits = _cnn(tf.cast(x, tf.float32) / 255.0, self._w, self._padding)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    def _train(self, weights: list[tf.Tensor], x: tf.Tensor, y: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        for variable, value in zip(self._w, weights, strict=True):
            variable.assign(value)
        rows = tf.shape(y)[0]
        per_epoch = (rows + self._batch - 1) // self._batch
        order = tf.random.shuffle(tf.range(rows))
        total = tf.constant(self._steps) if self._steps else per_epoch

        def step(i: tf.Tensor, losses: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            start = tf.math.floormod(i, per_epoch) * self._batch
            picked = order[start : start + self._batch]
            loss = self._loss(tf.gather(x, picked), tf.gather(y, picked))
            for variable, gradient in zip(self._w, tf.gradients(loss, self._w), strict=True):
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=self._rate, delta=gradient)
            return i + 1, losses + loss

        _, losses = tf.while_loop(lambda i, _: i < total, step, (0, 0.0), parallel_iterations=1)
        with tf.control_dependencies([losses]):
            share = tf.cast(rows, tf.float32)
            return [share * (v.read_value() - w) for v, w in zip(self._w, weights, strict=True)], losses / tf.cast(
                total, tf.float32
            )


def _constant(array: Any) -> tf.Tensor:
    return tf.constant(array)


def prepare(workload: str) -> tuple[Callable[[int], float], Callable[[], None]]:
    """Returns a function that trains round n and returns its mean training loss, and one that cleans up."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    settings = workloads.settings(workload)
    clients = prepare_clients(settings)
    held = {client: (_constant(part.x), _constant(part.y)) for client, part in clients.train.items()}
    columns = int(next(iter(held.values()))[0].shape[-1] or 0)
    shapes = _shapes(workload, columns)
    rng = np.random.default_rng(0)
    fans = [np.sqrt(2.0 / np.prod(shape[:-1])) if len(shape) > 1 else 0.0 for shape in shapes]
    weights = [tf.constant(rng.normal(size=s) * fan, tf.float32) for s, fan in zip(shapes, fans, strict=True)]
    lanes, pool = [_Lane(workload, shapes) for _ in range(_THREADS)], ThreadPoolExecutor(_THREADS)
    ids = list(held)
    size = attendance.cohort_size(settings.cohort, len(ids))

    def run_round(number: int) -> float:
        nonlocal weights
        cohort = attendance.cohort(settings.seed, number, ids, size)
        queue = sorted(cohort, key=lambda client: len(held[client][1]))
        lock, total, losses = threading.Lock(), [np.zeros(shape, np.float32) for shape in shapes], []

        def work(lane: _Lane) -> None:
            while True:
                with lock:
                    if not queue:
                        return
                    client = queue.pop()
                update, loss = lane.train(weights, *held[client])
                parts = [u.numpy() for u in update]
                with lock:
                    losses.append(float(loss))
                    for sum_, part in zip(total, parts, strict=True):
                        np.add(sum_, part, out=sum_)

        list(pool.map(work, lanes))
        rows = sum(len(held[client][1]) for client in cohort)
        weights = [w + t / rows for w, t in zip(weights, total, strict=True)]
        return float(np.mean(losses))

    return run_round, lambda: None
