"""What befalls a client in a round: a function of (seed, round, client), like sampling, so a resumed run repeats it."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from fedmed.data import corruptions
from fedmed.data.examples import Dataset, Examples
from fedmed.engine import scenarios
from fedmed.engine.contributions import LEFT, NEVER
from fedmed.learning.values import Trouble
from fedmed.settings.clock import bits_per_second
from fedmed.settings.config import RunConfig
from fedmed.settings.mishaps import BY_SIZE, Mishap
from fedmed.system import errors, seeds


class Fate(NamedTuple):
    """What befalls a client in a round; by default nothing does.

    Attributes:
        absent: why it takes no part, "" where it does.
        announced: whether the server knew that beforehand and does not wait for it.
        late: how many updates old the weights are that it computed its update on; of several entries the most.
        work: the share of its local steps that it takes.
        factor: what its update is multiplied by before it is sent.
        slower: how many times as long its training takes on the virtual clock.
        uplink: bits a second, of several the slowest; None the clock's.
        rows: which entries of the scenario have changed its training rows.
    """

    absent: str = ""
    announced: bool = False
    late: int = 0
    work: float = 1.0
    factor: float = 1.0
    slower: float = 1.0
    uplink: float | None = None
    rows: tuple[int, ...] = ()


REGULAR = Fate()


class Fates:
    """Tells every client's fate in every round.

    Args:
        settings: of the run.
        sizes: how many training patients each client has, by id, in the order of their numbers.

    Raises:
        ConfigError: a scenario is unknown, has a wrong argument, or befalls a client that there is not.
    """

    def __init__(self, settings: RunConfig, sizes: Mapping[str, int]) -> None:
        self._seed, self._scenario, self._rounds = settings.seed, settings.scenario, settings.rounds
        self._effects, self._clients = scenarios.effects(settings), tuple(sizes)
        self._uplink = bits_per_second(settings.clock.uplink, "clock.uplink")
        self._whom = [_whom(settings.seed, place, one, sizes) for place, one in enumerate(settings.scenario)]

    @property
    def whom(self) -> tuple[tuple[str, ...], ...]:
        """The ids of the clients that each entry befalls, in order; () where these are all."""
        named = [tuple(self._clients[number] for number in sorted(numbers)) for numbers in self._whom]
        return tuple(() if len(names) == len(self._clients) else names for names in named)

    @property
    def may_hasten(self) -> bool:
        """Whether some entry may have a client answer sooner than it would, or whenever it likes."""
        return any(
            own.late or own.work or own.slower < 1.0 or (own.uplink or 0.0) > self._uplink for own in self._effects
        )

    def of(self, round_: int, client: int) -> Fate:
        """Returns a client's fate, by its number, in a round counted from 0."""
        fate = REGULAR
        for place, mishap in enumerate(self._scenario):
            if client in self._whom[place] and mishap.is_due(round_) and self._strikes(place, round_, client):
                fate = self._added(fate, place, round_, client)
        return fate

    def _strikes(self, place: int, round_: int, client: int) -> bool:
        chance = self._scenario[place].chance
        return chance == 1.0 or bool(seeds.generator(self._seed, "scenario", place, round_, client).random() < chance)

    def _added(self, fate: Fate, place: int, round_: int, client: int) -> Fate:
        mishap, own = self._scenario[place], self._effects[place]
        work = 1.0
        if own.work is not None:
            work = own.work(seeds.generator(self._seed, "scenario.work", place, round_, client))
        # Whoever is known to be away drops out no more, whichever entry stands first.
        is_gone = own.absent and (not fate.absent or (mishap.is_planned and not fate.announced))
        uplinks = [one for one in (own.uplink, fate.uplink) if one is not None]
        return Fate(
            absent=_why(mishap, self._rounds) if is_gone else fate.absent,
            announced=mishap.is_planned if is_gone else fate.announced,
            late=max(fate.late, own.late),
            work=fate.work * work,
            factor=fate.factor * own.factor,
            slower=fate.slower * own.slower,
            uplink=min(uplinks, default=None),
            rows=(*fate.rows, place) if own.rows is not None else fate.rows,
        )

    def row_changes(self, dataset: Dataset) -> "RowChanges":
        """Returns how clients' rows are changed; ConfigError where a change does not fit the data."""
        made = {
            place: own.rows(dataset, f"scenario[{place}]")
            for place, own in enumerate(self._effects)
            if own.rows is not None
        }

        def change(client: int, rows: tuple[int, ...]) -> Callable[[Examples], Examples]:
            """Returns what the entries `rows` make of a client's training rows, the same in every round."""
            drawn = [seeds.generator(self._seed, "scenario.rows", place, client) for place in rows]
            return corruptions.composed([(made[place], rng) for place, rng in zip(rows, drawn, strict=True)])

        return change


