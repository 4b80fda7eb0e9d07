"""Linear regression at three clients, worked by hand: rows, gradients, and rounds of given cohorts."""

from typing import Any

import numpy as np
import tiny

from fedmed.data.clients import Clients
from fedmed.data.examples import Examples
from fedmed.engine.federation import Federation, Position
from fedmed.engine.runtimes.worker import Worker
from fedmed.settings import config

RUNTIMES = ("local", "tff")
RATE, EPOCHS = 0.05, 2
Arrays = list[np.ndarray]


def settings(model: str = "tiny_models:linear", /, **changes: Any) -> config.RunConfig:
    local = {"learning_rate": RATE, "batch_size": "full", "epochs": EPOCHS}
    as_it_is = {"standardise_label": False}  # what is worked by hand is on the labels' own scale
    return tiny.settings(model, **{"client": local, "data": as_it_is, **changes})


def regression(seed: int, count: int) -> Examples:
    """Rows of a number that depends on three others, in another way at each client."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    return Examples(x, (x @ rng.normal(size=3) + rng.normal()).astype(np.float32))


SIZES = {"a": 11, "b": 6, "c": 8}
HELD = tiny.clients_of({name: regression(seed, size) for seed, (name, size) in enumerate(SIZES.items())},
                       "regression", classes=0)  # fmt: skip


def gradient(own: Examples, w: Arrays) -> Arrays:
    """Returns the gradient of the mean squared error of a linear model."""
    x = np.asarray(own.x, np.float64)
    residual = x @ w[0][:, 0] + w[1][0] - own.y
    return [2 * x.T @ residual[:, None] / len(own), np.array([2 * residual.mean()])]


def steps(own: Examples, start: Arrays, correction: Arrays, count: int = EPOCHS) -> Arrays:
    """Returns the weights after full-batch steps along corrected gradients."""
    w = [a.astype(np.float64) for a in start]
    for _ in range(count):
        w = [a - RATE * (g + c) for a, g, c in zip(w, gradient(own, w), correction, strict=True)]
    return w


def trained(
    changes: config.RunConfig, held: Clients, cohorts: list[list[str]], worker: Worker
) -> tuple[Federation, list[Position]]:
    """Returns a federation, and its positions before and after each round of the given cohorts."""
    federation = tiny.federation(changes, held, worker)
    positions = [federation.start()]
    for cohort in cohorts:
        positions.append(federation.round(positions[-1], cohort).position)
    return federation, positions


def quadratics() -> Clients:
    """Two clients of a slope w alone: (3 w - 3)^2 is steep and least at 1, (w - 5)^2 flat and least at 5."""
    steep = Examples(np.full((4, 1), 3.0, np.float32), np.array([3.0, 3.0, 3.0, 3.0], np.float32))
    flat = Examples(np.full((4, 1), 1.0, np.float32), np.array([5.0, 5.0, 5.0, 5.0], np.float32))
    return tiny.clients_of({"steep": steep, "flat": flat}, "regression", classes=0)
