"""From the `[model]` settings to a Keras model that is known to fit its data."""

import contextlib
import importlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from fedmed.models import refusals
from fedmed.models.spec import KerasModel, Scale, Spec, models, takes_spec
from fedmed.settings import plugins, registry
from fedmed.system import errors

Builder = Callable[[], KerasModel]


def builder(name: str, args: Mapping[str, Any], spec: Spec) -> Builder:
    """Returns a function that builds a fresh, untrained model each time it is called.

    Raises:
        ConfigError: the name is neither registered nor an importable "module:function", or an argument is wrong.
    """
    factory = imported(name) if plugins.is_dotted(name) else models.get(name, "model.name")
    given = takes_spec(factory)
    checked = registry.checked_args(factory, args, "model.args", given=given)
    return (lambda: factory(spec, **checked)) if given else (lambda: factory(**checked))


def imported(path: str) -> Callable[..., KerasModel]:
    """Returns the function at a dotted path, imported; ConfigError when there is none."""
    module_name, function = plugins.parted(path)
    with plugins.importable_from_here():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever a stranger's module raises, it is theirs to mend
            raise errors.ConfigError(
                f"model.name: cannot import {module_name!r}: {refusals.first_line(error)}"
            ) from error
    if not callable(getattr(module, function, None)):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise errors.ConfigError(errors.unknown("model.name", f"function of {module_name}", function, public))
    return getattr(module, function)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds what Keras initialisers draw from: Python and NumPy inside the block only, TensorFlow for good.

    TensorFlow offers no way to read its global seed, so it cannot be put back; nothing else of fedmed draws from it.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    tf.keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def build_checked(build: Builder, spec: Spec, sample: Any, seed: int) -> KerasModel:
    """Builds the model with seeded initial weights and checks that it takes the data and returns what the task needs.

    `sample` is some rows of the data as the model will get them: real ones, since a model that looks codes up in an
    embedding takes no others.

    Raises:
        ModelError: one line that says what the model did and what is expected.
    """
    tf.keras.backend.clear_session()  # layer names do not count on from models built before in this process
    with seeded(seed):
        try:
            model = build()
        except errors.UserError:
            raise
        except Exception as error:
            raise errors.ModelError(f"model.name: building failed: {refusals.first_line(error)}") from error
        if not isinstance(model, tf.keras.Model):
            raise errors.ModelError(f"model.name: expected a tf.keras.Model, got {type(model).__name__}")
        _check_trained_by_fedmed(model)
        shape = _output_shape(model, spec, sample)
    if len(shape) != 2 or shape[1] != spec.outputs:
        hint = '; set model.task = "multiclass" for one output a class' if spec.task == "binary" else ""
        hint = "; give the output a last axis of 1" if len(shape) == 1 and spec.outputs == 1 else hint
        raise errors.ModelError(
            f"model: task {spec.task!r} needs outputs [rows, {spec.outputs}], the model returns "
            f"[rows, {', '.join(map(str, shape[1:]))}]{hint}"
        )
    _check_weights(model)
    _check_ending(model, spec)
    return model


_ENDS_OTHERWISE: Mapping[str, tuple[str, ...]] = {
    "binary": ("tanh", "relu", "softplus", "softsign", "softmax", "exponential"),
    "multiclass": ("tanh", "relu", "softplus", "softsign", "sigmoid", "hard_sigmoid", "exponential"),
    "count": ("tanh", "softsign", "softmax", "sigmoid", "hard_sigmoid"),
    "regression": ("softmax",),
}
"""Of each task the activations after which an output is neither its mean nor any number: no loss fits them."""


def _check_ending(model: KerasModel, spec: Spec) -> None:
    name = _output_activation(model)
    if name in _ENDS_OTHERWISE[spec.task]:
        needed = " or ".join(map(repr, [*_MEANS.get(spec.task, ())[:1], "linear"]))
        raise errors.ModelError(f"model: its last activation is {name!r}; task {spec.task!r} needs {needed}")


