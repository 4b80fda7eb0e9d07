"""The registry of models, and what a builder is told about its data; TensorFlow waits until a model is built."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from fedmed.data.examples import Task
from fedmed.settings.registry import Registry

KerasModel: TypeAlias = Any  # tf.keras.Model; named here so that listing models costs no TensorFlow import

Scale: TypeAlias = Literal["mean", "link"]
"""What a model returns: means (probabilities, rates), or values on the link's scale (logits, log rates)."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """The shape of the problem a model is built for.

    Attributes:
        inputs: shape of one row of x, or a mapping of input name to shape.
        task: what is predicted.
        classes: number of classes; 0 for regression and counts.
    """

    inputs: tuple[int, ...] | Mapping[str, tuple[int, ...]]
    task: Task
    classes: int = 0

    @property
    def outputs(self) -> int:
        """How many numbers the model must return per row: one a class for multiclass, else one."""
        return self.classes if self.task == "multiclass" else 1

    @property
    def activation(self) -> str:
        """The last layer's activation in fedmed's own models: probabilities, or the mean itself."""
        return {"multiclass": "softmax", "binary": "sigmoid", "count": "exponential", "regression": "linear"}[self.task]


models: Registry[Callable[..., KerasModel]] = Registry("model")


def takes_spec(factory: Callable[..., Any]) -> bool:
    """Tells whether the first positional parameter is for the Spec: it must be given, or its name or type says so."""
    parameters = inspect.signature(factory).parameters.values()
    first = next((p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)), None)
    if first is None:
        return False
    named = first.name == "spec" or "Spec" in re.findall(r"\w+", str(first.annotation))
    return named or first.default is first.empty
