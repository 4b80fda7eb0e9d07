"""Clipped sums of patients' gradients are those of a tape that takes one patient at a time, whichever way they go."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import assert_close, assert_same

from fedmed.learning import clipped_sums as clipping
from fedmed.learning.clipped_sums import ClippedSums, PatientRows, Way
from fedmed.learning.learner import Learner
from fedmed.learning.objective import objective
from fedmed.learning.tracing import layers_converted
from fedmed.models import Spec, models

layers = tf.keras.layers
TABLE, SIGNAL, IMAGE, CODES = (5,), (6, 3), (8, 8, 2), (4,)
ALONE, GROUPED = [0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 2, 2, 2, 3]
L2 = tf.keras.regularizers.L2(0.1)
NO_LIMIT = 1e9
TWO_AXES: Any = [1, 2]


class Case(NamedTuple):
    """A model of one logit, the shape of its inputs, and the way it should get."""

    way: Way
    inputs: Any
    build: Callable[[], Any]


def net(way: Way, inputs: tuple[int, ...], *parts: Callable[[], Any]) -> Case:
    """Layers in a row that end in one dense unit; `parts` make them, as a layer belongs to one model."""

    def build() -> Any:
        dtype = "int32" if inputs == CODES else None
        made = [part() for part in parts]
        return tf.keras.Sequential([layers.Input(inputs, dtype=dtype), *made, layers.Flatten(), layers.Dense(1)])

    return Case(way, inputs, build)


def attention() -> Any:
    start = layers.Input(SIGNAL)
    inside = layers.MultiHeadAttention(2, 3)(start, start)
    return tf.keras.Model(start, layers.Dense(1)(layers.Flatten()(inside)))


def shared() -> Any:
    start, twice = layers.Input(TABLE), layers.Dense(5, "tanh")
    return tf.keras.Model(start, layers.Dense(1)(twice(twice(start))))


class Centred(layers.Layer):
    """Takes a part of the batch's mean away, no part at its start: it mixes rows."""

    def build(self, shape: Any) -> None:
        """Adds the part."""
        self.part = self.add_weight(shape=(), initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns x of the same shape."""
        return x - self.part * tf.reduce_mean(x, axis=0, keepdims=True)


BOTH = {"image": IMAGE, "table": TABLE}
CASES = {
    "logistic regression": Case("fast", TABLE, lambda: tiny_models.flat_start(Spec(TABLE, "binary", 2))),
    "dense": net("fast", TABLE, lambda: layers.Dense(4, "tanh")),
    "dense without a bias": net("fast", TABLE, lambda: layers.Dense(4, "relu", use_bias=False)),
    "deep with l2": net("fast", TABLE, *[lambda: layers.Dense(6, "elu", kernel_regularizer=L2)] * 3),
    "dropout": net(
        "fast", TABLE, lambda: layers.GaussianNoise(1), lambda: layers.Dense(4), lambda: layers.Dropout(0.5)
    ),
    "other dropouts": net("fast", TABLE, lambda: layers.Dense(4), lambda: layers.GaussianDropout(0.5)),
    "conv same": net("fast", IMAGE, lambda: layers.Conv2D(3, 3, padding="same", activation="relu")),
    "conv valid": net("fast", IMAGE, lambda: layers.Conv2D(3, (2, 3)), lambda: layers.Conv2D(2, 2)),
    "conv strided": net(
        "fast", IMAGE, lambda: layers.Conv2D(3, 3, 2, "same"), lambda: layers.Conv2D(3, 2, (1, 2), use_bias=False)
    ),
    "conv of one channel": net("fast", (8, 8, 1), lambda: layers.Conv2D(3, 3, 3, "same")),
    "max-pool": net("fast", IMAGE, lambda: layers.Conv2D(3, 3, activation="relu"), lambda: layers.MaxPool2D()),
    "average pool": net("fast", IMAGE, lambda: layers.Conv2D(3, 3), lambda: layers.AveragePooling2D(3, 2)),
    "global pool": net("fast", IMAGE, lambda: layers.Conv2D(3, 3), lambda: layers.GlobalMaxPooling2D()),
    "depthwise": net("fast", IMAGE, lambda: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)),
    "separable": net("fast", IMAGE, lambda: layers.SeparableConv2D(4, 3)),
    "conv 1d": net("fast", SIGNAL, lambda: layers.Conv1D(4, 3, padding="causal")),
    "dense on sequences": net("fast", SIGNAL, lambda: layers.Dense(4, "tanh"), lambda: layers.Dense(2)),
    "dense on images": net("fast", IMAGE, lambda: layers.Dense(3, "tanh")),
    "embedding": net("fast", CODES, lambda: layers.Embedding(7, 3)),
    "layer normalisation": net("fast", SIGNAL, lambda: layers.Dense(4), lambda: layers.LayerNormalization()),
    "over two axes": net("fast", SIGNAL, lambda: layers.LayerNormalization(axis=TWO_AXES)),
    "group normalisation": net("fast", IMAGE, lambda: layers.Conv2D(4, 3), lambda: layers.GroupNormalization(2)),
    "prelu": net("fast", IMAGE, lambda: layers.Conv2D(4, 3), lambda: layers.PReLU(shared_axes=[1, 2])),
    "prelu on a table": net("fast", TABLE, lambda: layers.PReLU("uniform")),
    "frozen": net("fast", TABLE, lambda: layers.Dense(4, "tanh", trainable=False)),
    "two inputs": Case("fast", BOTH, lambda: tiny_models.two_inputs(Spec(BOTH, "regression"))),
    "lstm": net("loop", SIGNAL, lambda: layers.LSTM(3)),
    "gru": net("loop", SIGNAL, lambda: layers.GRU(3)),
    "attention": Case("loop", SIGNAL, attention),
    "shared": Case("loop", TABLE, shared),
    "dilated": net("loop", IMAGE, lambda: layers.Conv2D(3, 3, dilation_rate=2)),
    "conv in groups": net("loop", IMAGE, lambda: layers.Conv2D(4, 3, groups=2)),
    "transposed": net("loop", IMAGE, lambda: layers.Conv2DTranspose(3, 3)),
}
MIXING = {
    "hidden mixing": net("loop", TABLE, lambda: layers.Dense(4), Centred),
    "batch normalisation": net("loop", TABLE, lambda: layers.BatchNormalization()),
    "batch normalisation of images": net("loop", IMAGE, lambda: layers.BatchNormalization()),
    "branching": Case("loop", TABLE, lambda: tiny_models.branching(Spec(TABLE, "regression"))),
}
SOME = ("dense", "max-pool", "embedding", "layer normalisation", "dense on sequences", "gru")


def rows_of(inputs: Any, count: int, seed: int = 0) -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(seed)

    def drawn(shape: tuple[int, ...]) -> np.ndarray:
        if shape == CODES:
            return rng.integers(0, 7, (count, *shape)).astype(np.int32)
        return rng.normal(size=(count, *shape)).astype(np.float32)

    x = {name: drawn(shape) for name, shape in inputs.items()} if isinstance(inputs, dict) else drawn(inputs)
    return x, rng.integers(0, 2, count)


def learner_of(case: Case) -> tuple[Any, Learner]:
    """Returns a model at weights that are not the kindest, and its learner."""
    tf.keras.utils.set_random_seed(0)
    model: Any = case.build()
    for number, v in enumerate(model.trainable_variables):
        v.assign_add(0.3 * tf.random.stateless_normal(v.shape, (number, 1)))
    return model, Learner(model, objective("binary", "link"))


Call = Callable[..., ClippedSums]


def calling(learner: Learner, way: Way) -> Call:
    """Returns (x, y, patient, clip, weight=None) -> ClippedSums, recorded once, with random layers at rest."""

    def call(x: Any, y: tf.Tensor, patient: tf.Tensor, weight: tf.Tensor, clip: tf.Tensor) -> ClippedSums:
        with learner.at_rest():
            rows = PatientRows(x, y, patient, weight)
            return clipping.clipped_sums(learner, way, rows, tf.constant([3, 4]), clip)

    function = tf.function(layers_converted(call), autograph=False)
    recorded: list[Call] = []

    def run(x: Any, y: Any, patient: Any, clip: float = NO_LIMIT, weight: Any = None) -> ClippedSums:
        given = np.ones(patient[-1] + 1) if weight is None else weight
        x, y = tf.nest.map_structure(tf.constant, (x, y))
        patient, given = tf.constant(patient, tf.int32), tf.constant(given, tf.float32)
        rows = (x, y, patient, given)
        if not recorded:  # for any number of rows
            specs = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), rows)
            recorded.append(function.get_concrete_function(*specs, tf.TensorSpec([], tf.float32)))
        return recorded[0](*rows, tf.constant(clip, tf.float32))

    return run


def by_tape(model: Any, x: Any, y: np.ndarray, patient: Sequence[int]) -> tuple[list[Any], float, list[float]]:
    """Returns sums, the clip that they are taken at, and norms: a tape a patient, and no fedmed code.

    Half of the patients are clipped.
    """
    gradients, norms = [], []
    for one in range(patient[-1] + 1):
        mine = np.array(patient) == one
        with tf.GradientTape() as tape:
            output = model(tf.nest.map_structure(lambda t, mine=mine: t[mine], x), training=False)[:, 0]
            target = tf.constant(y[mine], tf.float32)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, output))
        taken: Any = tape.gradient(loss, model.trainable_variables)
        gradients.append([tf.convert_to_tensor(g).numpy().astype(float) for g in taken])
        norms.append(float(np.sqrt(sum((g**2).sum() for g in gradients[-1]))))
    clip = float(np.median(norms))
    scaled = [[min(1, clip / norm) * g for g in own] for own, norm in zip(gradients, norms, strict=True)]
    return [sum(parts) for parts in zip(*scaled, strict=True)], clip, norms


# The loop is one and the same for all models; these are near others.
NEAR = ("dense without a bias", "other dropouts", "conv of one channel", "conv valid", "average pool",
        "dense on images", "prelu on a table")  # fmt: skip
SLOW = {*((name, "fast") for name in NEAR),
        *((name, "loop") for name, case in CASES.items() if case.way == "fast" and name not in SOME)}  # fmt: skip
EVERY = [(name, way) for name, case in CASES.items() for way in ("fast", "loop") if way in ("loop", case.way)]


@pytest.mark.parametrize(
    ("name", "way"), [pytest.param(*one, marks=[pytest.mark.slow] * (one in SLOW)) for one in EVERY]
)
def test_both_ways_do_what_a_tape_does(name: str, way: Way) -> None:
    case = CASES[name]
    model, learner = learner_of(case)
    x, y = rows_of(case.inputs, 7)
    before = [v.numpy() for v in model.variables]
    assert clipping.way_for(learner, x, y) == case.way
    assert_same([v.numpy() for v in model.variables], before)
    run = calling(learner, way)
    for patient in (ALONE, GROUPED):
        sums, clip, norms = by_tape(model, x, y, patient)
        done = run(x, y, patient, clip)
        scale = max(np.abs(s).max() for s in sums)
        assert_close(done.sums, sums, rtol=1e-5, atol=1e-5 * scale)
        assert_close([done.norms], [norms], rtol=1e-5)


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_rows_or_looks_at_them_is_never_fast(name: str) -> None:
    case = MIXING[name]
    model = case.build()
    before = [v.numpy() for v in model.variables]
    x, y = rows_of(case.inputs, 7)
    assert clipping.way_for(Learner(model, objective("binary", "link")), x, y) == "loop"
    assert_same([v.numpy() for v in model.variables], before)  # moving statistics too


@pytest.mark.parametrize(("name", "batch"), [("mnist_cnn", 6), ("mcmahan_cnn", 3)])
def test_our_own_networks_are_fast(name: str, batch: int) -> None:
    spec = Spec((12, 12, 1), "multiclass", 10)
    learner = Learner(models.get(name, "model")(spec), objective("multiclass", "mean"))
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (batch, 12, 12, 1)).astype(np.uint8), rng.integers(0, 10, batch)
    assert clipping.way_for(learner, x, y) == "fast"
    patient = GROUPED[:batch]
    fast, loop = (calling(learner, way)(x, y, patient, 0.5) for way in ("fast", "loop"))
    for one, other in zip(fast.sums, loop.sums, strict=True):
        assert_close([one], [other], rtol=1e-5, atol=1e-5 * float(tf.reduce_max(tf.abs(other))))


@pytest.fixture(scope="module")
def some() -> dict[tuple[str, Way], Call]:
    """Recorded functions of a few models, by name and way."""
    made = {name: learner_of(CASES[name])[1] for name in SOME}
    return {
        (name, way): calling(made[name], way)
        for name in SOME
        for way in (("fast", "loop") if CASES[name].way == "fast" else ("loop",))
    }


def distance(one: ClippedSums, other: ClippedSums) -> float:
    return float(np.sqrt(sum(float(tf.reduce_sum((a - b) ** 2)) for a, b in zip(one.sums, other.sums, strict=True))))


@given(
    seed=st.integers(0, 2**31 - 1),
    sizes=st.lists(st.integers(1, 3), min_size=2, max_size=5),
    log_clip=st.floats(-3, 2),
    log_size=st.floats(-2, 3),
    pick=st.sampled_from(
        [(name, way) for name in SOME for way in ("fast", "loop") if way in ("loop", CASES[name].way)]
    ),
)
@settings(max_examples=30, deadline=None)
def test_a_patient_changes_the_sum_by_at_most_the_clip(
    some: dict[tuple[str, Way], Call], seed: int, sizes: list[int], log_clip: float, log_size: float, pick: Any
) -> None:
    """One who adds less than the clip is added whole."""
    run, inputs, clip = some[pick], CASES[pick[0]].inputs, 10**log_clip
    x, y = rows_of(inputs, sum(sizes), seed)
    x = x if inputs == CODES else (x * 10**log_size).astype(np.float32)
    patient = np.repeat(np.arange(len(sizes)), sizes)
    leaves = seed % len(sizes)
    weight = np.arange(len(sizes)) != leaves
    whole, without = run(x, y, patient, clip), run(x, y, patient, clip, weight)
    largest = max(float(tf.reduce_max(tf.abs(s))) for s in whole.sums)
    rounding = 1e-6 * max(clip, largest) * len(sizes)
    assert distance(whole, without) <= clip * (1 + 1e-5) + rounding
    alone = run(x, y, patient, clip, ~weight)
    if (norm := float(whole.norms[leaves])) < clip:
        assert_close([distance(whole, without)], [norm], rtol=1e-4, atol=10 * rounding)
        assert distance(alone, run(x, y, patient, NO_LIMIT, ~weight)) == 0


@pytest.mark.parametrize("way", ["fast", "loop"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("name", [name for name in SOME if CASES[name].way == "fast" and name != "embedding"])
def test_a_patient_without_a_finite_gradient_adds_nothing(
    some: dict[tuple[str, Way], Call], name: str, value: float, way: Way
) -> None:
    run = some[name, way]
    x, y = rows_of(CASES[name].inputs, 7)
    for patient in (ALONE, GROUPED):
        weight = np.arange(patient[-1] + 1) != patient[4]
        expected = run(x, y, patient, 0.1, weight)
        broken = x.copy()
        broken[4] = value
        for done in (run(broken, y, patient, 0.1, weight), run(broken, y, patient, 0.1)):
            if np.isfinite(done.norms[patient[4]]):
                assert value == 1e30  # not much where a layer saturates, or the loss does not heed it
                continue
            assert_close(done.sums, expected.sums, rtol=1e-5, atol=1e-6)
            assert_close([done.loss, done.hits], [expected.loss, expected.hits], rtol=1e-5)


@pytest.mark.parametrize(
    "pick", [(name, way) for name in SOME for way in ("fast", "loop") if way in ("loop", CASES[name].way)]
)
def test_an_empty_batch_adds_exactly_nothing(some: dict[tuple[str, Way], Call], pick: Any) -> None:
    """It comes as one row of a patient who only pads."""
    x, y = rows_of(CASES[pick[0]].inputs, 1)
    done = some[pick](x, y, [0], 1.0, [0.0])
    assert all(not np.any(s.numpy()) for s in done.sums)
    assert float(done.loss) == float(done.hits) == 0


@pytest.mark.parametrize("way", ["fast", "loop"])
def test_rows_that_cancel_let_no_more_than_the_clip_through(way: Way) -> None:
    """Twins of two labels at p = 1/2 have opposite gradients: what is left is rounding, which must not be blown up."""
    case = CASES["dense"]
    _, learner = learner_of(case)
    x, y = np.repeat(rows_of(case.inputs, 1)[0] * 100, 2, axis=0), np.array([0, 1])
    learner.trainable[-2].assign(tf.zeros_like(learner.trainable[-2]))
    learner.trainable[-1].assign([1e-5])
    for clip in (1.0, 1e-3, 1e-6):
        done = calling(learner, way)(x, y, [0, 0], clip)
        assert np.sqrt(sum(float(tf.reduce_sum(s**2)) for s in done.sums)) <= clip * (1 + 1e-5)


@pytest.mark.parametrize("way", ["fast", "loop"])
def test_clipping_by_hand(way: Way) -> None:
    """A linear model from zero: p = 1/2, so a row's gradient is (1/2 - y) (x, 1), a patient's their mean."""
    model = tiny_models.flat_start(Spec((2,), "binary", 2))
    run = calling(Learner(model, objective("binary", "link")), way)
    x = np.array([[6, 8], [0, 0], [0, 0], [0, 0]], np.float32)
    y = np.array([1, 1, 0, 0])
    done = run(x, y, [0, 1, 1, 2], 1.0)
    # Patient 0: -(3, 4, 1/2), norm sqrt(25.25); patient 1: rows of -1/2 and 1/2 on the bias, 0; patient 2: 1/2.
    norm = np.sqrt(25.25)
    assert_close([done.norms], [[norm, 0, 0.5]], atol=1e-3)
    assert_close(done.sums, [[[-3 / norm], [-4 / norm]], [-0.5 / norm + 0.5]])
    assert_close([done.loss, done.hits], [4 * np.log(2), 2])


def test_penalties_are_taken_apart_from_rows() -> None:
    """The gradient of 0.1 |w|^2 is 0.2 w; zeros where nothing is penalised; what a call adds is told of."""
    model, learner = learner_of(CASES["deep with l2"])
    taken = tf.function(learner.penalty_gradients, autograph=False)()
    expected = [0.2 * v if "kernel" in v.name and v.shape[-1] == 6 else 0 * v for v in model.trainable_variables]
    assert_close(taken, expected)
    plain = learner_of(CASES["dense"])[1]
    assert all(not np.any(g) for g in tf.function(plain.penalty_gradients, autograph=False)())
    active = net("fast", TABLE, lambda: layers.Dense(4, kernel_regularizer=L2, activity_regularizer=L2))
    x, y = rows_of(TABLE, 3)
    told = [learner_of(case)[1].habits(x, y).adds_losses for case in (active, CASES["deep with l2"], CASES["dense"])]
    assert told == [True, False, False]


def test_what_a_call_adds_is_not_in_the_penalties() -> None:
    _, learner = learner_of(net("fast", TABLE, lambda: layers.Dense(4, kernel_regularizer=L2, activity_regularizer=L2)))
    x, y = rows_of(TABLE, 3)

    def both(x: tf.Tensor, y: tf.Tensor) -> Any:
        learner.row_losses(x, y, tf.constant([0, 0]))
        return learner.penalty_gradients()

    after = tf.function(both, autograph=False)(x, y)
    assert_close(after, [0.2 * learner.trainable[0], *(0 * v for v in learner.trainable[1:])])


def test_rows_losses_are_what_gradients_are_taken_of() -> None:
    model, learner = learner_of(CASES["dense"])
    x, y = rows_of(TABLE, 6)
    seed = tf.constant([0, 0])
    losses, hits = tf.function(learner.row_losses, autograph=False)(x, y, seed)
    _, sums = tf.function(learner.gradients, autograph=False)(x, y, seed)
    assert_close([tf.reduce_sum(losses), tf.reduce_sum(hits)], sums)
    assert_same([hits], [(model(x)[:, 0].numpy() > 0) == (y == 1)])
