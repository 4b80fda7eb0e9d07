"""What is found out about a model by calling it on a few rows, before its computation is recorded."""

from typing import Any

import numpy as np
import tensorflow as tf

from fedmed.data.examples import Examples
from fedmed.learning.clipped_sums import Way, way_for
from fedmed.learning.learner import Learner
from fedmed.models import refusals
from fedmed.settings.privacy import Privacy
from fedmed.system import errors

_ROWS = 8


def few(examples: Examples) -> tuple[Any, tf.Tensor]:
    """Returns a few rows, inputs and labels, as tensors."""
    rows = examples.take(np.arange(min(_ROWS, len(examples))))
    return tf.nest.map_structure(tf.constant, rows.x), tf.constant(rows.y)


def way_to_clip(privacy: Privacy, learner: Learner, examples: Examples) -> Way:
    """Returns how patients' gradients are clipped, tried on a few rows.

    Raises:
        ModelError: nothing can be promised, as a layer keeps statistics of its batches or of rows before training,
            changes a variable by itself, or adds losses that are no sum over patients.
    """
    if not privacy.is_on:
        return "loop"
    if learner.moving:
        raise errors.ModelError(
            f"model: {learner.moving[0].name} is a moving statistic of the batches, which privacy.unit does not cover; "
            "use GroupNormalization or LayerNormalization in place of BatchNormalization"
        )
    if learner.adapted:
        raise errors.ModelError(
            f"model: {learner.adapted[0].name} was found in rows before training (`adapt`), which privacy.unit does "
            "not cover; give Normalization a public mean and variance, or use LayerNormalization"
        )
    if privacy.unit == "hospital":
        return "loop"
    x, y = few(examples)
    with refusals.in_one_line("training", calls=True):
        habits = learner.habits(x, y)
        if habits.changes:
            raise errors.ModelError(
                f"model: {habits.changes[0].name} is changed by a call of its layer in training, beside the clipped "
                "gradients, which privacy.unit does not cover; leave that out"
            )
        if habits.adds_losses:
            raise errors.ModelError(
                "model: a layer adds losses of its own in a call (an activity regulariser, add_loss), which are no sum "
                "over patients and which privacy.unit does not cover; leave them out"
            )
        return way_for(learner, x, y)
