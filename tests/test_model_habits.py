"""What a user's layers do beside their output: constraints, counters, statistics, draws; and floats of other sizes."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_models
from tiny import assert_close, assert_same

from fedmed.data.examples import Task
from fedmed.models import Spec, building
from fedmed.system import errors

layers = tf.keras.layers
SIZES = [11, 6, 8]


def bounded(spec: Spec) -> tf.keras.Model:
    """Weights of bounded length, and weights that are never negative."""
    short = layers.Dense(6, activation="tanh", kernel_constraint=tf.keras.constraints.MaxNorm(0.5))
    rising = layers.Dense(1, activation="sigmoid", kernel_constraint="non_neg", bias_constraint="non_neg")
    return tf.keras.Sequential([layers.Input(spec.inputs), short, rising])


def adapted(*, by: str) -> tf.keras.Model:
    """Normalises its inputs by what it found in three rows, or by the same numbers given."""
    rows = np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 5.0], [4.0, 8.0, 2.0]], np.float32)
    normal = layers.Normalization(mean=rows.mean(0), variance=rows.var(0)) if by == "given" else layers.Normalization()
    if by == "adapt":
        normal.adapt(rows)
    return tf.keras.Sequential([layers.Input((3,)), normal, layers.Dense(1, activation="sigmoid")])


class Counter(layers.Layer):
    """Fades with the number of training steps so far, as annealing schedules do."""

    def build(self, shape: Any) -> None:
        self.steps = self.add_weight(name="steps", shape=(), dtype="int64", trainable=False, initializer="zeros")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            self.steps.assign_add(1)
        return x / (1.0 + tf.cast(self.steps, tf.float32))


class Average(layers.Layer):
    """Subtracts a running mean of its inputs."""

    def build(self, shape: Any) -> None:
        self.mean = tf.Variable(tf.zeros(shape[-1]), name="mean")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            self.mean.assign(0.5 * self.mean + 0.5 * tf.reduce_mean(x, 0))
        return x - tf.stop_gradient(self.mean)


class Noisy(layers.Layer):
    """Adds noise of its own in training."""

    def __init__(self, by: str) -> None:
        super().__init__()
        self.by = by
        self.generator = tf.random.Generator.from_seed(1)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return x
        ways = {
            "normal": lambda: x + tf.random.normal(tf.shape(x), seed=1),
            "dropout": lambda: tf.nn.dropout(x, 0.5, seed=1),
            "generator": lambda: x + self.generator.normal(tf.shape(x)),
        }
        return ways[self.by]()


def before_dense(layer: layers.Layer, spec: Spec) -> tf.keras.Model:
    return tf.keras.Sequential([layers.Input(spec.inputs), layer, layers.Dense(1, activation="sigmoid")])


def counting(spec: Spec) -> tf.keras.Model:
    """Counts its steps."""
    return before_dense(Counter(), spec)


def averaging(spec: Spec, *, frozen: bool = False) -> tf.keras.Model:
    """Assigns to a variable that Keras takes for a weight, in a layer that may be frozen."""
    return before_dense(Average(trainable=not frozen), spec)


def noisy(spec: Spec, *, by: str) -> tf.keras.Model:
    """Draws otherwise than by Keras's layers."""
    return before_dense(Noisy(by), spec)


def half(spec: Spec) -> tf.keras.Model:
    """Computes in float16, with penalties, and has weights in float32."""
    penalised = layers.Dense(
        8, activation="relu", dtype="mixed_float16", kernel_regularizer="l2", activity_regularizer="l2"
    )
    return tf.keras.Sequential(
        [layers.Input(spec.inputs), penalised, layers.Dense(1, activation="sigmoid", dtype="mixed_float16")]
    )


def double(spec: Spec) -> tf.keras.Model:
    """Has weights in float64."""
    return before_dense(layers.Dense(4, dtype="float64"), spec)


def untrained(spec: Spec) -> tf.keras.Model:
    """Has nothing to train."""
    model = before_dense(layers.Dense(4), spec)
    model.trainable = False
    return model


def by_keras(model: tf.keras.Model, start: list[np.ndarray], own: Any, optimizer: Any, steps: int) -> list[np.ndarray]:
    """Returns the weights after steps of a Keras optimizer on all rows."""
    for variable, value in zip(model.trainable_variables, start, strict=True):
        variable.assign(value)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            p = tf.squeeze(model(own.x, training=True), -1)
            loss = tf.reduce_mean(tf.keras.losses.binary_crossentropy(own.y[:, None], p[:, None]))
        gradients: Any = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return [v.numpy() for v in model.trainable_variables]


