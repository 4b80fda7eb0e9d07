"""Ranges of numbers in settings: declared with the field, checked when a config is read."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fedmed.system import errors


def setting(
    default: Any = dataclasses.MISSING,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    """Returns a dataclass field with an allowed range: `above` and `below` exclusive, `least` and `most` inclusive.

    Of a list, each number is checked.
    """
    limits = {"above": above, "least": least, "most": most, "below": below}
    return dataclasses.field(default=default, metadata=limits)


def check_range(limits: Mapping[str, Any], value: float, where: str) -> None:
    """Raises ConfigError, with the bounds in words, where a number is out of its range or is no number."""
    above, least, most, below = (limits.get(name) for name in ("above", "least", "most", "below"))
    low = value > above if above is not None else least is None or value >= least
    high = value < below if below is not None else most is None or value <= most
    if low and high and value == value:
        return
    bounds = [
        f"> {above}" if above is not None else "",
        f">= {least}" if least is not None else "",
        f"<= {most}" if most is not None else "",
        f"< {below}" if below is not None else "",
    ]
    raise errors.ConfigError(
        f"{where}: expected a number {' and '.join(b for b in bounds if b)}, got {errors.shown(value)}"
    )
