"""Canaries for an audit of a client's own step: patients of one column each, in a linear model without bias."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedmed.attacks.audit import Array, Step
from fedmed.learning.algorithm import ClientStep, Rows
from fedmed.learning.learner import Learner
from fedmed.learning.objective import objective
from fedmed.learning.values import Nest, Turn, Weights

SIZE = 100.0
"""What a canary has in its column: its gradient, 50 at first, must exceed the clip, so that all of that is used."""


def client_step(
    client: Callable[[Learner], ClientStep],
    received: Callable[[Weights], Nest],
    canaries: int,
    learning_rate: float = 1e-4,
    kept: Nest = (),
    noise: float = 0.0,
) -> Step:
    """Makes a step to audit of an algorithm's client: `algorithm.client`, with what its server would broadcast.

    Canary i is a row of label 1 that is zero but for column i, so its clipped gradient touches weight i alone (the
    Dirac canaries of Nasr et al. 2023), and no other row touches that. Its weight grows by clip times rate, plus noise.

    Args:
        client: makes the client's computation for a learner, e.g. of a private algorithm.
        received: zero weights -> what the client is sent, e.g. `lambda w: algorithm.broadcast(algorithm.init(w))`.
        canaries: m, also the number of columns and of weights.
        learning_rate: so small that a weight stays near zero over all steps, for the gradient to stay above the clip.
        kept: what the client holds.
        noise: the noise multiplier that it is told.
    """
    model = tf.keras.Sequential(
        [tf.keras.layers.Input((canaries,)), tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    learner = Learner(model, objective("binary", "link"))
    update = client(learner)

    @tf.function(autograph=False)
    def run(x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        start = Weights([tf.zeros([canaries, 1])], [])
        turn = Turn(seed, tf.constant(learning_rate, tf.float32), tf.constant(noise, tf.float32))
        rows = Rows(x, y, tf.range(tf.shape(y)[0]))  # each a patient
        return update(received(start), kept, rows, turn).payload.update.trainable[0]

    def step(inside: Array, seed: int) -> Array:
        x = SIZE * np.eye(canaries, dtype=np.float32)[inside]
        return run(tf.constant(x), tf.ones([len(x)], tf.int64), tf.constant([seed, 0])).numpy()[:, 0]

    return step
