"""Which rows make up each batch of a client's local training, in the graph: shuffled anew each epoch, by seed."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning.values import Tensor
from fedmed.settings import config


class Plan(NamedTuple):
    """A client's local work, all [] int32.

    Attributes:
        rows: how many rows it holds.
        batch: rows a batch; the last batch of an epoch has what is left.
        per_epoch: batches in an epoch.
        total: batches in all.
    """

    rows: tf.Tensor
    batch: tf.Tensor
    per_epoch: tf.Tensor
    total: tf.Tensor

    @classmethod
    def of(cls, settings: config.Client, rows: tf.Tensor, work: Tensor = 1.0) -> "Plan":
        """Plans `steps` batches when they are fixed, else `epochs` passes over the rows; none where there are no rows.

        Of `work` below 1 only that share of the batches is taken, at least one; it is `Turn.work`.
        An empty batch must not be: its loss is no number, and oneDNN's kernel of a max-pool's gradient aborts on it.
        """
        batch = tf.maximum(rows, 1) if settings.batch_size == "full" else tf.constant(settings.batch_size, tf.int32)
        per_epoch = (rows + batch - 1) // batch
        total = settings.steps * tf.sign(rows) if settings.steps else settings.epochs * per_epoch
        if not isinstance(work, float) or work != 1.0:
            part = tf.cast(tf.round(work * tf.cast(total, tf.float32)), tf.int32)
            total = tf.minimum(total, tf.maximum(part, 1))
        return cls(rows, batch, per_epoch, total)


def epoch_order(seed: tf.Tensor, epoch: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns the order [rows] int32 in which an epoch visits the rows; `seed` is [2] int32."""
    epoch_seed = tf.random.experimental.stateless_fold_in(seed, epoch)
    return tf.random.experimental.stateless_shuffle(tf.range(rows), seed=epoch_seed)


def for_each_batch(
    plan: Plan, seed: tf.Tensor, step: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], zero: tf.Tensor
) -> tf.Tensor:
    """Runs `step(picked row numbers [b], step number []) -> sums` over all batches and adds up what it returns."""

    def one_epoch(number: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        order = epoch_order(seed, number // plan.per_epoch, plan.rows)
        end = tf.minimum(number + plan.per_epoch, plan.total)

        def one_batch(now: tf.Tensor, so_far: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            start = (now - number) * plan.batch
            picked = order[start : tf.minimum(start + plan.batch, plan.rows)]
            return now + 1, so_far + step(picked, now)

        return tf.while_loop(lambda now, _: now < end, one_batch, (number, sums), parallel_iterations=1)

    _, sums = tf.while_loop(
        lambda number, _: number < plan.total, one_epoch, (tf.constant(0), zero), parallel_iterations=1
    )
    return sums
