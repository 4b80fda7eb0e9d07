"""The standard scenarios of `fedmed study --stress`: what each adds to a config, made from its rounds and the data.

Two hospitals are chosen, by patients. What befalls reliability befalls the largest, whose absence costs most. What
corrupts befalls the one in the middle: at the smallest a mean, which goes by sizes, should be moved least, and at the
largest, which may have more than half of all rows, no rule that goes by sizes can hold. Test rows are never changed.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fedmed.data.examples import Dataset
from fedmed.settings import config
from fedmed.settings.clock import bits_per_second
from fedmed.settings.mishaps import Mishap
from fedmed.study.consortium import Consortium

PLANNED = "as_planned"
WITH_DEADLINE = "slow_line_deadline"

_UNITS = 18.0  # mg/dL of glucose in a mmol/L
_PATIENCE = 2.0  # a deadline is so many rounds as planned, which whoever is as planned keeps; ten times slower is not
_SLOWER = 10.0


class Circumstances(NamedTuple):
    """Where scenarios are made for.

    Attributes:
        settings: of the study.
        dataset: as loaded.
        patients: how many training patients each hospital has.
        round_seconds: what a round of all takes as planned, on the virtual clock; None while it is not known.
    """

    settings: config.RunConfig
    dataset: Dataset
    patients: Mapping[str, int]
    round_seconds: float | None = None

    @property
    def largest(self) -> str:
        """The hospital with the most patients, of several the last."""
        return self._by_size()[-1]

    @property
    def middle(self) -> str:
        """The hospital in the middle by patients, of an even number the smaller of the two."""
        return self._by_size()[(len(self.patients) - 1) // 2]

    def _by_size(self) -> list[str]:
        """Of hospitals with as many patients the first counts as smaller."""
        return sorted(self.patients, key=lambda name: self.patients[name])


class Hardship(NamedTuple):
    """What a standard scenario adds to a config.

    Attributes:
        label: a few words.
        about: a sentence.
        hospital: whom it befalls, None for everybody.
        mishaps: entries that come after the config's own.
        clock: changes of the table `[clock]`.
    """

    label: str
    about: str
    hospital: str | None = None
    mishaps: tuple[Mishap, ...] = ()
    clock: Mapping[str, Any] = MappingProxyType({})

    def added(self, settings: config.RunConfig) -> config.RunConfig:
        """Returns the settings with the scenario."""
        clock = dataclasses.replace(settings.clock, **self.clock)
        return dataclasses.replace(settings, scenario=(*settings.scenario, *self.mishaps), clock=clock)


class NotHereError(Exception):
    """A standard scenario cannot be with these data: why."""


def circumstances(
    settings: config.RunConfig, consortium: Consortium, round_seconds: float | None = None
) -> Circumstances:
    """Returns where the scenarios of a study with these hospitals are made for."""
    return Circumstances(settings, consortium.dataset, consortium.patients_held(), round_seconds)


def _planned(at: Circumstances) -> Hardship:
    about = "Nothing goes wrong" + (" but what the config has." if at.settings.scenario else ".")
    return Hardship("as planned", about)


def _leaves(at: Circumstances) -> Hardship:
    if at.settings.rounds < 2:
        raise NotHereError("there is one round only, and nobody can leave before it is over")
    after = max(1, at.settings.rounds // 3)
    about = f"{at.largest} leaves after round {after} of {at.settings.rounds}."
    return _one(f"{at.largest} leaves", about, at.largest, "absent", after=after)


def _drops_out(at: Circumstances) -> Hardship:
    return _one("dropping out", "Every hospital drops out of 3 in 10 rounds, at random.", None, "absent", chance=0.3)


def _late(at: Circumstances) -> Hardship:
    about = f"{at.largest} sends updates that it computed on the weights of 2 updates ago."
    return _one(f"{at.largest} late", about, at.largest, "late", {"by": 2})


def _partial(at: Circumstances) -> Hardship:
    about = "Every hospital takes a tenth to all of its local steps, drawn in each round."
    return _one("partial work", about, None, "partial_work", {"least": 0.1, "most": 1.0})


def _slow(at: Circumstances) -> Hardship:
    about = f"{at.largest} trains {_SLOWER:g} times as long and sends by a tenth of the uplink; everybody waits for it."
    return _slow_line(f"{at.largest} slow", about, at, None)


def _slow_with_deadline(at: Circumstances) -> Hardship:
    deadline = None if at.round_seconds is None else float(f"{_PATIENCE * at.round_seconds:.3g}")
    within = "" if deadline is None else f" ({deadline:g} s)"
    about = (
        f"{at.largest} is as slow, and the server waits no longer than {_PATIENCE:g} times what a round takes as "
        f"planned{within}."
    )
    return _slow_line(f"{at.largest} slow, with a deadline", about, at, deadline)


def _slow_line(label: str, about: str, at: Circumstances, deadline: float | None) -> Hardship:
    tenth = max(1.0, bits_per_second(at.settings.clock.uplink, "clock.uplink") / 10)
    mishap = Mishap("slow", {"times": _SLOWER, "uplink": f"{tenth:.0f}bit"}, (at.largest,))
    return Hardship(label, about, at.largest, (mishap,), {"deadline": deadline})


def _labels(at: Circumstances) -> Hardship:
    about = f"{at.middle} has the wrong label in every training row."
    return _one(f"labels flipped at {at.middle}", about, at.middle, "label_flip")


def _units(at: Circumstances) -> Hardship:
    column = _column(at.dataset)
    twice = ", as where glucose in mg/dL is converted from mmol/L once more," if "glucose" in column.lower() else ""
    about = (
        f"{at.middle} keeps {column} in other units: its training rows have {_UNITS:g} times the number{twice} and are "
        "scaled as if nobody had noticed."
    )
    label = f"wrong units at {at.middle}"
    return _one(label, about, at.middle, "wrong_units", {"column": column, "times": _UNITS})


def _flipped(at: Circumstances) -> Hardship:
    about = f"{at.middle} sends its update with the opposite sign, 10 times as large."
    return _one(f"sign flipped at {at.middle}", about, at.middle, "sign_flip", {"times": 10.0})


def _boosted(at: Circumstances) -> Hardship:
    about = f"{at.middle} sends its update 10 times as large."
    return _one(f"boosted at {at.middle}", about, at.middle, "boost", {"times": 10.0})


def _not_a_number(at: Circumstances) -> Hardship:
    about = f"{at.middle} sends updates that are not finite; every rule refuses them, so that it takes no part."
    return _one(f"not a number from {at.middle}", about, at.middle, "not_a_number")


def _one(
    label: str, about: str, hospital: str | None, name: str, args: Mapping[str, Any] | None = None, **when: Any
) -> Hardship:
    whom = () if hospital is None else (hospital,)
    return Hardship(label, about, hospital, (Mishap(name, args or {}, whom, **when),))


def _column(dataset: Dataset) -> str:
    """Returns the column of numbers whose units go wrong: glucose, or what is in its unit, else the first.

    Raises:
        NotHereError: there is none.
    """
    if not dataset.is_table:
        raise NotHereError("other units are a table's, and these data are none")
    numbers = [feature for feature in dataset.features if not feature.is_category]
    if not numbers:
        raise NotHereError("the table has no column of numbers")
    return min(numbers, key=lambda own: ("glucose" not in own.name.lower(), own.unit != "mg/dL")).name


STANDARD: Mapping[str, Callable[[Circumstances], Hardship]] = {
    PLANNED: _planned,
    "largest_leaves": _leaves,
    "dropout": _drops_out,
    "largest_late": _late,
    "partial_work": _partial,
    "slow_line": _slow,
    WITH_DEADLINE: _slow_with_deadline,
    "labels_flipped": _labels,
    "wrong_units": _units,
    "sign_flipped": _flipped,
    "boosted": _boosted,
    "not_a_number": _not_a_number,
}
"""By name, in the order in which they are shown. A function raises NotHereError where the data have no place for it."""
