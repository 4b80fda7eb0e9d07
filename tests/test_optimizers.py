"""Steps of the clients' optimizers against numbers worked by hand and against Keras."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedmed.learning import optimizers
from fedmed.settings import config

GRADIENTS = [[1.0, -2.0], [0.5, 0.0], [-4.0, 3.0]]


def steps(kind: str, gradients: Sequence[Sequence[float]] = GRADIENTS, runs: int = 1, **settings: Any) -> np.ndarray:
    """Applies the gradients to [1, 1] at rate 0.1, as often as there are runs; each run begins anew."""
    local = config.Client(learning_rate=9.0, optimizer=kind, **settings)  # pyright: ignore
    variable = tf.Variable(tf.constant([1.0, 1.0]))
    optimizer = optimizers.optimizer(local, [variable])
    for _ in range(runs):
        variable.assign([1.0, 1.0])
        optimizer.reset()
        for number, gradient in enumerate(gradients):
            optimizer.apply([tf.constant(gradient)], tf.constant(0.1), tf.constant(number))
    return variable.numpy()


def test_sgd_by_hand() -> None:
    np.testing.assert_allclose(steps("sgd"), [1 - 0.1 * (1 + 0.5 - 4), 1 - 0.1 * (-2 + 0 + 3)], rtol=1e-6)


def test_momentum_by_hand() -> None:
    # velocities of the first weight: 1; 0.5 * 1 + 0.5 = 1; 0.5 * 1 - 4 = -3.5, of the second: -2; -1; -0.5 + 3 = 2.5
    expected = [1 - 0.1 * (1 + 1 - 3.5), 1 - 0.1 * (-2 - 1 + 2.5)]
    np.testing.assert_allclose(steps("momentum", momentum=0.5), expected, rtol=1e-6)


def test_momentum_of_zero_is_sgd() -> None:
    np.testing.assert_array_equal(steps("momentum", momentum=0.0), steps("sgd"))


def test_the_first_adam_step_has_the_size_of_the_learning_rate() -> None:
    np.testing.assert_allclose(steps("adam", GRADIENTS[:1]), [0.9, 1.1], rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "keras"),
    [
        ("sgd", lambda: tf.keras.optimizers.SGD(0.1)),
        ("momentum", lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9)),
        ("adam", lambda: tf.keras.optimizers.Adam(0.1)),
    ],
)
def test_steps_equal_those_of_keras(kind: str, keras: Any) -> None:
    variable, reference = tf.Variable(tf.constant([1.0, 1.0])), keras()
    for gradient in GRADIENTS:
        reference.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(steps(kind), variable.numpy(), rtol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
def test_a_client_inherits_no_moments_from_the_one_before(kind: str) -> None:
    np.testing.assert_array_equal(steps(kind, runs=2), steps(kind, runs=1))
