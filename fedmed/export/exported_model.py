"""The model of an export: its architecture for Keras alone, and the weights that `fedmed run` would begin with."""

from typing import Any, NamedTuple

import numpy as np

from fedmed.data.clients import Clients
from fedmed.engine import programs
from fedmed.export import exportable
from fedmed.export.fedmed_job.job import Weights
from fedmed.learning.learner import fixed_variables, moving_variables
from fedmed.models import building
from fedmed.models.spec import KerasModel, Spec
from fedmed.settings.config import RunConfig
from fedmed.system import errors


class Built(NamedTuple):
    """A model.

    Attributes:
        architecture: JSON that Keras builds it from.
        weights: of its variables in order.
        scale: whether it returns a "mean" or its "link".
        any_value: whether it is for an amount and can return any number.
    """

    architecture: str
    weights: Weights
    scale: str
    any_value: bool


class Opened(NamedTuple):
    """A Keras model with what it was built for: the shape of the problem, and a few rows."""

    model: KerasModel
    spec: Spec
    sample: Any

    @property
    def any_value(self) -> bool:
        """Whether it is for an amount and can return any number, as a standardised label asks."""
        return self.spec.task == "regression" and building.returns_any_value(self.model, self.sample)


def opened(settings: RunConfig, clients: Clients) -> Opened:
    """Builds the settings' model with its first weights; ModelError where it cannot be built."""
    first = next(iter(clients.train.values()))
    spec = programs.spec_of(first, clients.dataset.task, clients.dataset.classes)
    sample = programs.sample_of(first)
    build = building.builder(settings.model.name, settings.model.args, spec)
    return Opened(building.build_checked(build, spec, sample, programs.init_seed(settings.seed)), spec, sample)


def built(settings: RunConfig, clients: Clients) -> Built:
    """Builds the settings' model and makes sure that Keras alone builds the same.

    Raises:
        ModelError: it cannot be built or exported.
    """
    own = opened(settings, clients)
    text = exportable.architecture(own.model)
    weights = Weights(
        [v.numpy() for v in own.model.trainable_variables],
        [v.numpy() for v in moving_variables(own.model)],
        [v.numpy() for v in fixed_variables(own.model)],
    )
    _check_same(own.model, text, weights, np.asarray(own.sample))
    return Built(text, weights, building.output_scale(own.model, own.spec, own.sample), own.any_value)


def _check_same(model: KerasModel, text: str, weights: Weights, sample: np.ndarray) -> None:
    """Raises a ModelError where the model that Keras builds of the text predicts something else."""
    import tensorflow as tf

    from fedmed.export.fedmed_job import core

    try:
        again = tf.keras.models.model_from_json(text)
        for kind, values in zip(core.variables_of(again), weights, strict=True):
            for variable, value in zip(kind, values, strict=True):
                variable.assign(value)
        same = np.allclose(again(sample, training=False), model(sample, training=False), rtol=1e-5, atol=1e-6)
    except Exception as error:  # whatever Keras cannot build again
        raise errors.ModelError(f"model: Keras does not build it again: {type(error).__name__}") from None
    if not same:
        raise errors.ModelError("model: built again from its architecture it predicts something else")
