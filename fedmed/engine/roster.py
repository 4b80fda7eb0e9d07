"""The clients of a federation as the server knows them: who is asked, with what work, and what is promised."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fedmed.data.examples import Dataset, Examples
from fedmed.data.store import Place, patient_counts
from fedmed.engine import attendance, masking, promises, soundness, virtual_time
from fedmed.engine.fates import REGULAR, Fate, Fates, RowChanges
from fedmed.engine.masking import RoundMasks
from fedmed.engine.promises import Promises
from fedmed.engine.virtual_time import Load
from fedmed.learning import combinations
from fedmed.learning.lane import Work
from fedmed.learning.program import RoundFacts
from fedmed.learning.secure_sums import Masks
from fedmed.settings import config
from fedmed.system import errors, seeds


class Files(NamedTuple):
    """A lane's files: each client's rows, what it kept after its last round, and where it keeps what it has after."""

    rows: Sequence[Place]
    kept: Sequence[str]
    keep: Sequence[str]


class Costs(NamedTuple):
    """What a round costs each client: bytes to it and from it, and the trainings that it does."""

    bytes_down: int
    bytes_up: int
    trainings: Sequence[config.Client]


class Attending(NamedTuple):
    """Who attends a round.

    Attributes:
        there: those who take part, in the order of those asked.
        masks: of its sum.
        fates: of all who were asked.
        partial: of those there who take a part of their local steps, which share it is.
        seconds: that the round takes on the virtual clock.
    """

    there: list[str]
    masks: RoundMasks
    fates: Mapping[str, Fate]
    partial: Mapping[str, float]
    seconds: float


TOO_FEW_STAYED = "too few stayed to open the sum"
"""Why the others are absent from a round under secure sums."""


class Roster:
    """Clients by number, in order.

    Attributes:
        promises: what is promised to patients or hospitals; None for nothing.
        settings: as the promise has them.
        clients: ids; a client's number is its place.
        expected: how many of them take part in a round, or do on average.
    """

    def __init__(self, settings: config.RunConfig, train: Mapping[str, Examples]) -> None:
        """Takes note of the clients.

        Raises:
            ConfigError: settings do not go together, or what is promised cannot be kept.
        """
        combinations.check(settings)
        soundness.check_training(settings)
        units = patient_counts(train)
        self.promises = promises.made(settings, units)
        self.settings = settings = _promised(settings, self.promises)
        self.clients = tuple(train)
        self.expected = attendance.cohort_size(settings.cohort, len(self.clients))
        masking.check(settings.aggregation, self.expected)
        self._numbers = {client: number for number, client in enumerate(self.clients)}
        self._fates = Fates(settings, units)
        self._rows = np.array([len(rows) for rows in train.values()], np.int32)
        self._shares = self._rows.astype(np.float32)
        if settings.privacy.unit == "patient":  # a patient counts once, however many rows it has
            self._shares = np.array(list(units.values()), np.float32)
        if settings.aggregation.weighting == "uniform":
            self._shares = np.ones_like(self._shares)
        if settings.aggregation.secure:  # in a mean only their ratios count, and a word has room for values up to 1
            self._shares /= self._shares.max()

    @property
    def befallen(self) -> tuple[tuple[str, ...], ...]:
        """The ids of the clients that each entry of the scenario befalls; () where these are all."""
        return self._fates.whom

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each client's update in a mean, by id."""
        return dict(zip(self.clients, self._shares.tolist(), strict=True))

    def numbers_of(self, clients: Sequence[str]) -> list[int]:
        """Returns the clients' numbers."""
        return [self._numbers[client] for client in clients]

    def cohort(self, round_: int) -> tuple[str, ...]:
        """Returns who is asked to take part in a round."""
        poisson = self.settings.privacy.unit == "hospital"
        return tuple(attendance.cohort(self.settings.seed, round_, self.clients, self.expected, poisson=poisson))

    def check_deadline(self, costs: Costs) -> None:
        """Raises a ConfigError where nobody can keep the deadline in any round, and no scenario makes it easier."""
        clock = self.settings.clock
        if clock.deadline is None or self._fates.may_hasten:
            return
        fastest = min(virtual_time.seconds(clock, self._load(client, costs), REGULAR) for client in self.clients)
        if fastest > clock.deadline:
            raise errors.ConfigError(
                f"clock.deadline: nobody can keep it: expected at least the {fastest:.3g} seconds that the fastest "
                f"client takes for a round, got {clock.deadline:g}"
            )

    def usual_seconds(self, costs: Costs) -> float:
        """Returns how long a round would take on the virtual clock if all were asked, and nothing befell anybody."""
        loads = {client: self._load(client, costs) for client in self.clients}
        return virtual_time.with_deadline(self.settings.clock, loads, dict.fromkeys(self.clients, REGULAR))[1]

    def attending(self, round_: int, asked: Sequence[str], costs: Costs) -> Attending:
        """Returns who of those asked stays in a round; nobody, if too few stay to open a secure sum.

        Args:
            round_: counted from 0.
            asked: ids.
            costs: of a round.
        """
        drawn = {client: self._fates.of(round_, self._numbers[client]) for client in asked}
        loads = {client: self._load(client, costs, drawn[client].work) for client in asked}
        fates, seconds = virtual_time.with_deadline(self.settings.clock, loads, drawn)
        there = [client for client in asked if not fates[client].absent]
        masks = masking.of_round(self.settings, round_, self.numbers_of(asked), self.numbers_of(there))
        if masks is None:
            gone = {name: fate._replace(absent=fate.absent or TOO_FEW_STAYED) for name, fate in fates.items()}
            return Attending([], masking.IN_THE_CLEAR, gone, {}, seconds)
        partial = {client: share for client in there if (share := self._share(client, fates[client].work)) < 1.0}
        return Attending(there, masks, fates, partial, seconds)

    def row_changes(self, dataset: Dataset) -> RowChanges:
        """Returns how the scenario changes clients' training rows."""
        return self._fates.row_changes(dataset)

    def learning_rate(self, round_: int) -> float:
        """Returns the clients' learning rate in a round."""
        return self.settings.client.learning_rate * self.settings.client.learning_rate_decay**round_

    def facts(self, round_: int, masks: RoundMasks) -> RoundFacts:
        """Returns what the server knows of a round beside its state."""
        return RoundFacts(
            learning_rate=np.float32(self.learning_rate(round_)),
            clients=np.float32(len(self.clients)),
            shares=np.float32(self._shares.sum(dtype=np.float64)),
            expected=np.float32(self.expected),
            noise=np.float32(self._noise(promises.EVERYBODY)),
            noise_seed=seeds.pair(self.settings.seed, "noise", round_),
            seed=seeds.pair(self.settings.seed, "down", round_),
            masks=Masks(masks.left, masks.limit),
        )

    def lanes(self, clients: Sequence[str]) -> list[list[int]]:
        """Returns each lane's places among the clients; one lane without any where there are none."""
        return attendance.lanes([self._rows_met(client) for client in clients], self.settings.runtime.lanes) or [[]]

    def work(self, round_: int, lane: Sequence[str], files: Files, attending: Attending) -> Work:
        """Returns the work of a lane's clients in a round."""
        numbers, seed, masks = self.numbers_of(lane), self.settings.seed, attending.masks
        fates = [attending.fates[client] for client in lane]
        return Work(
            paths=np.array([str(place.path) for place in files.rows], dtype=object),
            offsets=np.array([place.offset for place in files.rows], np.int32),
            rows=self._rows[numbers],
            seeds=np.array([seeds.pair(seed, "client", round_, n) for n in numbers], np.int32).reshape(-1, 2),
            shares=self._shares[numbers],
            kept=np.array(files.kept, dtype=object),
            keep=np.array(files.keep, dtype=object),
            noise=np.array([self._noise(client) for client in lane], np.float32),
            masks=_stacked([masks.of(number) for number in numbers]),
            limits=np.full(len(numbers), masks.limit, np.int32),
            work=np.array([fate.work for fate in fates], np.float32),
            late=np.array([fate.late for fate in fates], np.int32),
            factor=_in_float32([fate.factor for fate in fates]),
        )

    def _noise(self, client: str) -> float:
        return 0.0 if self.promises is None else self.promises.noise(client)

    def _share(self, client: str, work: float) -> float:
        """Returns which share of its steps a client takes that is to take `work` of them."""
        local, rows = self.settings.client, self._rows_of(client)
        steps = _steps(local, rows)
        return _steps_taken(local, rows, work) / steps if steps else 1.0

    def _rows_of(self, client: str) -> int:
        return int(self._rows[self._numbers[client]])

    def _load(self, client: str, costs: Costs, work: float = 1.0) -> Load:
        rows, drawn = self._rows_of(client), self.settings.privacy.unit == "patient"
        taken = sum(_rows_trained_on(own, rows, _steps_taken(own, rows, work), drawn=drawn) for own in costs.trainings)
        return Load(costs.bytes_down, taken, costs.bytes_up)

    def _rows_met(self, client: str) -> int:
        """Returns what a client's round costs, by which clients are dealt to lanes: rows, each batch a whole one."""
        local, rows = self.settings.client, self._rows_of(client)
        return _steps(local, rows) * (rows if local.batch_size == "full" else local.batch_size)


