"""fedmed itself, by the functions that `fedmed run` calls for a round."""

from collections.abc import Callable

from experiments.speed import workloads
from fedmed.data.clients import prepare as prepare_clients
from fedmed.engine import attendance
from fedmed.runs import experiment


def prepare(workload: str, runtime: str = "local") -> tuple[Callable[[int], float], Callable[[], None]]:
    """Returns a function that trains round n and returns its mean training loss, and one that cleans up."""
    settings = experiment.resolved(workloads.settings(workload, runtime))
    clients = prepare_clients(settings)
    worker = None
    if runtime == "tff":
        from fedmed.engine.runtimes.worker import Worker

        worker = Worker(settings.runtime.lanes)
        worker.start()
    from fedmed.engine import training

    setup = training.set_up(settings, clients, worker)
    ids, state = list(clients.train), setup.runtime.initialize()
    size = attendance.cohort_size(settings.cohort, len(ids))

    def run_round(number: int) -> float:
        nonlocal state
        cohort = attendance.cohort(settings.seed, number, ids, size)
        state, reports = setup.train(state, number, setup.learning_rate(number), cohort)
        return float(reports[:, 1].sum() / reports[:, 0].sum())

    def close() -> None:
        setup.close()
        if worker is not None:
            worker.stop()

    return run_round, close
