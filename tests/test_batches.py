"""Which rows make up each batch: every row once an epoch, the rest in the last batch, a new order each epoch."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from fedmed.learning import batches
from fedmed.settings import config

SEED = tf.constant([3, 4])


def batches_of(count: int, seed: tf.Tensor = SEED, **settings: object) -> list[list[int]]:
    """Runs the loop in a graph and returns the row numbers of each batch, in order."""
    seen: list[list[int]] = []

    @tf.function
    def run() -> tf.Tensor:
        def step(picked: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
            def note(rows: tf.Tensor, now: tf.Tensor) -> np.float32:
                assert int(now) == len(seen)
                seen.append(rows.numpy().tolist())
                return np.float32(len(rows))

            return tf.reshape(tf.py_function(note, [picked, number], tf.float32), [])

        plan = batches.Plan.of(config.Client(learning_rate=0.1, **settings), tf.constant(count))  # pyright: ignore
        return batches.for_each_batch(plan, seed, step, tf.constant(0.0))

    assert float(run()) == sum(map(len, seen))
    return seen


def joined(seen: list[list[int]]) -> list[int]:
    return list(itertools.chain(*seen))


@pytest.mark.parametrize(("count", "size"), [(10, 4), (8, 4), (3, 5), (1, 1)])
def test_an_epoch_visits_every_row_once_and_its_last_batch_has_what_is_left(count: int, size: int) -> None:
    seen = batches_of(count, batch_size=size)
    assert sorted(joined(seen)) == list(range(count))
    assert [len(batch) for batch in seen] == [size] * (count // size) + ([count % size] if count % size else [])


def test_each_epoch_visits_every_row_once_in_an_order_of_its_own() -> None:
    seen = batches_of(9, batch_size=4, epochs=3)
    epochs = [joined(seen[i : i + 3]) for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_fixed_steps_go_on_into_the_next_epochs() -> None:
    seen = batches_of(5, batch_size=2, steps=7)  # epochs of 2 + 2 + 1 rows; the third stops after its first batch
    assert [len(batch) for batch in seen] == [2, 2, 1, 2, 2, 1, 2]
    first, second = joined(seen[:3]), joined(seen[3:6])
    assert sorted(first) == sorted(second) == list(range(5))
    assert first != second


def test_fewer_steps_than_an_epoch_stop_within_it() -> None:
    whole, part = batches_of(20, batch_size=4), batches_of(20, batch_size=4, steps=2)
    assert part == whole[:2]


def test_steps_come_before_epochs() -> None:
    assert len(batches_of(8, batch_size=4, epochs=5, steps=3)) == 3


def test_a_full_batch_holds_all_rows() -> None:
    seen = batches_of(6, batch_size="full", epochs=2)
    assert [sorted(batch) for batch in seen] == [list(range(6))] * 2


def test_the_order_is_a_function_of_the_seed() -> None:
    assert batches_of(12, batch_size=5) == batches_of(12, batch_size=5)
    assert batches_of(12, batch_size=5) != batches_of(12, seed=tf.constant([3, 5]), batch_size=5)


def test_every_row_is_as_likely_to_come_first() -> None:
    firsts = [int(batches.epoch_order(tf.constant([i, 0]), tf.constant(0), tf.constant(4))[0]) for i in range(400)]
    counts = np.bincount(firsts, minlength=4)
    assert counts.min() > 70  # 100 expected, deviation 8.7: a shuffle that favours a row would show


def test_the_order_in_a_graph_is_the_order_outside() -> None:
    outside = batches.epoch_order(SEED, tf.constant(1), tf.constant(7)).numpy().tolist()
    assert joined(batches_of(7, batch_size=3, epochs=2)[3:]) == outside


@pytest.mark.parametrize(
    "settings", [{"batch_size": 4}, {"batch_size": "full"}, {"batch_size": 4, "steps": 3}], ids=str
)
def test_without_rows_there_are_no_batches(settings: dict[str, object]) -> None:
    assert batches_of(0, **{"batch_size": 4, **settings}) == []
