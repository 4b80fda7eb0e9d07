"""Intervals hold the truth as often as they say, measured on simulated federations of three hospitals."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fedmed.statistics import (
    ArmTest,
    PairedTest,
    arm_spread,
    informative_patients,
    metric_interval,
    p_value,
    paired_difference,
    scaled_interval,
    score,
)
from fedmed.statistics.verdicts import MINIMUM_EVENTS
from fedmed.study.measures import agreement

pytestmark = pytest.mark.slow

SIZES, PREVALENCES, COLUMNS = (2000, 1000, 500), (0.10, 0.08, 0.05), 8
REPLICATES, SEEDS, FRESH, DRAWS, TEST_SHARE = 120, 5, 100_000, 200, 0.3
METRICS = ("auroc", "brier")


@dataclasses.dataclass(frozen=True)
class Population:
    """A hospital's patients: normal columns around `centre`, risk logistic in them."""

    centre: np.ndarray
    slope: np.ndarray
    intercept: float

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, COLUMNS)) + self.centre
        return x, (rng.random(n) < 1 / (1 + np.exp(-(x @ self.slope + self.intercept)))).astype(np.int64)


@cache
def populations() -> tuple[Population, ...]:
    rng = np.random.default_rng(99)
    shared = rng.normal(size=COLUMNS) * 0.5
    found = []
    for prevalence in PREVALENCES:
        slope, centre = shared + rng.normal(size=COLUMNS) * 0.15, rng.normal(size=COLUMNS) * 0.3
        score = np.sort((rng.normal(size=(100_000, COLUMNS)) + centre) @ slope + rng.logistic(size=100_000))
        found.append(Population(centre, slope, -float(score[int((1 - prevalence) * len(score))])))
    return tuple(found)


