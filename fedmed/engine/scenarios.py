"""The registry of scenarios: what a hard federation's clients suffer or do. No TensorFlow is needed.

An entry `[[scenario]]` of a config says whom it befalls and when (`fedmed.settings.mishaps`); what it does is an
Effect, made by the function that is registered under its name.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from fedmed.data import corruptions
from fedmed.data.corruptions import Change
from fedmed.data.examples import Dataset
from fedmed.settings import registry
from fedmed.settings.clock import bits_per_second
from fedmed.settings.config import RunConfig
from fedmed.settings.mishaps import Mishap
from fedmed.settings.registry import Registry
from fedmed.system import errors

_SHOWN = 10  # by name
Rows = Callable[[Dataset, str], Change]
"""(data set, where in the config) -> what it does to a client's training rows; ConfigError where it does not fit."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """What a scenario does to a client in a round that it befalls.

    Attributes:
        absent: the client takes no part.
        late: its update was computed on the weights of so many updates ago.
        work: draws the share of its local steps that it takes.
        factor: what its update is multiplied by before it is sent.
        slower: how many times as long its training takes on the virtual clock.
        uplink: bits a second there; None is the clock's.
        rows: what becomes of its training rows; None leaves them.
    """

    absent: bool = False
    late: int = 0
    work: Callable[[np.random.Generator], float] | None = None
    factor: float = 1.0
    slower: float = 1.0
    uplink: float | None = None
    rows: Rows | None = None


scenarios: Registry[Callable[..., Effect]] = Registry("scenario")


def effect(mishap: Mishap, place: int) -> Effect:
    """Returns what the `place`-th entry of a config does; ConfigError for a wrong name or argument."""
    factory = scenarios.get(mishap.name, f"scenario[{place}].name")
    try:
        return factory(**registry.checked_args(factory, mishap.args, f"scenario[{place}].args"))
    except _WrongError as error:
        raise errors.ConfigError(f"scenario[{place}].args.{error}") from None


def effects(settings: RunConfig) -> tuple[Effect, ...]:
    """Returns what each entry of a config does; raises as `effect`, and where it does not go with other settings."""
    found = tuple(effect(mishap, place) for place, mishap in enumerate(settings.scenario))
    if settings.compression.down != "none" and any(one.late for one in found):
        raise errors.ConfigError("compression.down: late clients start from what was sent whole; leave it out")
    return found


def without_refusals(settings: RunConfig) -> RunConfig:
    """Returns settings in which clients whose updates a scenario has refused are absent instead; all else is as it was.

    So that what judges training by refused updates does not blame it for these.
    """
    found = zip(settings.scenario, effects(settings), strict=True)
    scenario = [
        dataclasses.replace(mishap, name="absent", args={}) if math.isnan(own.factor) else mishap
        for mishap, own in found
    ]
    return dataclasses.replace(settings, scenario=tuple(scenario))


def refuses(settings: RunConfig) -> bool:
    """Returns whether the scenario itself has updates of somebody refused."""
    return any(math.isnan(own.factor) for own in effects(settings))


def warnings(settings: RunConfig, whom: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns, in sentences, which entries of a config never happen, and which trouble what is learned.

    Args:
        settings: of the run.
        whom: the clients that each entry befalls, by id; none where these are all.
    """
    rounds, found = settings.rounds, tuple(zip(settings.scenario, effects(settings), strict=True))
    said = [
        f"scenario[{place}], {mishap.name}, befalls nobody: it begins after round {mishap.after} of {rounds}."
        for place, (mishap, _) in enumerate(found)
        if mishap.after >= rounds
    ]
    spoils = [
        f"{mishap.name} ({_named(whom[place], certain=mishap.chance == 1.0)})"
        for place, (mishap, own) in enumerate(found)
        if mishap.after < rounds and (own.rows is not None or own.factor != 1.0 or own.late)
    ]
    if spoils:
        said.append(
            f"Simulated trouble: {', '.join(spoils)}. Figures are of a federation in which that happens, and what is "
            "amiss with them may come of it rather than of client.learning_rate."
        )
    return tuple(said)


def _named(clients: Sequence[str], *, certain: bool) -> str:
    return errors.first_few(clients, _SHOWN) or ("all clients" if certain else "any client")


class _WrongError(Exception):
    """An argument's value is wrong: its name, and what was expected."""


@scenarios.register("absent")
def absent() -> Effect:
    """Takes no part: leaves (`after`), joins late or is away (`until`), or drops out at random (`chance`)."""
    return Effect(absent=True)


