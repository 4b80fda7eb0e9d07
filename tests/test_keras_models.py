"""Users' Keras models through the plug-in way ("module:function"): they train, and do what their layers promise."""

import json
import pathlib
import traceback
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_models
from tiny import assert_close, assert_same

from fedmed.data.examples import Examples
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import weights as weight_ops
from fedmed.learning.learner import Learner, fixed_variables
from fedmed.learning.objective import objective
from fedmed.models import Spec, building, refusals
from fedmed.runs import experiment
from fedmed.system import errors

RNG_SEED = 5
LOGITS, PROBABILITIES = "link", "mean"
layers = tf.keras.layers


def inputs(kind: str) -> dict[str, np.ndarray]:
    """Returns 100 rows of x that tell of their label, as the arrays of an .npz file."""
    rng = np.random.default_rng(RNG_SEED)
    y = tiny.site_rows().y
    images = (rng.integers(0, 128, (100, 8, 8, 1)) + 100 * y[:, None, None, None]).astype(np.uint8)
    kinds: dict[str, dict[str, np.ndarray]] = {
        "table": {},
        "image": {"x": images},
        "both": {"x_image": images, "x_table": rng.normal(size=(100, 3))},
        "codes": {"x": rng.integers(0, 4, (100, 5)) + 3 * y[:, None]},
        "signal": {"x": rng.normal(size=(100, 6, 2)) + y[:, None, None]},
    }
    return kinds[kind]


def run(folder: pathlib.Path, model: str, kind: str = "table", /, **changes: Any) -> dict[str, Any]:
    path = tiny.save_sites(folder / "own.npz", inputs(kind))
    changes = {"data": {"args": {"path": path}}, "client": {"learning_rate": 0.1, "batch_size": 8}, **changes}
    return experiment.run(tiny.settings(model, **changes), folder / "out")


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("batch_norm", "table"),
        ("two_inputs", "both"),
        ("subclassed", "table"),
        ("embedding", "codes"),
        pytest.param("dropout", "table", marks=pytest.mark.slow),  # test_experiment.py has runs of it
        pytest.param("penalised", "table", marks=pytest.mark.slow),
        pytest.param("frozen", "table", marks=pytest.mark.slow),
        pytest.param("compiled", "table", marks=pytest.mark.slow),
        pytest.param("recurrent", "signal", marks=pytest.mark.slow),
        pytest.param("pooled_image", "image", marks=pytest.mark.slow),
    ],
)
def test_a_users_model_trains_and_is_saved(model: str, kind: str, tmp_path: pathlib.Path) -> None:
    done = run(tmp_path, f"tiny_models:{model}", kind)
    assert done["refused"] == {}
    losses = [json.loads(line)["train"] for line in (tmp_path / "out" / "rounds.jsonl").read_text().splitlines()]
    assert losses[2]["loss"] < losses[1]["loss"]
    assert (tmp_path / "out" / "weights.npz").is_file()
    assert done["model_file"] == "model.keras"
    custom = {"Subclassed": tiny_models.Subclassed}
    if model != "subclassed":
        saved = tf.keras.models.load_model(tmp_path / "out" / "model.keras", custom_objects=custom, compile=False)
        with np.load(tmp_path / "out" / "weights.npz") as archive:
            ours = sum(archive[name].size for name in archive.files)
        fixed = sum(variable.numpy().size for variable in fixed_variables(saved))  # which nobody sends
        assert (fixed > 0) == (model == "frozen")
        assert ours == saved.count_params() - fixed


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("tiny_models:too_wide", r"model: task 'binary' needs outputs \[rows, 1\], the model returns \[rows, 7\].*"),
        ("tiny_models:other_inputs", r"model: it does not take the data's inputs \(4,\): .*99.*"),
        ("tiny_models:raising", r"model.name: building failed: a layer of -1 units"),
        ("tiny_models:own_step", r"model: OwnStep has a train_step of its own, which fedmed does not call: .*"),
        ("tiny_models:own_loss", r"model: OwnLoss has a compute_loss of its own, .* layers without compute_loss"),
        ("tiny_models:no_model", r"model.name: expected a tf.keras.Model, got str"),
    ],
)
def test_a_model_that_does_not_fit_is_told_so_in_one_line(model: str, expected: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.ModelError, match=f"^{expected}$") as caught:
        run(tmp_path, model)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("named", [False, True])
