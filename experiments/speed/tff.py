"""TFF's own library, as its tutorials use it: `build_weighted_fed_avg` over `tf.data` data sets."""

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import tensorflow as tf
import tensorflow_federated as tff

from experiments.speed import workloads
from fedmed.data.clients import prepare as prepare_clients
from fedmed.engine import attendance
from fedmed.models import Spec, building
from fedmed.settings import config


def prepare(workload: str) -> tuple[Callable[[int], float], Callable[[], None]]:
    """Returns a function that trains round n and returns its mean training loss, and one that cleans up."""
    settings = workloads.settings(workload)
    clients = prepare_clients(settings)
    tff.backends.native.set_sync_local_cpp_execution_context()
    sets = {client: _dataset(settings.client, part.x, part.y) for client, part in clients.train.items()}
    spec = Spec(next(iter(clients.train.values())).x.shape[1:], clients.dataset.task, clients.dataset.classes)
    build = building.builder(settings.model.name, settings.model.args, spec)
    binary = clients.dataset.task == "binary"

    def model() -> tff.learning.models.VariableModel:
        loss = tf.keras.losses.BinaryCrossentropy() if binary else tf.keras.losses.SparseCategoricalCrossentropy()
        return tff.learning.models.from_keras_model(
            build(), loss=loss, input_spec=next(iter(sets.values())).element_spec
        )

    process = tff.learning.algorithms.build_weighted_fed_avg(
        model, client_optimizer_fn=tff.learning.optimizers.build_sgdm(settings.client.learning_rate)
    )
    state, ids = process.initialize(), list(sets)
    size = attendance.cohort_size(settings.cohort, len(ids))

    def run_round(number: int) -> float:
        nonlocal state
        cohort = attendance.cohort(settings.seed, number, ids, size)
        result = process.next(state, [sets[client] for client in cohort])
        state = result.state
        return float(result.metrics["client_work"]["train"]["loss"])

    return run_round, _end_worker


def _dataset(local: config.Client, x: Any, y: Any) -> tf.data.Dataset:
    rows = tf.data.Dataset.from_tensor_slices((x, tf.reshape(y, [-1, 1]))).shuffle(len(y), seed=1)
    scaled = rows.map(lambda a, b: (tf.cast(a, tf.float32) / 255.0 if a.dtype == tf.uint8 else a, b))
    if local.steps:
        return scaled.repeat().batch(local.batch_size).take(local.steps)
    return scaled.batch(local.batch_size)


def _end_worker() -> None:
    for child in psutil.Process().children(recursive=True):
        os.kill(child.pid, signal.SIGKILL)  # TFF's worker outlives Python otherwise
