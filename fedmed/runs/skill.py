"""A run's null model, and at which clients the trained model is worse than it, beyond noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedmed.data.clients import Clients
from fedmed.data.examples import Array, Task
from fedmed.runs.summary import NullScores, ScoresByClient
from fedmed.statistics import metrics, null_model

if TYPE_CHECKING:  # these import TensorFlow
    from fedmed.engine.evaluation import Evaluator, Predicted

FEWEST_PATIENTS = 5
"""Tested patients below which nothing is said of a client."""


def null_predicted(clients: Clients) -> Predicted:
    """Returns what is predicted for each client's test rows from its own training labels alone.

    Where test rows are shared, the pooled prediction is by all clients' training labels together.
    """
    from fedmed.engine.evaluation import Predicted

    task, classes, shared = clients.dataset.task, clients.dataset.classes, clients.shared_test
    if shared is None:
        own = {
            name: null_model.null_predictions(task, clients.train[name].y, len(test), classes)
            for name, test in clients.test.items()
        }
        return Predicted(np.concatenate(list(own.values())), own)
    everyone = np.concatenate([part.y for part in clients.train.values()])
    own = {
        name: null_model.null_predictions(task, part.y, len(shared), classes)
        for name, part in clients.train.items()
        if clients.dataset.classes
    }
    return Predicted(null_model.null_predictions(task, everyone, len(shared), classes), own)


def null_scores(clients: Clients, evaluator: Evaluator, null: Predicted) -> NullScores:
    """Returns the null model's scores, without those of ranks."""

    def kept(scores: Mapping[str, float | None]) -> dict[str, float | None]:
        return {name: value for name, value in scores.items() if name not in null_model.NOT_FOR_RANKS}

    own = {name: kept(scores) for name, scores in evaluator.clients(null).items()}
    few = tuple(name for name in clients.train if _tells_of_few(clients, name))
    return NullScores(kept(evaluator.pooled(null)), own, few)


def _tells_of_few(clients: Clients, name: str) -> bool:
    """Whether few patients of a client, or of one of its classes, are on one of its sides."""
    parts = [part[name] for part in (clients.train, clients.test) if name in part]
    chosen = []
    for part in parts:
        who = _patients(part.group, len(part))
        chosen += [who, *([who[part.y == code] for code in np.unique(part.y)] if clients.dataset.classes else [])]
    return any(0 < len(np.unique(who)) < FEWEST_PATIENTS for who in chosen)


def skills(evaluator: Evaluator, p: Predicted, null: Predicted) -> ScoresByClient:
    """Returns the share of the null model's loss that the trained one explains (see `null_model.skill`)."""
    task = evaluator.task
    own = {
        name: null_model.skill(task, evaluator.labels(name), mine, null.clients[name], evaluator.weights(name))
        for name, mine in p.clients.items()
    }
    return ScoresByClient(null_model.skill(task, evaluator.y, p.pooled, null.pooled), own)


def worse_at(clients: Clients, p: Predicted, null: Predicted) -> tuple[tuple[str, ...], bool]:
    """Returns the clients at which the model is worse than their null model beyond noise, and whether it is over all.

    Beyond noise: the mean difference of the rows' losses is over 2 standard errors, by patients, and more of them where
    many clients are looked at, so that chance names one no more often (Bonferroni). Rows of a test set that is shared
    are nobody's, so that clients are not judged by them.
    """
    task, parts = clients.dataset.task, clients.test
    known = {name: _difference(task, test.y, p.clients[name], null.clients[name]) for name, test in parts.items()}
    patients = {name: _patients(test.group, len(test)) for name, test in parts.items()}
    judged = [name for name, who in patients.items() if len(np.unique(who)) >= FEWEST_PATIENTS]
    limit = null_model.beyond_noise(len(judged))
    named = tuple(name for name in judged if _is_above(known[name], patients[name], limit))
    if clients.shared_test is not None:
        rows = _difference(task, clients.shared_test.y, p.pooled, null.pooled)
        return named, _is_above(rows, _patients(clients.shared_test.group, len(rows)), null_model.beyond_noise(1))
    rows = np.concatenate([np.zeros(0), *known.values()])
    grouped = [test.group for test in parts.values() if test.group is not None]
    return named, _is_above(
        rows, _patients(np.concatenate(grouped) if grouped else None, len(rows)), null_model.beyond_noise(1)
    )


def _difference(task: Task, y: Array, p: Array, null: Array) -> Array:
    if not len(y):
        return np.zeros(0)  # no predictions are an empty array, whatever the task
    loss = null_model.LOSS[task]
    return metrics.row_scores(task, loss, y, p) - metrics.row_scores(task, loss, y, null)


def _patients(group: Array | None, rows: int) -> Array:
    return np.arange(rows) if group is None else group


def _is_above(differences: Array, patient: Array, limit: float) -> bool:
    """Whether the mean is over so many standard errors of it above 0; rows of a patient are taken together."""
    if len(differences) < 2 or not np.isfinite(differences).all():
        return False
    mean = float(differences.mean())
    _, places = np.unique(patient, return_inverse=True)
    sums = np.bincount(places, weights=differences - mean)
    if len(sums) < FEWEST_PATIENTS:
        return False
    error = math.sqrt(float(np.square(sums).sum()) * len(sums) / (len(sums) - 1)) / len(differences)
    return mean > 1e-9 and mean > limit * error
