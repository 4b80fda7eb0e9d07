"""Curves that diverge, that still fall at their end, and that do neither, with scatter and without."""

import numpy as np
import pytest

from fedmed.statistics.loss_curves import has_diverged, still_improving

ROUNDS = list(range(41))


def falling(rate: float, scatter: float = 0.0, seed: int = 0) -> list[float]:
    """Returns 1 at the start, falling to 0.5 as exp(-rate * round / rounds)."""
    noise = scatter * np.random.default_rng(seed).normal(size=len(ROUNDS))
    return (0.5 + 0.5 * np.exp(-rate * np.arange(len(ROUNDS)) / ROUNDS[-1]) + noise).tolist()


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([0.7, 0.5, 0.4], False),
        ([0.7, 0.5, None], True),
        ([0.7, 0.5, float("inf")], True),
        ([0.7, 7.5], True),  # over twice the untrained model's
        ([0.7, 0.2, 0.5], False),  # overfitting: over twice the least, and better than untrained all the same
        ([0.7, 0.3, 0.75], True),  # a gain that is lost
        ([0.7, 0.69, 0.75], False),
        ([None, None], False),  # never defined: another matter
        ([0.7], False),
    ],
)
def test_divergence(losses: list[float | None], diverged: bool) -> None:
    assert has_diverged(losses) == diverged


def test_the_share_of_the_last_quarter_is_that_of_the_curve_by_hand() -> None:
    straight = [1.0 - number / 80 for number in ROUNDS]  # medians of rounds 26 to 30 and 36 to 40: 28 and 38
    assert still_improving(ROUNDS, straight) == pytest.approx(10 / 38)


@pytest.mark.parametrize("rate", [0.1, 1.0, 2.5])
def test_a_curve_that_falls_is_still_improving(rate: float) -> None:
    assert still_improving(ROUNDS, falling(rate)) is not None
    assert still_improving(ROUNDS, falling(rate, scatter=0.002)) is not None


@pytest.mark.parametrize("rate", [6.0, 20.0])
def test_a_curve_that_has_come_to_rest_is_not(rate: float) -> None:
    assert still_improving(ROUNDS, falling(rate)) is None


def test_scatter_alone_is_hardly_ever_taken_for_improvement() -> None:
    flat = [still_improving(ROUNDS, np.random.default_rng(seed).normal(size=41).tolist()) for seed in range(300)]
    at_rest = [still_improving(ROUNDS, falling(20.0, scatter=0.1, seed=seed)) for seed in range(300)]
    assert sum(share is not None for share in flat) < 15
    assert sum(share is not None for share in at_rest) < 15


def test_few_rounds_tell_nothing() -> None:
    assert still_improving(list(range(12)), [1.0 - 0.05 * number for number in range(12)]) is None
    assert still_improving(ROUNDS, [*falling(1.0)[:-1], None]) is None


def test_rounds_that_are_scored_now_and_then_are_judged_by_their_numbers() -> None:
    every = list(range(0, 401, 10))
    assert still_improving(every, falling(1.0)) == still_improving(ROUNDS, falling(1.0))
