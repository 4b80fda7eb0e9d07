"""Compression: what is sent is what is counted, errors are as the papers say, and nothing that is fed back is lost."""

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny
from tiny import assert_close, assert_same

from fedmed.engine.federation import Position
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import coders, combinations, compression, packing, steps
from fedmed.learning import weights as weight_ops
from fedmed.learning.coders import Coder
from fedmed.learning.values import Payload, Weights
from fedmed.settings import config
from fedmed.system import errors

RUNTIMES = ("local", "tff")
COUNT = 1000
VALUES = 3 * 8 + 8 + 8 + 1  # of tiny_models:hidden
CODERS = {
    **{f"{bits} bits": coders.quantising(COUNT, bits) for bits in (8, 4, 2)},
    "top 10 %": coders.top_k(COUNT, 0.1),
    "random 10 %": coders.random_mask(COUNT, 0.1),
}


def vector(seed: int = 0) -> np.ndarray:
    """Returns values of very unlike sizes, as an update has."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=COUNT) * np.exp(rng.normal(size=COUNT))).astype(np.float32)


def seed(number: int) -> tf.Tensor:
    return tf.constant([number, 7], tf.int32)


# Coders


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8, 11, 18])
@pytest.mark.parametrize("count", [1, 5, 8, 37])
def test_what_is_packed_is_unpacked_from_no_more_bytes_than_it_takes(bits: int, count: int) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, count).astype(np.int32)
    packed = packing.pack(tf.constant(values), bits)
    assert (packed.dtype, packed.shape) == (tf.uint8, [-(-count * bits // 8)])
    assert_same([packing.unpack(packed, bits, count)], [values])


def test_packing_by_hand() -> None:
    assert packing.pack(tf.constant([1, 2, 3, 0, 1]), 2).numpy().tolist() == [0b00_11_10_01, 0b01]
    assert packing.pack(tf.constant([1, 6]), 3).numpy().tolist() == [0b110_001]


@pytest.mark.parametrize("name", [name for name, coder in CODERS.items() if coder.is_unbiased])
def test_the_mean_over_seeds_is_the_vector(name: str) -> None:
    coder, sent, draws = CODERS[name], vector(), 400
    found = np.stack([coder.decode(coder.encode(tf.constant(sent), seed(draw))).numpy() for draw in range(draws)])
    off, chance = np.square(found.mean(axis=0) - sent).sum(), found.var(axis=0).sum() / draws
    assert off == pytest.approx(chance, rel=0.25)  # no further off than the mean of so many draws is by chance
    assert chance > 0


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_quantised_value_is_less_than_a_level_away(bits: int) -> None:
    sent = vector()
    coder = coders.quantising(COUNT, bits)
    found = coder.decode(coder.encode(tf.constant(sent), seed(1))).numpy()
    for start in range(0, COUNT, coders.BUCKET):
        own = sent[start : start + coders.BUCKET]
        level = (own.max() - own.min()) / (2**bits - 1)
        assert np.abs(found[start : start + coders.BUCKET] - own).max() <= level * 1.0001


def test_one_value_repeated_is_quantised_exactly() -> None:
    coder = coders.quantising(300, 2)
    assert_same([coder.decode(coder.encode(tf.fill([300], 0.3), seed(1)))], [np.full(300, 0.3, np.float32)])


def test_the_largest_are_kept_and_the_error_is_within_the_bound() -> None:
    sent, coder = vector(), coders.top_k(COUNT, 0.1)
    found = coder.decode(coder.encode(tf.constant(sent), seed(1))).numpy()
    largest = np.argsort(-np.abs(sent))[:100]
    assert sorted(np.flatnonzero(found)) == sorted(largest)
    assert_same([found[largest]], [sent[largest]])
    assert np.square(found - sent).sum() <= (1 - 100 / COUNT) * np.square(sent).sum()


def test_the_expected_error_of_a_random_mask() -> None:
    sent, coder = vector(), coders.random_mask(COUNT, 0.1)
    found = [coder.decode(coder.encode(tf.constant(sent), seed(draw))).numpy() for draw in range(200)]
    assert np.mean([np.square(f - sent).sum() for f in found]) == pytest.approx(9 * np.square(sent).sum(), rel=0.15)
    assert {np.count_nonzero(f) for f in found} == {100}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("8 bits", 1000 + 4 * 8),
        ("4 bits", 500 + 4 * 8),
        ("2 bits", 250 + 4 * 8),
        ("top 10 %", 100 * 4 + 100 * 10 // 8),  # 1,000 places are told apart by 10 bits
        ("random 10 %", 100 * 4 + 8),
    ],
)
def test_the_bytes_that_are_counted_are_those_of_what_is_sent(name: str, size: int) -> None:
    step, update = step_of(CODERS[name])
    payload = Payload(update, tf.constant(3.0))
    message = step.encode(payload, seed(1))
    real = sum(len(tensor.numpy().tobytes()) for tensor in tf.nest.flatten(message))
    assert int(steps.travel([step], payload, seed(1)).sent) == real == size + 5 * 4 + 4  # the rest travels as it is


def step_of(coder: Coder, feeds_back: bool = False) -> tuple[steps.Step, Weights]:
    """Returns a step, and an update of two trainable tensors with 1,000 values and a moving one of 5."""
    values = tf.constant(vector())
    update = Weights([tf.reshape(values[:600], [20, 30]), values[600:]], [tf.range(5.0)])
    return compression.compressing(coder, update.trainable, feeds_back), update


@pytest.mark.parametrize("name", CODERS)
def test_moving_statistics_and_extras_arrive_as_they_were(name: str) -> None:
    step, update = step_of(CODERS[name])
    arrived = steps.travel([step], Payload(update, tf.constant(3.0)), seed(1)).payload
    assert_same(arrived.update.moving, update.moving)
    assert arrived.extra.numpy() == 3
    assert [t.shape for t in arrived.update.trainable] == [[20, 30], [400]]


def test_what_was_sent_and_what_is_remembered_are_the_sum_of_all_updates() -> None:
    """The law of error feedback, and that what is remembered stays bounded: 2 (1 - delta) / delta^2 at the most."""
    step, update = step_of(coders.top_k(COUNT, 0.1), feeds_back=True)
    memory = steps.memory_of([step], Payload(update))
    received, truth = np.zeros(COUNT), np.zeros(COUNT)
    for round_ in range(60):
        values = tf.constant(vector(round_))
        own = Payload(Weights(weight_ops.split(values, update.trainable), update.moving))
        arrived = steps.travel([step], own, seed(round_), memory)
        memory = arrived.memory
        received += weight_ops.joined(arrived.payload.update.trainable).numpy()
        truth += values.numpy()
        left = weight_ops.joined(memory).numpy()
        np.testing.assert_allclose(received + left, truth, rtol=1e-4, atol=1e-3)
    assert np.linalg.norm(left) < 0.5 * np.linalg.norm(truth)


def test_only_a_biased_step_asks_for_memory() -> None:
    _, update = step_of(CODERS["8 bits"])
    asked = {up: compression.steps_up(config.Compression(up=up), Payload(update)) for up in ("quantise", "random_mask")}
    assert [steps.memory_of(way, Payload(update)) for way in asked.values()] == [(), ()]
    fed = compression.steps_up(config.Compression(up="top_k"), Payload(update))
    assert [m.shape for m in steps.memory_of(fed, Payload(update))] == [[20, 30], [400]]
    assert steps.memory_of(compression.steps_up(config.Compression(up="top_k", error_feedback=False), Payload(update)),
                           Payload(update)) == ()  # fmt: skip


# Rounds


UP = {
    "quantise": ({"up": "quantise", "bits": 4}, (VALUES + 1) // 2 + 8),
    "top_k": ({"up": "top_k", "share": 0.2}, 8 * 4 + 8 * 6 // 8),
    "random_mask": ({"up": "random_mask", "share": 0.2}, 8 * 4 + 8),
}


@pytest.mark.parametrize(("asked", "sent"), UP.values(), ids=list(UP))
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_round_is_the_mean_of_what_arrives(runtime: str, asked: dict[str, Any], sent: int, worker: Worker) -> None:
    """Each client's own compressed round, alone, is what the mean of all is made of; on both runtimes."""
    held = tiny.clients()
    changes = tiny.settings(compression=asked, runtime={"name": runtime})
    whole = tiny.one_round(changes, held, worker)
    alone = [tiny.one_round(tiny.settings(compression=asked), held, cohort=[name]).updates for name in held.train]
    expected = [sum(n * u[place] for n, u in zip((11, 6, 8), alone, strict=True)) / 25 for place in range(4)]
    assert_close(whole.updates, expected)
    assert whole.done.bytes_up == 3 * sent
    assert whole.done.bytes_down == 3 * 4 * VALUES


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_quantised_weights_go_down_once_for_all(runtime: str, worker: Worker) -> None:
    """What a client starts from is off by less than a level, alike at all of them; the server's weights stay whole."""
    held = tiny.clients()
    still = {"client": {"learning_rate": 1e-30}, "runtime": {"name": runtime}}  # so that clients change nothing
    done = tiny.one_round(tiny.settings(compression={"down": "quantise"}, **still), held, worker)
    assert done.done.bytes_down == 3 * (VALUES + 8)
    assert_close(done.after.trainable, done.before.trainable, atol=1e-7)
    plain = tiny.one_round(tiny.settings(runtime={"name": runtime}), held, worker)
    near = tiny.one_round(tiny.settings(compression={"down": "quantise"}, runtime={"name": runtime}), held, worker)
    flat = [np.concatenate([u.ravel() for u in each.updates]) for each in (plain, near)]
    error = np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[0])
    assert 0 < error < 0.05