RowChanges = Callable[[int, tuple[int, ...]], Callable[[Examples], Examples]]
"""(client's number, entries of the scenario) -> what becomes of its training rows."""


def trouble(settings: RunConfig) -> Trouble:
    """Returns what the computations of a round must be made for."""
    found = scenarios.effects(settings)
    return Trouble(
        late=max((own.late for own in found), default=0),
        partial=any(own.work is not None for own in found),
        spoils=any(own.factor != 1.0 for own in found),
    )


def _why(mishap: Mishap, rounds: int) -> str:
    if not mishap.is_planned:
        return "dropped out"
    if mishap.until is None or mishap.until >= rounds:
        return f"{LEFT} {mishap.after}" if mishap.after else NEVER
    return f"joined after round {mishap.until}" if not mishap.after else (
        f"was away in rounds {mishap.after + 1} to {mishap.until}"
    )  # fmt: skip


def befallen(mishap: Mishap, sizes: Mapping[str, int], where: str = "scenario") -> frozenset[str]:
    """Returns the ids of the clients that an entry can befall; `sizes` as of Fates.

    Raises:
        ConfigError: it names a client that there is not.
    """
    return frozenset(_id(name, sizes, f"{where}.clients") for name in mishap.clients) or frozenset(sizes)


def whom_at_any_seed(settings: RunConfig, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Returns whom each entry befalls, as `Fates.whom`, or in words where each seed draws others."""
    found = []
    for place, mishap in enumerate(settings.scenario):
        there = befallen(mishap, sizes, f"scenario[{place}]")
        names = tuple(name for name in sizes if name in there) if len(there) < len(sizes) else ()
        found.append(names if mishap.share == 1.0 else (f"{mishap.share:.0%} of clients, drawn by each seed",))
    return found


def _whom(seed: int, place: int, mishap: Mishap, sizes: Mapping[str, int]) -> frozenset[int]:
    """Returns the numbers of the clients that an entry befalls."""
    places = {client: number for number, client in enumerate(sizes)}
    numbers = sorted(places[name] for name in befallen(mishap, sizes, f"scenario[{place}]"))
    if mishap.share == 1.0:
        return frozenset(numbers)
    count = max(1, math.floor(mishap.share * len(numbers) + 0.5))
    # Not by the entry: who is drawn for one is drawn for another too, so that a few can be wrong in several ways.
    drawn = seeds.generator(seed, "scenario.whom").permutation(np.array(numbers))
    return frozenset(int(number) for number in drawn[:count])


def _id(name: str, sizes: Mapping[str, int], where: str) -> str:
    if name in sizes:
        return name
    if name in BY_SIZE:
        return (max if name == "largest" else min)(sizes, key=lambda client: sizes[client])
    raise errors.ConfigError(errors.unknown(where, "client", name, [*sizes, *BY_SIZE]))


def check(settings: RunConfig, dataset: Dataset, sizes: Mapping[str, int]) -> None:
    """Raises a ConfigError for a scenario that cannot be; `sizes` as of Fates."""
    Fates(settings, sizes).row_changes(dataset)
