"""Which settings and models a real federation can be given: what cannot is refused by name, in one line."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fedmed.data.examples import Dataset
from fedmed.models.spec import KerasModel
from fedmed.settings.config import RunConfig
from fedmed.system import errors

ALGORITHMS = ("fedavg", "fedprox")
_IN_FAVOUR = "leave it out to export"


def check_settings(settings: RunConfig) -> None:
    """Raises a ConfigError for a setting that an exported job could not keep."""
    aggregation, privacy = settings.aggregation, settings.privacy
    refused = {
        "algorithm.name": _other(settings.algorithm.name, ALGORITHMS),
        "aggregation.rule": _other(aggregation.rule, ("mean",)),
        "aggregation.clip_norm": _given(aggregation.clip_norm is not None, "updates are not clipped"),
        "aggregation.secure": _given(aggregation.secure, "the server would see updates in the clear"),
        "compression.up": _other(settings.compression.up, ("none",)),
        "compression.down": _other(settings.compression.down, ("none",)),
        "privacy.unit": _other(privacy.unit, ("none",), "; the job would not keep the promise"),
        "scenario": _given(bool(settings.scenario), "what goes wrong is simulated only"),
        "clock.deadline": _given(settings.clock.deadline is not None, "the job waits for every hospital"),
        "cohort": _given(_is_partial(settings), "every hospital takes part in every round"),
        "stop.target": _given(settings.stop.target is not None, "the job runs all its rounds"),
        "stop.patience": _given(settings.stop.patience is not None, "the job runs all its rounds"),
        "partition.name": _other(settings.partition.name, ("by_site",), "; a hospital has the rows that it has"),
    }
    for where, why in refused.items():
        if why:
            raise errors.ConfigError(f"{where}: {why}")


def check_data(dataset: Dataset) -> None:
    """Raises a ConfigError for data that no hospital could hold as a table."""
    if not dataset.is_table or dataset.test is not None or dataset.examples.site is None:
        raise errors.ConfigError(
            f"data.name: {dataset.name!r} cannot be exported; what can: tables with a site, such as 'table', "
            "'diabetes_ehr', 'heart_disease'"
        )


def architecture(model: KerasModel) -> str:
    """Returns the model as the JSON that Keras alone can build it from.

    Raises:
        ModelError: the model or a part of it is of a class or function of the user's own.
    """
    import tensorflow as tf
    from keras.src.engine.functional import Functional

    what = "what can: Sequential and functional models of Keras's own layers"
    if not isinstance(model, tf.keras.Sequential | Functional) or not _is_keras(type(model)):
        raise errors.ModelError(f"model: {type(model).__name__} is a class of its own and cannot be exported; {what}")
    for layer in (part for part in model.submodules if isinstance(part, tf.keras.layers.Layer)):
        kind = type(layer)
        if not _is_keras(kind) or kind.__name__ == "Lambda":
            raise errors.ModelError(
                f"model: layer {layer.name!r} is a {kind.__name__}, code of its own, and cannot be exported; {what}"
            )
    text = model.to_json()
    if own := next(_own_code(json.loads(text)), None):
        raise errors.ModelError(f"model: {own!r} is code of its own and cannot be exported; {what}")
    return text


def _is_keras(kind: type) -> bool:
    return kind.__module__.startswith("keras.")


def _own_code(tree: Any) -> Iterator[str]:
    """Yields the names of what Keras could not find by itself."""
    if isinstance(tree, Mapping):
        if "class_name" in tree and "module" in tree and not str(tree["module"]).startswith("keras"):
            own = tree["config"] if tree["class_name"] == "function" else tree["class_name"]
            yield str(own)
        for value in tree.values():
            yield from _own_code(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _own_code(value)


def _other(got: str, allowed: tuple[str, ...], why: str = "") -> str:
    if got in allowed:
        return ""
    return f"{got!r} cannot be exported{why}; what can: {', '.join(map(repr, allowed))}"


def _given(is_given: bool, why: str) -> str:
    return f"cannot be exported ({why}); {_IN_FAVOUR}" if is_given else ""


def _is_partial(settings: RunConfig) -> bool:
    return settings.cohort.size is not None or settings.cohort.fraction not in (None, 1.0)
