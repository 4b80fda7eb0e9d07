"""Runs a Keras model with other tensors in place of its variables, so that a graph can follow changing weights."""

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf


def is_substitutable(model: tf.keras.Model) -> bool:
    """Tells whether all trainable variables are attributes of layers, as those of Keras's own layers are."""
    held = {id(value) for module in _modules(model) for value in vars(module).values()}
    return all(id(variable) in held for variable in model.trainable_variables)


@contextlib.contextmanager
def substituted(model: tf.keras.Model, tensors: Sequence[tf.Tensor]) -> Iterator[None]:
    """Has the model's layers see tensors, in the order of its trainable variables, while the block runs.

    Gradients then flow to the tensors, and through them to whatever they were computed from; an assignment to a
    variable would cut that path. The attributes are exchanged behind Keras's back, which would track them otherwise.
    """
    by_variable = {id(v): t for v, t in zip(model.trainable_variables, tensors, strict=True)}
    places = [
        (module, name, value)
        for module in _modules(model)
        for name, value in vars(module).items()
        if id(value) in by_variable
    ]
    try:
        for module, name, value in places:
            vars(module)[name] = by_variable[id(value)]
        yield
    finally:
        for module, name, value in places:
            vars(module)[name] = value


def _modules(model: tf.keras.Model) -> list[tf.Module]:
    return [model, *model.submodules]