def test_both_runtimes_send_down_the_same(worker: Worker) -> None:
    after = [
        tiny.one_round(tiny.settings(compression={"down": "quantise"}, runtime={"name": name}), tiny.clients(), worker)
        for name in RUNTIMES
    ]
    assert_close(after[0].after.trainable, after[1].after.trainable)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scaffold", "fedbn", "fednova", "mimelite"])
def test_every_algorithm_can_be_compressed_both_ways(name: str) -> None:
    model = "tiny_models:batch_norm" if name == "fedbn" else "tiny_models:hidden"
    asked = {"up": "top_k", "share": 0.5, "down": "quantise"}
    done, plain = (
        tiny.one_round(tiny.settings(model, algorithm={"name": name}, compression=c), tiny.clients())
        for c in (asked, {})
    )
    assert done.done.bytes_up < plain.done.bytes_up
    assert done.done.bytes_down < plain.done.bytes_down
    assert max(np.abs(u).max() for u in done.updates) > 0.01


@pytest.mark.parametrize("name", [pytest.param("fedavg", marks=pytest.mark.slow), "scaffold"])
def test_what_is_remembered_lies_beside_what_an_algorithm_keeps_and_survives_a_stop(
    name: str, tmp_path: pathlib.Path
) -> None:
    held = tiny.clients()
    changes = tiny.settings(algorithm={"name": name}, compression={"up": "top_k", "share": 0.1}, rounds=4)
    straight = tiny.federation(changes, held, folder=tmp_path / "kept")
    positions = [done.position for done in straight.rounds(straight.start())]
    again = tiny.federation(changes, held, folder=tmp_path / "kept")
    resumed = [done.position for done in again.rounds(Position(*positions[1]))]
    assert_same(tf.nest.flatten(resumed[-1].state), tf.nest.flatten(positions[-1].state))
    kept = again._kept.read(0, positions[-1].kept[0])
    assert [m.shape for m in kept.memory] == [(3, 8), (8,), (8, 1), (1,)]
    assert max(np.abs(m).max() for m in kept.memory) > 0
    assert len(tf.nest.flatten(kept.own)) == (4 if name == "scaffold" else 0)
    straight.close()
    again.close()


