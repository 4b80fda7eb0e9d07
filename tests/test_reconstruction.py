"""Rows rebuilt from updates of fedmed's own clients: exact where they must be, gone under noise, and never let out."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from fedmed.attacks import dense_layer, inversion, label_inference, likeness, observation
from fedmed.attacks.descent import Search
from fedmed.attacks.inversion import NotAttempted, Target
from fedmed.attacks.likeness import Distances, Pictures
from fedmed.attacks.observation import Seen, Work
from fedmed.attacks.reconstruction import TABLES, Way, rebuilt_distances, rebuilt_pictures
from fedmed.attacks.substitution import substituted
from fedmed.data.examples import Task
from fedmed.learning.algorithm import Rows
from fedmed.learning.learner import Learner
from fedmed.learning.objective import objective
from fedmed.learning.plain_training import plain_training
from fedmed.learning.values import Turn, Weights
from fedmed.models import Spec, building, images, tabular
from fedmed.settings import config

layers = tf.keras.layers
_ALL: Any = load_digits()
DIGITS: np.ndarray = (_ALL.images[..., None] / 16).astype(np.float32)
NUMBERS: np.ndarray = _ALL.target
RATE, SEED = 0.1, np.array([3, 4], np.int32)
QUICK = Search(starts=2, iterations=150)


def target(model: tf.keras.Model, task: Task, scale: Any = "mean") -> Target:
    """Returns what the server knows of a model with its present weights."""
    return Target(model, task, objective(task, scale), tuple(v.numpy() for v in model.trainable_variables))


def net(seed: int = 0) -> Target:
    """Returns a convolutional net with sigmoid units, whose gradient is smooth in the picture."""
    model = tf.keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="sigmoid"),
            layers.Conv2D(8, 3, padding="same", activation="sigmoid"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(rng.uniform(-0.5, 0.5, variable.shape))  # as Zhu et al. 2019 draw them
    return target(model, "multiclass", "link")


def built(factory: Any, spec: Spec, **args: Any) -> Target:
    """Returns one of fedmed's own models with its seeded weights."""
    with building.seeded(1):
        return target(factory(spec, **args), spec.task)


