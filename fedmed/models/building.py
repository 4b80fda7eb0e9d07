"""From the `[model]` settings to a Keras model that is known to fit its data."""

import contextlib
import importlib
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from fedmed import errors, plugins, registry
from fedmed.learning.objective import Scale
from fedmed.models.catalog import KerasModel, Spec, is_dotted, models

Builder = Callable[[], KerasModel]


def builder(name: str, args: Mapping[str, Any], spec: Spec) -> Builder:
    """Returns a function that builds a fresh, untrained model each time it is called.

    Raises:
        ConfigError: the name is neither registered nor an importable "module:function", or an argument is wrong.
    """
    factory = _imported(name) if is_dotted(name) else models.get(name, "model.name")
    checked = registry.checked_args(factory, args, "model.args")
    positional = [p for p in inspect.signature(factory).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    wants_spec = bool(positional) and positional[0].name not in checked
    return (lambda: factory(spec, **checked)) if wants_spec else (lambda: factory(**checked))


def _imported(path: str) -> Callable[..., KerasModel]:
    module_name, _, function = path.partition(":") if ":" in path else path.rpartition(".")[::1]
    with plugins.importable_from_here():
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise errors.ConfigError(f"model.name: cannot import {module_name!r}: {error}") from None
    if not callable(getattr(module, function, None)):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise errors.ConfigError(errors.unknown("model.name", f"function of {module_name}", function, public))
    return getattr(module, function)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds what Keras initialisers draw from (Python, NumPy, TensorFlow) inside the block only."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    tf.keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def build_checked(build: Builder, spec: Spec, seed: int) -> KerasModel:
    """Builds the model with seeded initial weights and checks that it takes the data and returns what the task needs.

    Raises:
        ModelError: one line that says what the model did and what is expected.
    """
    with seeded(seed):
        try:
            model = build()
        except errors.UserError:
            raise
        except Exception as error:
            raise errors.ModelError(f"model.name: building failed: {_first_line(error)}") from error
        if not isinstance(model, tf.keras.Model):
            raise errors.ModelError(f"model.name: expected a tf.keras.Model, got {type(model).__name__}")
        shape = _output_shape(model, spec)
    if len(shape) != 2 or shape[1] != spec.outputs:
        hint = '; set model.task = "multiclass" for one output a class' if spec.task == "binary" else ""
        raise errors.ModelError(
            f"model: task {spec.task!r} needs outputs [rows, {spec.outputs}], the model returns "
            f"[rows, {', '.join(map(str, shape[1:]))}]{hint}"
        )
    return model


def sample_inputs(spec: Spec, rows: int, seed: int = 0) -> Any:
    """Returns random float32 rows of the spec's shape, for probing a model: an array, or a mapping of them."""
    rng = np.random.default_rng(seed)
    if isinstance(spec.inputs, tuple):
        return rng.normal(size=(rows, *spec.inputs)).astype(np.float32)
    return {name: rng.normal(size=(rows, *shape)).astype(np.float32) for name, shape in spec.inputs.items()}


def _output_shape(model: KerasModel, spec: Spec) -> tuple[int, ...]:
    try:
        output = model(sample_inputs(spec, 2), training=False)
        return tuple(output.shape)
    except Exception as error:
        raise errors.ModelError(
            f"model: it does not take the data's inputs {spec.inputs}: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def output_scale(model: KerasModel, spec: Spec) -> Scale:
    """Tells whether the model returns means (probabilities, rates) or values on the link's scale (logits, log rates).

    The last layer's activation decides where there is one; else the model is probed with random rows, since
    probabilities stay within [0, 1] (and sum to 1 over classes) and untrained logits do not.
    """
    if spec.task == "regression":
        return "mean"
    layers = getattr(model, "layers", [])
    activation = getattr(layers[-1], "activation", None) if layers else None
    name = getattr(activation, "__name__", "")
    if name in ("sigmoid", "softmax", "exponential", "softplus", "relu"):
        return "mean"
    layer_kind = type(layers[-1]).__name__ if layers else ""
    if layer_kind == "Softmax":
        return "mean"
    if name == "linear" and isinstance(model, tf.keras.Sequential):
        return "link"
    output = np.asarray(model(sample_inputs(spec, 64), training=False))
    if spec.task == "multiclass":
        return "mean" if (output >= 0).all() and np.allclose(output.sum(1), 1, atol=1e-4) else "link"
    upper = 1 if spec.task == "binary" else np.inf
    return "mean" if (output >= 0).all() and (output <= upper).all() else "link"
