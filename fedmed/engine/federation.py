"""A federation and its rounds: the one loop that runs, studies, benchmarks and tests are made of."""

import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from fedmed.data import label_scale
from fedmed.data.clients import ChangedRows
from fedmed.data.examples import Array, Dataset, Examples, Inputs, Task
from fedmed.data.label_scale import LabelScale
from fedmed.data.store import ClientStore, Place
from fedmed.engine.kept import KeptFiles
from fedmed.engine.masking import RoundMasks
from fedmed.engine.position import Done, Position, Sums
from fedmed.engine.programs import PROGRAMS, Beginnings, Programs
from fedmed.engine.roster import Attending, Costs, Files, Roster
from fedmed.learning import lateness, remembering
from fedmed.learning import weights as weight_ops
from fedmed.learning.lane import Work
from fedmed.learning.learner import moving_variables
from fedmed.learning.program import RoundFacts, set_model_weights
from fedmed.learning.values import Nest, Weights
from fedmed.models import refusals, saving
from fedmed.settings import config

Lanes: TypeAlias = list[list[int]]


class Federation:
    """Clients with a program that trains across them; `close` removes what it wrote for them.

    Attributes:
        settings: with `runtime.lanes` given.
        task: of the data.
        clients: ids, in order; a client's number is its place.
        befallen: ids of the clients that each entry of the scenario befalls; () where these are all.
        initial: weights before the first round.
        prepared: program, runtime, predictor and model.
        promises: what is promised to patients or hospitals; None for nothing.
        label: on what scale an amount is learned; what leaves the federation is in the label's units all the same,
            but for weights.
    """

    def __init__(
        self,
        settings: config.RunConfig,
        dataset: Dataset,
        train: Mapping[str, Examples],
        *,
        worker: Any = None,
        folder: pathlib.Path | None = None,
        programs: Programs = PROGRAMS,
        beginnings: Beginnings | None = None,
        changed: ChangedRows | None = None,
        initial: Weights | None = None,
        label: LabelScale | None = None,
    ) -> None:
        """Builds and checks the model and writes the clients' files.

        Args:
            settings: what to train, with `runtime.lanes` given.
            dataset: for its task and number of classes.
            train: each client's rows, as the model gets them.
            worker: what the runtime works with, started; see `runtimes.starting`.
            folder: where clients' kept files live on; None for as long as the federation.
            programs: a cache of recorded programs.
            beginnings: of models that were built before by the same code; None builds it anew.
            changed: (client, change) -> its rows, as the model gets them, after a change to them as they are held; None
                where these are the same.
            initial: weights before the first round; None for those that the seed gives.
            label: the scale that an amount is learned on; None for that of these clients' rows.

        Raises:
            UserError: the model or the algorithm does not fit.
        """
        self._roster = Roster(settings, train)
        self._row_changes, self.befallen = self._roster.row_changes(dataset), self._roster.befallen
        self._changed: ChangedRows = changed or (lambda client, change: change(train[client]))
        self.promises, self.settings, self.clients = self._roster.promises, self._roster.settings, self._roster.clients
        self.task: Task = dataset.task
        self.prepared, seeded = programs.prepare(
            settings, dataset.task, dataset.classes, train, worker=worker, beginnings=beginnings
        )
        self.initial = seeded if initial is None else initial
        self.label = self._label_scale(train) if label is None else label
        learned = {client: self.label.standardised(rows) for client, rows in train.items()}
        program = self.prepared.program
        trainings = program.algorithm.trainings(settings.client)
        self._costs = Costs(program.bytes_down, program.bytes_up, trainings)
        self._roster.check_deadline(self._costs)
        # Files come last, so that nothing is left behind when the above fails.
        self._store = ClientStore(learned, patients=settings.privacy.unit == "patient")
        self._kept = KeptFiles(folder, _numpy(self.prepared.program.first_held(self.initial)))

    def _label_scale(self, train: Mapping[str, Examples]) -> LabelScale:
        """Returns how labels are learned: as they are, but for an amount that the model can give with either sign."""
        asked = self.settings.data.standardise_label and self.task == "regression"
        return label_scale.fit(train) if asked and self.prepared.any_value else LabelScale()

    def start(self, weights: Weights | None = None) -> Position:
        """Returns the position before the first round, from the initial weights or from others."""
        program = self.prepared.program
        return Position(0, _numpy(program.initial_state(self.initial if weights is None else weights)), {})

    def rounds(self, position: Position) -> Iterator[Done]:
        """Trains round after round from a position, up to the settings' last one."""
        while position.round < self.settings.rounds:
            done = self.round(position)
            position = done.position
            yield done

    def round(self, position: Position, cohort: Sequence[str] | None = None) -> Done:
        """Trains one round; without an update when nobody is there.

        Args:
            position: where the federation stands.
            cohort: who is asked; drawn by seed and round when not given.

        Raises:
            ModelError: an operation of the model refuses a row; one line, without the row's values.
        """
        began = time.perf_counter()
        asked = self.cohort(position.round) if cohort is None else tuple(cohort)
        attending = self.attending(position.round, asked)
        there, fates = attending.there, attending.fates
        state, sums, sent = position.state, {}, np.zeros(0)
        if there or self.settings.privacy.unit == "hospital":
            state, sums, sent = self._trained(position, attending)
        used = sums["accepted"] > 0 if there else ()
        refused = tuple(client for client, ok in zip(there, used, strict=True) if not ok)
        kept = dict.fromkeys(self._roster.numbers_of([c for c in there if c not in refused]), position.round + 1)
        done = Done(
            position=Position(position.round + 1, state, {**position.kept, **kept} if self._kept.wanted else {}),
            learning_rate=self._roster.learning_rate(position.round),
            cohort=asked,
            absent={client: fates[client].absent for client in asked if fates[client].absent},
            late={client: by for client in there if (by := min(fates[client].late, position.round))},
            partial=dict(attending.partial),
            refused=refused,
            sums=sums,
            bytes_down=sum(not fates[client].announced for client in asked) * self.prepared.program.bytes_down,
            bytes_up=int(sent.sum()),
            seconds=time.perf_counter() - began,
            clock_seconds=attending.seconds,
        )
        return self._without_who(done) if self.settings.privacy.unit == "hospital" else done

    def _without_who(self, done: Done) -> Done:
        """Returns the round without who took part and what that would follow from: the promise counts it as secret.

        Bytes are those of as many as are expected, the virtual clock's time that of a round of all; only how long this
        machine took still follows who was there.
        """
        sent = round(self._roster.expected * self.prepared.program.bytes_down)
        told = done._replace(cohort=(), absent={}, late={}, partial={}, refused=(), sums={})
        return told._replace(bytes_down=sent, bytes_up=sent, clock_seconds=self._roster.usual_seconds(self._costs))

    def cohort(self, round_: int) -> tuple[str, ...]:
        """Returns who is asked to take part in a round."""
        return self._roster.cohort(round_)

    def attending(self, round_: int, asked: Sequence[str]) -> Attending:
        """Returns who of those asked takes part in a round, and how."""
        return self._roster.attending(round_, asked, self._costs)

    def facts(self, round_: int, masks: RoundMasks) -> RoundFacts:
        """Returns what the server knows of a round beside its state."""
        return self._roster.facts(round_, masks)

    def work(self, position: Position, attending: Attending) -> tuple[Lanes, list[Work]]:
        """Returns each lane's places among the clients who attend, and its work."""
        self._kept.open()
        clients = attending.there
        lanes = self._roster.lanes(clients)
        return lanes, [self._work(position, [clients[place] for place in lane], attending) for lane in lanes]

    def _work(self, position: Position, lane: Sequence[str], attending: Attending) -> Work:
        numbers = self._roster.numbers_of(lane)
        places = [self._rows_of(client, attending.fates[client].rows) for client in lane]
        kept = [self._kept.path(number, position.kept.get(number)) for number in numbers]
        keep = [self._kept.path_to_write(number, position.round + 1) for number in numbers]
        return self._roster.work(position.round, lane, Files(places, kept, keep), attending)

    def _rows_of(self, client: str, changes: tuple[int, ...]) -> Place:
        """Returns where a client's rows are, or what a scenario makes of them, written when it is first asked."""
        if not changes:
            return self._store.places[client]
        name = f"{client}, {changes}"
        if name not in self._store.places:
            (number,) = self._roster.numbers_of([client])
            changed = self._changed(client, self._row_changes(number, changes))
            self._store.add(name, self.label.standardised(changed))
        return self._store.places[name]

    def kept_path(self, client: int, round_: int) -> str:
        """Returns the file of what a client, by its number, kept after a round; "" where clients keep nothing."""
        return self._kept.path(client, round_)

    def _trained(self, position: Position, attending: Attending) -> tuple[Nest, Sums, Array]:
        """Returns the next state, the clients' sums, and the bytes that each of them sent."""
        lanes, work = self.work(position, attending)
        clients, facts = attending.there, self.facts(position.round, attending.masks)
        with refusals.in_one_line("training"):
            state, reports = self.prepared.runtime.next(position.state, facts, work)
        names = self.prepared.program.way.report_names
        sums, sent = np.empty((len(clients), len(names)), np.float32), np.empty(len(clients), np.int64)
        for lane, report in zip(lanes, reports, strict=True):
            sums[lane], sent[lane] = report.sums, report.sent
        told = {name: sums[:, column] for column, name in enumerate(names)}
        if not self.label.is_plain:  # both are squared errors then
            told |= {name: told[name] * np.float32(self.label.scale**2) for name in ("loss", "hits") if name in told}
        return state, told, sent

    def bare_state(self, position: Position) -> Nest:
        """Returns the algorithm's own state, without what is kept around it for late clients or a rule's memory."""
        state = position.state
        while isinstance(state, lateness.State | remembering.State):
            state = state.own
        return state

    def weights(self, position: Position) -> Weights:
        """Returns the global model's weights, NumPy arrays."""
        return _numpy(self.prepared.program.algorithm.weights(position.state))

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each client's update in the aggregate, by id; 1 under a rule that counts clients alike."""
        if self.prepared.program.way.aggregator.weighs:
            return self._roster.shares
        return dict.fromkeys(self.clients, 1.0)

    @property
    def weights_bytes(self) -> int:
        """The size of the weights that training changes."""
        return weight_ops.byte_count(self.initial)

    @property
    def is_personal(self) -> bool:
        """Whether clients have weights of their own at evaluation."""
        return self.prepared.program.algorithm.personal is not None

    @property
    def is_whole(self) -> bool:
        """Whether clients send an update of all weights; else the global model lacks what stays with them."""
        sent = self.prepared.program.way.payload.update
        return [len(part) for part in sent] == [len(part) for part in self.initial]

    def own_weights(self, position: Position, client: str) -> Weights:
        """Returns the weights that a client uses; the global model's where it has none of its own."""
        personal = self.prepared.program.algorithm.personal
        if personal is None or client not in self.clients:
            return self.weights(position)
        (number,) = self._roster.numbers_of([client])
        return _numpy(personal(position.state, self._kept.read(number, position.kept.get(number)).own))

    def predict(self, weights: Weights, x: Inputs) -> Array:
        """Returns a model's predictions for rows: [n] means, or [n, classes] probabilities."""
        return self.label.in_units(self.prepared.predict(weights, x))

    def check(self, position: Position, sha256: str) -> None:
        """Raises a UserError where what the clients kept at a position is gone or damaged."""
        self._kept.check(position.kept, sha256)

    def kept_sha256(self, position: Position) -> str:
        """Returns a SHA-256 of what the clients kept at a position."""
        return self._kept.sha256(position.kept)

    def secure(self, positions: Sequence[Position]) -> None:
        """Puts on the disk what clients kept at these positions."""
        for position in positions:
            self._kept.sync(position.kept)

    def forget_others(self, positions: Sequence[Position]) -> None:
        """Removes what clients kept but at these positions."""
        self._kept.keep_only([position.kept for position in positions])

    def save_model(self, path: pathlib.Path, weights: Weights) -> str | None:
        """Writes the Keras model, which predicts in units; returns the file's name, or None when Keras cannot."""
        set_model_weights(self.prepared.model, weights)
        return saving.save(self.prepared.model, self.label, path)

    @property
    def variable_names(self) -> list[str]:
        """Names of the weights' variables, in order."""
        model = self.prepared.model
        return [v.name for v in [*model.trainable_variables, *moving_variables(model)]]

    def close(self) -> None:
        """Removes the clients' files; may be called twice."""
        self._store.close()
        self._kept.close()


def _numpy(values: Nest) -> Nest:
    return tf.nest.map_structure(np.asarray, values)
