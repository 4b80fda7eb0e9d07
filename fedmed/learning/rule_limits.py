"""What the arguments of fedmed's own rules of aggregation may be, and what they ask of a cohort. No TensorFlow."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from fedmed.system import errors

Args: TypeAlias = Mapping[str, Any]


def check_args(rule: str, args: Args) -> None:
    """Raises a ConfigError where an argument, of the right type, is out of range."""
    for name, value in args.items():
        fits, allowed = _RANGES.get((rule, name), (_anything, ""))
        if value is not None and not fits(value):
            raise errors.ConfigError(f"aggregation.args.{name}: expected {allowed}, got {errors.shown(value)}")


def check_cohort(rule: str, args: Args, cohort: int) -> None:
    """Raises a ConfigError where a cohort is too small for a rule to withstand what it is asked to."""
    if rule in ("trimmed_mean", *_KRUMS):
        name = "corrupted" if rule in _KRUMS else "share"
        asked = args[name]
        number = asked if isinstance(asked, int) else int(asked * cohort + 1e-9)
        if number == 0:
            raise errors.ConfigError(
                f"aggregation.args.{name}: {asked:g} of a cohort of {cohort} is less than one client, and {rule!r} "
                f"would withstand none; give at least {1 / cohort:.4g}"
            )
        if rule in _KRUMS and cohort < 2 * number + 3:
            raise errors.ConfigError(
                f"aggregation.args.corrupted: {rule!r} needs 2 x {number} + 3 = {2 * number + 3} clients in a round, "
                f"and the cohort has {cohort}; {_instead(cohort)}"
            )


def _instead(cohort: int) -> str:
    most = (cohort - 3) // 2
    return f"at most {most} of them may be corrupted" if most > 0 else "use another rule"


def _anything(value: Any) -> bool:
    return True


def _above_zero(value: float) -> bool:
    return value > 0


def _below_half(value: float) -> bool:
    return value >= 1 if isinstance(value, int) else 0 < value < 0.5


_KRUMS = ("krum", "multi_krum")
_SOME = "a whole number >= 1 of clients, or a share > 0 and < 0.5 of them"
_RANGES: dict[tuple[str, str], tuple[Callable[[Any], bool], str]] = {
    ("trimmed_mean", "share"): (lambda share: 0 < share < 0.5, "a share > 0 and < 0.5 of the clients"),
    ("krum", "corrupted"): (_below_half, _SOME),
    ("multi_krum", "corrupted"): (_below_half, _SOME),
    ("geometric_median", "iterations"): (_above_zero, "a whole number >= 1"),
    ("geometric_median", "smoothing"): (_above_zero, "a number > 0"),
    ("centred_clipping", "radius"): (_above_zero, "a number > 0"),
    ("centred_clipping", "times"): (_above_zero, "a number > 0"),
    ("centred_clipping", "iterations"): (_above_zero, "a whole number >= 1"),
    ("clipped_mean", "times"): (_above_zero, "a number > 0"),
}
"""By rule and argument: whether a value is allowed, and what is, in words."""
