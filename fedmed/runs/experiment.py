"""A run from settings to a run directory: rounds of a federation, scored, logged and saved as they are done."""

import contextlib
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fedmed.data.clients import Clients
from fedmed.engine import attendance, checks, identity
from fedmed.engine.runtimes.worker import working
from fedmed.runs.directory import RunDirectory, checksum
from fedmed.settings import config
from fedmed.statistics import metrics
from fedmed.system import errors, machine

SCHEMA = 1
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
) -> dict[str, Any]:
    """Runs an experiment and returns its summary (see README for the files it leaves in `out`).

    Raises:
        UserError: a setting, the data or the model cannot be used; nothing has been written then.
    """
    settings = attendance.with_lanes(settings)
    clients = checks.check(settings)
    attendance.cohort_size(settings.cohort, len(clients.train))
    directory = RunDirectory(out, settings, resume=resume, overwrite=overwrite)
    with contextlib.closing(directory), working(settings, out / "worker.log") as worker:
        return _Run(settings, clients, directory, worker, resume).complete(observers)


class _Run:
    """One run's moving parts; it lives as long as `run`."""

    def __init__(
        self, settings: config.RunConfig, clients: Clients, directory: RunDirectory, worker: Any, resume: bool
    ) -> None:
        from fedmed.engine.checkpoints import Checkpoints  # these import TensorFlow, so only now
        from fedmed.engine.evaluation import Evaluator
        from fedmed.engine.federation import Federation

        task = clients.dataset.task
        self.settings, self.clients, self.directory, self.resume = settings, clients, directory, resume
        self.metric = metrics.metric(task, primary_metric(settings, task))
        folder = directory.folder
        told = identity.settings_of(settings, stop={"metric": self.metric.name})
        whole = identity.completed(told, clients.dataset.checksums(), identity.code_of(settings))
        self.checkpoints = Checkpoints(folder / "checkpoint.bin", whole)
        self.federation = Federation(settings, clients.dataset, clients.train, worker=worker, folder=folder / "kept")
        self.evaluator = Evaluator(self.federation, clients)
        self.facts: dict[str, Any] = {"best_round": 0, "best_value": None, "stale": 0, "refused": {}, "seconds": 0.0}
        self.records: list[dict[str, Any]] = []

    def complete(self, observers: Sequence[Observer]) -> dict[str, Any]:
        """Runs all rounds that are not done yet and writes the results."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.federation.close)
            for observer in observers:
                stack.callback(observer.close)
            start = self.federation.start()
            saved = self._saved(start.state) if self.resume else None
            self.directory.claim()
            position = self._begin(start) if saved is None else saved
            for observer in observers:
                observer.start(self.settings.rounds, position.round)
                for record in self.records if saved is None else []:
                    observer.round(record)
            return self._finish(self._rounds(position, observers))

    def _begin(self, position: Any) -> Any:
        self.best = position
        self.directory.keep_rounds([])
        record = _record(0)
        self._score(record, position)
        self._log(record)
        return position

    def _saved(self, like: Any) -> Any:
        """Returns the position of the newest checkpoint of which all rounds are on record; None where none was saved.

        Raises:
            UserError: there is a run to go on with, but it cannot be gone on with.
        """
        records = self.directory.records()
        for saved in self.checkpoints.saved(like):
            position = saved.positions["last"]
            if len(records) > position.round:
                self.federation.check(position)
                self.facts, self.best = saved.facts, saved.positions["best"]
                self.records = records[: position.round + 1]
                self.directory.keep_rounds(self.records)
                return position
        lost = self.checkpoints.files() or len(records) > self.settings.checkpoint.every
        if lost:
            what = "rounds.jsonl lacks rounds or is damaged" if self.checkpoints.files() else "its checkpoint is gone"
            if self.checkpoints.files() and not list(self.checkpoints.saved(like)):
                what = "its checkpoints are damaged"
            raise errors.UserError(f"{self.directory.folder}: cannot resume: {what}; --overwrite starts anew")
        return None

    def _rounds(self, position: Any, observers: Sequence[Observer]) -> Any:
        if self._stopped():
            return position
        for done in self.federation.rounds(position):
            position, number = done.position, done.position.round
            record = self._told(done)
            last = number == self.settings.rounds
            if number % self.settings.evaluation.every == 0 or last:
                self._score(record, position)
            self._log(record)
            stopped = self._stopped()
            if number % self.settings.checkpoint.every == 0 or last or stopped:
                self._save(position)
            for observer in observers:
                observer.round(record)
            if stopped:
                break
        return position

    def _told(self, done: Any) -> dict[str, Any]:
        """Makes a line of rounds.jsonl; sums become means only here, over the clients whose update was used."""
        self.facts["seconds"] += done.seconds
        for client in done.refused:
            self.facts["refused"][client] = self.facts["refused"].get(client, 0) + 1
        train, examples = None, 0
        if done.sums:
            used = done.sums["accepted"] > 0
            examples = int(done.sums["examples"][used].sum())
            hits = "accuracy" if self.clients.dataset.classes else "mse"
            loss, right = (done.sums[name][used].sum(dtype=np.float64) for name in ("loss", "hits"))
            train = {"loss": loss / examples, hits: right / examples} if examples else None
        return _record(done.position.round) | {
            "learning_rate": done.learning_rate,
            "cohort": list(done.cohort),
            "absent": list(done.absent),
            "examples": examples,
            "train": train,
            "refused": list(done.refused),
            "bytes_down": done.bytes_down,
            "bytes_up": done.bytes_up,
            "seconds": done.seconds,
            "memory_mb": machine.memory_mb(),
        }

    def _score(self, record: dict[str, Any], position: Any) -> None:
        began, evaluator = time.perf_counter(), self.evaluator
        p = evaluator.predictions(position)
        pooled = evaluator.pooled(p)
        every = evaluator.has_own_rows and len(self.federation.clients) <= _CLIENTS_IN_EVERY_ROUND
        record["test"] = {"pooled": pooled, "clients": evaluator.clients(p) if every else None}
        record["evaluation_seconds"] = time.perf_counter() - began
        self._compare(record["round"], pooled[self.metric.name], position)

    def _compare(self, number: int, value: float | None, position: Any) -> None:
        best = self.facts["best_value"]
        sign = 1 if self.metric.better == "higher" else -1
        if value is not None and (best is None or sign * value > sign * best):
            self.facts |= {"best_round": number, "best_value": value, "stale": 0}
            self.best = position
        else:
            self.facts["stale"] += 1

    def _stopped(self) -> str | None:
        stop, best = self.settings.stop, self.facts["best_value"]
        sign = 1 if self.metric.better == "higher" else -1
        if stop.target is not None and best is not None and sign * best >= sign * stop.target:
            return "target"
        return "patience" if stop.patience is not None and self.facts["stale"] >= stop.patience else None

    def _log(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        self.directory.append_round(record)

    def _save(self, position: Any) -> None:
        from fedmed.engine.checkpoints import Saved

        self.directory.sync_rounds()
        self.federation.secure([position, self.best])
        self.checkpoints.save(Saved({"last": position, "best": self.best}, self.facts))
        self.federation.forget_others([position, self.best])

    def _finish(self, position: Any) -> dict[str, Any]:
        from fedmed.reporting import curves, page, tensorboard

        federation, names = self.federation, self.federation.variable_names
        final = federation.weights(position)
        self.directory.write_weights("weights.npz", names, final)
        self.directory.write_weights("weights_best.npz", names, federation.weights(self.best))
        if self.clients.preprocessing is not None:
            self.directory.write_json("preprocessing.json", self.clients.preprocessing.to_json())
        summary = self._summary(position)
        summary["model_file"] = federation.save_model(self.directory.folder / "model.keras", final)
        self.directory.write_json("summary.json", summary)
        curves.write_curves(self.records, summary, self.directory.folder)
        page.write_run(summary, self.records, self.directory.folder)
        tensorboard.write_events(self.records, self.directory.folder / "tensorboard")
        return summary

    def _summary(self, position: Any) -> dict[str, Any]:
        data, weights = self.clients.dataset, self.federation.weights(position)
        size = 4 * sum(value.size for value in [*weights.trainable, *weights.moving])
        return {
            "schema": SCHEMA,
            "name": self.settings.name,
            "task": data.task,
            "metric": self.metric.name,
            "rounds": position.round,
            "stopped": self._stopped() or "rounds",
            "seconds": self.facts["seconds"],
            "final": self._result(position),
            "best": self._result(self.best),
            "test": self.evaluator.how,
            "traffic": {way: sum(record[way] for record in self.records) for way in ("bytes_down", "bytes_up")},
            "refused": self.facts["refused"],
            "parameters": size // 4,
            "weights_bytes": size,
            "weights_sha256": checksum(weights),
            "seed": self.settings.seed,
            "data": {"name": data.name, "checksums": data.checksums()},
            "versions": machine.versions(),
        }

    def _result(self, position: Any) -> dict[str, Any]:
        evaluator = self.evaluator
        p = evaluator.predictions(position)
        scores, reasons = evaluator.clients(p), evaluator.undefined(p)
        clients = {
            client: {
                "train_rows": len(self.clients.train[client]),
                "test_rows": len(self.clients.test[client]) if client in self.clients.test else 0,
                **scores.get(client, {}),
                "undefined": reasons.get(client, {}),
            }
            for client in self.federation.clients
        }
        return {"round": position.round, "pooled": evaluator.pooled(p), "clients": clients}


def _record(number: int) -> dict[str, Any]:
    """Returns the record of a round in which nothing was done, such as the evaluation before the first one."""
    return {
        "round": number,
        "learning_rate": None,
        "cohort": [],
        "absent": [],
        "examples": 0,
        "train": None,
        "refused": [],
        "test": None,
        "bytes_down": 0,
        "bytes_up": 0,
        "seconds": 0.0,
        "evaluation_seconds": 0.0,
        "memory_mb": machine.memory_mb(),
    }


def primary_metric(settings: config.RunConfig, task: str) -> str:
    """Returns the metric that decides the best round and when to stop."""
    return settings.stop.metric or {"binary": "auroc", "multiclass": "accuracy"}.get(task, "loss")
