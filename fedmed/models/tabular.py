"""Models for tables: a regression that is linear on the scale of its link, and a small dense network."""

from collections.abc import Sequence

from fedmed.models.spec import KerasModel, Spec, models
from fedmed.system import errors


def _columns(spec: Spec, name: str) -> tuple[int, ...]:
    if not isinstance(spec.inputs, tuple) or len(spec.inputs) != 1:
        raise errors.ModelError(f"model.name: {name} needs a table [columns], got inputs {spec.inputs}")
    return spec.inputs


@models.register("logistic_regression")
def logistic_regression(spec: Spec, *, l2: float = 0.0) -> KerasModel:
    """Logistic (binary), softmax (multiclass), linear or Poisson regression, by task; `l2` penalises its weights."""
    import tensorflow as tf

    return tf.keras.Sequential(
        [
            tf.keras.layers.Input(_columns(spec, "logistic_regression")),
            tf.keras.layers.Dense(
                spec.outputs,
                activation=spec.activation,
                kernel_initializer="zeros",  # convex, so the start is free; zero needs no seed
                kernel_regularizer=tf.keras.regularizers.L2(l2) if l2 else None,
            ),
        ]
    )


@models.register("mlp")
def mlp(spec: Spec, *, hidden: Sequence[int] = (32, 16), dropout: float = 0.0, l2: float = 0.0) -> KerasModel:
    """A dense network with ReLU units; `hidden` gives the size of each layer, `dropout` follows each of them."""
    import tensorflow as tf

    if any(size < 1 for size in hidden) or not 0 <= dropout < 1 or l2 < 0:
        raise errors.ConfigError("model.args: hidden sizes must be >= 1, dropout in [0, 1) and l2 >= 0")
    layers = [tf.keras.layers.Input(_columns(spec, "mlp"))]
    regularizer = tf.keras.regularizers.L2(l2) if l2 else None
    for size in hidden:
        layers.append(tf.keras.layers.Dense(size, activation="relu", kernel_regularizer=regularizer))
        if dropout:
            layers.append(tf.keras.layers.Dropout(dropout))
    layers.append(tf.keras.layers.Dense(spec.outputs, activation=spec.activation))
    return tf.keras.Sequential(layers)
