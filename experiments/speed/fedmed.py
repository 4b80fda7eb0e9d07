"""fedmed itself, by the rounds of the engine that `fedmed run` is made of."""

import contextlib
from collections.abc import Callable

from experiments.speed import workloads
from fedmed.data.clients import prepare as prepare_clients
from fedmed.engine import attendance
from fedmed.engine.runtimes.starting import working


def prepare(workload: str, runtime: str = "local") -> tuple[Callable[[int], float], Callable[[], None]]:
    """Returns a function that trains the next round and returns its mean training loss, and one that cleans up."""
    settings = attendance.with_lanes(workloads.settings(workload, runtime))
    stack = contextlib.ExitStack()
    worker = stack.enter_context(working(settings, None))  # gets ready while the data are loaded
    clients = prepare_clients(settings)
    from fedmed.engine.federation import Federation

    federation = Federation(settings, clients.dataset, clients.train, worker=worker)
    stack.callback(federation.close)
    position = federation.start()

    def run_round(number: int) -> float:
        nonlocal position
        del number
        done = federation.round(position)
        position = done.position
        return float(done.sums["loss"].sum() / done.sums["examples"].sum())

    return run_round, stack.close
