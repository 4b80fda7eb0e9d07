"""Trains a job's model in this process: tracing once for all models of a shape, then rounds only. Uses TensorFlow."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedmed.data.clients import Clients
from fedmed.data.examples import Array, Examples, joined
from fedmed.data.store import ClientStore
from fedmed.engine import attendance, training
from fedmed.engine.runtimes.local import LocalRuntime
from fedmed.learning import algorithms
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm
from fedmed.learning.learner import Learner
from fedmed.learning.objective import objective
from fedmed.learning.predictor import Predictor
from fedmed.learning.program import Program, model_weights, record_lane
from fedmed.learning.values import ServerState, Weights
from fedmed.models import building
from fedmed.settings import config
from fedmed.statistics import metrics
from fedmed.study.consortium import Consortium, Material
from fedmed.study.plan import Job
from fedmed.study.results import Result

_MOST_POINTS = 100  # of a curve
_ROWS_AT_ONCE = 10_000


class Traced(NamedTuple):
    """A computation that serves every model of the same settings and shapes."""

    runtime: LocalRuntime
    algorithm: Algorithm
    predict: Predictor


class Trainer:
    """Trains jobs one after another on the same hospitals; nothing of a job but its traced program stays."""

    def __init__(self, consortium: Consortium, traced: dict[str, Traced]) -> None:
        training.one_thread_an_operation()
        self._consortium = consortium
        self._traced = traced  # shared with trainers of other hospitals

    def run(self, job: Job) -> Result:
        """Trains and tests a job's model.

        Raises:
            UserError: the model or the algorithm does not fit.
        """
        mode = job.settings.data.preprocessing
        material = self._consortium.material(
            job.kind, job.settings.seed, mode, job.hospital, members=job.members, share=job.share
        )
        settings = _settings(job, len(material.train), len(job.members or self._consortium.hospitals))
        clients = Clients(self._consortium.dataset, material.train, {}, None, {}, None)
        with contextlib.closing(ClientStore(clients.train)) as store:
            return _Training(self, job, settings, clients, store, material).complete()

    def traced(self, settings: config.RunConfig, clients: Clients, layout: Sequence[Any]) -> tuple[Traced, Weights]:
        """Returns the computation for these settings and shapes, and the initial weights by the settings' seed."""
        spec = training.spec_of(clients)
        build = building.builder(settings.model.name, settings.model.args, spec)
        sample = training.sample_of(clients)
        model = building.build_checked(build, spec, sample, training.init_seed(settings.seed))
        initial = model_weights(model)
        key = _key(settings, spec, layout)
        if key not in self._traced:
            local = algorithms.checked(settings.algorithm.name, settings.algorithm.args)
            algorithm = local(training.Training(settings.client, settings.server))
            learner = Learner(model, objective(spec.task, building.output_scale(model, spec, sample)))
            lane = record_lane(learner, algorithm, layout, settings.aggregation.clip_norm, initial, True)
            runtime = LocalRuntime(Program(algorithm, lane, initial), 1)
            self._traced[key] = Traced(runtime, algorithm, Predictor(learner, _ROWS_AT_ONCE, 1))
        return self._traced[key], initial


def _key(settings: config.RunConfig, *shapes: Any) -> str:
    tree = config.to_tree(settings)
    parts = [tree[name] for name in ("model", "algorithm", "client", "server", "aggregation")]
    return json.dumps([parts, [repr(shape) for shape in shapes]], sort_keys=True)


def _settings(job: Job, clients: int, members: int) -> config.RunConfig:
    """Returns the settings of a training: a model of one client is trained by it in every round.

    Where a client's steps are fixed, pooled training takes the steps of all the clients that a round would have had,
    so that it sees as many rows.
    """
    settings = dataclasses.replace(job.settings, seed=job.training_seed, runtime=config.Runtime("local", 1))
    size = settings.cohort.size
    cohort = dataclasses.replace(settings.cohort, size=None if size is None else min(size, clients))
    if job.kind == "pooled" and settings.client.steps is not None:
        together = settings.client.steps * min(
            members, attendance.cohort_size(settings.cohort, max(members, size or 1))
        )
        settings = dataclasses.replace(settings, client=dataclasses.replace(settings.client, steps=together))
    return dataclasses.replace(settings, cohort=config.Cohort() if clients == 1 else cohort)


