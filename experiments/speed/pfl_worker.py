"""One process of pfl's simulation: SimulatedBackend, FederatedAveraging and a PyTorchModel; `pfl.py` starts it.

pfl runs a whole experiment, so a callback waits for its turn between rounds. pfl deals a cohort to its processes by
how much work each client is.
"""

import asyncio
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from pfl.aggregate.simulate import SimulatedBackend  # pyright: ignore[reportMissingImports]
from pfl.aggregate.weighting import WeightByDatapoints  # pyright: ignore[reportMissingImports]
from pfl.algorithm import FederatedAveraging, NNAlgorithmParams  # pyright: ignore[reportMissingImports]
from pfl.callback.base import TrainingProcessCallback  # pyright: ignore[reportMissingImports]
from pfl.data.dataset import Dataset  # pyright: ignore[reportMissingImports]
from pfl.data.federated_dataset import FederatedDataset  # pyright: ignore[reportMissingImports]
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams  # pyright: ignore[reportMissingImports]
from pfl.metrics import Metrics, StringMetricName, Weighted  # pyright: ignore[reportMissingImports]
from pfl.model.pytorch import PyTorchModel  # pyright: ignore[reportMissingImports]
from pfl.postprocessor.base import Postprocessor  # pyright: ignore[reportMissingImports]

from experiments.speed import pytorch, workloads
from fedmed.engine import attendance
from fedmed.settings import config

_LOSS = StringMetricName("training loss")


class _Client(Dataset):
    """A client's rows, in shuffled batches."""

    def __init__(self, rows: pytorch.Rows, local: config.Client) -> None:
        super().__init__(raw_data=tuple(rows))
        self._rows, self._local = rows, local

    def iter(self, batch_size: int | None) -> Iterator[Any]:
        """Yields an epoch's batches, or the local steps'; pfl passes the size that the settings have."""
        del batch_size
        return pytorch.batches(self._rows, self._local)


class _Network(pytorch.Network):
    """The network with what pfl asks of one, and the sum of its training loss over rows."""

    def __init__(self, workload: str, rows: pytorch.Rows) -> None:
        super().__init__(workload, rows)
        self.total, self.rows = torch.zeros(()), 0

    def loss(self, x: Any, y: Any) -> Any:
        """Returns the mean loss of a batch and adds it to the sum."""
        loss = super().loss(x, y)
        self.total += loss.detach() * len(y)
        self.rows += len(y)
        return loss

    def metrics(self, x: Any, y: Any) -> dict[str, Any]:
        """Returns how many rows there are: pfl evaluates before its first round, which is not what is timed."""
        del x
        return {"rows": Weighted(len(y), 1)}


class _TrainingLoss(Postprocessor):
    """Reports each client's training loss, so that pfl sums it over processes."""

    def __init__(self, network: _Network) -> None:
        self._network = network

    def postprocess_one_user(self, *, stats: Any, user_context: Any) -> tuple[Any, Any]:
        """Returns the statistics as they are, and the loss as a metric."""
        del user_context
        total, rows = float(self._network.total), self._network.rows
        self._network.total.zero_()
        self._network.rows = 0
        return stats, Metrics([(_LOSS, Weighted(total, rows))])


class _Turn(TrainingProcessCallback):
    """Waits for its turn before each round."""

    def __init__(self, turns: pytorch.Turns) -> None:
        self._turns = turns

    def on_train_begin(self, *, model: Any) -> Any:
        """Waits for the first round's turn."""
        del model
        self._turns.wait()
        return Metrics()

    def after_central_iteration(
        self, aggregate_metrics: Any, model: Any, *, central_iteration: int
    ) -> tuple[bool, Any]:
        """Answers the round, whose update the model has, and waits for the next one's turn."""
        del model, central_iteration
        loss = aggregate_metrics[_LOSS].overall_value
        return not self._turns.wait(float(loss)), Metrics()


def prepare(workload: str) -> tuple[Callable[[int], float], Callable[[], None]]:
    """Returns a function that trains round n and returns its mean training loss, and one that cleans up."""
    torch.set_num_threads(1)
    np.random.seed(0)  # pfl asks for one seed in all processes; so do equal initial weights
    torch.manual_seed(0)
    settings = workloads.settings(workload)
    local, held = settings.client, pytorch.clients(settings)
    network = _Network(workload, next(iter(held.values())))
    model = PyTorchModel(network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=1.0))
    data = _federated(settings, held)
    backend = SimulatedBackend(data, data, postprocessors=[WeightByDatapoints(), _TrainingLoss(network)])
    algorithm = NNAlgorithmParams(
        central_num_iterations=sys.maxsize,
        evaluation_frequency=sys.maxsize,
        train_cohort_size=attendance.cohort_size(settings.cohort, len(held)),
        val_cohort_size=0,
    )
    training = NNTrainHyperParams(
        local_num_epochs=None if local.steps else 1,
        local_num_steps=local.steps,
        local_learning_rate=local.learning_rate,
        local_batch_size=int(local.batch_size),
    )

    def experiment(turns: pytorch.Turns) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())  # pfl takes the thread's, and only the main thread has one
        FederatedAveraging().run(
            algorithm, backend, model, training, NNEvalHyperParams(local_batch_size=None),
            callbacks=[_Turn(turns)], send_metrics_to_platform=False,
        )  # fmt: skip

    turns = pytorch.Turns(experiment)
    return turns.round, turns.close


def _federated(settings: config.RunConfig, held: dict[str, pytorch.Rows]) -> Any:
    """Returns the clients as pfl samples them: the cohorts that every contender of ours draws, one after the other."""
    ids = list(held)
    size = attendance.cohort_size(settings.cohort, len(ids))
    cohorts = (attendance.cohort(settings.seed, number, ids, size) for number in itertools.count())
    order = itertools.chain.from_iterable(cohorts)
    work = {client: settings.client.steps or len(rows.y) for client, rows in held.items()}
    made = {client: _Client(rows, settings.client) for client, rows in held.items()}
    return FederatedDataset(made.__getitem__, lambda: next(order), user_id_to_weight=work)
