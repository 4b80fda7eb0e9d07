"""How good a federation's model is: predictions on test rows, pooled and for each client."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fedmed.data.clients import Clients
from fedmed.data.examples import Array, Examples, Task, joined
from fedmed.engine.federation import Federation, Position
from fedmed.statistics import metrics

OWN_ROWS = "each client's own test rows"
SHARED_ROWS = "the data set's own test rows, reweighted to each client's label mix"
NO_MIX = "the shared test rows are no client's own, and amounts have no label mix to reweight them by"

Scores = dict[str, float | None]


class Predicted(NamedTuple):
    """Predictions: of all test rows, and of each client's, by the weights that it would use."""

    pooled: Array
    clients: Mapping[str, Array]


def predict_parts(
    federation: Federation, position: Position, parts: Mapping[str, Examples], owner: str | None = None
) -> dict[str, Array]:
    """Returns the predictions for each client's rows; who took no part is predicted by the global model.

    Args:
        federation: that was trained.
        position: where it stands.
        parts: rows by client.
        owner: the client by whose weights all of them are predicted; None for each by its own.
    """
    if federation.is_personal:
        return {
            client: federation.predict(federation.own_weights(position, owner or client), rows.x)
            for client, rows in parts.items()
        }
    together = joined(list(parts.values()))
    ends = np.cumsum([len(rows) for rows in parts.values()])
    cut = np.split(federation.predict(federation.weights(position), together.x), ends[:-1])
    return dict(zip(parts, cut, strict=True))


class Evaluator:
    """Scores a federation's positions on the clients' test rows, or on a shared test set.

    A shared test set (MNIST's) has no client in it. A client's score is then the pooled rows weighted by
    p_client(y) / p_test(y): exact when clients differ in label mix only, as those of every built-in partition do.
    Pooled scores are those of the global model, or, where clients have test rows and weights of their own, of all rows
    with each predicted by its client's weights.
    """

    def __init__(self, federation: Federation, clients: Clients) -> None:
        self._federation, self._clients = federation, clients
        self._task: Task = clients.dataset.task
        self._shared = clients.shared_test
        test = self._shared if self._shared is not None else joined(list(clients.test.values()))
        self.y = test.y
        self._weights = _weights(clients)
        self.how = OWN_ROWS if self._shared is None else SHARED_ROWS

    @property
    def task(self) -> Task:
        """What kind of label."""
        return self._task

    def predictions(self, position: Position) -> Predicted:
        """Returns predictions at a position: [n] means, or [n, classes] probabilities."""
        federation = self._federation
        if self._shared is None:
            parts = predict_parts(federation, position, self._clients.test)
            return Predicted(np.concatenate(list(parts.values())), parts)
        pooled = federation.predict(federation.weights(position), self._shared.x)
        own = dict.fromkeys(self._weights, pooled)
        if federation.is_personal:
            x = self._shared.x
            own = {name: federation.predict(federation.own_weights(position, name), x) for name in self._weights}
        return Predicted(pooled, own)

    def pooled(self, p: Predicted) -> Scores:
        """Returns each metric over all test rows."""
        return metrics.evaluate(self._task, self.y, p.pooled)

    def clients(self, p: Predicted) -> dict[str, Scores]:
        """Returns each metric for each client."""
        return {
            client: metrics.evaluate(self._task, self.labels(client), own, self.weights(client))
            for client, own in p.clients.items()
        }

    def undefined(self, p: Predicted) -> dict[str, dict[str, str]]:
        """Returns, for each client with metrics that are not defined, the reasons."""
        found = {
            client: metrics.undefined(self._task, self.labels(client), own, self.weights(client))
            for client, own in p.clients.items()
        }
        untold = {metric.name: f"{metric.label}: {NO_MIX}" for metric in metrics.METRICS[self._task]}
        without = [client for client in self._federation.clients if client not in p.clients]
        return {client: reasons for client, reasons in found.items() if reasons} | dict.fromkeys(without, untold)

    def labels(self, client: str) -> Array:
        """Returns the labels that a client's predictions are scored by."""
        return self.y if self._shared is not None else self._clients.test[client].y

    def weights(self, client: str) -> Array | None:
        """Returns the weights that give shared test rows the client's label mix; None for rows of its own."""
        return self._weights.get(client)

    @property
    def has_own_rows(self) -> bool:
        """Whether clients are scored on rows of their own."""
        return self._shared is None


def _weights(clients: Clients) -> dict[str, Array]:
    """Returns the weights that give a shared test set each client's label mix; {} where clients have their own rows."""
    if clients.shared_test is None or clients.dataset.classes == 0:
        return {}
    y, classes = clients.shared_test.y, clients.dataset.classes
    share = np.bincount(y, minlength=classes) / len(y)
    own = {client: np.bincount(part.y, minlength=classes) / len(part) for client, part in clients.train.items()}
    ratio: Any = {c: np.divide(mix, share, out=np.zeros(classes), where=share > 0) for c, mix in own.items()}
    return {client: weights[y] for client, weights in ratio.items()}
