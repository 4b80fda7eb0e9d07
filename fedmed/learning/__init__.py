"""Local training and federated algorithms as pure TensorFlow: tensors in, tensors out.

An algorithm of one's own needs the names below and no others; docs/algorithms.md writes one from scratch. They are
imported when first used, so that listing algorithms costs no TensorFlow import.
"""

import importlib
from typing import Any

_PUBLIC = {
    "Algorithm": "algorithm",
    "ClientOutput": "algorithm",
    "ClientStep": "algorithm",
    "METRICS": "algorithm",
    "Rows": "algorithm",
    "Training": "algorithm",
    "Aggregator": "aggregator",
    "Counts": "values",
    "Learner": "learner",
    "Payload": "values",
    "Plan": "batches",
    "Turn": "values",
    "Weights": "values",
    "add": "weights",
    "byte_count": "weights",
    "for_each_batch": "batches",
    "local_training": "local_training",
    "map_weights": "weights",
    "norm": "weights",
    "subtract": "weights",
    "zeros_like": "weights",
}

__all__ = [*_PUBLIC]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fedmed.learning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fedmed.learning.{_PUBLIC[name]}"), name)
