"""Convolutional and dense classifiers for small images; sizes follow McMahan et al. 2017, section 3."""

from fedmed.models.spec import KerasModel, Spec, models
from fedmed.system import errors


def _image(spec: Spec, name: str, least: int = 3) -> tuple[int, ...]:
    if not isinstance(spec.inputs, tuple) or not least <= len(spec.inputs) <= 3:
        raise errors.ModelError(f"model.name: {name} needs images [height, width, channels], got inputs {spec.inputs}")
    return spec.inputs


@models.register("mnist_cnn")
def mnist_cnn(spec: Spec) -> KerasModel:
    """A small CNN: conv 32 3x3, max-pool, dense 64, dense 10 (347,146 parameters on MNIST)."""
    import tensorflow as tf

    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input(_image(spec, "mnist_cnn")),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(spec.outputs, activation=spec.activation),
        ]
    )


@models.register("mcmahan_cnn")
def mcmahan_cnn(spec: Spec) -> KerasModel:
    """The CNN of McMahan et al. 2017: two 5x5 convolutions (32, 64), dense 512 (1,663,370 parameters on MNIST)."""
    import tensorflow as tf

    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input(_image(spec, "mcmahan_cnn")),
            layers.Conv2D(32, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(spec.outputs, activation=spec.activation),
        ]
    )


@models.register("mcmahan_2nn")
def mcmahan_2nn(spec: Spec) -> KerasModel:
    """The 2NN of McMahan et al. 2017: two hidden layers of 200 (199,210 parameters on MNIST)."""
    import tensorflow as tf

    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input(_image(spec, "mcmahan_2nn", least=2)),
            layers.Flatten(),
            layers.Dense(200, activation="relu"),
            layers.Dense(200, activation="relu"),
            layers.Dense(spec.outputs, activation=spec.activation),
        ]
    )
