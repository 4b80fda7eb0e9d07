"""What the peers share: the workloads' clients and networks in PyTorch, and how to train one round at a time."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from fedmed.data.clients import prepare as prepare_clients
from fedmed.settings import config


class Rows(NamedTuple):
    """A client's rows: x is uint8 [n, 1, 28, 28] or float32 [n, d]; y is int64 [n], or float32 [n, 1] of a table."""

    x: Any
    y: Any


def clients(settings: config.RunConfig) -> dict[str, Rows]:
    """Returns each client's training rows."""
    return {client: _rows(part.x, part.y) for client, part in prepare_clients(settings).train.items()}


def _rows(x: Any, y: Any) -> Rows:
    if x.ndim == 4:
        return Rows(torch.tensor(x).permute(0, 3, 1, 2).contiguous(), torch.tensor(y))
    return Rows(torch.tensor(x), torch.tensor(y, dtype=torch.float32)[:, None])


def batches(rows: Rows, local: config.Client) -> Iterator[Rows]:
    """Yields shuffled batches: of one epoch, or as many as the local steps, shuffled anew each epoch."""
    count, taken = len(rows.y), 0
    while not taken or (local.steps and taken < local.steps):
        order = torch.randperm(count)
        for start in range(0, count, int(local.batch_size)):
            if taken == local.steps:
                return
            picked = order[start : start + int(local.batch_size)]
            yield Rows(rows.x[picked], rows.y[picked])
            taken += 1


class Network(nn.Module):
    """A workload's model, as fedmed builds it in Keras; it returns logits."""

    def __init__(self, workload: str, rows: Rows) -> None:
        super().__init__()
        columns = rows.x.shape[1]
        self.layers = nn.Sequential(*{"W2": _mcmahan_cnn, "W4": lambda: _mlp(columns)}.get(workload, _mnist_cnn)())
        self._loss = nn.BCEWithLogitsLoss() if workload == "W4" else nn.CrossEntropyLoss()

    def forward(self, x: Any) -> Any:
        """Returns the logits of rows; pixels are scaled to [0, 1]."""
        return self.layers(x.float() / 255.0 if x.dtype == torch.uint8 else x)

    def loss(self, x: Any, y: Any) -> Any:
        """Returns the mean loss of a batch."""
        return self._loss(self(x), y)


def _mnist_cnn() -> list[Any]:
    convolution = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return [*convolution, nn.Linear(5408, 64), nn.ReLU(), nn.Linear(64, 10)]


def _mcmahan_cnn() -> list[Any]:
    first = [nn.Conv2d(1, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(32, 64, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return [*first, *second, nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10)]


def _mlp(columns: int) -> list[Any]:
    return [nn.Linear(columns, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)]


class Turns:
    """Holds a framework that runs a whole experiment to one round a turn.

    The experiment runs in a thread of its own. A hook of the framework's, called between rounds, calls `wait`; the main
    thread asks for a round and waits for its loss. Two queues join the threads; nothing is trained out of turn.
    """

    def __init__(self, experiment: Callable[["Turns"], None]) -> None:
        self._asked: queue.Queue[bool] = queue.Queue()
        self._answers: queue.Queue[float | BaseException] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(experiment,), daemon=True)
        self._thread.start()

    def _run(self, experiment: Callable[["Turns"], None]) -> None:
        try:
            experiment(self)
            self._answers.put(RuntimeError("the experiment ended"))
        except BaseException as error:  # whatever it is, whoever waits for a round must hear of it
            self._answers.put(error)

    def wait(self, loss: float | None = None) -> bool:
        """Answers the round that ended with its loss, if one did; then waits until the next is asked for.

        Returns:
            False when no more rounds are wanted.
        """
        if loss is not None:
            self._answers.put(loss)
        return self._asked.get()

    def round(self, number: int) -> float:
        """Has the next round trained and returns its mean training loss; raises what the experiment raised."""
        del number
        self._asked.put(True)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the experiment."""
        self._asked.put(False)
        self._thread.join(15)
