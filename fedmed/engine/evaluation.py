"""How good the global model is: predictions on test rows, pooled and for each client."""

from typing import Any

import numpy as np

from fedmed.data.clients import Clients
from fedmed.data.examples import Task, joined
from fedmed.learning.learner import Learner
from fedmed.learning.predictor import Predictor
from fedmed.learning.values import Weights
from fedmed.statistics import metrics

OWN_ROWS = "each client's own test rows"
SHARED_ROWS = "the data set's own test rows, reweighted to each client's label mix"


class Evaluator:
    """Scores weights on the clients' test rows, or on a shared test set.

    A shared test set (MNIST's) has no client in it. A client's score is then the pooled rows weighted by
    p_client(y) / p_test(y): exact when clients differ in label mix only, as those of every built-in partition do.
    """

    def __init__(self, learner: Learner, clients: Clients, batch_size: int, threads: int) -> None:
        self._predict = Predictor(learner, batch_size, threads)
        self._task: Task = clients.dataset.task
        self._shared = clients.shared_test is not None
        test = clients.shared_test if clients.shared_test is not None else joined(list(clients.test.values()))
        self._x, self.y = test.x, test.y
        self._parts = _parts(clients)
        self.how = SHARED_ROWS if self._shared else OWN_ROWS

    def predictions(self, weights: Weights) -> np.ndarray:
        """Returns predictions on all test rows: [n] means, or [n, classes] probabilities."""
        return self._predict(weights, self._x)

    def pooled(self, p: np.ndarray) -> dict[str, float | None]:
        """Returns each metric over all test rows."""
        return metrics.evaluate(self._task, self.y, p)

    def clients(self, p: np.ndarray) -> dict[str, dict[str, float | None]]:
        """Returns each metric for each client."""
        return {client: metrics.evaluate(self._task, self.y[rows], p[rows], weights)
                for client, (rows, weights) in self._parts.items()}  # fmt: skip

    def undefined(self, p: np.ndarray) -> dict[str, dict[str, str]]:
        """Returns, for each client with metrics that are not defined, the reasons."""
        found = {client: metrics.undefined(self._task, self.y[rows], p[rows], weights)
                 for client, (rows, weights) in self._parts.items()}  # fmt: skip
        return {client: reasons for client, reasons in found.items() if reasons}

    @property
    def has_own_rows(self) -> bool:
        """Whether clients are scored on rows of their own."""
        return not self._shared


def _parts(clients: Clients) -> dict[str, tuple[Any, np.ndarray | None]]:
    """Returns each client's rows within the test rows, and their weights."""
    if clients.shared_test is None:
        ends = np.cumsum([len(part) for part in clients.test.values()])
        return {
            client: (slice(end - len(part), end), None)
            for (client, part), end in zip(clients.test.items(), ends, strict=True)
        }
    if clients.dataset.classes == 0:
        return {}
    y, classes = clients.shared_test.y, clients.dataset.classes
    share = np.bincount(y, minlength=classes) / len(y)
    own = {client: np.bincount(part.y, minlength=classes) / len(part) for client, part in clients.train.items()}
    ratio = {client: np.divide(mix, share, out=np.zeros(classes), where=share > 0) for client, mix in own.items()}
    return {client: (slice(None), weights[y]) for client, weights in ratio.items()}
