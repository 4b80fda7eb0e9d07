"""Recorded programs, kept for the next federation of the same shape: recording and compiling take seconds."""

import collections
import contextlib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from fedmed import models as package
from fedmed.data.examples import Examples, Task
from fedmed.data.store import layout
from fedmed.engine import attendance, fates, room, tried
from fedmed.engine.runtimes.local import LocalRuntime
from fedmed.engine.runtimes.runtime import Runtime
from fedmed.engine.runtimes.starting import sees_files
from fedmed.learning import aggregators, algorithms
from fedmed.learning.algorithm import Algorithm, Training
from fedmed.learning.learner import Learner, anatomy, fixed_variables, scaled
from fedmed.learning.objective import objective
from fedmed.learning.predictor import Predictor
from fedmed.learning.program import Program, model_weights, recorded
from fedmed.learning.values import Weights
from fedmed.models import Spec, building, refusals
from fedmed.models.spec import KerasModel, models
from fedmed.settings import config, plugins
from fedmed.system import errors, machine, seeds

_MOST = 8
_MOST_BEGINNINGS = 16
_SAMPLE_ROWS = 64


class Prepared(NamedTuple):
    """What serves every federation of the same settings, model and shapes.

    Attributes:
        program: the recorded computation.
        runtime: runs its rounds.
        predict: (weights, x) -> predictions.
        model: the Keras model that was recorded, to be saved with other weights.
        any_value: whether it is for a regression and can return any number, also one below 0, as a standardised label
            is.
    """

    program: Program
    runtime: Runtime
    predict: Predictor
    model: KerasModel
    any_value: bool


class Beginning(NamedTuple):
    """What building a model by a seed has given: its weights, and a checksum of what training leaves alone in it."""

    weights: Weights
    fixed: str


Beginnings: TypeAlias = collections.OrderedDict[tuple[Any, ...], Beginning]
"""What models began from, kept while nobody can change the code that builds them.

Models of one seed begin alike, as all arms of a study do. To build one again would not only take time: seeding
TensorFlow makes it forget every compiled graph, and to compile a round's anew takes as long as ten rounds of a small
model.
"""


