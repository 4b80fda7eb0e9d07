"""Preprocessing equals scikit-learn's on the pooled training rows, though it sees sums only."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fedmed.data import preprocessing
from fedmed.data.examples import Examples, Feature
from fedmed.data.preprocessing import Mode, Preprocessing, prepare
from fedmed.system import errors

FEATURES = (Feature("age", "years"), Feature("stage", levels=("I", "II", "III")))
NAN = np.nan


def table(*rows: tuple[float, float]) -> Examples:
    return Examples(x=np.array(rows, float).reshape(-1, 2), y=np.zeros(len(rows), np.int64))


def applied(fitted: Preprocessing, client: str | None, examples: Examples) -> np.ndarray:
    x = fitted.apply(client, examples).x
    assert isinstance(x, np.ndarray)
    assert x.dtype == np.float32
    return x


def test_two_sites_by_hand() -> None:
    # ages 40, 60 and 80: mean 60, SD sqrt(800/3); stage III is in no training row, one age is missing
    train = {"a": table((40, 0), (60, 1)), "b": table((80, 0), (NAN, 0))}
    fitted = prepare(train, FEATURES, "federated")
    assert fitted.output_names == ("age", "age=missing", "stage=I", "stage=II", "stage=other")
    sd = np.sqrt(800 / 3)
    expected = [[-20 / sd, 0, 1, 0, 0], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0]]
    np.testing.assert_allclose(applied(fitted, "a", table((40, 0), (NAN, 2), (60, NAN))), expected, rtol=1e-6)


def test_none_passes_numbers_through() -> None:
    fitted = prepare({"a": table((40, 0), (NAN, 1), (60, 2))}, FEATURES, "none")
    expected = [[40, 0, 1, 0, 0], [0, 1, 0, 1, 0], [60, 0, 0, 0, 1]]
    np.testing.assert_array_equal(applied(fitted, None, table((40, 0), (NAN, 1), (60, 2))), expected)


def test_rare_levels_share_an_output() -> None:
    train = {"a": table((1, 0), (2, 0), (3, 1)), "b": table((4, 1), (5, 2))}
    fitted = prepare(train, FEATURES, "federated", minimum=2)
    assert fitted.output_names == ("age", "stage=I", "stage=II", "stage=other")
    assert applied(fitted, "b", table((5, 2)))[0, 1:].tolist() == [0, 0, 1]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_federated_equals_scikit_learn_on_pooled_rows(seed: int, sites: int, mean: float, sd: float) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, sites)
    pooled = np.stack([rng.normal(mean, sd, sizes.sum()), rng.integers(0, 3, sizes.sum())], axis=1)
    parts = np.split(pooled, np.cumsum(sizes)[:-1])
    train = {f"site{i}": Examples(part, np.zeros(len(part), np.int64)) for i, part in enumerate(parts)}
    fitted = prepare(train, FEATURES, "federated")
    got = np.concatenate([applied(fitted, client, part) for client, part in train.items()])
    kept = [code for code in range(3) if code in pooled[:, 1]]
    numbers = StandardScaler().fit_transform(pooled[:, :1])
    levels = OneHotEncoder(sparse_output=False).fit_transform(pooled[:, 1:])
    np.testing.assert_allclose(got[:, 0], numbers[:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got[:, 1 : 1 + len(kept)], levels)


def test_by_site_scales_by_the_sites_own_mean_with_everyones_outputs() -> None:
    rng = np.random.default_rng(1)
    old, young = rng.normal(70, 5, (20, 1)), rng.normal(30, 9, (20, 1))
    train = {
        "old": Examples(np.hstack([old, np.zeros((20, 1))]), np.zeros(20, np.int64)),
        "young": Examples(np.hstack([young, np.ones((20, 1))]), np.zeros(20, np.int64)),
    }
    fitted = prepare(train, FEATURES, "by_site")
    for client, ages in (("old", old), ("young", young)):
        got = applied(fitted, client, train[client])
        np.testing.assert_allclose(got[:, :1], StandardScaler().fit_transform(ages), rtol=1e-5, atol=1e-6)
        assert got.shape[1] == len(fitted.output_names)
    with pytest.raises(errors.DataError, match="'nowhere' had no training rows"):
        fitted.apply("nowhere", train["old"])


def test_by_site_a_site_of_few_or_equal_values_scales_by_all_sites() -> None:
    few = table(*((age, 0) for age in (40, 41, 42, 43)))
    equal = table(*((0, 0) for _ in range(10)))
    fitted = prepare({"few": few, "equal": equal}, FEATURES, "by_site")
    assert fitted.by_client["few"] == fitted.by_client["equal"] == fitted.shared


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1, -273.15])
def test_a_constant_column_is_centred_and_not_blown_up(value: float) -> None:
    fitted = prepare({"a": table(*((value, 0) for _ in range(7)))}, FEATURES, "federated")
    assert fitted.shared.columns[0].scale == 1.0
    assert np.abs(applied(fitted, "a", table((value, 0)))[0, 0]) < 1e-6


def test_a_small_spread_about_a_large_mean_survives() -> None:
    years = np.array([2e9 + 1, 2e9 + 2, 2e9 + 3])
    fitted = prepare({"a": table(*((year, 0) for year in years))}, FEATURES, "federated")
    np.testing.assert_allclose(fitted.shared.columns[0].scale, np.sqrt(2 / 3), rtol=1e-9)


@pytest.mark.parametrize("mode", ["federated", "by_site", "none"])
def test_json_gives_it_back_and_holds_no_rows(mode: Mode) -> None:
    train = {"a": table(*((40 + i, i % 2) for i in range(9)), (NAN, NAN)), "b": table((80, 2))}
    fitted = prepare(train, FEATURES, mode)
    again = Preprocessing.from_json(json.loads(json.dumps(fitted.to_json())))
    np.testing.assert_array_equal(applied(again, "a", train["a"]), applied(fitted, "a", train["a"]))
    assert again == fitted
    assert len(json.dumps(fitted.to_json())) < 1200


def test_combining_one_site_changes_nothing_and_no_rows_are_fine() -> None:
    sums = preprocessing.site_sums(table((1, 0), (NAN, 2)), FEATURES)
    together = preprocessing.combine([sums, preprocessing.site_sums(table(), FEATURES)])
    assert (together.rows, together.present.tolist(), together.total.tolist()) == (2, [1, 2], [1, 0])
    assert [counts.tolist() for counts in together.levels] == [[], [1, 0, 1]]
    fitted = prepare({"a": table((1, 0), (NAN, 2))}, FEATURES, "federated")
    assert applied(fitted, "a", table()).shape == (0, len(fitted.output_names))
    with pytest.raises(errors.DataError, match="no client has training rows"):
        preprocessing.combine([])
