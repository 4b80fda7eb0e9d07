"""All that can be wrong with a run and is known without TensorFlow, whose import takes seconds."""

import importlib.util

from fedmed import models
from fedmed.data.clients import Clients, prepare
from fedmed.data.store import patient_counts
from fedmed.engine import attendance, fates, masking, promises, scenarios, soundness
from fedmed.engine.runtimes import cluster
from fedmed.learning import aggregators, algorithms, combinations
from fedmed.settings import plugins, registry
from fedmed.settings.config import RunConfig
from fedmed.statistics.metrics import METRICS
from fedmed.system import errors


def check(settings: RunConfig) -> Clients:
    """Returns what each client holds, once names, arguments, data, cohort and metric are known to be right.

    Raises:
        UserError: in one line, what is wrong.
    """
    check_names(settings)
    clients = prepare(settings)
    soundness.check(settings, clients.dataset.task, clients.dataset.is_table)
    cohort = attendance.cohort_size(settings.cohort, len(clients.train))
    masking.check(settings.aggregation, cohort)
    aggregators.check_cohort(settings.aggregation, cohort)
    task = clients.dataset.task
    algorithms.check_task(settings.algorithm.name, task)
    names = [metric.name for metric in METRICS[task]]
    if settings.stop.metric is not None and settings.stop.metric not in names:
        raise errors.ConfigError(errors.unknown("stop.metric", f"metric of a {task} task", settings.stop.metric, names))
    patients = patient_counts(clients.train)
    fates.check(settings, clients.dataset, patients)
    promises.made(settings, patients)
    return clients


def check_names(settings: RunConfig) -> None:
    """Checks names and arguments of algorithm and model, for which no data are needed; raises as `check`."""
    cluster.check(settings.runtime)
    plugins.load(settings.plugins)
    algorithms.checked(settings.algorithm.name, settings.algorithm.args)
    algorithms.check_settings(settings)
    scenarios.effects(settings)
    aggregators.checked(settings.aggregation)
    combinations.check(settings)
    _check_model(settings)


def _check_model(settings: RunConfig) -> None:
    name = settings.model.name
    if not models.is_dotted(name):
        factory = models.models.get(name, "model.name")
        registry.checked_args(factory, settings.model.args, "model.args", given=models.takes_spec(factory))
        return
    package = name.partition(":")[0].partition(".")[0]
    with plugins.importable_from_here():
        # Only looked for: a module with a Keras model imports TensorFlow.
        found = package.isidentifier() and importlib.util.find_spec(package) is not None
    if not found:
        raise errors.ConfigError(f"model.name: {name!r}: there is no module {package!r} here or installed")