def test_a_model_of_two_outputs_is_told_that_one_is_needed(named: bool, tmp_path: pathlib.Path) -> None:
    expected = (
        r"^model: it returns 2 outputs, and one tensor is needed, \[rows, 1\]; let it return the prediction of .*"
    )
    with pytest.raises(errors.ModelError, match=expected) as caught:
        run(tmp_path, "tiny_models:two_outputs", model={"args": {"named": named}})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", ["local", "tff"])
def test_a_value_refused_in_training_is_told_in_one_line_without_it(runtime: str, worker: Worker) -> None:
    changes = tiny.settings("tiny_models:refusing", runtime={"name": runtime})
    with pytest.raises(errors.ModelError) as caught:
        tiny.one_round(changes, tiny.clients(), worker)
    told = "".join(traceback.format_exception(caught.value))
    assert "(hidden) is not in [0, 7)" in str(caught.value)
    assert "GatherV2" in str(caught.value)
    assert "4242" not in told.replace("+ 424242", "")


@pytest.mark.parametrize(
    ("when", "expected"),
    [("training", "KeyError: 'no such head"), ("evaluation", "RuntimeError: ten rows")],
)
def test_what_a_models_own_code_raises_later_is_told_in_one_line(when: str, expected: str) -> None:
    changes = tiny.settings("tiny_models:falling", model={"args": {"when": when}}, evaluation={"batch_size": 10})
    with pytest.raises(errors.ModelError) as caught, tiny.set_up(changes, tiny.clients()) as (federation, _):
        federation.predict(federation.initial, tiny.rows(30, seed=0).x)
    assert str(caught.value).startswith(f"model: it failed in {when}: {expected}")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_spec_is_given_where_it_is_wanted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def optional(shape: Spec | None = None, /) -> Any:
        return shape

    spec = Spec((3,), "binary", 2)
    given: list[tuple[Any, Any]] = [
        (lambda anything: anything, spec),
        (lambda spec=None: spec, spec),
        (lambda units=8: units, 8),
        (lambda *, units=8: units, 8),
        (lambda: "none", "none"),
        (optional, spec),
    ]
    for function, expected in given:
        monkeypatch.setattr(tiny_models, "wanting", function, raising=False)
        assert building.builder("tiny_models:wanting", {}, spec)() == expected


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(), errors.DataError("x")])
def test_what_is_not_the_models_passes_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, refusals.in_one_line("training", calls=True):
        raise error
    assert caught.value is error
    with pytest.raises(RuntimeError), refusals.in_one_line("training"):
        raise RuntimeError("the worker ended")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("tiny_models:linaer", "model.name: unknown function of tiny_models 'linaer'.*'linear'.*"),
        ("no_such_module:build", "model.name: .*'no_such_module'.*"),
    ],
)
def test_a_wrong_dotted_path_is_told_so_in_one_line(model: str, expected: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.ConfigError, match=f"^{expected}$"):
        run(tmp_path, model)


