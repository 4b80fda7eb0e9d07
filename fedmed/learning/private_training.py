"""Local training that keeps a promise to patients: DP-SGD (Abadi et al. 2016, Algorithm 1) inside a client.

Each step draws patients, each by itself with the same chance (Poisson sampling), clips each drawn patient's gradient,
adds Gaussian noise to their sum, and divides by how many were expected. The number of a client's patients is taken as
public. Nothing else of the rows goes into the weights, and no training metric leaves.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from fedmed.learning import batches, gaussian, optimizers
from fedmed.learning.algorithm import METRICS, Rows, Training
from fedmed.learning.clipped_sums import PatientRows, Way, clipped_sums
from fedmed.learning.learner import Learner
from fedmed.learning.optimizers import Moments
from fedmed.learning.trained import Correction, LocalTraining, Trained, uncorrected
from fedmed.learning.values import Turn, Weights

_DRAW, _TRAIN, _NOISE = range(3)  # streams of a step's seed


def private_training(training: Training, learner: Learner, way: Way) -> LocalTraining:
    """Returns local training bound to a learner's variables; batches are of patients.

    Args:
        training: `client.batch_size` is how many patients a step expects.
        learner: of a model without moving statistics.
        way: how clipped gradients are summed.
    """
    optimizer, clip = optimizers.optimizer(training.client, learner.trainable), tf.constant(training.privacy.clip_norm)

    def step(
        rows: Rows, plan: batches.Plan, turn: Turn, correct: Correction, moments: Moments | None, number: tf.Tensor
    ) -> None:
        seed = functools.partial(_folded, tf.random.experimental.stateless_fold_in(turn.seed, number))
        expected = tf.cast(tf.minimum(plan.batch, plan.rows), tf.float32)
        drawn = poisson(rows, plan.rows, expected, seed(_DRAW))
        summed = clipped_sums(learner, way, drawn, seed(_TRAIN), clip)
        gradients = gaussian.noised(summed.sums, turn.noise * clip, expected, seed(_NOISE))
        if learner.is_penalised:
            gradients = [g + p for g, p in zip(gradients, learner.penalty_gradients(), strict=True)]
        steps = optimizers.counted(moments, number)
        optimizer.apply(correct(gradients, learner.trainable), turn.learning_rate, steps)

    def train(
        start: Weights,
        rows: Rows,
        turn: Turn,
        correct: Correction = uncorrected,
        moments: Moments | None = None,
    ) -> Trained:
        learner.assign(start)
        optimizer.begin(moments)
        plan = batches.Plan.of(training.client, patients_of(rows), turn.work)
        done = _for_each(plan.total, functools.partial(step, rows, plan, turn, correct, moments))
        with tf.control_dependencies([done]):
            trained, ended = learner.weights(), optimizer.ended(moments, plan.total)
        return Trained(trained, dict.fromkeys(METRICS, tf.constant(0.0)), plan.total, ended)

    return train


def patients_of(rows: Rows) -> tf.Tensor:
    """Returns how many patients there are, [] int32."""
    if rows.patient is None:
        raise ValueError("rows without patients")
    return tf.concat([[-1], rows.patient], axis=0)[-1] + 1


def poisson(rows: Rows, patients: tf.Tensor, expected: tf.Tensor, seed: tf.Tensor) -> PatientRows:
    """Draws each patient with chance expected / patients, and returns the drawn ones' rows.

    A first row with weight 0 stands behind them as a patient of its own: kernels abort on an empty batch.
    """
    if rows.patient is None:
        raise ValueError("rows without patients")
    chance = expected / tf.cast(patients, tf.float32)
    drawn = tf.random.stateless_uniform(patients[tf.newaxis], seed) < chance
    number = tf.cumsum(tf.cast(drawn, tf.int32)) - 1
    count = tf.reduce_sum(tf.cast(drawn, tf.int32))
    picked = tf.cast(tf.where(tf.gather(drawn, rows.patient))[:, 0], tf.int32)
    padded = tf.concat([picked, [0]], axis=0)
    return PatientRows(
        x=tf.nest.map_structure(lambda t: tf.gather(t, padded), rows.x),
        y=tf.gather(rows.y, padded),
        patient=tf.concat([tf.gather(number, tf.gather(rows.patient, picked)), [count]], axis=0),
        weight=tf.concat([tf.ones([count]), [0.0]], axis=0),
    )


def _folded(seed: tf.Tensor, stream: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, stream)


def _for_each(total: tf.Tensor, step: Callable[[tf.Tensor], None]) -> tf.Tensor:
    """Runs `step(number)` for the numbers below `total`, one after another, and returns how many they were."""

    def body(number: tf.Tensor) -> tuple[tf.Tensor]:
        step(number)
        return (number + 1,)

    return tf.while_loop(lambda number: number < total, body, (tf.constant(0),), parallel_iterations=1)[0]
