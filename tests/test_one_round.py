"""One round on TFF equals the mean worked by hand, TFF's own federated averaging, and the same round without TFF.

Each comparison has the same batches in the same order. It is to float32 rounding, not to the bit: the ways differ in
the order of their sums and in which operations are fused (see `tiny.RTOL`).
"""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import tiny
from tiny import assert_close, assert_same

from fedmed.engine.runtimes.context import execution_context
from fedmed.engine.runtimes.worker import Worker
from fedmed.settings import config

SIZES = (11, 6, 8)
LOCAL = {"learning_rate": 0.2, "batch_size": 4, "epochs": 2}
EXAMPLES, LOSS, HITS, NORM, ACCEPTED = range(len(tiny.REPORT))


def settings(runtime: str, lanes: int = 2, **local: Any) -> config.RunConfig:
    return tiny.settings(client={**LOCAL, **local}, runtime={"name": runtime, "lanes": lanes})


@pytest.fixture(scope="module")
def on_tff(worker: Worker) -> tiny.Round:
    return tiny.one_round(settings("tff"), tiny.clients(SIZES), worker)


@pytest.fixture(scope="module")
def by_hand(on_tff: tiny.Round) -> list[tiny.Arrays]:
    """Each client's weights after plain eager SGD from the received weights, without fedmed's training code."""
    local, held = settings("tff").client, tiny.clients(SIZES).train
    start = on_tff.before.trainable
    return [
        tiny.trained_eagerly(start, tiny.batches_of(own, local, number), local.learning_rate)
        for number, own in enumerate(held.values())
    ]


def test_a_tff_round_equals_the_numpy_mean_of_client_updates(on_tff: tiny.Round, by_hand: list[tiny.Arrays]) -> None:
    share = np.array(SIZES) / sum(SIZES)
    expected = [sum(s * w for s, w in zip(share, tensor, strict=True)) for tensor in zip(*by_hand, strict=True)]
    assert_close(on_tff.after.trainable, expected)
    assert np.abs(on_tff.updates[0]).max() > 0.05  # it did train


def test_a_tff_round_equals_tffs_own_federated_averaging(on_tff: tiny.Round, worker: Worker) -> None:
    """`build_weighted_fed_avg` on datasets of the same batches; its weights count both epochs' examples."""
    local, held = settings("tff").client, tiny.clients(SIZES).train

    @tf.function
    def predict(weights: Any, x: tf.Tensor, training: bool) -> tf.Tensor:
        del training
        return tiny.hidden_output(weights[0], x)

    @tf.function
    def loss(output: tf.Tensor, label: tf.Tensor, sample_weight: Any = None) -> tf.Tensor:
        del sample_weight
        return tiny.cross_entropy(label, output)

    model = tff.learning.models.FunctionalModel(
        initial_weights=(tuple(on_tff.before.trainable), ()),
        predict_on_batch_fn=predict,
        loss_fn=loss,
        input_spec=(tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([None], tf.int64)),
    )

    def dataset(number: int) -> Any:
        cut = tiny.batches_of([*held.values()][number], local, number)
        parts = [tf.data.Dataset.from_tensors(batch) for batch in cut]
        whole: Any = parts[0]
        for part in parts[1:]:
            whole = whole.concatenate(part)
        return whole

    with tff.framework.get_context_stack().install(execution_context(worker)):
        process = tff.learning.algorithms.build_weighted_fed_avg(
            model,
            client_optimizer_fn=tff.learning.optimizers.build_sgdm(local.learning_rate),
            server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
        )
        result = process.next(process.initialize(), [dataset(number) for number in range(len(SIZES))])
        theirs = process.get_model_weights(result.state).trainable
    assert_close(on_tff.after.trainable, theirs)


def test_a_tff_round_equals_the_round_in_this_process(on_tff: tiny.Round) -> None:
    here = tiny.one_round(settings("local"), tiny.clients(SIZES))
    assert_same(here.before.trainable, on_tff.before.trainable)
    assert_close(on_tff.after.trainable, here.after.trainable)
    assert_close(on_tff.reports, here.reports)


def test_reports_are_each_clients_own_in_the_cohorts_order(on_tff: tiny.Round, by_hand: list[tiny.Arrays]) -> None:
    assert on_tff.reports[:, EXAMPLES].tolist() == [2 * size for size in SIZES]
    assert on_tff.reports[:, ACCEPTED].tolist() == [1, 1, 1]
    start = on_tff.before.trainable
    norms = [np.sqrt(sum(np.square(a - b).sum() for a, b in zip(trained, start, strict=True))) for trained in by_hand]
    np.testing.assert_allclose(on_tff.reports[:, NORM], norms, rtol=1e-4)


