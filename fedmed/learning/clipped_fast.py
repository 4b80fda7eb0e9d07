"""Clipped sums of patients' gradients in one forward and one backward pass, on the operations that a model records.

"Ghost clipping": see `row_gradients` for how norms come without gradients. No layer is known here, only how the
operations of a graph use the variables, so a user's own layers are as good as Keras's.
"""

from collections.abc import Sequence

import tensorflow as tf

from fedmed.learning.learner import Learner
from fedmed.learning.patients import ClippedSums, PatientRows, factors, present
from fedmed.learning.row_gradients import Patients, RowGradients, row_gradients
from fedmed.learning.variable_uses import Use, uses


def clipped_at_once(learner: Learner, rows: PatientRows, seed: tf.Tensor, clip: tf.Tensor) -> ClippedSums:
    """Adds up the clipped gradients of all patients at once; see `clipped_sums.clipped_sums`.

    Right only where no row of a batch changes another's loss, which nobody can see in a graph: `clipped_sums.way_for`
    tries it.

    Raises:
        UncoveredError: the model uses a variable in a way for which there is no rule.
    """
    losses, hits = learner.row_losses(rows.x, rows.y, seed)
    patients = Patients(rows.patient, tf.cast(rows.counts(), tf.float32))
    found = uses(learner.trainable, losses)
    parts = _parts(found, losses, 1.0 / tf.gather(patients.counts, rows.patient))
    norms = _norms([part for part in parts if part is not None], patients)
    scale = tf.gather(factors(norms, rows.weight, clip), rows.patient)
    sums = [
        tf.zeros(variable.shape) if part is None or use is None else _to_variable(use, variable, part.total(scale))
        for variable, use, part in zip(learner.trainable, found, parts, strict=True)
    ]
    told = tf.gather(present(norms, rows.weight), rows.patient)
    loss, hit = (tf.reduce_sum(tf.math.multiply_no_nan(t, told)) for t in (losses, hits))
    return ClippedSums(sums, norms, loss, hit)


def _parts(found: Sequence[Use | None], losses: tf.Tensor, shares: tf.Tensor) -> list[RowGradients | None]:
    """Returns the gradients of rows' losses [b] times their shares [b]; None for a variable without a part in them."""
    outputs = [use.operation.outputs[0] for use in found if use is not None]
    slopes = iter(tf.gradients(losses, outputs, grad_ys=shares))
    pairs = [(use, None if use is None else next(slopes)) for use in found]
    return [
        None if use is None or slope is None else row_gradients(use, tf.convert_to_tensor(slope))
        for use, slope in pairs
    ]


def _norms(parts: Sequence[RowGradients], patients: Patients) -> tf.Tensor:
    """Returns the norms [p] of the patients' gradients, faster where every patient has one row."""
    if not parts:
        return tf.zeros_like(patients.counts)
    squares = tf.cond(
        tf.equal(tf.size(patients.counts), tf.size(patients.patient)),
        lambda: tf.add_n([part.alone() for part in parts]),
        lambda: tf.add_n([part.together(patients) for part in parts]),
    )
    return tf.sqrt(squares)


def _to_variable(use: Use, variable: tf.Variable, total: tf.Tensor) -> tf.Tensor:
    """Takes a sum in the shape in which the variable was seen back to the variable's own."""
    if use.seen.dtype == tf.resource or use.seen.op.type == "ReadVariableOp":
        return total
    return tf.gradients(use.seen, variable, grad_ys=total)[0]
