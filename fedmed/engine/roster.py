"""The clients of a federation as the server knows them: who is asked, with what work, and what is promised."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fedmed.data.examples import Examples
from fedmed.data.store import patient_counts
from fedmed.engine import attendance, masking, promises, soundness
from fedmed.engine.masking import RoundMasks
from fedmed.engine.promises import Promises
from fedmed.learning import combinations
from fedmed.learning.lane import Work
from fedmed.learning.program import RoundFacts
from fedmed.learning.secure_sums import Masks
from fedmed.settings import config
from fedmed.system import seeds


class Files(NamedTuple):
    """A lane's files: each client's rows, what it kept after its last round, and where it keeps what it has after."""

    rows: Sequence[str]
    kept: Sequence[str]
    keep: Sequence[str]


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
        self._rows = np.array([len(rows) for rows in train.values()], np.int32)
        self._shares = self._rows.astype(np.float32)
        if settings.privacy.unit == "patient":  # a patient counts once, however many rows it has
            self._shares = np.array(list(units.values()), np.float32)
        if settings.aggregation.weighting == "uniform":
            self._shares = np.ones_like(self._shares)
        if settings.aggregation.secure:  # in a mean only their ratios count, and a word has room for values up to 1
            self._shares /= self._shares.max()

    def numbers_of(self, clients: Sequence[str]) -> list[int]:
        """Returns the clients' numbers."""
        return [self._numbers[client] for client in clients]

    def cohort(self, round_: int) -> tuple[str, ...]:
        """Returns who is asked to take part in a round."""
        poisson = self.settings.privacy.unit == "hospital"
        return tuple(attendance.cohort(self.settings.seed, round_, self.clients, self.expected, poisson=poisson))

    def attending(self, round_: int, asked: Sequence[str]) -> tuple[list[str], RoundMasks]:
        """Returns who stays in a round, and the masks of its sum; nobody, if too few stay to open it."""
        seed, chance, numbers = self.settings.seed, self.settings.cohort.drop_out, self._numbers
        there = [name for name in asked if not attendance.drops_out(seed, round_, numbers[name], chance)]
        masks = masking.of_round(self.settings, round_, self.numbers_of(asked), self.numbers_of(there))
        return ([], masking.IN_THE_CLEAR) if masks is None else (there, masks)

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

    def work(self, round_: int, lane: Sequence[str], files: Files, masks: RoundMasks) -> Work:
        """Returns the work of a lane's clients in a round."""
        numbers, seed = self.numbers_of(lane), self.settings.seed
        return Work(
            paths=np.array(files.rows, dtype=object),
            rows=self._rows[numbers],
            seeds=np.array([seeds.pair(seed, "client", round_, n) for n in numbers], np.int32).reshape(-1, 2),
            shares=self._shares[numbers],
            kept=np.array(files.kept, dtype=object),
            keep=np.array(files.keep, dtype=object),
            noise=np.array([self._noise(client) for client in lane], np.float32),
            masks=_stacked([masks.of(number) for number in numbers]),
            limits=np.full(len(numbers), masks.limit, np.int32),
        )

    def _noise(self, client: str) -> float:
        return 0.0 if self.promises is None else self.promises.noise(client)

    def _rows_met(self, client: str) -> int:
        """Returns about how many rows a client trains on in a round."""
        local, rows = self.settings.client, int(self._rows[self._numbers[client]])
        batch = rows if local.batch_size == "full" else local.batch_size
        return (local.steps or local.epochs * -(-rows // max(1, batch))) * batch


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