@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [("sgd", tf.keras.optimizers.SGD(0.3)), ("momentum", tf.keras.optimizers.SGD(0.3, momentum=0.9))],
    ids=["sgd", "momentum"],
)
def test_constraints_are_kept_after_each_step_as_keras_does(optimizer: str, oracle: Any) -> None:
    local = {"learning_rate": 0.3, "batch_size": "full", "epochs": 3, "optimizer": optimizer}
    held = tiny.clients([9])
    done = tiny.one_round(tiny.settings("test_model_habits:bounded", client=local), held)
    expected = by_keras(bounded(Spec((3,), "binary", 2)), done.before.trainable, held.train["a"], oracle, 3)
    assert_close(done.after.trainable, expected, rtol=1e-4, atol=1e-6)
    assert done.after.trainable[2].min() == 0
    assert np.linalg.norm(done.after.trainable[0], axis=0).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("model", "args"), [("counting", {}), ("averaging", {"frozen": True})], ids=["counter", "frozen mean"]
)
def test_what_a_call_changes_and_nobody_sends_begins_anew_at_each_client(model: str, args: dict[str, Any]) -> None:
    """Else a client would go on from the rows of the one before it in its lane, and a resumed run would differ."""
    by_lanes, named = {}, {"name": f"test_model_habits:{model}", "args": args}
    for lanes in (1, 2):
        with tiny.set_up(tiny.settings(model=named, runtime={"lanes": lanes}), tiny.clients(SIZES)) as (_, next_round):
            first, again = next_round(), next_round()
        assert_same(again.after.trainable, first.after.trainable)
        by_lanes[lanes] = first
    assert_same(by_lanes[2].reports, by_lanes[1].reports)


@pytest.mark.parametrize(
    ("by", "operation"),
    [("normal", "RandomStandardNormal"), ("dropout", "RandomUniform"), ("generator", "Rng|Stateful")],
)
def test_draws_that_no_seed_repeats_are_refused(by: str, operation: str) -> None:
    wrong = tiny.settings(model={"name": "test_model_habits:noisy", "args": {"by": by}})
    with pytest.raises(errors.ModelError, match=f"^model or algorithm: ({operation})") as caught:
        tiny.one_round(wrong, tiny.clients(SIZES))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_promise_does_not_cover_what_a_call_assigns(frozen: bool) -> None:
    """The mean of a batch's rows would leave as a weight, without clip or noise."""
    promise = {"unit": "patient", "clip_norm": 1.0, "noise_multiplier": 1.0}
    model = {"name": "test_model_habits:averaging", "args": {"frozen": frozen}}
    with pytest.raises(
        errors.ModelError, match=r"^model: average/mean:0 is changed by a call of its layer in training"
    ):
        tiny.one_round(tiny.settings(model=model, privacy=promise), tiny.clients(SIZES))


def test_what_a_layer_was_adapted_to_is_neither_sent_nor_trained() -> None:
    found, given = (
        tiny.one_round(tiny.settings(model=_adapted_by(by)), tiny.clients(SIZES)).after for by in ("adapt", "given")
    )
    assert found.moving == given.moving == []
    assert_close(found.trainable, given.trainable)


@pytest.mark.parametrize("unit", ["patient", "hospital"])
def test_a_promise_does_not_cover_what_a_layer_was_adapted_to(unit: str) -> None:
    promise = {"unit": unit, "clip_norm": 1.0, "noise_multiplier": 1.0}
    with pytest.raises(errors.ModelError, match=r"^model: mean:0 was found in rows before training \(`adapt`\)"):
        tiny.one_round(tiny.settings(model=_adapted_by("adapt"), privacy=promise), tiny.clients(SIZES))
    assert tiny.one_round(tiny.settings(model=_adapted_by("given"), privacy=promise), tiny.clients(SIZES)).updates


def _adapted_by(by: str) -> dict[str, Any]:
    return {"name": "test_model_habits:adapted", "args": {"by": by}}


def test_a_model_that_computes_in_half_precision_trains() -> None:
    done = tiny.one_round(tiny.settings("test_model_habits:half"), tiny.clients(SIZES))
    assert done.reports[:, tiny.REPORT.index("accepted")].tolist() == [1, 1, 1]
    assert all(w.dtype == np.float32 for w in done.after.trainable)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("double", "model: .*kernel:0 is float64, and weights are trained and sent as float32"),
        ("untrained", "model: it has no weight to train"),
    ],
)
def test_weights_that_cannot_be_trained_are_refused(model: str, expected: str) -> None:
    with pytest.raises(errors.ModelError, match=f"^{expected}"):
        tiny.one_round(tiny.settings(f"test_model_habits:{model}"), tiny.clients(SIZES))


@pytest.mark.parametrize(
    ("task", "last", "needed"),
    [
        ("multiclass", "sigmoid", "'softmax' or 'linear'"),
        ("binary", "softmax", "'sigmoid' or 'linear'"),
        ("binary", "relu", "'sigmoid' or 'linear'"),
        ("count", "tanh", "'exponential' or 'linear'"),
        ("regression", "softmax", "'linear'"),
    ],
)
def test_a_last_activation_that_no_loss_fits_is_refused(task: Task, last: str, needed: str) -> None:
    """Three sigmoids taken for logits of classes could give no class more than 58 %; one softmax is always 1."""
    spec = Spec((3,), task, 3 if task == "multiclass" else 2)
    with pytest.raises(
        errors.ModelError, match=f"^model: its last activation is '{last}'; task '{task}' needs {needed}$"
    ):
        building.build_checked(
            lambda: tiny_models.ending_in(spec, activation=last), spec, np.zeros([4, 3], np.float32), 0
        )
