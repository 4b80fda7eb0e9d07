"""A run from settings to a run directory: rounds of a federation, scored, logged and saved as they are done."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fedmed.data import faults
from fedmed.data.clients import Clients
from fedmed.data.faults import Fault
from fedmed.engine import attendance, checks, identity
from fedmed.engine.runtimes.starting import working
from fedmed.runs import account
from fedmed.runs.best import Best
from fedmed.runs.directory import RunDirectory, lanes_of, sha256_of
from fedmed.runs.summary import RoundRecord, RoundTest
from fedmed.settings import config
from fedmed.statistics import metrics
from fedmed.system import errors, plain

if TYPE_CHECKING:
    from fedmed.engine.federation import Position

_CLIENTS_IN_EVERY_ROUND = 50  # with more clients than this, their scores are kept for the final and best rounds only


class Observer(Protocol):
    """Is told of each round as it is done (a progress bar, an event log)."""

    def start(self, total_rounds: int, done: int) -> None: ...

    def round(self, record: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


def run(
    settings: config.RunConfig,
    out: pathlib.Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    tell: Callable[[Sequence[Fault]], None] | None = None,
) -> dict[str, Any]:
    """Runs an experiment and returns its summary (see README for the files it leaves in `out`).

    `tell` is told once, before the first round, what is probably wrong with the data.

    Raises:
        UserError: a setting, the data or the model cannot be used; nothing has been written then.
    """
    settings = attendance.with_lanes(settings, lanes_of(out) if resume else 0)
    clients = checks.check(settings)
    directory = RunDirectory(out, settings, resume=resume, overwrite=overwrite)
    with contextlib.closing(directory), working(settings, out / "worker.log") as worker:
        prepared = _Run(settings, clients, directory, worker, resume)
        return prepared.complete(observers, tell)


class _Run:
    """One run's moving parts; it lives as long as `run`."""

    def __init__(
        self, settings: config.RunConfig, clients: Clients, directory: RunDirectory, worker: Any, resume: bool
    ) -> None:
        from fedmed.engine.checkpoints import Checkpoints  # these import TensorFlow, so only now
        from fedmed.engine.evaluation import Evaluator
        from fedmed.engine.federation import Federation

        task = clients.dataset.task
        self.clients, self.directory, self.resume = clients, directory, resume
        metric = metrics.metric(task, primary_metric(settings, task))
        self.best = Best(metric, settings.stop, latest=settings.privacy.is_on)
        told = identity.settings_of(settings, stop={"metric": metric.name})
        whole = identity.completed(told, clients.dataset.checksums(), identity.code_of(settings))
        folder = directory.folder
        self.federation = Federation(settings, clients.dataset, clients.train, worker=worker, folder=folder / "kept")
        self.settings = dataclasses.replace(settings, rounds=self.federation.settings.rounds)
        self.planned = settings.rounds
        self.checkpoints = Checkpoints(folder / "checkpoint.bin", whole, self.federation)
        self.evaluator = Evaluator(self.federation, clients)
        self.best_position = self.federation.start()
        self.facts: dict[str, Any] = {"refused": {}, "seconds": 0.0}
        self.records: list[dict[str, Any]] = []

    def complete(
        self, observers: Sequence[Observer], tell: Callable[[Sequence[Fault]], None] | None = None
    ) -> dict[str, Any]:
        """Runs all rounds that are not done yet and writes the results; for `tell` see `run`."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.federation.close)
            for observer in observers:
                stack.callback(observer.close)
            position = self._saved() if self.resume else None
            if tell is not None:  # only now, since what is refused is told in one line
                tell(faults.found(self.clients.dataset))
            is_new = position is None
            self.directory.claim()
            self.directory.keep_rounds(self.records)
            position = self._begun() if position is None else position
            for observer in observers:
                observer.start(self.settings.rounds, position.round)
                for record in self.records if is_new else []:
                    observer.round(record)
            return self._finish(self._rounds(position, observers))

    def _begun(self) -> Position:
        """Returns the start, scored and on record; saved where no round follows, as nothing is saved later."""
        self._log(self._scored(account.untrained(), self.best_position))
        if self.best.stopped or not self.settings.rounds:
            self._save(self.best_position)
        return self.best_position

    def _saved(self) -> Position | None:
        """Returns the position of the newest checkpoint of which all rounds are on record; None where none was saved.

        Raises:
            UserError: there is a run to go on with, but it cannot be gone on with.
        """
        records, undamaged = self.directory.records(), 0
        for saved in self.checkpoints.saved():
            position, undamaged = saved.positions["last"], undamaged + 1
            done = records[: position.round + 1]
            if sha256_of(done) == saved.facts.pop("rounds_sha256"):
                self._check_rounds(position.round)
                self.best_position = saved.positions["best"]
                self.best.restore(saved.facts.pop("best"))
                self.facts, self.records = saved.facts, done
                return position
        if self.checkpoints.files():
            why = "rounds.jsonl lacks rounds or is damaged" if undamaged else "its checkpoints are damaged"
        elif (
            len(records) > (self.directory.earlier or self.settings).checkpoint.every + 1
            or (self.directory.folder / "summary.json").exists()
        ):
            why = "its checkpoint is gone"
        else:
            return None
        where = self.directory.folder
        raise errors.UserError(f"{where}: cannot resume: {why}; {errors.OVERWRITE} starts anew")

    def _check_rounds(self, done: int) -> None:
        if self.planned < done:
            where = self.directory.folder
            raise errors.ConfigError(
                f"{where}: cannot resume: rounds is {self.planned}, and {done} are done; allowed: rounds >= {done}"
            )

    def _rounds(self, position: Position, observers: Sequence[Observer]) -> Position:
        for done in self.federation.rounds(position) if not self.best.stopped else ():
            position, number = done.position, done.position.round
            record = account.record(done, self.clients.dataset.classes, self.federation.promises)
            self._count(record)
            last = number == self.settings.rounds
            if number % self.settings.evaluation.every == 0 or last:
                record = self._scored(record, position)
            self._log(record)
            stopped = self.best.stopped
            if number % self.settings.checkpoint.every == 0 or last or stopped:
                self._save(position)
            for observer in observers:
                observer.round(self.records[-1])
            if stopped:
                break
        return position

    def _count(self, record: RoundRecord) -> None:
        self.facts["seconds"] += record.seconds or 0.0
        for client in record.refused:
            self.facts["refused"][client] = self.facts["refused"].get(client, 0) + 1

    def _scored(self, record: RoundRecord, position: Position) -> RoundRecord:
        """Returns the record with scores, and takes note of the best."""
        began, evaluator = time.perf_counter(), self.evaluator
        p = evaluator.predictions(position)
        pooled = evaluator.pooled(p)
        every = evaluator.has_own_rows and len(self.federation.clients) <= _CLIENTS_IN_EVERY_ROUND
        scores = evaluator.clients(p) if every else None
        test = RoundTest(pooled, None if scores is None else account.over_clients(self.clients, scores), scores)
        if self.best.improves(record.round, pooled[self.best.metric.name]):
            self.best_position = position
        return dataclasses.replace(record, test=test, evaluation_seconds=time.perf_counter() - began)

    def _log(self, record: RoundRecord) -> None:
        self.records.append(plain.to_plain(record))
        self.directory.append_round(self.records[-1])

    def _save(self, position: Position) -> None:
        from fedmed.engine.checkpoints import Saved

        positions = {"last": position, "best": self.best_position}
        self.directory.sync_rounds()
        facts = {**self.facts, "best": self.best.to_facts(), "rounds_sha256": self.directory.rounds_sha256}
        self.checkpoints.save(Saved(positions, facts))

    def _preprocessing(self) -> dict[str, Any]:
        """Returns how columns and label were scaled, {} where neither was."""
        table, label = self.clients.preprocessing, self.federation.label
        scaled = {} if label.is_plain else {"label": dataclasses.asdict(label)}
        return {**({} if table is None else table.to_json()), **scaled}

    def _finish(self, position: Position) -> dict[str, Any]:
        from fedmed.reporting import curves, page, tensorboard

        federation, folder, names = self.federation, self.directory.folder, self.federation.variable_names
        final = federation.weights(position)
        self.directory.write_weights("weights.npz", names, final)
        self.directory.write_weights("weights_best.npz", names, federation.weights(self.best_position))
        if recorded := self._preprocessing():
            self.directory.write_json("preprocessing.json", recorded)
        found = account.summary(
            self.settings,
            self.clients,
            federation,
            self.evaluator,
            last=position,
            best=self.best_position,
            records=self.records,
            facts=self.facts,
            metric=self.best.metric.name,
            stopped=self.best.stopped or ("rounds" if self.settings.rounds == self.planned else "budget"),
            model_file=federation.save_model(folder / "model.keras", final),
        )
        summary = plain.checked(found)
        self.directory.write_json("summary.json", summary)
        curves.write_curves(self.records, summary, folder)
        page.write_run(summary, self.records, folder)
        tensorboard.write_events(self.records, folder / "tensorboard")
        return summary


def primary_metric(settings: config.RunConfig, task: str) -> str:
    """Returns the metric that decides the best round and when to stop."""
    usual = {"binary": "auroc", "multiclass": "accuracy", "count": "deviance"}
    return settings.stop.metric or usual.get(task, "loss")
