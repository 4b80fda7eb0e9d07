"""Predictions of a learner's model for many rows."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from fedmed.data.examples import Array, Inputs
from fedmed.learning import tracing
from fedmed.learning.calling import sums_as_written
from fedmed.learning.learner import Learner
from fedmed.learning.values import Weights
from fedmed.models import refusals


class Predictor:
    """Predicts in batches, `threads` of them at once; traced once for all weights."""

    def __init__(self, learner: Learner, batch_size: int, threads: int) -> None:
        self._learner, self._batch = learner, batch_size
        self._threads = ThreadPoolExecutor(threads)
        predict = tf.function(tracing.layers_converted(learner.predict), autograph=False, reduce_retracing=True)
        self._predict = sums_as_written(predict)

    def __call__(self, weights: Weights, x: Inputs) -> Array:
        """Returns the predictions of the model with the given weights: [n] means, or [n, classes] probabilities.

        Raises:
            ModelError: the model refuses a row; one line, without the row's values.
        """
        self._learner.assign(weights)
        starts = range(0, len(tf.nest.flatten(x)[0]), self._batch)
        batches = [tf.nest.map_structure(lambda a, s=s: tf.constant(a[s : s + self._batch]), x) for s in starts]
        with refusals.in_one_line("evaluation", calls=True):
            outputs = list(self._threads.map(lambda batch: self._predict(batch).numpy(), batches))
        return np.concatenate(outputs) if outputs else np.zeros((0,))
