"""What the arguments of fedmed's own rules of aggregation may be, and what they ask of a cohort. No TensorFlow."""

import math
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
    if rule == "centred_clipping" and args.get("radius") is not None and "times" in args:
        raise errors.ConfigError("aggregation.args.times: stands in for the radius, which is given; leave out one")


def check_cohort(rule: str, args: Args, cohort: int) -> None:
    """Raises a ConfigError where a cohort is too small for a rule to withstand what it is asked to."""
    if rule in ("trimmed_mean", *_KRUMS):
        name = "corrupted" if rule in _KRUMS else "share"
        asked = args[name]
        number = asked if isinstance(asked, int) else int(asked * cohort + 1e-9)
        if number == 0:
            raise errors.ConfigError(
                f"aggregation.args.{name}: {asked:g} of a cohort of {cohort} is less than one client, and {rule!r} "
                f"would withstand none; {_least(rule, cohort)}"
            )
        if rule in _KRUMS and cohort < (fewest := _for_krum(number)):
            raise errors.ConfigError(
                f"aggregation.args.corrupted: {rule!r} needs 2 x {number} + 3 = {fewest} clients in a round, "
                f"and the cohort has {cohort}; {_instead(cohort)}"
            )


def doubts(rule: str, args: Args, cohort: int) -> tuple[str, ...]:
    """Returns, in a sentence, that a rule that asks for no number of corrupted clients withstands none of so few."""
    by_medians = rule in ("median", "clipped_mean") or (rule == "centred_clipping" and args.get("radius") is None)
    if not by_medians or cohort > _FOLLOWS_EITHER:
        return ()
    few, why = ("one client", "") if cohort == 1 else ("two clients", ", since a median of two follows either")
    return (f"Rounds have {few}: {rule} withstands nobody there{why}.",)


def _for_krum(corrupted: int) -> int:
    return 2 * corrupted + 3


def _least(rule: str, cohort: int) -> str:
    """Returns the advice of a share that is one client of the cohort, rounded up to what can be written."""
    fewest = _for_krum(1) if rule in _KRUMS else 3
    return f"give at least {math.ceil(10_000 / cohort) / 10_000:.4g}" if cohort >= fewest else "use another rule"


def _instead(cohort: int) -> str:
    most = (cohort - 3) // 2
    return f"at most {most} of them may be corrupted" if most > 0 else "use another rule"


def _anything(value: Any) -> bool:
    return True


def _above_zero(value: float) -> bool:
    return value > 0


def _below_half(value: float) -> bool:
    return value >= 1 if isinstance(value, int) else 0 < value < 0.5


_FOLLOWS_EITHER = 2
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
