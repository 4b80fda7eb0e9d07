"""How well the model does on a hospital's own test rows, told as a few numbers."""

import numpy as np

from .job import Array, Job

_FEW = 5


def scores(job: Job, y: Array, predicted: Array) -> dict[str, float]:
    """Returns metrics by name; none that fewer than 5 rows of a class would stand behind.

    Args:
        job: for its task.
        y: [n] labels, amounts in the file's units.
        predicted: [n] means, or [n, classes] probabilities.
    """
    if len(y) < _FEW:
        return {}
    if job.task in ("regression", "count"):
        return {"test_rows": float(len(y)), "squared_error": float(np.mean((y - predicted) ** 2))}
    hits = np.argmax(predicted, axis=1) == y if job.task == "multiclass" else (predicted > 0.5) == y
    told = {"test_rows": float(len(y)), "accuracy": float(hits.mean())}
    if job.task == "binary" and min(y.sum(), len(y) - y.sum()) >= _FEW:
        told["auroc"] = auroc(y, predicted)
    return told


def auroc(y: Array, predicted: Array) -> float:
    """Returns the share of pairs, one row of each class, that are ranked right; ties count half."""
    _, place, counts = np.unique(predicted, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ones = int(y.sum())
    return float((ranks[y == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(y) - ones)))
