"""A trained Keras model as a file, for whoever is to predict with it: what it returns is in the label's units."""

import pathlib

import tensorflow as tf

from fedmed.data.label_scale import LabelScale
from fedmed.models.spec import KerasModel


def save(model: KerasModel, label: LabelScale, path: pathlib.Path) -> str | None:
    """Writes the model, whole or not at all; returns the file's name, or None when Keras cannot save it."""
    temporary = path.with_name(f".{path.name}.keras")
    try:
        in_units(model, label).save(temporary)
    except Exception:  # Keras cannot save every subclassed model; the weights are in weights.npz all the same
        temporary.unlink(missing_ok=True)
        return None
    temporary.replace(path)
    return path.name


def in_units(model: KerasModel, label: LabelScale) -> KerasModel:
    """Returns the model, with a last layer that takes a standardised label back into units where it has learned one."""
    if label.is_plain:
        return model
    units = tf.keras.layers.Rescaling(label.scale, offset=label.mean, dtype="float32", name="label_units")
    if getattr(model, "inputs", None) is None or not hasattr(model, "output"):
        return tf.keras.Sequential([model, units])  # of the user's own class, whose layers Keras does not know
    named = getattr(model, "input_names", None)
    inputs = dict(zip(named, model.inputs, strict=True)) if named and len(model.inputs) > 1 else model.inputs
    return tf.keras.Model(inputs, units(model.output))