def test_loss_and_hits_are_sums_over_the_rows_as_they_were_met(on_tff: tiny.Round) -> None:
    """Before its only step, a client with one full batch is scored with the received weights: numbers by hand."""
    once = tiny.one_round(settings("local", batch_size="full", epochs=1), tiny.clients(SIZES))
    for number, own in enumerate(tiny.clients(SIZES).train.values()):
        p = tiny.hidden_output(once.before.trainable, own.x)
        count = len(own)
        np.testing.assert_allclose(once.reports[number, LOSS], count * tiny.cross_entropy(own.y, p), rtol=1e-5)
        assert once.reports[number, HITS] == np.sum((p[:, 0].numpy() > 0.5) == own.y)


def test_a_rounds_computation_is_sent_to_the_worker_once(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, create = [], tff.framework.RemoteExecutorGrpcStub.create_value

    def counted(self: Any, request: Any) -> Any:
        sent.append(request.value.WhichOneof("value"))
        return create(self, request)

    monkeypatch.setattr(tff.framework.RemoteExecutorGrpcStub, "create_value", counted)
    with tiny.set_up(settings("tff"), tiny.clients(SIZES), worker) as (_, next_round):
        position = next_round().position
        sent.clear()
        next_round(position)
    assert sent.count("computation") == 0
    assert sent.count("federated") == 3  # the state, the learning rate and the lanes' work


def test_one_client_full_batch_equals_plain_sgd(worker: Worker) -> None:
    held = tiny.clients([9])
    changes = settings("tff", lanes=1, batch_size="full", epochs=1)
    own = held.train["a"]
    with tiny.set_up(changes, held, worker) as (_, next_round):
        first = next_round()
        second = next_round(first.position)
    expected = tiny.trained_eagerly(first.before.trainable, [(np.asarray(own.x), own.y)] * 2, 0.2)
    assert_close(second.after.trainable, expected)


@pytest.fixture(scope="module")
def rounds_by_lanes() -> dict[int, tiny.Round]:
    held = tiny.clients(SIZES)
    return {lanes: tiny.one_round(settings("local", lanes), held) for lanes in (1, 3)}


def test_the_number_of_lanes_changes_rounding_only(rounds_by_lanes: dict[int, tiny.Round]) -> None:
    one = rounds_by_lanes[1]
    for done in rounds_by_lanes.values():
        assert_close(done.after.trainable, one.after.trainable)
        assert_same(done.reports, one.reports)  # a client's own training does not depend on its lane at all


def test_lanes_of_millions_of_weights_run_side_by_side() -> None:
    """TensorFlow would rewrite the sums of so large a graph, and the two lanes would be in each other's way."""
    local = {"learning_rate": 1e-4, "epochs": 1}
    with tiny.set_up(tiny.settings("tiny_models:many_weights", client=local), tiny.clients([8] * 8)) as (_, next_round):
        first, again = next_round(), next_round()
    assert first.reports[:, ACCEPTED].tolist() == [1] * 8
    assert_same(again.after.trainable, first.after.trainable)
    assert np.abs(first.updates[0]).max() > 0


def test_a_cohort_may_change_from_round_to_round(worker: Worker) -> None:
    held = tiny.clients(SIZES)
    done = {}
    for runtime in ("tff", "local"):
        with tiny.set_up(settings(runtime), held, worker) as (_, next_round):
            first = next_round(None, ["c"])
            done[runtime] = next_round(first.position, ["a", "c"])
            again = next_round(first.position, ["a", "c"])
        assert_same(again.after.trainable, done[runtime].after.trainable)
    assert done["tff"].reports[:, EXAMPLES].tolist() == [22, 16]
    assert_close(done["tff"].after.trainable, done["local"].after.trainable)


@pytest.mark.parametrize("optimizer", ["momentum", pytest.param("adam", marks=pytest.mark.slow)])
def test_other_optimizers_agree_between_tff_and_this_process(optimizer: str, worker: Worker) -> None:
    held = tiny.clients(SIZES)
    after = [
        tiny.one_round(settings(runtime, optimizer=optimizer, learning_rate=0.05), held, worker).after.trainable
        for runtime in ("tff", "local")
    ]
    assert_close(after[0], after[1])