def fit(x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    return LogisticRegression(max_iter=200).fit(x, y)


def predict(model: LogisticRegression, x: np.ndarray) -> np.ndarray:
    return model.predict_proba(x)[:, 1]


@dataclasses.dataclass
class Tally:
    """What became of every interval at one hospital in one metric."""

    differences: list[bool] = dataclasses.field(default_factory=list)
    arms: list[bool] = dataclasses.field(default_factory=list)
    false_findings: list[bool] = dataclasses.field(default_factory=list)
    fixed_split_false_findings: list[bool] = dataclasses.field(default_factory=list)


@cache
def simulate() -> dict[tuple[int, str], Tally]:
    tallies = {(h, name): Tally() for h in range(len(SIZES)) for name in METRICS}
    fresh = [hospital.draw(FRESH, np.random.default_rng(7)) for hospital in populations()]
    for replicate in range(REPLICATES):
        replay(tallies, fresh, np.random.default_rng([replicate, 1]))
    return tallies


def replay(
    tallies: dict[tuple[int, str], Tally], fresh: list[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator
) -> None:
    """One federation: local against pooled training at five random splits, and pooled against itself."""
    data = [population.draw(n, rng) for population, n in zip(populations(), SIZES, strict=True)]
    tests: list[list[PairedTest]] = [[] for _ in SIZES]
    nulls: list[list[PairedTest]] = [[] for _ in SIZES]
    fixed: list[list[PairedTest]] = [[] for _ in SIZES]
    truths: list[list[dict[str, tuple]]] = [[] for _ in SIZES]
    held = [rng.permutation(n)[: int(TEST_SHARE * n)] for n in SIZES]
    for _ in range(SEEDS):
        test = [rng.permutation(n)[: int(TEST_SHARE * n)] for n in SIZES]
        pooled = fit(*together(data, test))
        again = [noisy(*together(data, test), rng) for _ in range(2)]
        always = [noisy(*together(data, held), rng) for _ in range(2)]
        for h, (x, y) in enumerate(data):
            local = fit(np.delete(x, test[h], axis=0), np.delete(y, test[h]))
            rows, same = test[h], held[h]
            tests[h].append(pair([local, pooled], x, y, rows))
            nulls[h].append(pair(again, x, y, rows))
            fixed[h].append(pair(always, x, y, same))
            fx, fy = fresh[h]
            a, b = predict(local, fx), predict(pooled, fx)
            truths[h].append({name: (score("binary", name, fy, a), score("binary", name, fy, b)) for name in METRICS})
    for (h, name), tally in tallies.items():
        a, b = np.mean([seed[name] for seed in truths[h]], axis=0)
        tally.differences.append(covers(name, tests[h], b - a, rng))
        arm = metric_interval("binary", name, [ArmTest(t.y, t.a, t.patient) for t in tests[h]], rng=rng, draws=DRAWS)
        tally.arms.append(arm is not None and arm.low <= a <= arm.high)
        tally.false_findings.append(not covers(name, nulls[h], 0.0, rng))
        if informative_patients("binary", fixed[h]) >= MINIMUM_EVENTS:  # or there is no verdict that could be false
            tally.fixed_split_false_findings.append(not covers(name, fixed[h], 0.0, rng))


def pair(models: list[LogisticRegression], x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> PairedTest:
    return PairedTest(y[rows], predict(models[0], x[rows]), predict(models[1], x[rows]), rows)


def together(data: list[tuple[np.ndarray, np.ndarray]], test: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    parts = [(np.delete(x, rows, axis=0), np.delete(y, rows)) for (x, y), rows in zip(data, test, strict=True)]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def noisy(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> LogisticRegression:
    """Trains on four fifths of the rows, to stand for training that depends on its seed."""
    rows = rng.permutation(len(y))[: int(0.8 * len(y))]
    return fit(x[rows], y[rows])


def covers(name: str, tests: list[PairedTest], truth: float, rng: np.random.Generator) -> bool:
    found = paired_difference("binary", name, tests, rng=rng, draws=DRAWS)
    assert found is not None
    assert (p_value(found) > 0.05) == (found.low <= 0 <= found.high)
    return found.low <= truth <= found.high


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("h", range(len(SIZES)))
def test_intervals_of_a_difference_cover(h: int, name: str) -> None:
    assert np.mean(simulate()[h, name].differences) >= 0.90


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("h", range(len(SIZES)))
def test_intervals_of_an_arm_cover(h: int, name: str) -> None:
    assert np.mean(simulate()[h, name].arms) >= 0.90


def test_an_arm_is_rarely_told_from_itself() -> None:
    tallies = simulate().values()
    assert np.mean(np.concatenate([tally.false_findings for tally in tallies])) <= 0.05
    assert np.mean(np.concatenate([tally.fixed_split_false_findings for tally in tallies])) <= 0.05


def ratios_held(splits: int, rng: np.random.Generator) -> float:
    """Returns how often observed / expected holds what it is on fresh patients, for the training rows' share."""
    ratio, share, held = agreement("binary"), 0.1, []
    assert ratio is not None
    assert ratio.scale is not None
    for _ in range(400):
        y = (rng.random(1000) < share).astype(np.int64)
        tests, truths = [], []
        for _ in range(splits):
            sides = [np.split(rng.permutation(np.flatnonzero(y == k)), [round(0.25 * (y == k).sum())]) for k in (0, 1)]
            rows, train = (np.concatenate(side) for side in zip(*sides, strict=True))
            tests.append(ArmTest(y[rows], np.full(len(rows), y[train].mean()), rows))
            truths.append(share / y[train].mean())
        spread = arm_spread(ratio.of, tests, rng=rng, draws=0)
        found = scaled_interval(spread, informative_patients("binary", tests), 0.95, ratio.scale)
        assert found is not None
        held.append(found.low <= np.mean(truths) <= found.high)
    return float(np.mean(held))


def test_observed_over_expected_is_the_more_careful_the_fewer_stratified_splits() -> None:
    # A stratified split gives the training rows the events of the tested ones, so that the model is right about them;
    # the interval allows for tested patients who might have been others. Tested in turn, all are both, and it is right.
    few, many = (ratios_held(splits, np.random.default_rng(splits)) for splits in (5, 20))
    assert few > many
    assert few >= 0.96
    assert 0.92 <= many <= 0.98
