"""Server optimizers against a NumPy transcription of Reddi et al. 2021, Algorithm 2, and plain averaging."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny import assert_close, assert_same

from fedmed.learning import servers
from fedmed.learning.values import Weights
from fedmed.settings import config

START = [np.array([1.0, -2.0, 0.5], np.float32), np.array([[0.25]], np.float32)]
MEANS = [
    [np.array([0.1, 0.0, -3.0], np.float32), np.array([[1.0]], np.float32)],
    [np.array([-0.2, 0.01, 2.0], np.float32), np.array([[1.0]], np.float32)],
    [np.array([0.1, 0.0, 0.5], np.float32), np.array([[-5.0]], np.float32)],
]


def served(**settings: Any) -> list[np.ndarray]:
    """Returns the weights after the mean updates have been applied one after the other."""
    server = config.Server(**settings)
    state = servers.initial(server, Weights([tf.constant(w) for w in START], []))
    for mean in MEANS:
        state = servers.moved(server, state, Weights([tf.constant(u) for u in mean], []))
    return [w.numpy() for w in state.weights.trainable]


def algorithm_2(kind: str, rate: float, beta_1: float, beta_2: float, tau: float) -> list[np.ndarray]:
    """Reddi et al. 2021, Algorithm 2, lines 10 to 16, in float64: x, m, v and Delta as there."""
    results = []
    for position, x in enumerate(START):
        x, m, v = x.astype(np.float64), np.zeros(x.shape), np.full(x.shape, tau**2)
        for means in MEANS:
            delta = means[position].astype(np.float64)
            m = beta_1 * m + (1 - beta_1) * delta
            if kind == "adagrad":
                v = v + delta**2
            elif kind == "yogi":
                v = v - (1 - beta_2) * delta**2 * np.sign(v - delta**2)
            else:
                v = beta_2 * v + (1 - beta_2) * delta**2
            x = x + rate * m / (np.sqrt(v) + tau)
        results.append(x)
    return results


@pytest.mark.parametrize("kind", ["adam", "yogi", "adagrad"])
@pytest.mark.parametrize(("rate", "beta_1", "beta_2", "tau"), [(0.1, 0.9, 0.99, 1e-3), (1.0, 0.0, 0.5, 0.1)])
def test_adaptive_servers_follow_algorithm_2(kind: str, rate: float, beta_1: float, beta_2: float, tau: float) -> None:
    ours = served(optimizer=kind, learning_rate=rate, momentum=beta_1, beta_2=beta_2, tau=tau)
    assert_close(ours, algorithm_2(kind, rate, beta_1, beta_2, tau))


def test_averaging_adds_the_mean_update() -> None:
    expected = [start + sum(mean[i] for mean in MEANS) for i, start in enumerate(START)]
    assert_close(served(), expected)


def test_a_server_rate_scales_the_mean_update() -> None:
    expected = [start + 0.5 * sum(mean[i] for mean in MEANS) for i, start in enumerate(START)]
    assert_close(served(learning_rate=0.5), expected)


def test_momentum_by_hand() -> None:
    # FedAvgM on the second tensor: velocities 1; 0.5 + 1 = 1.5; 0.75 - 5 = -4.25
    last = served(optimizer="momentum", momentum=0.5, learning_rate=2.0)[1]
    np.testing.assert_allclose(last, [[0.25 + 2 * (1 + 1.5 - 4.25)]], rtol=1e-6)


def test_momentum_of_zero_is_averaging() -> None:
    assert_same(served(optimizer="momentum", momentum=0.0), served())


@pytest.mark.parametrize("kind", ["average", "momentum", "adam", "yogi", "adagrad"])
def test_moving_statistics_take_the_plain_mean(kind: str) -> None:
    server = config.Server(optimizer=kind, learning_rate=0.3)  # pyright: ignore[reportArgumentType]
    state = servers.initial(server, Weights([tf.constant([1.0])], [tf.constant([2.0])]))
    state = servers.moved(server, state, Weights([tf.constant([1.0])], [tf.constant([0.5])]))
    assert state.weights.moving[0].numpy() == [2.5]