def update(of: Target, x: np.ndarray, y: np.ndarray, work: Work) -> list[np.ndarray]:
    """Returns a client's update by fedmed's own local training."""
    of.restore()
    settings = config.Client(learning_rate=work.learning_rate, batch_size=work.batch or "full", epochs=work.epochs)
    train = plain_training(settings, Learner(of.model, of.objective))

    @tf.function(autograph=False)
    def trained(x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        start = Weights([tf.constant(w) for w in of.received], [])
        after = train(start, Rows(x, y), Turn(tf.constant(SEED), tf.constant(work.learning_rate)))
        return [a - b for a, b in zip(after.weights.trainable, start.trainable, strict=True)]

    return [part.numpy() for part in trained(tf.constant(x), tf.constant(y))]


def shown(of: Target, seen: Seen, x: np.ndarray, way: Way, labels: Any = None, search: Search = QUICK) -> Pictures:
    """Attacks and expects pictures."""
    found = rebuilt_pictures(of, seen, x, way, np.random.default_rng(0), labels, search)
    assert isinstance(found, Pictures), found
    return found


IMAGES = Spec((8, 8, 1), "multiclass", 10)


@pytest.mark.parametrize("work", [Work(1, RATE), Work(1, RATE, epochs=5), Work(4, RATE)], ids=["1", "5 steps", "4"])
def test_a_dense_first_layer_tells_rows_exactly(work: Work) -> None:
    of, x, y = built(images.mcmahan_2nn, IMAGES), DIGITS[: work.rows], NUMBERS[: work.rows]
    found = shown(of, observation.bare(update(of, x, y, work), work), x, "dense layer")
    assert found.psnr.min() > (60 if work.rows == 1 else 30)
    assert found.missed == 0


def test_layers_before_the_dense_one_are_undone() -> None:
    of, work = built(images.mnist_cnn, IMAGES), Work(1, RATE)
    found = shown(of, observation.bare(update(of, DIGITS[:1], NUMBERS[:1], work), work), DIGITS[:1], "dense layer")
    assert found.psnr[0] > 40


@pytest.mark.parametrize(
    "work",
    [Work(1, RATE), pytest.param(Work(1, RATE, epochs=3), marks=pytest.mark.slow)],
    ids=["one step", "three steps"],
)
def test_a_digit_is_found_by_its_update_and_lost_under_noise(work: Work) -> None:
    of, x, y = net(), DIGITS[:1], NUMBERS[:1]
    sent = update(of, x, y, work)
    assert shown(of, observation.bare(sent, work), x, "inversion").psnr[0] > 30  # the label is inferred
    noised = observation.noised(sent, work, 1.0, 1.0, np.random.default_rng(0))
    for way in ("inversion", "dense layer"):
        other = of if way == "inversion" else built(images.mcmahan_2nn, IMAGES)
        if way == "dense layer":
            noised = observation.noised(update(other, x, y, work), work, 1.0, 1.0, np.random.default_rng(0))
        assert shown(other, noised, x, way, y).psnr[0] < 12


@pytest.mark.slow
def test_signs_and_cosine_find_a_digit_too() -> None:
    of, work = net(), Work(1, RATE)
    seen = observation.bare(update(of, DIGITS[:1], NUMBERS[:1], work), work)
    search = Search("signs", "cosine", variation=1e-4, starts=1, iterations=300)
    assert shown(of, seen, DIGITS[:1], "inversion", NUMBERS[:1], search).psnr[0] > 20


@pytest.mark.parametrize("work", [Work(5, RATE), Work(5, RATE, batch=2, epochs=2)], ids=["one step", "six steps"])
def test_the_simulation_is_fedmeds_own_training(work: Work) -> None:
    of, x, y = built(images.mnist_cnn, IMAGES), DIGITS[:5], NUMBERS[:5]
    known = inversion.knowing_order(work, [SEED])
    sent = update(of, x, y, work)
    of.restore()

    @tf.function(autograph=False)
    def simulated(x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        return inversion.simulated(of.model, of.objective, known, x, y)

    for ours, theirs in zip(simulated(tf.constant(x), tf.constant(y)), sent, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_penalties_are_simulated() -> None:
    of = built(tabular.mlp, Spec((4,), "binary", 2), hidden=(5,), l2=0.1)
    x, y, work = np.ones((2, 4), np.float32), np.array([0, 1]), Work(2, RATE)
    sent = update(of, x, y, work)
    of.restore()
    run = tf.function(lambda a, b: inversion.simulated(of.model, of.objective, work, a, b), autograph=False)
    for ours, theirs in zip(run(tf.constant(x), tf.constant(y)), sent, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_substitution_puts_everything_back() -> None:
    of = net()
    before = of.model(DIGITS[:2]).numpy()
    with substituted(of.model, [tf.zeros_like(w) for w in of.received]):
        assert not of.model(DIGITS[:2]).numpy().any()
    np.testing.assert_array_equal(of.model(DIGITS[:2]), before)
    assert all(isinstance(v, tf.Variable) for v in of.model.trainable_variables)


def table(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns made-up patients of six columns and whether an event happened."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    return x, (x[:, 0] + rng.normal(size=rows) > 0).astype(np.int64)


@pytest.mark.parametrize("way", ["dense layer", "inversion"])
def test_a_patients_row_is_found_and_only_its_distance_told(way: Way) -> None:
    of = built(tabular.mlp, Spec((6,), "binary", 2), hidden=(16,))
    x, y = table(200)
    work = Work(1, RATE)
    seen = observation.bare(update(of, x[:1], y[:1], work), work)
    found = rebuilt_distances(of, seen, x[:1], x[1:], way, np.random.default_rng(0), y[:1], TABLES)
    assert isinstance(found, Distances)
    assert found.recovered[0] < 0.05 * found.other[0]
    assert found.singled_out == 1.0
    assert not rows_in(found, x)


def leaves(value: Any) -> Iterator[np.ndarray]:
    """Yields every array in the fields of a result, however deep."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name))
    elif isinstance(value, dict):
        for part in value.values():
            yield from leaves(part)
    elif isinstance(value, list | tuple) and not all(np.isscalar(part) for part in value):
        for part in value:
            yield from leaves(part)
    else:
        yield np.asarray(value)


def rows_in(result: Any, x: np.ndarray) -> bool:
    """Tells whether some row of x, or a value of one, is in a field of the result."""
    return any(
        array.ndim > 1 or np.isclose(array.ravel()[:, None], x.ravel()[None], rtol=1e-6, atol=0).any()
        for array in leaves(result)
    )


def test_the_search_for_rows_in_a_result_finds_them() -> None:
    x, _ = table(5)
    nothing = Distances(np.full(5, 0.1234), np.full(5, 0.1234), np.full(5, 0.1234), 5)
    assert not rows_in(nothing, x)
    assert rows_in(dataclasses.replace(nothing, other=x[2]), x)
    assert rows_in(Pictures(x, x, x[:, 0], x[:, 0], 0), x)


def test_a_distance_worked_by_hand() -> None:
    others = np.array([[0.0, 0.0, 7.0], [2.0, 4.0, 7.0]])  # deviations 1, 2 and none
    true = np.array([[0.0, 0.0, 5.0]])
    recovered = np.array([[3.0, 0.0, 0.0], [0.0, 2.0, 9.0]])
    found = likeness.distances(true, recovered, others, np.random.default_rng(0))
    assert found.recovered[0] == pytest.approx(0.5**0.5)  # (0^2 + 1^2) / 2
    assert found.other[0] == 0.0
    assert found.singled_out == 0.0
    nothing = likeness.distances(true, recovered[:0], others, np.random.default_rng(0))
    assert np.isinf(nothing.recovered[0])


def test_a_row_is_not_held_against_its_own_patient() -> None:
    """Both rows of patient 0 are recovered a quarter off: the nearest other patient of one is nearer than that."""
    others = np.array([[0.0], [2.0], [2.1], [4.0]])
    spread = others.std()
    true, whose = others[:2], np.array([0, 0, 1, 2])
    found = likeness.distances(true, true + 0.25, others, np.random.default_rng(0), (whose[:2], whose))
    np.testing.assert_allclose(found.other * spread, [2.1, 0.1])
    np.testing.assert_allclose(found.recovered * spread, [0.25, 0.25])
    assert found.singled_out == 0.5
    assert (found.guess >= found.other).all()


def test_likeness_of_pictures_worked_by_hand() -> None:
    a = np.full((1, 8, 8, 1), 0.5, np.float32)
    assert likeness.psnr(a, a + 0.1)[0] == pytest.approx(20.0, abs=1e-4)
    assert likeness.psnr(a, a)[0] == 160.0
    assert likeness.ssim(a, a)[0] == pytest.approx(1.0)
    pair = likeness.pictures(DIGITS[:3], DIGITS[[2, 0, 1]])
    np.testing.assert_array_equal(pair.recovered, DIGITS[:3])
    assert likeness.pictures(DIGITS[:3], DIGITS[:2]).missed == 1


def test_readings_of_units_worked_by_hand() -> None:
    # Two units moved by row (1, 2) alone, one by (1, 2) and (3, 0) in equal parts, one not at all.
    bias = np.array([2.0, -1.0, 4.0, 0.0])
    kernel = np.array([[2.0, -1.0, 8.0, 0.0], [4.0, -2.0, 4.0, 0.0]])
    np.testing.assert_allclose(dense_layer.inputs_of(kernel, bias), [[2.0, 1.0], [1.0, 2.0]])
    assert dense_layer.inputs_of(kernel, 0 * bias).shape == (0, 2)


@pytest.mark.parametrize("count", [1, 6])
def test_labels_are_inferred(count: int) -> None:
    of, work = built(images.mcmahan_2nn, IMAGES), Work(count, RATE)
    seen = observation.bare(update(of, DIGITS[:count], NUMBERS[:count], work), work)
    expected = of.objective.predict(of.model(DIGITS[100:300])).numpy().mean(axis=0)
    found = label_inference.labels(of, seen, expected)
    assert not isinstance(found, NotAttempted)
    np.testing.assert_array_equal(found, np.sort(NUMBERS[:count]))
    assert isinstance(label_inference.labels(of, seen, expected[:1]), NotAttempted)
    assert isinstance(label_inference.labels(dataclasses.replace(of, task="count"), seen, expected), NotAttempted)


def test_events_are_counted() -> None:
    of = built(tabular.logistic_regression, Spec((6,), "binary", 2))
    x, y = table(5)
    seen = observation.bare(update(of, x, y, Work(5, RATE)), Work(5, RATE))
    found = label_inference.labels(of, seen, np.array([0.5]))
    assert not isinstance(found, NotAttempted)
    np.testing.assert_array_equal(found, np.sort(y))


def test_what_is_seen_of_several_hospitals_is_their_sum() -> None:
    parts = [[np.full((2, 3), float(k)), np.full(3, 10.0 * k)] for k in (1, 2, 3)]
    seen = observation.summed(parts, Work(2, RATE))
    assert (seen.update[0] == 6.0).all()
    assert (seen.update[1] == 60.0).all()
    assert (seen.work.clients, seen.work.in_all) == (3, 6)


def test_an_update_is_cut_to_the_clip_and_its_noise_is_as_large_as_said() -> None:
    update = [np.full((100, 100), 0.3), np.zeros(100)]  # a gradient of norm 300
    cut = observation.noised(update, Work(1, RATE), 2.0, 0.0, np.random.default_rng(0)).update
    assert np.linalg.norm(cut[0]) == pytest.approx(RATE * 2.0, rel=1e-5)
    small = observation.noised([u / 1e4 for u in update], Work(1, RATE), 2.0, 0.0, np.random.default_rng(0)).update
    np.testing.assert_allclose(small[0], update[0] / 1e4, rtol=1e-6)
    drawn = observation.noised([0 * u for u in update], Work(1, RATE), 2.0, 1.5, np.random.default_rng(0)).update
    assert drawn[0].std() == pytest.approx(RATE * 3.0, rel=0.03)


@pytest.mark.parametrize(
    ("more", "work", "words"),
    [
        ([layers.Dropout(0.5)], Work(1, RATE), "draws at random"),
        ([layers.BatchNormalization()], Work(1, RATE), "moving statistics"),
        ([], Work(100, RATE, batch=1), "100 local steps"),
    ],
)
def test_what_is_not_attempted_is_said(more: Sequence[tf.keras.layers.Layer], work: Work, words: str) -> None:
    model = tf.keras.Sequential([layers.Input((6,)), layers.Dense(4), *more, layers.Dense(1)])
    of, x = target(model, "binary", "link"), table(work.rows)[0]
    seen = Seen(of.received, work)
    found = rebuilt_distances(of, seen, x, x, "inversion", np.random.default_rng(0))
    assert isinstance(found, NotAttempted)
    assert words in found.reason


def test_a_model_without_a_dense_layer_is_not_read() -> None:
    model = tf.keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(1, 8), layers.Flatten()])
    of = target(model, "binary", "link")
    found = rebuilt_pictures(of, Seen(of.received, Work(1, RATE)), DIGITS[:1], "dense layer", np.random.default_rng(0))
    assert isinstance(found, NotAttempted)
