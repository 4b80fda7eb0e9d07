"""Splits: sizes, strata, and no patient on both sides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.examples import Examples
from fedmed.data.splits import shares, split
from fedmed.system import errors


def examples(y: np.ndarray, group: np.ndarray | None = None) -> Examples:
    return Examples(x=np.zeros((len(y), 1)), y=y, group=group)


def by_size(*sizes: int) -> dict[str, np.ndarray]:
    return {f"c{i}": rows for i, rows in enumerate(np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]))}


def test_the_heart_disease_benchmarks_sizes() -> None:
    rows = by_size(303, 261, 46, 130)
    y = np.random.default_rng(0).integers(0, 2, 740)
    for group in (None, np.arange(740)):
        sides = split(examples(y, group), rows, 0.34, 7, "binary")
        assert [len(side.train) for side in sides.values()] == [199, 172, 30, 85]


def test_each_class_keeps_its_share_by_hand() -> None:
    # 10 rows, 8 and 2, half for training: 4 and 1
    y = np.array([0] * 8 + [1] * 2)
    side = split(examples(y), by_size(10), 0.5, 3, "binary")["c0"]
    assert np.bincount(y[side.train]).tolist() == [4, 1]
    assert np.bincount(y[side.test]).tolist() == [4, 1]


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(0, 0.99), st.integers(0, 99), st.booleans())
def test_every_row_is_on_one_side_and_sizes_are_exact(
    sizes: list[int], fraction: float, seed: int, classes: bool
) -> None:
    y = np.random.default_rng(seed).integers(0, 4, sum(sizes))
    rows_by_client = by_size(*sizes)
    sides = split(examples(y), rows_by_client, fraction, seed, "multiclass" if classes else "count")
    for client, rows in rows_by_client.items():
        train, test = sides[client]
        assert np.array_equal(np.sort(np.concatenate([train, test])), rows)
        assert np.all(np.diff(train) > 0)
        assert np.all(np.diff(test) > 0)
        assert len(train) == max(1, int(np.floor((1 - fraction) * len(rows) + 1e-9)))
        if classes:
            exact = np.bincount(y[rows], minlength=4) * len(train) / len(rows)
            assert np.all(np.abs(np.bincount(y[train], minlength=4) - exact) < 1)


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(0, 0.9), st.integers(0, 99), st.integers(1, 60))
def test_no_patient_is_on_both_sides_anywhere(sizes: list[int], fraction: float, seed: int, patients: int) -> None:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, patients, sum(sizes)).astype(str)  # many are seen at several clients
    sides = split(examples(rng.integers(0, 2, sum(sizes)), group), by_size(*sizes), fraction, seed, "binary")
    train = {name for side in sides.values() for name in group[side.train]}
    test = {name for side in sides.values() for name in group[side.test]}
    assert not train & test
    assert all(len(side.train) for side in sides.values())
    assert sum(len(side.train) + len(side.test) for side in sides.values()) == sum(sizes)


def test_patients_of_several_rows_come_near_the_fraction_and_keep_classes() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(200), rng.integers(1, 6, 200))
    y = (np.arange(200) % 4 == 0).astype(np.int64)[group]
    side = split(examples(y, group), by_size(len(y)), 0.25, 0, "binary")["c0"]
    assert abs(len(side.test) / len(y) - 0.25) < 0.01
    assert abs(y[side.test].mean() - y.mean()) < 0.02


def test_a_client_does_not_depend_on_the_others() -> None:
    y = np.random.default_rng(0).integers(0, 3, 90)
    rows = by_size(30, 30, 30)
    together = split(examples(y), rows, 0.3, 5, "multiclass")["c1"]
    alone = split(examples(y), {"c1": rows["c1"]}, 0.3, 5, "multiclass")["c1"]
    np.testing.assert_array_equal(together.train, alone.train)
    assert not np.array_equal(together.train, split(examples(y), rows, 0.3, 6, "multiclass")["c1"].train)


def test_small_clients_and_fractions_of_their_own() -> None:
    y = np.array([0, 1, 1, 1, 1])
    sides = split(examples(y), by_size(1, 4), {"c0": 0.9, "c1": 0.5}, 0, "binary")
    assert [(len(side.train), len(side.test)) for side in sides.values()] == [(1, 0), (2, 2)]
    one_patient = split(examples(y, np.array(["p"] * 5)), by_size(5), 0.5, 0, "binary")["c0"]
    assert (len(one_patient.train), len(one_patient.test)) == (5, 0)
    for wrong in (1.0, -0.1, float("nan"), {"c0": 0.5}):
        with pytest.raises(errors.ConfigError, match="test_fraction"):
            split(examples(y), by_size(1, 4), wrong, 0, "binary")


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0, 1), st.integers(0, 99))
def test_shares_add_up_and_never_exceed_what_is_there(counts: list[int], part: float, seed: int) -> None:
    total = int(part * sum(counts))
    got = shares(total, np.array(counts), np.random.default_rng(seed))
    assert got.sum() == total
    assert np.all((got >= 0) & (got <= counts))
