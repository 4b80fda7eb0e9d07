"""A user's own models, as the tests bring them in by dotted path ("tiny_models:linear")."""

from typing import Any

import tensorflow as tf

from fedmed.models import Spec

layers = tf.keras.layers


def linear(spec: Spec) -> tf.keras.Model:
    """One dense layer with the task's own activation."""
    return tf.keras.Sequential([layers.Input(_shape(spec)), layers.Dense(spec.outputs, activation=spec.activation)])


def hidden(spec: Spec) -> tf.keras.Model:
    """One hidden layer of eight tanh units."""
    return tf.keras.Sequential(
        [
            layers.Input(_shape(spec)),
            layers.Dense(8, activation="tanh"),
            layers.Dense(spec.outputs, activation=spec.activation),
        ]
    )


def many_weights(spec: Spec) -> tf.keras.Model:
    """Seven million weights, most of them of one layer."""
    wide = [layers.Dense(1_000, activation="tanh"), layers.Dense(7_000, activation="tanh")]
    return tf.keras.Sequential([layers.Input(_shape(spec)), *wide, layers.Dense(spec.outputs)])


def flat_start(spec: Spec) -> tf.keras.Model:
    """One dense layer that starts at zero and returns logits."""
    return tf.keras.Sequential([layers.Input(_shape(spec)), layers.Dense(spec.outputs, kernel_initializer="zeros")])


