"""The audit of a promise: its bound is below the true epsilon as often as it says, and not far below."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import brentq
from scipy.stats import norm

from fedmed.attacks import audit, canaries
from fedmed.learning import fedavg
from fedmed.learning.algorithm import ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Anatomy, Learner
from fedmed.learning.values import Nest, Payload, Turn, Weights
from fedmed.settings import config

CANARIES = 600


def gaussian_epsilon(noise: float, delta: float) -> float:
    """Returns the exact epsilon of N(0, noise^2) on a sum of sensitivity 1 (Balle & Wang 2018, theorem 8)."""

    def excess(epsilon: float) -> float:
        a, b = 0.5 / noise, epsilon * noise
        return float(norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b)) - delta

    found: Any = brentq(excess, 0.0, 100.0)
    return float(found)


def test_the_chance_of_right_guesses_worked_by_hand() -> None:
    # Epsilon log 3: a guess is right with chance 3/4. Two of two: 9/16; W = 1 has 6/16, W = 0 has 1/16.
    assert audit.p_value(10, 2, 2, math.log(3), 0.0) == pytest.approx(9 / 16)
    assert audit.p_value(10, 2, 1, math.log(3), 0.0) == pytest.approx(15 / 16)
    # The largest of 6/16 / 1 and 7/16 / 2 is 6/16; twice ten canaries times delta of it is added.
    assert audit.p_value(10, 2, 2, math.log(3), 0.001) == pytest.approx(9 / 16 + 20 * 0.001 * 6 / 16)


def test_a_bound_worked_by_hand() -> None:
    # All of r right has chance q^r under q; it is 1 in 20 at q = .05^(1/r), and epsilon = log(q / (1 - q)).
    q = 0.05 ** (1 / 100)
    assert audit.lower_bound(100, 100, 100, 0.0, 0.95) == pytest.approx(math.log(q / (1 - q)), abs=1e-4)
    assert audit.lower_bound(100, 100, 50, 0.0, 0.95) == 0.0


def test_more_right_guesses_and_less_delta_say_more() -> None:
    bounds = [audit.lower_bound(1000, 100, right, 1e-5, 0.95) for right in (60, 75, 90, 100)]
    assert bounds == sorted(bounds)
    assert audit.lower_bound(1000, 100, 90, 1e-3, 0.95) < audit.lower_bound(1000, 100, 90, 1e-5, 0.95)


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 4.0])
def test_randomised_response_is_bounded_from_below(epsilon: float) -> None:
    rng = np.random.default_rng(0)
    bounds = []
    for _ in range(100):
        inside = rng.random(CANARIES) < 0.5
        told = inside == (rng.random(CANARIES) < 1 / (1 + math.exp(-epsilon)))
        bounds.append(audit.judged(inside, told + 1e-3 * rng.random(CANARIES), epsilon, 0.0).bound)
    assert np.mean(np.array(bounds) <= epsilon) >= 0.95
    assert np.median(bounds) > 0.5 * epsilon


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_the_gaussian_mechanism_is_bounded_from_below(noise: float) -> None:
    rng, claim = np.random.default_rng(0), gaussian_epsilon(noise, 1e-5)
    bounds = []
    for _ in range(60):
        inside = rng.random(CANARIES) < 0.5
        bounds.append(audit.judged(inside, inside + noise * rng.normal(size=CANARIES), claim, 1e-5).bound)
    assert np.mean(np.array(bounds) <= claim) >= 0.95
    assert np.median(bounds) > 0.15 * claim


def test_all_right_reaches_the_ceiling_and_no_more_can_be_shown() -> None:
    inside = np.arange(CANARIES) % 2 == 0
    found = audit.judged(inside, inside.astype(float), 100.0, 1e-5)
    assert found.bound == found.ceiling == audit.ceiling(CANARIES, 1e-5)
    assert found.right == found.guesses
    assert "could not have been refuted" in found.finding
    assert audit.ceiling(10 * CANARIES, 1e-5) > found.ceiling


def test_a_finding_never_calls_anything_safe() -> None:
    inside = np.random.default_rng(0).random(CANARIES) < 0.5
    for values in (inside.astype(float), np.random.default_rng(1).random(CANARIES)):
        for claim in (0.1, 1.0, 100.0):
            found = audit.judged(inside, values, claim, 1e-5)
            assert found.refuted == (found.bound > claim)
            assert ("is broken" in found.finding) == found.refuted
            assert not any(word in found.finding for word in ("safe", "secure", "holds", "private"))


def test_a_step_that_returns_something_else_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="expected 50 finite values"):
        audit.audit(lambda inside, seed: np.zeros(3), 1.0, 1e-5, 50, rng)
    with pytest.raises(ValueError, match="at least 40"):
        audit.audit(lambda inside, seed: np.zeros(3), 1.0, 1e-5, 3, rng)


def noisy(noise: float) -> audit.Step:
    """Makes a step of fedmed's own client, with noise that is `noise` times what a canary adds to its weight."""
    local = config.Client(learning_rate=1e-4, batch_size="full")
    algorithm = fedavg.fedavg(Training(local, config.Server(), config.Aggregation(), Anatomy((), ())))

    def client(learner: Learner) -> ClientStep:
        update = algorithm.client(learner)

        def step(received: Nest, kept: Nest, rows: Rows, turn: Turn) -> ClientOutput:
            output = update(received, kept, rows, turn)
            marked = output.payload.update.trainable[0]
            mark = 1e-4 * 50.0 / tf.cast(tf.shape(rows.y)[0], tf.float32)  # rate x gradient / rows of the batch
            drawn = mark * noise * tf.random.stateless_normal(marked.shape, turn.seed)
            return output._replace(payload=Payload(Weights([marked + drawn], [])))

        return step

    return canaries.client_step(client, lambda w: algorithm.broadcast(algorithm.init(w)), CANARIES)


def test_fedmeds_own_step_is_audited() -> None:
    claim = gaussian_epsilon(1.0, 1e-5)
    kept = audit.audit(noisy(1.0), claim, 1e-5, CANARIES, np.random.default_rng(0))
    assert 0.3 < kept.bound < claim
    broken = audit.audit(noisy(0.1), claim, 1e-5, CANARIES, np.random.default_rng(0))
    assert broken.refuted
    bare = audit.audit(noisy(0.0), claim, 1e-5, CANARIES, np.random.default_rng(0))
    assert bare.bound == bare.ceiling