def _in_float32(factors: Sequence[float]) -> np.ndarray:
    with np.errstate(over="ignore"):  # an update multiplied by infinity is refused
        return np.array(factors, np.float32)


def _batch(local: config.Client, rows: int) -> int:
    return max(1, rows if local.batch_size == "full" else min(local.batch_size, rows))


def _steps(local: config.Client, rows: int) -> int:
    return local.steps or local.epochs * -(-rows // _batch(local, rows))


def _steps_taken(local: config.Client, rows: int, work: float) -> int:
    """Returns how many steps a client takes that is to take `work` of them: whole ones, at least one (batches.Plan)."""
    steps = _steps(local, rows)
    return steps if work == 1.0 else min(steps, max(1, int(np.rint(np.float32(work) * np.float32(steps)))))


def _rows_trained_on(local: config.Client, rows: int, steps: int, *, drawn: bool) -> int:
    """Returns how many rows so many steps take, or are expected to where each step draws its own."""
    batch = _batch(local, rows)
    if drawn:
        return steps * min(batch, rows)
    passes, more = divmod(steps, max(1, -(-rows // batch)))
    return passes * rows + more * batch


def _stacked(masks: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(masks) if masks else np.zeros((0, 0, 3), np.int64)


def _promised(settings: config.RunConfig, told: Promises | None) -> config.RunConfig:
    """Returns the settings as a promise has them: no round beyond the budget; hospitals, if theirs, count alike."""
    if told is None:
        return settings
    aggregation = settings.aggregation
    if told.unit == "hospital":
        aggregation = dataclasses.replace(aggregation, weighting="uniform")
    return dataclasses.replace(settings, rounds=told.rounds, aggregation=aggregation)