class _Training:
    """One model's training; it lives as long as `Trainer.run`."""

    def __init__(
        self,
        trainer: Trainer,
        job: Job,
        settings: config.RunConfig,
        clients: Clients,
        store: ClientStore,
        material: Material,
    ) -> None:
        self._trainer, self._job, self._settings = trainer, job, settings
        self._clients, self._store, self._test = clients, store, material.test
        self._task, self._seconds = clients.dataset.task, 0.0
        self._scored = [
            number
            for number, name in enumerate(self._test)
            if job.kind not in ("local", "leave_one_out") or name == job.hospital
        ]
        self._all_rows = joined(list(self._test.values()))
        self._ends = np.cumsum([len(part) for part in self._test.values()])

    def complete(self) -> Result:
        settings, rounds, curve = self._settings, [0], []
        traced, initial = self._trainer.traced(settings, self._clients, self._store.layout)
        state = _state(traced.algorithm, initial)
        curve.append(self._scores(self._predictions(traced, state.weights)))
        every = max(settings.evaluation.every, -(-settings.rounds // _MOST_POINTS))
        for done in range(1, settings.rounds + 1):
            state = self._round(traced, state, settings, None)
            if done % every == 0 or done == settings.rounds:
                rounds.append(done)
                curve.append(self._scores(self._predictions(traced, state.weights)))
        if self._job.kind == "fine_tuned":
            predictions = self._fine_tuned(state.weights)
        else:
            predictions = self._predictions(traced, state.weights)
        size = weight_ops.byte_count(initial)
        return Result(predictions, np.array(rounds), np.array(curve, np.float32), self._seconds, size)

    def _round(self, traced: Traced, state: ServerState, settings: config.RunConfig, only: str | None) -> ServerState:
        began, number, ids = time.perf_counter(), int(state.round), list(self._clients.train)
        size = attendance.cohort_size(settings.cohort, len(ids))
        cohort = [only] if only is not None else attendance.cohort(settings.seed, number, ids, size)
        work = training.Rounds(settings, self._clients, self._store, traced.runtime)
        state, _ = work.train(state, number, traced.algorithm.learning_rate(number), cohort)
        self._seconds += time.perf_counter() - began
        return state

    def _fine_tuned(self, weights: Weights) -> list[Array]:
        """Returns each hospital's predictions by the model trained further there, with plain local epochs."""
        local = dataclasses.replace(self._settings.client, epochs=1, steps=None)
        settings = dataclasses.replace(
            self._settings,
            algorithm=config.Algorithm(),
            client=local,
            server=config.Server(),
            aggregation=config.Aggregation(),
        )
        traced, _ = self._trainer.traced(settings, self._clients, self._store.layout)
        found = []
        for number, hospital in enumerate(self._test):
            state = _state(traced.algorithm, weights)
            state = state._replace(round=np.int32(self._settings.rounds))  # for shuffling unlike any round before
            for _ in range(self._job.fine_tune_epochs):
                state = self._round(traced, state, settings, hospital)
            found.append(self._predictions(traced, state.weights)[number])
        return found

    def _predictions(self, traced: Traced, weights: Weights) -> list[Array]:
        return np.split(traced.predict(weights, self._all_rows.x), self._ends[:-1])

    def _scores(self, predictions: Sequence[Array]) -> list[float]:
        """Returns the metric at each hospital and over all; NaN where it is not defined or withheld."""
        tests: Mapping[str, Examples] = self._test
        one = {number: _score(self._task, self._job.metric, part.y, predictions[number])
               for number, part in enumerate(tests.values()) if number in self._scored}  # fmt: skip
        all_ = float("nan")
        if len(self._scored) == len(tests):
            all_ = _score(self._task, self._job.metric, self._all_rows.y, np.concatenate(predictions))
        return [*(one.get(number, float("nan")) for number in range(len(tests))), all_]


def _score(task: Any, name: str, y: Array, p: Array) -> float:
    if metrics.undefined(task, y, p).get(name):
        return float("nan")
    return float(metrics.score(task, name, y, p))


def _state(algorithm: Algorithm, weights: Weights) -> ServerState:
    state = algorithm.initial_state(weight_ops.map_weights(tf.constant, weights))
    return tf.nest.map_structure(lambda t: t.numpy(), state)