def test_a_module_that_fails_while_it_is_imported_is_the_users_to_mend(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_written.py").write_text("def build(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(errors.ConfigError, match=r"^model.name: cannot import 'half_written': .*$"):
        run(tmp_path, "half_written:build")


# What the layers promise


@pytest.mark.parametrize("runtime", ["local", "tff"])
def test_moving_statistics_are_averaged_like_weights(runtime: str, worker: Worker) -> None:
    """Two full-batch epochs of the first BatchNorm (momentum 0.9): its statistics see the data only, so by hand."""
    held = tiny.clients([9, 5])
    changes = tiny.settings(
        "tiny_models:batch_norm", client={"batch_size": "full", "epochs": 2}, runtime={"name": runtime}
    )
    done = tiny.one_round(changes, held, worker)
    mean, variance = np.zeros(3), np.zeros(3)
    for own in held.train.values():
        x, kept_mean, kept_variance = np.asarray(own.x), np.zeros(3), np.ones(3)
        for _ in range(2):
            kept_mean = 0.9 * kept_mean + 0.1 * x.mean(0)
            kept_variance = 0.9 * kept_variance + 0.1 * x.var(0)
        mean += len(own) / 14 * kept_mean
        variance += len(own) / 14 * kept_variance
    assert_close(done.after.moving[:2], [mean, variance], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", ["batch_norm", "dropout", pytest.param("subclassed", marks=pytest.mark.slow)])
def test_a_round_on_tff_equals_one_in_this_process(model: str, worker: Worker) -> None:
    """Dropout's masks are functions of the seed alone, so they are the same ones in TFF's worker."""
    after = [
        tiny.one_round(tiny.settings(f"tiny_models:{model}", runtime={"name": runtime}), tiny.clients(), worker).after
        for runtime in ("tff", "local")
    ]
    tff, local = (weight_ops.tensors(weights) for weights in after)
    assert_close(tff, local, rtol=1e-4, atol=1e-5)  # dividing by a small batch's deviation magnifies rounding


def test_dropout_is_a_function_of_the_seed() -> None:
    held = tiny.clients()
    first, again, other = (
        tiny.one_round(tiny.settings("tiny_models:dropout", seed=seed), held).updates for seed in (1, 1, 2)
    )
    assert_same(first, again)
    assert np.abs(first[0] - other[0]).max() > 1e-3


def test_masks_differ_between_steps_layers_and_seeds() -> None:
    """A model of nothing but two dropouts in a row on ones shows its masks."""
    image = layers.Input((40,))
    first, second = layers.Dropout(0.5, name="first"), layers.Dropout(0.5, name="second")
    model = tf.keras.Model(image, tf.stack([first(image), second(image)], axis=1))
    generators = Learner(model, objective("regression", "mean"))._generators
    assert len(generators) == 2

    @tf.function
    def masks(seed: tf.Tensor) -> tf.Tensor:
        for generator in generators:
            generator.begin(seed)
        return model(tf.ones([3, 40]), training=True) > 0

    drawn = [masks(tf.constant(seed)).numpy() for seed in ([0, 1], [0, 1], [0, 2])]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    seen = {drawn[i][row, layer].tobytes() for i in (0, 2) for row in range(3) for layer in range(2)}
    assert len(seen) == 2 * 3 * 2  # every step, row and layer has a mask of its own
    assert 0.4 < np.mean(drawn) < 0.6


def test_masks_differ_from_step_to_step_of_a_client() -> None:
    """Full batches from zero weights: without dropout's change of mask the second step would repeat the first's."""
    held = tiny.clients([12])
    rates = {"batch_size": "full", "learning_rate": 1e-4}
    one, two = (
        tiny.one_round(tiny.settings("tiny_models:dropout", client={**rates, "steps": steps}), held).updates
        for steps in (1, 2)
    )
    assert np.abs(two[0] - 2 * one[0]).max() > 0.1 * np.abs(one[0]).max()


def gradients(model: Any, x: np.ndarray, y: np.ndarray, scale: Any = "mean") -> list[np.ndarray]:
    learner = Learner(model, objective("binary", scale))
    step = tf.function(learner.gradients, autograph=False)
    return [g.numpy() for g in step(tf.constant(x), tf.constant(y), tf.constant([0, 0]))[0]]


def test_a_penalty_enters_the_gradient_by_hand() -> None:
    """The gradient of 0.1 |w|^2 is 0.2 w, once per batch, and the reported loss is without it."""
    spec, own = Spec((3,), "binary", 2), tiny.rows(10, seed=0)
    model = tiny_models.penalised(spec, strength=0.1)
    plain = tiny_models.linear(spec)
    plain.set_weights(model.get_weights())
    with_it, without = (gradients(m, np.asarray(own.x), own.y) for m in (model, plain))
    assert_close(with_it, [without[0] + 0.2 * model.get_weights()[0], without[1]])


def test_an_embeddings_rows_that_are_not_looked_up_do_not_move() -> None:
    codes = Examples(np.array([[1, 2], [2, 2], [5, 1], [1, 1]], np.int32), np.array([0, 1, 0, 1]))
    done = tiny.one_round(tiny.settings("tiny_models:embedding"), tiny.clients_of({"a": codes}))
    moved = np.abs(done.updates[0]).sum(1) > 0
    assert np.flatnonzero(moved).tolist() == [1, 2, 5]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_layer_may_branch_on_a_tensor(sign: int) -> None:
    own = tiny.rows(8, seed=0)
    x = sign * np.abs(np.asarray(own.x))
    seen = 2 * x if sign > 0 else -x
    one, two = (
        tiny.one_round(tiny.settings(f"tiny_models:{model}"), tiny.clients_of({"a": Examples(rows, own.y)}))
        for model, rows in (("branching", x), ("linear", seen))
    )
    assert_same(one.before.trainable, two.before.trainable)
    assert_close(one.after.trainable, two.after.trainable)


def test_a_stock_model_with_a_step_of_its_own_is_taken() -> None:
    spec, x = Spec((3,), "binary", 2), np.zeros((2, 3), np.float32)
    model = building.build_checked(lambda: tiny_models.wide_deep(spec), spec, x, seed=0)
    assert type(model).train_step is not tf.keras.Model.train_step


def test_a_stock_model_that_is_a_way_to_train_is_refused() -> None:
    spec, x = Spec((3,), "binary", 2), np.zeros((2, 3), np.float32)
    wrapped = tf.keras.models.experimental.SharpnessAwareMinimization(tiny_models.linear(spec))
    with pytest.raises(errors.ModelError, match="SharpnessAwareMinimization has a train_step of its own"):
        building.build_checked(lambda: wrapped, spec, x, seed=0)


def test_frozen_layers_stay_as_they_are() -> None:
    done = tiny.one_round(tiny.settings("tiny_models:frozen"), tiny.clients())
    assert done.before.moving == []  # kernel and bias of the frozen layer are nobody's to change
    assert done.done.bytes_up == done.done.bytes_down == 3 * 4 * 6  # of three clients: last kernel [5, 1] and bias
    assert_same(done.after.moving, done.before.moving)
    assert np.abs(done.updates[0]).max() > 0


def test_a_compiled_model_is_trained_as_any_other() -> None:
    held = tiny.clients()
    compiled, plain = (tiny.one_round(tiny.settings(f"tiny_models:{m}"), held) for m in ("compiled", "linear"))
    assert_same(compiled.after.trainable, plain.after.trainable)


# Probabilities or logits


class Backwards(tf.keras.Model):
    """Names its layers in another order than it calls them, and starts at zero."""

    def __init__(self, activation: str | None) -> None:
        super().__init__()
        self.last = layers.Dense(1, activation=activation, kernel_initializer="zeros")
        self.first = layers.Dense(4, activation="relu")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the last layer's output."""
        return self.last(self.first(inputs))


def functional(activation: str | None, units: int = 1, extra: bool = False) -> tf.keras.Model:
    image = layers.Input((3,))
    output = layers.Dense(units, activation=activation, kernel_initializer="zeros")(image)
    return tf.keras.Model(image, layers.Rescaling(1.0)(output) if extra else output)


def sequential(*parts: Any) -> tf.keras.Model:
    return tf.keras.Sequential([layers.Input((3,)), *parts])


@pytest.mark.parametrize(
    ("model", "task", "scale"),
    [
        (lambda: sequential(layers.Dense(1)), "binary", LOGITS),
        (lambda: sequential(layers.Dense(1, "sigmoid")), "binary", PROBABILITIES),
        (lambda: sequential(layers.Dense(1), layers.Activation("sigmoid")), "binary", PROBABILITIES),
        (lambda: sequential(layers.Dense(3)), "multiclass", LOGITS),
        (lambda: sequential(layers.Dense(3), layers.Softmax()), "multiclass", PROBABILITIES),
        (lambda: sequential(sequential(layers.Dense(1))), "binary", LOGITS),
        (lambda: sequential(sequential(layers.Dense(1, "sigmoid"))), "binary", PROBABILITIES),
        (lambda: functional(None), "binary", LOGITS),
        (lambda: functional("sigmoid"), "binary", PROBABILITIES),
        (lambda: functional(None, extra=True), "binary", LOGITS),
        (lambda: functional("sigmoid", extra=True), "binary", PROBABILITIES),
        (lambda: functional("softmax", 3), "multiclass", PROBABILITIES),
        (lambda: functional(None, 3, extra=True), "multiclass", LOGITS),
        (lambda: functional("exponential"), "count", PROBABILITIES),
        (lambda: functional(None), "count", LOGITS),
        (lambda: Backwards(None), "binary", LOGITS),
        (lambda: Backwards("sigmoid"), "binary", PROBABILITIES),
        (lambda: functional(None), "regression", PROBABILITIES),
    ],
)
def test_a_models_scale_is_found(model: Any, task: Any, scale: str) -> None:
    built, x = model(), tf.constant(np.asarray(tiny.rows(20, seed=0).x))
    spec = Spec((3,), task, {"binary": 2, "multiclass": 3}.get(task, 0))
    built(x)
    before = [v.numpy() for v in built.trainable_variables]
    assert building.output_scale(built, spec, x) == scale
    assert_same([v.numpy() for v in built.trainable_variables], before)


def test_logits_and_probabilities_train_alike() -> None:
    """Cross-entropy of a sigmoid is that of its logits; both models start at zero."""
    own, taken = tiny.rows(11, seed=0), []
    x = np.asarray(own.x)
    for activation in (None, "sigmoid"):
        model = sequential(layers.Dense(1, activation=activation, kernel_initializer="zeros"))
        scale = building.output_scale(model, Spec((3,), "binary", 2), tf.constant(x))
        taken.append(gradients(model, x, own.y, scale))
    assert_close(taken[0], taken[1])


# The task


@pytest.mark.parametrize(("task", "outputs"), [("multiclass", 2), ("count", 1)])
def test_the_settings_task_wins_over_the_datas(task: str, outputs: int, tmp_path: pathlib.Path) -> None:
    done = run(tmp_path, "tiny_models:linear", model={"task": task}, rounds=1)
    assert done["task"] == task
    with np.load(tmp_path / "out" / "weights.npz") as archive:
        assert archive[archive.files[0]].shape == (4, outputs)


def test_a_task_that_the_labels_do_not_allow_is_told_so_in_one_line(tmp_path: pathlib.Path) -> None:
    x, y = np.zeros((30, 2)), np.linspace(0.5, 1, 30)
    np.savez(tmp_path / "own.npz", x=x, y=y, site=np.repeat(["a", "b"], 15))
    tree: dict[str, Any] = {"data": {"args": {"path": str(tmp_path / "own.npz")}}, "model": {"task": "binary"}}
    with pytest.raises(errors.ConfigError, match=r"^model.task: the labels of arrays allow regression, got 'binary'$"):
        experiment.run(tiny.settings(**tree), tmp_path / "out")


def test_every_argument_but_the_spec_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(units: int = 8, rate: float = 0.5) -> Any:
        return units, rate

    def after_spec(spec: Spec, units: int, rate: float = 0.5) -> Any:
        return spec, units, rate

    spec = Spec((3,), "binary", 2)
    monkeypatch.setattr(tiny_models, "wanting", plain, raising=False)
    assert building.builder("tiny_models:wanting", {"units": 3}, spec)() == (3, 0.5)
    with pytest.raises(errors.ConfigError, match=r"model.args.units: expected a whole number, got 'x'"):
        building.builder("tiny_models:wanting", {"units": "x"}, spec)
    monkeypatch.setattr(tiny_models, "wanting", after_spec, raising=False)
    assert building.builder("tiny_models:wanting", {"units": 3, "rate": 1}, spec)() == (spec, 3, 1.0)
    with pytest.raises(errors.ConfigError, match="unknown argument 'spec'; allowed: rate, units"):
        building.builder("tiny_models:wanting", {"spec": 3}, spec)
    with pytest.raises(errors.ConfigError, match=r"model.args.units: required"):
        building.builder("tiny_models:wanting", {}, spec)