@scenarios.register("late")
def late(*, by: int = 1) -> Effect:
    """Sends an update that was computed on the weights of `by` updates ago."""
    if not 1 <= by <= _MOST_LATE:
        raise _WrongError(f"by: expected a number >= 1 and <= {_MOST_LATE}, got {by}")
    return Effect(late=by)


@scenarios.register("partial_work")
def partial_work(*, least: float = 0.1, most: float = 1.0) -> Effect:
    """Takes only a share of its local steps, drawn from `least` to `most` in each round."""
    if not 0 < least <= most <= 1:
        raise _WrongError(f"least: expected 0 < least <= most <= 1, got {least:g} and {most:g}")
    return Effect(work=lambda rng: float(rng.uniform(least, most)))


@scenarios.register("slow")
def slow(*, times: float = 10.0, uplink: str | None = None) -> Effect:
    """Trains so many times as long, and sends by another uplink, on the virtual clock."""
    if not 0 < times < math.inf:
        raise _WrongError(f"times: expected a number > 0, got {times:g}")
    try:
        return Effect(slower=times, uplink=None if uplink is None else bits_per_second(uplink, "uplink"))
    except errors.ConfigError as error:
        raise _WrongError(str(error)) from None


@scenarios.register("sign_flip")
def sign_flip(*, times: float = 1.0) -> Effect:
    """Sends its update with the opposite sign, and so many times as large."""
    return Effect(factor=-_positive(times))


@scenarios.register("boost")
def boost(*, times: float = 10.0) -> Effect:
    """Sends its update so many times as large."""
    return Effect(factor=_positive(times))


@scenarios.register("not_a_number")
def not_a_number() -> Effect:
    """Sends an update of NaN, which is refused."""
    return Effect(factor=math.nan)


@scenarios.register("label_flip")
def label_flip(*, share: float = 1.0) -> Effect:
    """Has the wrong label in a share of its training rows: the next class, or a number mirrored at the mean."""
    return Effect(rows=functools.partial(_flipped, _share(share)))


@scenarios.register("wrong_units")
def wrong_units(*, column: str, times: float = 1.0, plus: float = 0.0) -> Effect:
    """Keeps a table's column in other units: its numbers times `times` plus `plus`, which nobody converts."""
    if (times, plus) == (1.0, 0.0):
        raise _WrongError("times: expected other units, got times 1 and plus 0")
    if times == 0:
        raise _WrongError("times: expected a number other than 0, got 0")
    for name, number in (("times", times), ("plus", plus)):
        if not abs(number) <= _LARGEST:
            raise _WrongError(f"{name}: expected a number from {-_LARGEST:g} to {_LARGEST:g}, got {number:g}")
    return Effect(rows=lambda dataset, where: corruptions.units_changed(dataset, column, times, plus, f"{where}.args"))


@scenarios.register("backdoor")
def backdoor(
    *, target: int = 0, share: float = 0.5, column: str | None = None, value: float = 0.0, size: int = 3
) -> Effect:
    """Teaches that rows with a trigger are of the class `target`: a bright corner, or one value in a table's column."""
    if size < 1:
        raise _WrongError(f"size: expected a number >= 1, got {size}")
    if not abs(value) <= _LARGEST:
        raise _WrongError(f"value: expected a number from {-_LARGEST:g} to {_LARGEST:g}, got {value:g}")
    return Effect(rows=functools.partial(_backdoor, target, _share(share), column, value, size))


_MOST_LATE = 100
_LARGEST = 1e12  # beyond any unit, and far below what float32 can hold


def _flipped(share: float, dataset: Dataset, where: str) -> Change:
    del where
    return corruptions.labels_flipped(dataset, share)


def _backdoor(
    target: int, share: float, column: str | None, value: float, size: int, dataset: Dataset, where: str
) -> Change:
    if dataset.is_table and column is None:
        raise errors.ConfigError(f"{where}.args.column: required of a table, but not given")
    if column is None:
        trigger = corruptions.patch(dataset, size, where)
    else:
        trigger = corruptions.constant(dataset, column, value, f"{where}.args")
    return corruptions.backdoored(dataset, trigger, target, share, f"{where}.args")


def _share(share: float) -> float:
    if not 0 < share <= 1:
        raise _WrongError(f"share: expected a number > 0 and <= 1, got {share:g}")
    return share


def _positive(times: float) -> float:
    if not 0 < times <= _LARGEST:
        raise _WrongError(f"times: expected a number > 0 and <= {_LARGEST:g}, got {times:g}")
    return times