def _check_weights(model: KerasModel) -> None:
    """Refuses a model without weights to train, and weights in other floats than all payloads and sums are in."""
    if not model.trainable_variables:
        raise errors.ModelError("model: it has no weight to train: no layer has any, or every layer is frozen")
    for variable in model.trainable_variables:
        if variable.dtype != tf.float32:
            raise errors.ModelError(
                f"model: {variable.name} is {variable.dtype.name}, and weights are trained and sent as float32; leave "
                'dtype out, or use the policy "mixed_float16", whose weights are float32'
            )


def _check_trained_by_fedmed(model: KerasModel) -> None:
    """Refuses a class with training of its own: it would be left out in silence, and the result would be another's.

    Keras's WideDeepModel may: what it has of its own are two optimizers. SharpnessAwareMinimization is nothing but a
    train_step.
    """
    for name in ("train_step", "compute_loss"):
        own = getattr(type(model), name)
        if not own.__module__.startswith(("keras.src.engine.", "keras.src.premade_models.")):
            raise errors.ModelError(
                f"model: {type(model).__name__} has a {name} of its own, which fedmed does not call: it trains by its "
                "own loop, on the task's loss and what the layers add by add_loss; return a tf.keras.Model of the same "
                f"layers without {name}"
            )


def _output_shape(model: KerasModel, spec: Spec, sample: Any) -> tuple[int, ...]:
    try:
        output = model(sample, training=False)
    except Exception as error:
        # Not `from error`: a traceback would quote what TensorFlow refused.
        raise errors.ModelError(
            f"model: it does not take the data's inputs {spec.inputs}: {refusals.cause(error)}"
        ) from None
    if not tf.is_tensor(output):
        got = f"{len(output)} outputs" if isinstance(output, list | tuple | Mapping) else type(output).__name__
        raise errors.ModelError(
            f"model: it returns {got}, and one tensor is needed, [rows, {spec.outputs}]; let it return the prediction "
            "of the label alone"
        )
    return tuple(output.shape)


_MEANS = {"binary": ("sigmoid",), "multiclass": ("softmax",), "count": ("exponential", "softplus", "relu")}


def output_scale(model: KerasModel, spec: Spec, sample: Any) -> Scale:
    """Tells whether the model returns means (probabilities, rates) or values on the link's scale (logits, log rates).

    The output layer's activation decides where Keras knows that layer. Else the model is probed on `sample` with
    shaken weights: probabilities stay within [0, 1] (and sum to 1 over classes) whatever the weights, logits do not.
    """
    if spec.task == "regression":
        return "mean"
    name = _output_activation(model)
    if name == "linear":
        return "link"
    if name in _MEANS[spec.task]:
        return "mean"
    return "mean" if all(_are_means(_shaken_output(model, sample, seed), spec) for seed in range(3)) else "link"


def returns_any_value(model: KerasModel, sample: Any) -> bool:
    """Tells whether the model can return numbers of both signs; one that ends in a softplus, say, cannot."""
    name = _output_activation(model)
    if name:
        return name == "linear"
    return any(bool((_shaken_output(model, sample, seed) < 0).any()) for seed in range(3))


def _output_activation(model: KerasModel) -> str:
    """Returns the name of the output layer's activation, or "" where there is none to be known."""
    names = getattr(model, "output_names", None)  # of the output layers; a subclassed model has none
    layer = next((layer for layer in model.layers if names and layer.name == names[0]), None)
    if isinstance(model, tf.keras.Sequential):
        layer = model.layers[-1]
    return getattr(getattr(layer, "activation", None), "__name__", "")


def _shaken_output(model: KerasModel, sample: Any, seed: int) -> np.ndarray:
    """Returns the outputs under random weights, and leaves the model as it was."""
    rng, before = np.random.default_rng(seed), [v.numpy() for v in model.trainable_variables]
    try:
        for variable, value in zip(model.trainable_variables, before, strict=True):
            variable.assign(value + rng.normal(size=value.shape))
        return np.asarray(model(sample, training=False))
    finally:
        for variable, value in zip(model.trainable_variables, before, strict=True):
            variable.assign(value)


def _are_means(output: np.ndarray, spec: Spec) -> bool:
    if spec.task == "multiclass":
        return bool((output >= 0).all() and np.allclose(output.sum(1), 1, atol=1e-4))
    return bool((output >= 0).all() and (output <= (1 if spec.task == "binary" else np.inf)).all())
