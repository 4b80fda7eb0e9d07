"""Scaling by public bounds depends on no patient, and noisy moments on each no more than is promised."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data import bounded, diabetes_records, harmonising, heart_disease
from fedmed.data.bounded import noisy_moments, prepare_bounded
from fedmed.data.examples import Dataset, Examples, Feature
from fedmed.data.preprocessing import Preprocessing
from fedmed.settings.harmonise import Harmonise
from fedmed.system import errors

FEATURES = (Feature("age", "years", bounds=(20, 100)), Feature("stage", levels=("I", "II")), Feature("bmi"))
BOUNDS = {"bmi": (15.0, 55.0)}
NAN = np.nan


def table(rows: object, group: object = None) -> Examples:
    x = np.array(rows, float).reshape(-1, 3)
    return Examples(x, np.zeros(len(x), np.int64), group=None if group is None else np.array(group))


def applied(fitted: Preprocessing, examples: Examples) -> np.ndarray:
    x = fitted.apply("a", examples).x
    assert isinstance(x, np.ndarray)
    assert x.dtype == np.float32
    return x


def drawn(rng: np.random.Generator, rows: int, patients: int | None = None) -> Examples:
    """Returns rows within bounds and beyond, some values missing."""
    x = np.stack([rng.normal(60, 25, rows), rng.integers(0, 2, rows), rng.normal(30, 10, rows)], axis=1)
    x[rng.random(x.shape) < 0.2] = NAN
    return table(x, None if patients is None else rng.integers(0, patients, rows))


def test_bounds_by_hand() -> None:
    fitted = prepare_bounded(FEATURES, BOUNDS)
    assert fitted.mode == "bounds"
    assert fitted.output_names == ("age", "age=missing", "stage=I", "stage=II", "stage=missing", "bmi", "bmi=missing")
    # age: middle 60, a quarter of the width 20; bmi: 35 and 10
    rows = table([(60, 0, 45), (120, 1, -9), (50, NAN, NAN), (NAN, 1, np.inf)])
    expected = [
        [0, 0, 1, 0, 0, 1, 0],
        [2, 0, 0, 1, 0, -2, 0],
        [-0.5, 0, 0, 0, 1, 0, 1],
        [0, 1, 0, 1, 0, 2, 0],
    ]
    np.testing.assert_array_equal(applied(fitted, rows), expected)


def test_what_the_settings_say_goes_before_what_the_data_set_says() -> None:
    column = prepare_bounded(FEATURES, {**BOUNDS, "age": (0, 10)}).shared.columns[0]
    assert (column.mean, column.scale, column.least, column.most) == (5, 2.5, 0, 10)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_no_patient_moves_another_nor_the_recipe(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    before = drawn(rng, rows)
    assert isinstance(before.x, np.ndarray)
    fitted, place = prepare_bounded(FEATURES, BOUNDS), int(rng.integers(rows))
    changed, stranger = before.x.copy(), drawn(rng, 1).x
    assert isinstance(stranger, np.ndarray)
    changed[place] = stranger * 1e6
    others = np.arange(rows) != place
    for after in (table(changed), table(np.delete(changed, place, 0)), table(np.concatenate([before.x, stranger]))):
        dataset = Dataset("t", after, "binary", 2, features=FEATURES)
        assert prepare_bounded(dataset.features, BOUNDS) == fitted
    np.testing.assert_array_equal(applied(fitted, before)[others], applied(fitted, table(changed))[others])
    assert np.abs(applied(fitted, table(changed))).max() <= 2


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_json_gives_it_back(noise: float) -> None:
    train = {"a": drawn(np.random.default_rng(1), 30)}
    for fitted in (
        prepare_bounded(FEATURES, BOUNDS),
        noisy_moments(train, FEATURES, BOUNDS, noise=noise, rng=np.random.default_rng(2)),
    ):
        again = Preprocessing.from_json(json.loads(json.dumps(fitted.to_json())))
        assert again == fitted
        np.testing.assert_array_equal(applied(again, train["a"]), applied(fitted, train["a"]))


def test_moments_by_hand() -> None:
    recipe = prepare_bounded(FEATURES, BOUNDS).shared
    # on [-1, 1], ages of 60, 100 and 80 are 0, 1 and .5, one of 500 is 1; a bmi of 25 is -.5
    rows = table([(60, 0, 25), (100, 0, NAN), (80, 1, NAN), (500, 1, NAN), (NAN, 1, NAN)], group=list("aabcd"))
    # patients a, b and c have ages of .5 (two rows), .5 and 1
    np.testing.assert_array_equal(bounded.moments(rows, recipe), [[3, 1], [2, -0.5], [1.5, 0.25]])
    np.testing.assert_array_equal(bounded.moments(table([]), recipe), np.zeros((3, 2)))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_patient_moves_the_moments_no_further_than_the_sensitivity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    examples, recipe = drawn(rng, 20, patients=6), prepare_bounded(FEATURES, BOUNDS).shared
    assert examples.group is not None
    everyone = bounded.moments(examples, recipe)
    for patient in np.unique(examples.group):
        without = bounded.moments(examples.take(np.flatnonzero(examples.group != patient)), recipe)
        assert np.linalg.norm(everyone - without) <= bounded.sensitivity(2) + 1e-12


def test_the_sensitivity_is_reached() -> None:
    recipe = prepare_bounded(FEATURES, BOUNDS).shared
    assert np.linalg.norm(bounded.moments(table([(100, 0, 15)]), recipe)) == bounded.sensitivity(2) == np.sqrt(6)


def test_without_noise_the_scale_is_that_of_all_patients() -> None:
    rng = np.random.default_rng(3)
    train = {name: drawn(rng, 200, patients=80) for name in ("a", "b")}
    fitted = noisy_moments(train, FEATURES, BOUNDS, noise=0.0, rng=rng)
    assert fitted.mode == "federated"
    ages = []
    for own in train.values():
        assert isinstance(own.x, np.ndarray)
        assert own.group is not None
        here = ~np.isnan(own.x[:, 0])
        clipped, patients = np.clip(own.x[here, 0], 20, 100), own.group[here]
        ages += [clipped[patients == patient].mean() for patient in np.unique(patients)]
    np.testing.assert_allclose(
        (fitted.shared.columns[0].mean, fitted.shared.columns[0].scale), (np.mean(ages), np.std(ages)), rtol=1e-9
    )
    assert fitted.output_names == prepare_bounded(FEATURES, BOUNDS).output_names


def test_less_noise_brings_it_nearer() -> None:
    train = {"a": drawn(np.random.default_rng(4), 400), "b": drawn(np.random.default_rng(5), 100)}

    def scale(noise: float, seed: int) -> np.ndarray:
        columns = noisy_moments(train, FEATURES, BOUNDS, noise=noise, rng=np.random.default_rng(seed)).shared.columns
        return np.array([(column.mean, column.scale) for column in (columns[0], columns[2])])

    off = [np.mean([np.abs(scale(noise, seed) - scale(0, 0)).mean() for seed in range(20)]) for noise in (10, 1, 0.01)]
    assert off[0] > 3 * off[1] > 30 * off[2]


def test_the_noise_is_of_the_size_that_is_promised() -> None:
    """Patients who are all in the middle: the SD of the noisy sum over them is the noise times the sensitivity."""
    rng, count = np.random.default_rng(6), 10**4
    feature = (Feature("age", bounds=(-1.0, 1.0)),)
    many = Examples(np.zeros((count, 1)), np.zeros(count, np.int64))
    draws = [noisy_moments({"a": many}, feature, {}, noise=5.0, rng=rng).shared.columns[0].mean for _ in range(300)]
    expected = 5 * bounded.sensitivity(1) / count
    assert np.std(draws) == pytest.approx(expected, rel=4 / np.sqrt(2 * 300))


def test_the_same_seed_gives_the_same_noise() -> None:
    train = {"a": drawn(np.random.default_rng(7), 40)}
    first, second, other = (
        noisy_moments(train, FEATURES, BOUNDS, noise=1.0, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize("seed", range(20))
def test_no_noise_makes_a_scale_that_breaks(seed: int) -> None:
    train = {"a": table([(60, 0, 30)] * 8)}
    fitted = noisy_moments(train, FEATURES, BOUNDS, noise=5.0, rng=np.random.default_rng(seed))
    for column, width in ((fitted.shared.columns[0], 80), (fitted.shared.columns[2], 40)):
        assert column.least is not None
        assert column.most is not None
        assert column.least <= column.mean <= column.most
        assert width / 50 - 1e-9 <= column.scale <= width / 2 + 1e-9


def test_a_count_that_noise_drowns_leaves_the_scale_of_the_bounds() -> None:
    plain = prepare_bounded(FEATURES, BOUNDS).shared
    drowned = noisy_moments({"a": table([])}, FEATURES, BOUNDS, noise=0.0, rng=np.random.default_rng(0)).shared
    assert drowned == plain
    categories = (Feature("stage", levels=("I", "II")),)
    fitted = noisy_moments(
        {"a": Examples(np.zeros((2, 1)), np.zeros(2))}, categories, {}, noise=1.0, rng=np.random.default_rng(0)
    )
    assert fitted.output_names == ("stage=I", "stage=II", "stage=missing")


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (
            {},
            "privacy.bounds: no plausible range is known of 'bmi'; .*: privacy.bounds = { bmi = \\[low, high\\],",
        ),
        ({"bmj": (1, 2)}, "privacy.bounds: unknown column 'bmj' \\(did you mean 'bmi'\\?\\); allowed: age, bmi, stage"),
        ({"stage": (1, 2)}, "privacy.bounds.stage: a category has levels, no bounds; leave it out"),
        ({"bmi": (2, 2)}, "privacy.bounds.bmi: expected \\[low, high\\] with low < high, got \\[2, 2\\]"),
        ({"bmi": (0, np.inf)}, "privacy.bounds.bmi: expected"),
        ({"bmi": (NAN, 1)}, "privacy.bounds.bmi: expected"),
        ({"bmi": (-3e38, 3e38)}, "privacy.bounds.bmi: expected"),
    ],
)
def test_bounds_that_cannot_be_used(bounds: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=f"^{message}"):
        prepare_bounded(FEATURES, bounds)


def test_of_many_numbers_without_bounds_five_are_named() -> None:
    features = [Feature(f"lab {number}") for number in range(8)]
    with pytest.raises(errors.ConfigError) as caught:
        prepare_bounded(features, {})
    assert "'lab 0', 'lab 1', 'lab 2', 'lab 3', 'lab 4' and 3 more" in str(caught.value)
    assert '{ "lab 0" = [low, high], ... }' in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("features", [heart_disease.FEATURES, diabetes_records.FEATURES])
def test_the_built_in_tables_have_bounds(features: tuple[Feature, ...]) -> None:
    assert prepare_bounded(features, {}).mode == "bounds"


def test_hardly_a_value_of_heart_disease_is_clipped() -> None:
    dataset = heart_disease.heart_disease(mask_impossible=True)
    x = dataset.examples.x
    assert isinstance(x, np.ndarray)
    low, high = np.array([feature.bounds for feature in dataset.features]).T
    assert np.mean((x < low) | (x > high)) < 0.002


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Harmonise("age", times=12.0, plus=1.0), (241.0, 1201.0)),
        (Harmonise("age", sites=("s",), times=12.0), (20, 100)),
        (Harmonise("age", times=12.0, below=10.0), (20, 100)),
        (Harmonise("age", missing=(-9,)), (20, 100)),
    ],
)
def test_bounds_go_with_a_conversion_of_every_row(change: Harmonise, expected: tuple[float, float]) -> None:
    examples = dataclasses.replace(table([(60, 0, 30)]), site=np.array(["s"]))
    dataset = Dataset("t", examples, "binary", 2, features=FEATURES)
    assert harmonising.harmonised(dataset, [change]).features[0].bounds == expected


def test_what_is_no_table_is_refused() -> None:
    images = Examples(np.zeros((2, 28, 28, 1)), np.zeros(2, np.int64))
    with pytest.raises(errors.DataError, match="only a table"):
        noisy_moments({"a": images}, FEATURES, BOUNDS, noise=1.0, rng=np.random.default_rng(0))
