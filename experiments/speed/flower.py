"""Flower's own simulation: a ServerApp and a ClientApp in PyTorch on the Ray backend, one CPU a client.

Flower runs a whole experiment, so the strategy waits for its turn before each round. Flower draws the cohort itself,
as many clients as the others train; where not all take part (W2, W3) clients hold equally many rows.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import torch  # pyright: ignore[reportMissingImports]
from flwr.app import (  # pyright: ignore[reportMissingImports]
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp  # pyright: ignore[reportMissingImports]
from flwr.serverapp import Grid, ServerApp  # pyright: ignore[reportMissingImports]
from flwr.serverapp.strategy import FedAvg  # pyright: ignore[reportMissingImports]
from flwr.simulation import run_simulation  # pyright: ignore[reportMissingImports]

from experiments.speed import pytorch, workloads
from fedmed.engine import attendance

_client = ClientApp()


@functools.cache
def _held(workload: str) -> list[pytorch.Rows]:
    """Returns each client's rows, read once in each of Ray's processes."""
    torch.set_num_threads(1)
    return list(pytorch.clients(workloads.settings(workload)).values())


@_client.train()
def train(message: Message, context: Context) -> Message:
    """Trains one client from the weights received."""
    workload = message.content["config"]["workload"]
    rows, local = _held(workload)[context.node_config["partition-id"]], workloads.settings(workload).client
    model = pytorch.Network(workload, rows)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=local.learning_rate), []
    for x, y in pytorch.batches(rows, local):
        optimizer.zero_grad()
        loss = model.loss(x, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    metrics = MetricRecord({"loss": float(torch.stack(losses).mean()), "num-examples": len(rows.y)})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)


class _NoMoreRounds(Exception):  # noqa: N818  (it is the way out of Flower's loop, not an error)
    """Ends Flower's loop over rounds."""


class _FedAvg(FedAvg):
    """Federated averaging that trains a round when its turn comes."""

    def __init__(self, turns: pytorch.Turns, clients: int, cohort: int) -> None:
        super().__init__(
            fraction_train=cohort / clients,
            fraction_evaluate=0.0,
            min_train_nodes=cohort,
            min_available_nodes=clients,
        )
        self._turns, self._cohort, self._loss = turns, cohort, None

    def configure_train(self, server_round: int, *rest: Any) -> Iterable[Message]:
        """Answers the round before, all of which is done by now, and waits for this one's turn."""
        if not self._turns.wait(self._loss):
            raise _NoMoreRounds
        return super().configure_train(server_round, *rest)

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """Averages, and notes the mean training loss; a client that failed ends the benchmark."""
        replies = list(replies)
        if len(replies) < self._cohort or any(reply.has_error() for reply in replies):
            raise RuntimeError("a client failed")
        arrays, metrics = super().aggregate_train(server_round, replies)
        self._loss = float(metrics["loss"])
        return arrays, metrics


def prepare(workload: str) -> tuple[Callable[[int], float], Callable[[], None]]:
    """Returns a function that trains round n and returns its mean training loss, and one that cleans up."""
    settings, held = workloads.settings(workload), _held(workload)
    cohort = attendance.cohort_size(settings.cohort, len(held))
    model = pytorch.Network(workload, held[0])

    def experiment(turns: pytorch.Turns) -> None:
        server = ServerApp()

        @server.main()
        def main(grid: Grid, context: Context) -> None:
            del context
            arrays, told = ArrayRecord(model.state_dict()), ConfigRecord({"workload": workload})
            try:
                _FedAvg(turns, len(held), cohort).start(grid, arrays, num_rounds=sys.maxsize, train_config=told)
            except _NoMoreRounds:
                return

        resources = {"num_cpus": 1, "num_gpus": 0.0}
        run_simulation(server, _client, num_supernodes=len(held), backend_config={"client_resources": resources})

    turns = pytorch.Turns(experiment)
    return turns.round, turns.close