class Programs:
    """A cache of what is prepared, the least recently used given up first.

    Args:
        most: how many are kept; each holds a few copies of its weights.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._beginnings: Beginnings = collections.OrderedDict()
        self._prepared: collections.OrderedDict[tuple[Any, ...], Prepared] = collections.OrderedDict()

    def prepare(
        self,
        settings: config.RunConfig,
        task: Task,
        classes: int,
        train: Mapping[str, Examples],
        *,
        worker: Any = None,
        beginnings: Beginnings | None = None,
    ) -> tuple[Prepared, Weights]:
        """Returns what runs the settings on such clients, and the initial weights by the settings' seed.

        Args:
            settings: with `runtime.lanes` given.
            task: of the data.
            classes: of the data.
            train: each client's rows.
            worker: what the runtime works with, already started; see `runtimes.starting`.
            beginnings: where weights are found and left; None builds a model that is not of this package anew.

        Raises:
            ConfigError: the model, algorithm or rule of aggregation is unknown, or an argument of it is wrong; the
                cohort is too small for the rule, or its updates for the memory.
            ModelError: the model cannot be built or does not fit the data.
            AlgorithmError: an algorithm of the user's own fails, or its functions do not fit each other.
        """
        prepared, initial = self._found(settings, task, classes, next(iter(train.values())), worker, beginnings)
        cohort = attendance.cohort_size(settings.cohort, len(train))
        aggregators.check_cohort(settings.aggregation, cohort)
        room.check(settings.aggregation, prepared.program.way, cohort)
        return prepared, initial

    def _found(
        self,
        settings: config.RunConfig,
        task: Task,
        classes: int,
        first: Examples,
        worker: Any,
        beginnings: Beginnings | None,
    ) -> tuple[Prepared, Weights]:
        """Returns what was prepared before, or is now."""
        one_thread_an_operation()
        if beginnings is None and _is_ours(settings):
            beginnings = self._beginnings
        spec = spec_of(first, task, classes)
        start = (_made_by(settings)[0], repr(config.to_tree(settings)["model"]), repr(spec), settings.seed)
        known = None if beginnings is None else beginnings.get(start)
        if known is not None and (key := _key(settings, spec, first, known, worker)) in self._prepared:
            self._prepared.move_to_end(key)
            return self._prepared[key], known.weights
        sample = sample_of(first)
        build = building.builder(settings.model.name, settings.model.args, spec)
        model = building.build_checked(build, spec, sample, init_seed(settings.seed))
        known = Beginning(model_weights(model), _fixed(model))
        key = _key(settings, spec, first, known, worker)
        prepared = self._prepared.get(key) or _prepare(settings, spec, sample, model, first, worker)
        _keep(self._prepared, key, prepared, self._most)
        if beginnings is not None:
            _keep(beginnings, start, known, _MOST_BEGINNINGS)
        return prepared, known.weights


def _key(settings: config.RunConfig, spec: Spec, first: Examples, known: Beginning, worker: Any) -> tuple[Any, ...]:
    """Returns what a program is recorded for."""
    fields = layout(first, patients=settings.privacy.unit == "patient")
    return (*_made_by(settings), id(worker), repr(spec), fields, known.fixed, _told(settings))


def _keep(cache: collections.OrderedDict[tuple[Any, ...], Any], key: tuple[Any, ...], value: Any, most: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)


def _prepare(
    settings: config.RunConfig, spec: Spec, sample: Any, model: KerasModel, first: Examples, worker: Any
) -> Prepared:
    learner = Learner(model, objective(spec.task, building.output_scale(model, spec, sample)))
    with refusals.in_one_line("training", calls=True):
        learner.let_pass(*tried.few(first))
    training = Training(
        settings.client,
        settings.server,
        settings.aggregation,
        anatomy(model),
        settings.compression,
        settings.privacy,
        tried.way_to_clip(settings.privacy, learner, first),
        fates.trouble(settings),
    )
    algorithms.check_task(settings.algorithm.name, spec.task)
    with refusals.in_one_line("being made", calls=True, of="algorithm"):
        algorithm = algorithms.checked(settings.algorithm.name, settings.algorithm.args)(training)
    if not isinstance(algorithm, Algorithm):
        kind = type(algorithm).__name__
        raise errors.AlgorithmError(f"algorithm: expected a fedmed.learning.Algorithm, got {kind}")
    initial = model_weights(model)
    fields = layout(first, patients=settings.privacy.unit == "patient")
    program = recorded(learner, training, algorithm, fields, initial, _fuses(settings))
    predict = Predictor(learner, settings.evaluation.batch_size, settings.runtime.lanes)
    with refusals.in_one_line("the server's step", calls=True, of="algorithm"):
        runtime = _runtime(settings, program, initial, worker)
    any_value = spec.task == "regression" and building.returns_any_value(model, sample)
    return Prepared(program, runtime, predict, model, any_value)


def _fuses(settings: config.RunConfig) -> bool:
    """Tells whether XLA is to fuse the max-pool gradient; the values are the same either way.

    TFF's worker has no XLA. XLA compiles once for each batch size, which full batches make as many as clients. Measured
    with oneDNN on: on an Intel Xeon XLA's is faster; on an AMD EPYC (Zen 4) a round with oneDNN's kernel takes 0.80 of
    the time on W1 of experiments/speed, 0.97 on W2 and 0.76 on W3.
    """
    local = settings.runtime.name != "tff" and settings.client.batch_size != "full"
    return local and "Intel" in machine.processor().model


def _runtime(settings: config.RunConfig, program: Program, initial: Weights, worker: Any) -> Runtime:
    if settings.runtime.name == "local":
        return LocalRuntime(program, settings.runtime.lanes)
    if settings.runtime.name == "ray":
        from fedmed.engine.runtimes.ray import RayRuntime

        return RayRuntime(program, settings.runtime.lanes, worker, sees_files=sees_files(settings.runtime))
    from fedmed.engine.runtimes.tff import TffRuntime

    return TffRuntime(program, initial, worker)


def _told(settings: config.RunConfig) -> str:
    """Returns the settings that a program is made of; the clients' rate is told each round."""
    tree = config.to_tree(settings)
    parts = {
        name: tree[name] for name in ("model", "algorithm", "client", "server", "aggregation", "compression", "runtime")
    }
    parts["client"] = {k: v for k, v in parts["client"].items() if k not in ("learning_rate", "learning_rate_decay")}
    parts["batch_size"] = settings.evaluation.batch_size
    parts["trouble"] = fates.trouble(settings)
    parts["privacy"] = {"unit": settings.privacy.unit, "clip_norm": settings.privacy.clip_norm}
    return json.dumps(parts, sort_keys=True, default=str)


def _made_by(settings: config.RunConfig) -> tuple[Any, ...]:
    """Returns the very functions behind the names, which a notebook may have defined anew."""
    name = settings.model.name
    model = building.imported(name) if plugins.is_dotted(name) else models.get(name)
    rule = aggregators.aggregators.get(settings.aggregation.rule, "aggregation.rule")
    return model, algorithms.algorithms.get(settings.algorithm.name), rule


def _is_ours(settings: config.RunConfig) -> bool:
    """Tells whether the model is built by this package, whose code stays as it is while a process lives."""
    return _made_by(settings)[0].__module__.startswith(f"{package.__name__}.")


def _fixed(model: KerasModel) -> str:
    """Returns a checksum of what training leaves alone in a model: it is part of the recorded graph."""
    digest = hashlib.sha256()
    for variable in fixed_variables(model):
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def sample_of(examples: Examples) -> Any:
    """Returns a few rows, as the model will get them."""
    few = examples.take(np.arange(min(_SAMPLE_ROWS, len(examples))))
    return scaled(tf.nest.map_structure(tf.constant, few.x))


def spec_of(examples: Examples, task: Task, classes: int) -> Spec:
    """Returns the shape of the problem."""
    x = examples.x
    inputs = x.shape[1:] if isinstance(x, np.ndarray) else {name: part.shape[1:] for name, part in x.items()}
    return Spec(inputs, task, classes)


def one_thread_an_operation() -> None:
    """Several clients at once, one thread each, beat one client on several threads; too late when TensorFlow runs."""
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)


def init_seed(seed: int) -> int:
    """Returns the seed of the initial weights."""
    return int(seeds.generator(seed, "init").integers(2**31 - 1))


PROGRAMS = Programs()
"""Of this process: runs, studies and benchmarks share it."""
