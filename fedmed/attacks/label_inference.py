"""Labels of the rows behind an update, from how it moves the bias of the output."""

import numpy as np

from fedmed.attacks.inversion import NotAttempted, Target
from fedmed.attacks.observation import Array, Seen


def labels(target: Target, seen: Seen, expected: Array) -> Array | NotAttempted:
    """Infers how many rows have each label; which row has which is only a matter of numbering them.

    The cross-entropy's gradient for the last bias is the mean of prediction minus label (Zhao et al. 2020, eq. 3, for
    one row; Wainakh et al. 2022 for more). For one row it is right; for more it is an estimate, which rests on
    `expected` and on predictions changing little from step to step.

    Args:
        target: whose update it is; its output layer must have a bias, and the task must be one of classes.
        seen: the update.
        expected: [classes] mean predicted probabilities of rows that could be behind it ([1] of the event if binary).

    Returns:
        [clients x rows] int64, sorted.
    """
    bias, work = seen.update[-1], seen.work
    if target.task not in ("binary", "multiclass"):
        return NotAttempted(f"labels of a {target.task} cannot be inferred: they are numbers")
    if bias.shape != expected.shape:
        return NotAttempted("the output layer has no bias, from which labels could be inferred")
    if work.in_all == 1:  # a label's own unit is pushed up at every step, all others down, whatever is predicted
        return np.array([int(np.argmax(bias)) if len(bias) > 1 else int(bias[0] > 0)])
    means = expected + bias.astype(np.float64) / (work.learning_rate * work.steps * work.clients)
    if target.task == "binary":
        means = np.concatenate([1 - means, means])
    return np.repeat(np.arange(len(means)), _counts(means, work.in_all))


def _counts(means: Array, rows: int) -> Array:
    """Returns whole numbers that add up to the rows, near rows x means: the row that is most missing comes next."""
    left, counts = rows * means, np.zeros(len(means), np.int64)
    for _ in range(rows):
        most = int(np.argmax(left - counts))
        counts[most] += 1
    return counts