def batch_norm(spec: Spec) -> tf.keras.Model:
    """A hidden layer with batch normalisation."""
    return tf.keras.Sequential(
        [
            layers.Input(_shape(spec)),
            layers.BatchNormalization(momentum=0.9),
            layers.Dense(6, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(spec.outputs, activation=spec.activation),
        ]
    )


class NormalisedActivation(layers.Layer):
    """A layer whose weights are all of the batch normalisation inside it."""

    def __init__(self) -> None:
        super().__init__(name="normalised")
        self.inner = layers.BatchNormalization(name="inner")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns what is above 0 of the normalised inputs."""
        return tf.nn.relu(self.inner(inputs, training=training))


def nested_norms(spec: Spec) -> tf.keras.Model:
    """Batch normalisation inside of a wrapper, of a layer and of a model; two layers are called "inner"."""
    x = inputs = layers.Input(_shape(spec))
    x = layers.Reshape((1, -1))(x)
    x = layers.TimeDistributed(layers.BatchNormalization(name="wrapped"), name="times")(x)
    x = layers.Dense(4, name="wide")(layers.Flatten()(x))
    x = NormalisedActivation()(x)
    x = tf.keras.Sequential([layers.BatchNormalization(name="inner")], name="block")(x)
    return tf.keras.Model(inputs, layers.Dense(spec.outputs, activation=spec.activation, name="head")(x))


def dropout(spec: Spec, *, rate: float = 0.5) -> tf.keras.Model:
    """A hidden layer of which a part is dropped, and noise on the inputs."""
    return tf.keras.Sequential(
        [
            layers.Input(_shape(spec)),
            layers.GaussianNoise(0.1),
            layers.Dense(8, activation="relu"),
            layers.Dropout(rate),
            layers.Dense(spec.outputs, activation=spec.activation),
        ]
    )


def two_inputs(spec: Spec) -> tf.keras.Model:
    """An image and a table, joined before the last layer."""
    assert not isinstance(spec.inputs, tuple)
    image = layers.Input(spec.inputs["image"], name="image")
    table = layers.Input(spec.inputs["table"], name="table")
    seen = layers.Flatten()(layers.Conv2D(2, 3, activation="relu")(image))
    joined = layers.Concatenate()([seen, layers.Dense(4, activation="relu")(table)])
    output = layers.Dense(spec.outputs, activation=spec.activation)(joined)
    return tf.keras.Model({"image": image, "table": table}, output)


class Subclassed(tf.keras.Model):
    """A model whose layers exist only after the first call has built them."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first = layers.Dense(5, activation="relu")
        self.normal = layers.BatchNormalization()
        self.drop = layers.Dropout(0.2)
        self.last = layers.Dense(outputs)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits."""
        inside = self.drop(self.normal(self.first(inputs), training=training), training=training)
        return self.last(inside)


def subclassed(spec: Spec) -> tf.keras.Model:
    """A subclassed model that returns logits."""
    return Subclassed(spec.outputs)


def penalised(spec: Spec, *, strength: float = 0.1) -> tf.keras.Model:
    """One dense layer with an L2 penalty."""
    penalty = tf.keras.regularizers.L2(strength)
    last = layers.Dense(spec.outputs, activation=spec.activation, kernel_regularizer=penalty)
    return tf.keras.Sequential([layers.Input(_shape(spec)), last])


def embedding(spec: Spec) -> tf.keras.Model:
    """Codes 0 to 6 looked up and averaged."""
    return tf.keras.Sequential(
        [
            layers.Input(_shape(spec), dtype="int32"),
            layers.Embedding(7, 3),
            layers.GlobalAveragePooling1D(),
            layers.Dense(spec.outputs, activation=spec.activation),
        ]
    )


def frozen(spec: Spec) -> tf.keras.Model:
    """A first layer that does not train, as with a pretrained body."""
    body = layers.Dense(5, activation="relu", trainable=False)
    last = layers.Dense(spec.outputs, activation=spec.activation)
    return tf.keras.Sequential([layers.Input(_shape(spec)), body, last])


def compiled(spec: Spec) -> tf.keras.Model:
    """A model that its author has compiled; fedmed takes its layers and leaves its optimizer alone."""
    model = linear(spec)
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def recurrent(spec: Spec) -> tf.keras.Model:
    """A recurrent layer with dropout of its own over a signal [steps, channels]."""
    cell = layers.LSTM(4, dropout=0.2)
    return tf.keras.Sequential([layers.Input(_shape(spec)), cell, layers.Dense(spec.outputs, spec.activation)])


def pooled_image(spec: Spec) -> tf.keras.Model:
    """A functional convolutional model with max-pooling."""
    image = layers.Input(_shape(spec))
    inside = layers.MaxPooling2D()(layers.Conv2D(3, 3, activation="relu")(image))
    return tf.keras.Model(image, layers.Dense(spec.outputs, activation=spec.activation)(layers.Flatten()(inside)))


def too_wide(spec: Spec) -> tf.keras.Model:
    """Seven outputs, whatever the task needs."""
    return tf.keras.Sequential([layers.Input(_shape(spec)), layers.Dense(7)])


def other_inputs(spec: Spec) -> tf.keras.Model:
    """A model for rows of 99 numbers."""
    return tf.keras.Sequential([layers.Input((99,)), layers.Dense(spec.outputs)])


def raising(spec: Spec) -> tf.keras.Model:
    """Fails over two lines."""
    raise ValueError("a layer of -1 units\nis impossible")


def refusing(spec: Spec) -> tf.keras.Model:
    """Looks the first column up in training, in a table that is too small for it."""
    start = layers.Input(_shape(spec))
    return tf.keras.Model(start, layers.Dense(spec.outputs, spec.activation)(_LookUp()(start)))


class _LookUp(layers.Layer):
    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        code = tf.cast(tf.abs(x[:, :1]) + 424242, tf.int32)
        return x + tf.gather(tf.zeros([7]), code) if training else x


def falling(spec: Spec, *, when: str) -> tf.keras.Model:
    """Raises a plain error of Python over two lines, in training or for a batch of 10 rows."""
    start = layers.Input(_shape(spec))
    return tf.keras.Model(start, layers.Dense(spec.outputs, spec.activation)(_Falls(when)(start)))


class _Falls(layers.Layer):
    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if training and self.when == "training":
            raise KeyError("no such head\nin this model")
        if x.shape[0] == 10 and self.when == "evaluation":
            raise RuntimeError("ten rows\nare too few")
        return x


def branching(spec: Spec) -> tf.keras.Model:
    """Looks at the batch's own sum in training, and doubles its inputs or turns their sign."""
    start = layers.Input(_shape(spec))
    return tf.keras.Model(start, layers.Dense(spec.outputs, spec.activation)(_Branches()(start)))


class _Branches(layers.Layer):
    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training:
            return x
        if tf.reduce_sum(x) > 0:
            return 2.0 * x
        return -x


def two_outputs(spec: Spec, *, named: bool = False) -> tf.keras.Model:
    """A model with a second head, in a list or by name."""
    start = layers.Input(_shape(spec))
    heads = {"risk": layers.Dense(spec.outputs)(start), "days": layers.Dense(1)(start)}
    return tf.keras.Model(start, heads if named else list(heads.values()))


class OwnStep(Subclassed):
    """A model with training of its own."""

    def train_step(self, data: Any) -> dict[str, Any]:
        """Does not train."""
        return {}


class OwnLoss(Subclassed):
    """A model with a loss of its own."""

    def compute_loss(self, *arguments: Any, **named: Any) -> tf.Tensor:
        """Returns no loss."""
        return tf.zeros([])


def own_step(spec: Spec) -> tf.keras.Model:
    """A model that would train itself."""
    return OwnStep(spec.outputs)


def own_loss(spec: Spec) -> tf.keras.Model:
    """A model that would weigh its errors itself."""
    return OwnLoss(spec.outputs)


def wide_deep(spec: Spec) -> tf.keras.Model:
    """A stock model whose train_step is Keras's own."""
    linear_part = tf.keras.experimental.LinearModel(spec.outputs)
    return tf.keras.experimental.WideDeepModel(linear_part, tf.keras.Sequential([layers.Dense(spec.outputs)]))


def no_model(spec: Spec) -> Any:
    """Returns a layer's name."""
    return "dense"


def _shape(spec: Spec) -> tuple[int, ...]:
    assert isinstance(spec.inputs, tuple)
    return spec.inputs


def slope(spec: Spec) -> tf.keras.Model:
    """One weight and no bias, from zero: predicts w x."""
    last = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    return tf.keras.Sequential([layers.Input(_shape(spec)), last])


def ending_in(spec: Spec, *, activation: str) -> tf.keras.Model:
    """One dense layer with an activation that is asked for."""
    return tf.keras.Sequential([layers.Input(_shape(spec)), layers.Dense(spec.outputs, activation=activation)])


def own_layer(spec: Spec) -> tf.keras.Model:
    """A layer of a class of one's own, which Keras alone cannot build."""
    return tf.keras.Sequential([layers.Input(_shape(spec)), Doubled(), layers.Dense(1, activation="sigmoid")])


def own_activation(spec: Spec) -> tf.keras.Model:
    """A Keras layer with a function of one's own."""
    return tf.keras.Sequential([layers.Input(_shape(spec)), layers.Dense(1, activation=_steep)])


def own_class(spec: Spec) -> tf.keras.Model:
    """A model of a class of one's own."""
    return Whole()


class Doubled(layers.Layer):
    """Twice its input."""

    def call(self, inputs: Any) -> Any:
        return 2.0 * inputs


class Whole(tf.keras.Model):
    """One dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1, activation="sigmoid")

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


def _steep(x: Any) -> Any:
    return tf.sigmoid(3.0 * x)
