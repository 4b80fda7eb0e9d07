"""Brings one's own Keras model and data to a federation, in one file.

    uv run python -m experiments.custom_model --hospitals=4 --rounds=15

Data set and model are plain functions; registering them makes them names that a config can use. Take this file as a
start for your own. (In a module of its own, a model needs no registration: `name = "my_package.models:build"`.)
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import app, flags

import fedmed

FLAGS = flags.FLAGS
flags.DEFINE_integer("hospitals", 4, "how many hospitals", lower_bound=1)
flags.DEFINE_integer("rounds", 15, "rounds of federated averaging", lower_bound=1)
flags.DEFINE_string("out", "runs/custom_model", "the run directory; it is replaced")


@fedmed.datasets.register("length_of_stay")
def length_of_stay(*, hospitals: int, patients: int = 300, seed: int = 0) -> fedmed.Dataset:
    """Makes up hospitals whose patients stay some days: a count, explained by age and by laboratory values."""
    rng = np.random.default_rng(seed)
    n = hospitals * patients
    hospital = np.repeat(np.arange(hospitals), patients)
    age = rng.normal(60 + 3 * hospital, 12)
    laboratory = rng.normal(size=(n, 5))
    days = rng.poisson(np.exp(0.5 + 0.015 * (age - 60) + 0.4 * laboratory[:, 0] - 0.3 * laboratory[:, 1] ** 2))
    return fedmed.Dataset(
        name="length_of_stay",
        examples=fedmed.Examples(
            x={"age": ((age[:, None] - 60) / 12).astype(np.float32), "laboratory": laboratory.astype(np.float32)},
            y=days.astype(np.float32),
            site=np.array([f"hospital_{h}" for h in hospital]),
        ),
        task="count",
        classes=0,
    )


@fedmed.models.register("stay_in_days")
def build(spec: fedmed.Spec, *, units: int = 16) -> tf.keras.Model:
    """A functional model with two inputs, named as the data set names them, BatchNorm and dropout; returns a rate."""
    assert spec.outputs == 1  # what the task needs; spec.inputs has the shapes
    age = tf.keras.Input([1], name="age")
    laboratory = tf.keras.Input([5], name="laboratory")
    hidden = tf.keras.layers.Dense(units, activation="relu")(laboratory)
    hidden = tf.keras.layers.BatchNormalization()(hidden)
    hidden = tf.keras.layers.Dropout(0.1)(hidden)
    joined = tf.keras.layers.Concatenate()([age, hidden])
    days = tf.keras.layers.Dense(1, activation="exponential")(joined)
    return tf.keras.Model({"age": age, "laboratory": laboratory}, days)


def main(argv: Sequence[str]) -> None:
    """Trains across the hospitals and prints each one's mean absolute error in days."""
    del argv
    settings = {
        "name": "custom_model",
        "rounds": FLAGS.rounds,
        "data": {"name": "length_of_stay", "args": {"hospitals": FLAGS.hospitals}},
        "model": {"name": "stay_in_days", "args": {"units": 16}},
        "client": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 32},
    }
    summary = fedmed.run(settings, FLAGS.out, overwrite=True)
    for hospital, scores in summary["final"]["clients"].items():
        print(f"{hospital}: off by {scores['mae']:.2f} days on {scores['test_rows']} test patients")
    print(f"Results: {FLAGS.out}")


if __name__ == "__main__":
    app.run(main)
