"""Puts the pieces of a run together: model, algorithm, client files, runtime and evaluator. Imports TensorFlow."""

import contextlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedmed.data.clients import Clients
from fedmed.data.store import ClientStore, layout
from fedmed.engine import attendance
from fedmed.engine.evaluation import Evaluator
from fedmed.learning import algorithms
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Training
from fedmed.learning.lane import Work
from fedmed.learning.learner import Learner, moving_variables, scaled
from fedmed.learning.objective import objective
from fedmed.learning.program import Program, model_weights, record_lane, set_model_weights
from fedmed.learning.values import Weights
from fedmed.models import Spec, building, refusals
from fedmed.settings import config
from fedmed.system import seeds


class Setup(NamedTuple):
    """What a run needs of TensorFlow.

    Attributes:
        runtime: runs rounds; see `fedmed.engine.runtimes`.
        evaluator: scores weights.
        train: (state, round, learning rate, cohort) -> (state, reports [cohort, len(REPORT)] in cohort order).
        learning_rate: round -> the clients' learning rate.
        save_model: (path, weights) writes the Keras model; returns its name, or None when Keras cannot save it.
        variable_names: of all weights, in order.
        weight_bytes: size of the weights that travel, float32.
        close: removes the clients' files.
    """

    runtime: Any
    evaluator: Evaluator
    train: Callable[[Any, int, float, Sequence[str]], tuple[Any, np.ndarray]]
    learning_rate: Callable[[int], float]
    save_model: Callable[[pathlib.Path, Weights], str | None]
    variable_names: list[str]
    weight_bytes: int
    close: Callable[[], None]


def set_up(settings: config.RunConfig, clients: Clients, worker: Any) -> Setup:
    """Builds and checks the model, writes the clients' files and makes the runtime.

    Raises:
        ConfigError: the model or algorithm is unknown, or an argument of it is wrong.
        ModelError: the model cannot be built or does not fit the data.
    """
    one_thread_an_operation()
    spec = spec_of(clients)
    build = building.builder(settings.model.name, settings.model.args, spec)
    sample = sample_of(clients)
    model = building.build_checked(build, spec, sample, init_seed(settings.seed))
    task_objective = objective(spec.task, building.output_scale(model, spec, sample))
    training = Training(settings.client, settings.server)
    algorithm = algorithms.checked(settings.algorithm.name, settings.algorithm.args)(training)
    initial = model_weights(model)
    learner = Learner(model, task_objective)
    # XLA compiles once for each batch size, which full batches make as many as clients.
    fuse = settings.runtime.name == "local" and settings.client.batch_size != "full"
    fields, clip_norm = layout(next(iter(clients.train.values()))), settings.aggregation.clip_norm
    lane = record_lane(learner, algorithm, fields, clip_norm, initial, fuse)
    runtime = _runtime(settings, Program(algorithm, lane, initial), worker)
    evaluator = Evaluator(learner, clients, settings.evaluation.batch_size, settings.runtime.lanes)
    store = ClientStore(clients.train)  # last, so that nothing is left behind when the above fails
    return Setup(
        runtime=runtime,
        evaluator=evaluator,
        train=Rounds(settings, clients, store, runtime).train,
        learning_rate=algorithm.learning_rate,
        save_model=lambda path, weights: _save(model, path, weights),
        variable_names=[v.name for v in [*model.trainable_variables, *moving_variables(model)]],
        weight_bytes=weight_ops.byte_count(initial),
        close=store.close,
    )


def sample_of(clients: Clients) -> Any:
    """Returns a few training rows, as the model will get them."""
    few = np.arange(min(64, len(next(iter(clients.train.values())))))
    return scaled(tf.nest.map_structure(tf.constant, next(iter(clients.train.values())).take(few).x))


def spec_of(clients: Clients) -> Spec:
    """Returns the shape of the problem."""
    x = next(iter(clients.train.values())).x
    inputs = x.shape[1:] if isinstance(x, np.ndarray) else {name: part.shape[1:] for name, part in x.items()}
    return Spec(inputs, clients.dataset.task, clients.dataset.classes)


def one_thread_an_operation() -> None:
    """Several clients at once, one thread each, beat one client on several threads; too late when TensorFlow runs."""
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)


def init_seed(seed: int) -> int:
    """Returns the seed of the initial weights."""
    return int(seeds.generator(seed, "init").integers(2**31 - 1))


def _runtime(settings: config.RunConfig, program: Program, worker: Any) -> Any:
    if settings.runtime.name == "local":
        from fedmed.engine.runtimes.local import LocalRuntime

        return LocalRuntime(program, settings.runtime.lanes)
    from fedmed.engine.runtimes.tff import TffRuntime

    return TffRuntime(program, worker)


class Rounds:
    """Turns a cohort into lanes of work, and the lanes' reports back into the cohort's order."""

    def __init__(self, settings: config.RunConfig, clients: Clients, store: ClientStore, runtime: Any) -> None:
        self._settings, self._runtime, self._store = settings, runtime, store
        self._rows = {client: len(rows) for client, rows in clients.train.items()}
        self._numbers = {client: number for number, client in enumerate(clients.train)}

    def train(self, state: Any, round_: int, rate: float, cohort: Sequence[str]) -> tuple[Any, np.ndarray]:
        """Runs one round."""
        lanes = attendance.lanes([self._steps(client) for client in cohort], self._settings.runtime.lanes)
        work = [self._work(round_, [cohort[position] for position in lane]) for lane in lanes]
        with refusals.in_one_line("training"):
            state, outputs = self._runtime.next(state, rate, work)
        reports = np.empty((len(cohort), outputs[0].shape[1]), np.float32)
        for lane, output in zip(lanes, outputs, strict=True):
            reports[lane] = output
        return state, reports

    def _steps(self, client: str) -> int:
        local, rows = self._settings.client, self._rows[client]
        batch = rows if local.batch_size == "full" else local.batch_size
        return (local.steps or local.epochs * -(-rows // batch)) * batch

    def _work(self, round_: int, lane: Sequence[str]) -> Work:
        uniform = self._settings.aggregation.weighting == "uniform"
        rows = np.array([self._rows[client] for client in lane], np.int32)
        seed = self._settings.seed
        return Work(
            np.array([str(self._store.paths[client]) for client in lane], dtype=object),
            rows,
            np.stack([seeds.pair(seed, "client", round_, self._numbers[client]) for client in lane]),
            np.ones(len(lane), np.float32) if uniform else rows.astype(np.float32),
        )


def _save(model: tf.keras.Model, path: pathlib.Path, weights: Weights) -> str | None:
    set_model_weights(model, weights)
    temporary = path.with_name(f".{path.name}.keras")
    try:
        model.save(temporary)
    except Exception:  # Keras cannot save every subclassed model; the weights are in weights.npz all the same
        temporary.unlink(missing_ok=True)
        return None
    temporary.replace(path)
    return path.name
