"""The page of `experiments.cluster`."""

from typing import Any


def page(known: Any) -> str:
    return ""
