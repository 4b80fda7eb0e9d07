"""A run from settings to a run directory: sample, train a round, evaluate, log, checkpoint."""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fedmed.engine import checkpoints, checks, attendance
from fedmed.settings import config
from fedmed.system import machine
from fedmed.runs.directory import RunDirectory, checksum
from fedmed.data.clients import Clients
from fedmed.statistics import metrics

SCHEMA = 1
_CLIENTS_IN_EVERY_ROUND = 50  # with more clients than this, their scores are kept for the final and best rounds only


class Observer(Protocol):
    """Is told of each round as it is done (a progress bar, an event log)."""

    def start(self, total_rounds: int, done: int) -> None: ...

    def round(self, record: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Runtime(Protocol):
    """Where rounds run; see `fedmed.engine.runtimes`."""

    def initialize(self) -> Any: ...

    def next(self, state: Any, learning_rate: float, lanes: Sequence[Any]) -> tuple[Any, list[np.ndarray]]: ...


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
    settings = resolved(settings)
    clients = checks.check(settings)
    size = attendance.cohort_size(settings.cohort, len(clients.train))
    directory = RunDirectory(out, settings, resume=resume, overwrite=overwrite)
    with contextlib.closing(directory), _worker(settings, out) as worker:
        return _Run(settings, clients, size, directory, worker).complete(observers)


def resolved(settings: config.RunConfig) -> config.RunConfig:
    """Fixes what was left to the machine (the number of lanes), so that the same config repeats the same bits."""
    if settings.runtime.lanes:
        return settings
    lanes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return dataclasses.replace(settings, runtime=dataclasses.replace(settings.runtime, lanes=lanes))


@contextlib.contextmanager
def _worker(settings: config.RunConfig, out: pathlib.Path) -> Iterator[Any]:
    """Starts TFF's worker early, so that it gets ready while TensorFlow is imported, and ends it whatever happens."""
    if settings.runtime.name != "tff":
        yield None
        return
    from fedmed.engine.runtimes.worker import Worker

    worker = Worker(settings.runtime.lanes, out / "worker.log")
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


class _Run:
    """One run's moving parts; it lives as long as `run`."""

    def __init__(
        self, settings: config.RunConfig, clients: Clients, size: int, directory: RunDirectory, worker: Any
    ) -> None:
        from fedmed.engine import training  # imports TensorFlow, so only now

        self.settings, self.clients, self.directory = settings, clients, directory
        self.ids, self.size = list(clients.train), size
        self.metric = metrics.metric(clients.dataset.task, primary_metric(settings, clients.dataset.task))
        self.setup = training.set_up(settings, clients, worker)
        directory.claim()
        self.facts: dict[str, Any] = {"best_round": 0, "best_value": None, "stale": 0, "refused": {}, "seconds": 0.0}
        self.records: list[dict[str, Any]] = []

    def complete(self, observers: Sequence[Observer]) -> dict[str, Any]:
        """Runs all rounds that are not done yet and writes the results."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.setup.close)
            for observer in observers:
                stack.callback(observer.close)
            progress = checkpoints.load(self.directory.folder)
            state = self._begin() if progress is None else self._continue(progress)
            for observer in observers:
                observer.start(self.settings.rounds, int(state.round))
                for record in self.records if progress is None else []:
                    observer.round(record)
            state = self._rounds(state, observers)
            return self._finish(state)

    def _begin(self) -> Any:
        self.directory.keep_rounds(-1)
        state = self.setup.runtime.initialize()
        self.best = state.weights
        record = self._record(0, None, [], None, 0.0)
        self._score(record, state)
        self._log(record)
        return state

    def _continue(self, progress: checkpoints.Progress) -> Any:
        self.facts, self.best = progress.facts, progress.best
        self.records = self.directory.keep_rounds(int(progress.state.round))
        return progress.state

    def _rounds(self, state: Any, observers: Sequence[Observer]) -> Any:
        while int(state.round) < self.settings.rounds and not self._stopped():
            state, record = self._round(state)
            number, last = int(state.round), int(state.round) == self.settings.rounds
            if number % self.settings.evaluation.every == 0 or last:
                self._score(record, state)
            self._log(record)
            if number % self.settings.checkpoint.every == 0 or last or self._stopped():
                self._save(state)
            for observer in observers:
                observer.round(record)
        return state

    def _round(self, state: Any) -> tuple[Any, dict[str, Any]]:
        number = int(state.round)
        cohort = attendance.cohort(self.settings.seed, number, self.ids, self.size)
        rate = self.setup.learning_rate(number)
        began = time.perf_counter()
        state, reports = self.setup.train(state, number, rate, cohort)
        seconds = time.perf_counter() - began
        self.facts["seconds"] += seconds
        return state, self._record(number + 1, rate, cohort, reports, seconds)

    def _record(
        self, number: int, rate: float | None, cohort: list[str], reports: np.ndarray | None, seconds: float
    ) -> dict[str, Any]:
        """Makes a line of rounds.jsonl; sums become means only here, over the clients whose update was used."""
        refused: list[str] = []
        train, examples = None, 0
        if reports is not None:
            used = reports[:, 4] > 0
            refused = [client for client, ok in zip(cohort, used, strict=True) if not ok]
            for client in refused:
                self.facts["refused"][client] = self.facts["refused"].get(client, 0) + 1
            examples = int(reports[used, 0].sum())
            hits = "accuracy" if self.clients.dataset.classes else "mse"
            loss, right = reports[used, 1].sum(dtype=np.float64), reports[used, 2].sum(dtype=np.float64)
            train = {"loss": loss / examples, hits: right / examples} if examples else None
        return {
            "round": number,
            "learning_rate": rate,
            "cohort": cohort,
            "examples": examples,
            "train": train,
            "refused": refused,
            "test": None,
            "bytes_down": len(cohort) * self.setup.weight_bytes,
            "bytes_up": len(cohort) * self.setup.weight_bytes,
            "seconds": seconds,
            "evaluation_seconds": 0.0,
            "memory_mb": machine.memory_mb(),
        }

    def _score(self, record: dict[str, Any], state: Any) -> None:
        began = time.perf_counter()
        evaluator = self.setup.evaluator
        p = evaluator.predictions(state.weights)
        pooled = evaluator.pooled(p)
        every = evaluator.has_own_rows and len(self.ids) <= _CLIENTS_IN_EVERY_ROUND
        record["test"] = {"pooled": pooled, "clients": evaluator.clients(p) if every else None}
        record["evaluation_seconds"] = time.perf_counter() - began
        self._compare(record["round"], pooled[self.metric.name], state)

    def _compare(self, number: int, value: float | None, state: Any) -> None:
        best = self.facts["best_value"]
        sign = 1 if self.metric.better == "higher" else -1
        if value is not None and (best is None or sign * value > sign * best):
            self.facts |= {"best_round": number, "best_value": value, "stale": 0}
            self.best = state.weights
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

    def _save(self, state: Any) -> None:
        checkpoints.save(self.directory.folder, checkpoints.Progress(state, self.best, self.facts))

    def _finish(self, state: Any) -> dict[str, Any]:
        from fedmed.reporting import curves, page, tensorboard

        names = self.setup.variable_names
        self.directory.write_weights("weights.npz", names, state.weights)
        self.directory.write_weights("weights_best.npz", names, self.best)
        if self.clients.preprocessing is not None:
            self.directory.write_json("preprocessing.json", self.clients.preprocessing.to_json())
        summary = self._summary(state)
        summary["model_file"] = self.setup.save_model(self.directory.folder / "model.keras", state.weights)
        self.directory.write_json("summary.json", summary)
        curves.write_curves(self.records, summary, self.directory.folder)
        page.write_run(summary, self.records, self.directory.folder)
        tensorboard.write_events(self.records, self.directory.folder / "tensorboard")
        return summary

    def _summary(self, state: Any) -> dict[str, Any]:
        data = self.clients.dataset
        return {
            "schema": SCHEMA,
            "name": self.settings.name,
            "task": data.task,
            "metric": self.metric.name,
            "rounds": int(state.round),
            "stopped": self._stopped() or "rounds",
            "seconds": self.facts["seconds"],
            "final": self._result(int(state.round), state.weights),
            "best": self._result(self.facts["best_round"], self.best),
            "test": self.setup.evaluator.how,
            "traffic": {way: sum(record[way] for record in self.records) for way in ("bytes_down", "bytes_up")},
            "refused": self.facts["refused"],
            "parameters": self.setup.weight_bytes // 4,
            "weights_bytes": self.setup.weight_bytes,
            "weights_sha256": checksum(state.weights),
            "seed": self.settings.seed,
            "data": {"name": data.name, "checksums": data.checksums()},
            "versions": machine.versions(),
        }

    def _result(self, number: int, weights: Any) -> dict[str, Any]:
        evaluator = self.setup.evaluator
        p = evaluator.predictions(weights)
        scores, reasons = evaluator.clients(p), evaluator.undefined(p)
        clients = {
            client: {
                "train_rows": len(self.clients.train[client]),
                "test_rows": len(self.clients.test[client]) if client in self.clients.test else 0,
                **scores.get(client, {}),
                "undefined": reasons.get(client, {}),
            }
            for client in self.ids
        }
        return {"round": number, "pooled": evaluator.pooled(p), "clients": clients}


def primary_metric(settings: config.RunConfig, task: str) -> str:
    """Returns the metric that decides the best round and when to stop."""
    return settings.stop.metric or {"binary": "auroc", "multiclass": "accuracy"}.get(task, "loss")