@pytest.mark.slow
def test_a_federation_with_feedback_gets_the_updates_through() -> None:
    """After rounds of 5 % of the values the weights have moved further along, as what was left out came later."""
    held = tiny.clients()
    found = {}
    for feedback in (True, False):
        asked = {"up": "top_k", "share": 0.05, "error_feedback": feedback}
        with tiny.set_up(tiny.settings(compression=asked, rounds=8), held) as (federation, _):
            *_, last = federation.rounds(federation.start())
            moved = zip(federation.weights(last.position).trainable, federation.initial.trainable, strict=True)
            found[feedback] = sum(np.count_nonzero(a != b) for a, b in moved)
    assert found[True] > found[False]


# Settings


def test_what_does_not_go_together_is_told() -> None:
    wrong = tiny.settings(compression={"down": "quantise", "bits": 4})
    with pytest.raises(
        errors.ConfigError, match=r"^compression.bits: is of what clients send, by up = 'quantise', got 4"
    ):
        combinations.check(wrong)
    with pytest.raises(errors.ConfigError, match=r"^compression.bits: expected one of 2, 4, 8, got 3"):
        tiny.settings(compression={"bits": 3})
    with pytest.raises(errors.ConfigError, match=r"^compression.share: expected a number > 0.0 and <= 1.0, got 1.5"):
        tiny.settings(compression={"share": 1.5})


def test_weights_that_are_not_there_cannot_be_quantised() -> None:
    with pytest.raises(errors.ConfigError, match=r"^compression.down: the algorithm broadcasts no Weights"):
        compression.step_down(config.Compression(down="quantise"), [tf.zeros([3])])
