"""Secure sums: exact modulo 2^k whoever drops out, lanes that give nothing away, refusals of what does not fit."""

import contextlib
import dataclasses
import functools
import itertools
import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tiny
from tiny import assert_close, assert_same

from fedmed.engine import masking
from fedmed.engine.federation import Federation, Position
from fedmed.engine.runtimes import local
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import combinations, fixed_point, secure_sums
from fedmed.learning import weights as weight_ops
from fedmed.learning.lane import LaneOutput, Work
from fedmed.learning.program import constants, specs_of
from fedmed.learning.secure_sums import Masks, Secure
from fedmed.learning.values import Payload, Weights
from fedmed.runs import experiment
from fedmed.settings import config
from fedmed.system import errors, plain

RUNTIMES = ("local", "tff")
CLIP = 0.5
VALUES = 3 * 8 + 8 + 8 + 1  # of tiny_models:hidden
FIVE = (11, 6, 8, 9, 7)


def secure(bits: int = 32, **more: Any) -> dict[str, Any]:
    return {"clip_norm": CLIP, "secure": True, "secure_bits": bits, **more}


def way(count: int, bits: int) -> Secure:
    return Secure(bits, CLIP, Payload(Weights([np.zeros(count, np.float32)], [])))


def vector_of(count: int, seed: int) -> np.ndarray:
    """Returns an update of the norm that it is clipped to."""
    values = np.random.default_rng(seed).normal(size=count)
    return (CLIP * values / np.linalg.norm(values)).astype(np.float32)


# The protocol


@pytest.mark.parametrize(("clients", "bits"), [(10, 32), (10, 16), (20, 27), (50, 32)])
@pytest.mark.parametrize("lost", [0.0, 0.1, 0.4])
def test_the_opened_sum_is_the_sum_of_those_who_are_there(clients: int, bits: int, lost: float) -> None:
    """1,000 values of each client; 50 clients are paired with 20 each. The words are exact, so they are compared so."""
    count = 1000
    numbers = list(range(3, 3 + clients))
    gone = np.random.default_rng(clients).choice(clients, round(lost * clients), replace=False)
    there = [number for place, number in enumerate(numbers) if place not in gone]
    masks = masking.planned(5, 2, numbers, there, bits, needed=2)
    assert masks is not None
    own, limit = way(count, bits), tf.constant(masks.limit)
    total, truth = tf.zeros([count], tf.int32), np.zeros(count, np.int64)
    accepted, share = tf.constant(True), tf.constant(1.0)
    sent = tf.function(functools.partial(secure_sums.masked, own), reduce_retracing=True)
    for number in there:
        payload = Payload(Weights([tf.constant(vector_of(count, number))], []))
        seed = tf.constant([number, 1])
        words = sent(payload, share, accepted, Masks(tf.constant(masks.of(number)), limit), seed)
        plain_words = sent(payload, share, accepted, Masks(tf.zeros([0, 3], tf.int64), limit), seed)
        total = secure_sums.word_sum(own).accumulate(total, words, share)
        truth += signed(plain_words.numpy(), bits)
    assert_same([signed((total - secure_sums._mask(tf.constant(masks.left), count)).numpy(), bits)], [truth])
    opened = secure_sums.opened(own, total, share, Masks(tf.constant(masks.left), limit)).update.trainable[0]
    assert_close([opened], [truth * CLIP / masks.limit], rtol=1e-6, atol=0)


def signed(words: np.ndarray, bits: int) -> np.ndarray:
    """Returns words as numbers with a sign."""
    whole = words.astype(np.int64) % 2**bits
    return np.where(whole >= 2 ** (bits - 1), whole - 2**bits, whole)


def test_a_thousand_sums_are_exact_modulo_a_power_of_two() -> None:
    """NumPy alone: 20 cohorts, 0 to 40 % of them gone, 50 random words of each client, the masks that are planned."""
    rng = np.random.default_rng(0)

    def masked(rows: np.ndarray) -> np.ndarray:
        """Sums words that follow from seeds, with their signs."""
        words = [int(sign) * np.random.default_rng([abs(a), abs(b)]).integers(2**32, size=50) for a, b, sign in rows]
        return np.sum(words, axis=0, dtype=np.int64)

    for trial in range(20):
        clients, bits = int(rng.integers(3, 12)), int(rng.integers(8, 33))
        gone = round(0.4 * trial / 19 * clients)
        there = [int(client) for client in sorted(rng.choice(clients, clients - gone, replace=False))]
        masks = masking.planned(trial, 0, range(clients), there, bits, needed=2)
        assert masks is not None
        words = rng.integers(0, 2**bits, (clients, 50))
        sent = sum(words[client] + masked(masks.of(client)) for client in there)
        assert_same([(sent - masked(masks.left)) % 2**bits], [words[there].sum(axis=0) % 2**bits])


def test_pairs_are_mutual_on_a_ring_and_each_client_has_as_many() -> None:
    for clients in (1, 2, 32, 33, 500):
        pairs = masking.neighbours(1, 0, range(clients))
        assert {len(others) for others in pairs.values()} == {clients - 1 if clients <= 32 else masking.NEIGHBOURS}
        assert all(client in pairs[other] for client, others in pairs.items() for other in others)
        assert all(len({client, *others}) == len(others) + 1 for client, others in pairs.items())


def test_masks_differ_between_rounds_and_clients_and_repeat_by_seed() -> None:
    first, again, later = (masking.planned(1, round_, range(4), range(4), 32) for round_ in (0, 0, 1))
    assert first is not None
    assert again is not None
    assert later is not None
    assert_same([first.of(2), first.left], [again.of(2), again.left])
    seeds = {tuple(row[:2]) for masks in (first, later) for client in range(4) for row in masks.of(client)}
    assert len(seeds) == 2 * (4 + 6)  # own ones and pairs, in each round


@pytest.mark.parametrize(("clients", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (10, 7)])
def test_the_threshold_is_two_thirds_and_one_more(clients: int, needed: int) -> None:
    assert masking.threshold(clients, all_pairs=True) == needed
    assert masking.planned(0, 0, range(clients), range(needed), 32) is not None
    assert masking.planned(0, 0, range(clients), range(needed - 1), 32) is None


# What leaves a lane


@contextlib.contextmanager
def a_lane(features: int, lanes: int = 2) -> Iterator[tuple[Federation, LaneOutput]]:
    """Yields a federation of five clients, and what leaves the first lane in its first round."""
    held = tiny.clients_of({name: tiny.rows(9, seed, features) for seed, name in enumerate("abcde")})
    federation = tiny.federation(tiny.settings(aggregation=secure(), runtime={"lanes": lanes}), held)
    start, program = federation.start(), federation.prepared.program
    attending = federation.attending(0, federation.clients)
    _, work = federation.work(start, attending)
    state, facts = tf.nest.map_structure(tf.constant, start.state), constants(federation.facts(0, attending.masks))
    lane = local.callable_lane(program.lane, specs_of(program.received))
    yield federation, lane(program.broadcast(state, facts), facts.learning_rate, Work(*map(tf.constant, work[0])))
    federation.close()


def test_nothing_leaves_a_lane_but_a_masked_sum_counts_and_what_is_public() -> None:
    with a_lane(features=3) as (federation, output):
        assert federation.prepared.program.way.report_names == ("examples", "accepted")
    leaves = [(leaf.dtype, leaf.shape.as_list()) for leaf in tf.nest.flatten(output)]
    assert leaves == [(tf.int32, [VALUES]), (tf.float32, []), (tf.float32, []), (tf.float32, [3, 2]), (tf.int64, [3])]
    assert output.reports.numpy().tolist() == [[9, 1]] * 3
    assert (float(output.share), float(output.accepted)) == (3, 3)
    assert output.sent.numpy().tolist() == [4 * VALUES + 4 * 48] * 3


@pytest.mark.parametrize("lanes", [2, 1])
def test_the_sum_of_a_lane_looks_like_noise_and_tells_nothing_of_the_update(lanes: int) -> None:
    """Also a lane with the whole cohort, in which the pairs' masks cancel: the clients' own are left."""
    with a_lane(features=1200, lanes=lanes) as (federation, output):
        words = output.sums.numpy()
        update = federation.weights(federation.round(federation.start()).position)
        moved = [a - b for a, b in zip(update.trainable, federation.initial.trainable, strict=True)]
    for shift in (24, 16, 8, 0):
        counts = np.bincount((words.view(np.uint32) >> shift) & 255, minlength=256)
        assert scipy.stats.chisquare(counts).pvalue > 1e-4
    related = np.corrcoef(words.astype(np.float64), weight_ops.joined(moved).numpy())[0, 1]
    assert abs(related) < 4 / math.sqrt(len(words))


# Rounds


def distance(a: tiny.Arrays, b: tiny.Arrays) -> float:
    return math.sqrt(sum(np.square(x.astype(np.float64) - y).sum() for x, y in zip(a, b, strict=True)))


FAST = (("local", 32, "examples"), ("local", 16, "uniform"), ("tff", 16, "examples"))
EVERY = itertools.product(RUNTIMES, (32, 16), ("examples", "uniform"))


@pytest.mark.parametrize(
    ("runtime", "bits", "weighting"),
    [pytest.param(*one, marks=[pytest.mark.slow] * (one not in FAST)) for one in EVERY],
)
def test_a_secure_round_is_the_clipped_round_to_the_stated_bound(
    runtime: str, bits: int, weighting: str, worker: Worker
) -> None:
    held, on = tiny.clients(FIVE), {"runtime": {"name": runtime}}
    plainly = tiny.one_round(tiny.settings(aggregation={"clip_norm": CLIP, "weighting": weighting}, **on), held, worker)
    masked = tiny.settings(aggregation=secure(bits, weighting=weighting), **on)
    with tiny.set_up(masked, held, worker) as (federation, _):
        done = federation.round(federation.start())
        after = federation.weights(done.position).trainable
    moved = [a - b for a, b in zip(after, plainly.before.trainable, strict=True)]
    shares = tuple(size / max(FIVE) for size in FIVE) if weighting == "examples" else ()
    bound = fixed_point.resolution(bits, 5, CLIP, VALUES, shares)
    error = distance(moved, plainly.updates)
    assert error <= bound.worst + 1e-7  # and float32 rounding of weights
    assert error <= 2 * bound.typical + 1e-7
    assert error / distance(plainly.updates, [0 * u for u in moved]) < {32: 1e-6, 16: 1e-3}[bits]
    assert set(done.sums) == {"examples", "accepted"}
    assert done.bytes_up == 5 * (math.ceil(VALUES * bits / 8) + 4 * 48)


def test_both_runtimes_give_the_same_weights_in_rounds_with_drop_outs(worker: Worker) -> None:
    held, found = tiny.clients(FIVE), []
    for runtime in RUNTIMES:
        gone = [{"name": "absent", "chance": 0.15}]
        flaky = tiny.settings(aggregation=secure(), scenario=gone, runtime={"name": runtime}, rounds=4, seed=3)
        with tiny.set_up(flaky, held, worker) as (federation, _):
            done = [*federation.rounds(federation.start())]
            found.append(federation.weights(done[-1].position).trainable)
        assert {len(each.absent) for each in done} >= {0, 1}
        plainly = tiny.settings(aggregation={"clip_norm": CLIP}, scenario=gone, rounds=4, seed=3)
        with tiny.set_up(plainly, held) as (federation, next_round):
            position = federation.start()
            for each in done:
                position = next_round(position).position if len(each.absent) < 5 else position._replace(
                    round=position.round + 1
                )  # fmt: skip
            assert_close(found[-1], federation.weights(position).trainable)
    assert_close(*found)


def test_where_too_few_are_left_to_open_the_sum_the_round_has_no_update() -> None:
    flaky = tiny.settings(aggregation=secure(), scenario=[{"name": "absent", "chance": 0.5}], seed=1)
    done = tiny.one_round(flaky, tiny.clients(FIVE))
    assert tuple(done.done.absent) == done.done.cohort == tuple("abcde")
    assert set(done.done.absent.values()) == {"dropped out", "too few stayed to open the sum"}
    assert_same(done.after.trainable, done.before.trainable)
    assert (done.done.sums, done.done.bytes_up, done.position.round) == ({}, 0, 1)


def test_an_update_that_is_not_finite_is_a_masked_zero() -> None:
    bad = tiny.rows(7, seed=9)
    np.asarray(bad.x)[3, 1] = np.nan
    held = {"a": tiny.rows(11, seed=0), "bad": bad, "b": tiny.rows(6, seed=1), "c": tiny.rows(6, seed=2)}
    linear = tiny.settings("tiny_models:flat_start", aggregation=secure())
    with_it = tiny.set_up(linear, tiny.clients_of(held))
    with with_it as (federation, _):
        done = federation.round(federation.start())
        after = federation.weights(done.position).trainable
    assert done.refused == ("bad",)
    without = tiny.settings("tiny_models:flat_start", aggregation={"clip_norm": CLIP})
    assert_close(after, tiny.one_round(without, tiny.clients_of(held)).after.trainable)


def test_a_round_that_is_repeated_from_its_position_is_the_same_to_the_bit() -> None:
    held = tiny.clients(FIVE)
    changes = tiny.settings("tiny_models:batch_norm", algorithm={"name": "fedbn"}, aggregation=secure(16), rounds=4)
    with tiny.set_up(changes, held) as (federation, _):
        positions = [done.position for done in federation.rounds(federation.start())]
        again = [done.position for done in federation.rounds(Position(*positions[1]))]
        assert_same(tf.nest.flatten(again[-1].state), tf.nest.flatten(positions[-1].state))


def test_a_run_under_secure_sums_records_no_training_loss(tmp_path: pathlib.Path) -> None:
    path = tiny.save_sites(tmp_path / "own.npz")
    experiment.run(tiny.settings(data={"args": {"path": path}}, aggregation=secure()), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [line["train"] for line in lines] == [None] * 3
    assert all(line["examples"] > 0 for line in lines[1:])


@pytest.mark.parametrize("gone", [[], ["a"], ["c"]])
def test_what_rounding_does_is_told_for_those_who_were_there(tmp_path: pathlib.Path, gone: list[str]) -> None:
    """Four sites by size: each rounds as coarsely as the largest, and the small ones count for less."""
    path = tiny.save_sites(tmp_path / "own.npz")
    own = tiny.settings(
        data={"args": {"path": path}},
        aggregation=secure(16),
        scenario=[{"name": "absent", "clients": gone, "chance": 1.0}] if gone else [],
    )
    found = experiment.run(own, tmp_path / "run")
    rows = {site: of["train_rows"] for site, of in found["final"]["clients"].items()}
    there = [count for site, count in rows.items() if site not in gone]
    step = 1 / (2**15 // 4 - 1)
    told = step * math.sqrt(found["parameters"]) * len(there) * max(rows.values()) / sum(there)
    assert found["secure_error"] == pytest.approx(told)


# Numbers


def test_the_room_of_a_word_by_hand() -> None:
    assert fixed_point.limit(8, 10) == 12  # ten times 12 is 120, and 127 the largest of 8 bits
    assert fixed_point.limit(32, 10) == 214_748_364
    found = fixed_point.resolution(8, 10, clip=1.2, values=100)
    assert plain.to_plain(found) == pytest.approx(
        {"step": 0.1, "worst": 1.0, "typical": 0.1 * math.sqrt(1000 / 4) / 10, "relative": 0.1 * 5 / 1.2 / 10**0.5}
    )


def test_a_value_is_rounded_right_on_average() -> None:
    """At 8 bits most values are less than a step: their mean over seeds is theirs all the same."""
    own, limit, draws = way(100, 8), fixed_point.limit(8, 10), 500
    sent = vector_of(100, 1)
    none = Masks(tf.zeros([0, 3], tf.int64), tf.constant(limit))
    payload = Payload(Weights([tf.constant(sent)], []))
    yes, one = tf.constant(True), tf.constant(1.0)
    words = [secure_sums.masked(own, payload, one, yes, none, tf.constant([n, 0])).numpy() for n in range(draws)]
    found = np.stack([signed(each, 8) for each in words])
    error = found.mean(axis=0) * CLIP / limit - sent
    assert np.abs(found).max() <= 5
    assert np.square(error).sum() < 1.3 * 100 * (CLIP / limit) ** 2 / 4 / draws


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregation": {"secure": True}}, "aggregation.secure: needs aggregation.clip_norm, which bounds what is su"),
        ({"aggregation": secure(rule="median")}, "aggregation.secure: gives the server a sum only, and 'median' needs"),
        ({"algorithm": {"name": "scaffold"}}, "aggregation.secure: scaffold sends more than a clipped update, and wha"),
        ({"algorithm": {"name": "fednova"}}, "aggregation.secure: fednova sends more than a clipped update, and what"),
        ({"compression": {"up": "top_k"}}, "aggregation.secure: updates written by compression.up = 'top_k' do not ad"),
        ({"compression": {"up": "random_mask"}}, "aggregation.secure: updates written by compression.up = 'random_mas"),
        ({"compression": {"up": "quantise"}}, ".* do not add up under masks; fewer aggregation.secure_bits do"),
    ],
)
def test_what_does_not_go_with_secure_sums_is_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    wrong = tiny.settings(**{"aggregation": secure(), **changes})
    with pytest.raises(errors.ConfigError, match=f"^{message}"):
        combinations.check(wrong)


def test_weights_may_go_down_quantised_under_secure_sums() -> None:
    combinations.check(tiny.settings(aggregation=secure(), compression={"down": "quantise"}))


@pytest.mark.parametrize("bits", [7, 33])
def test_a_word_has_8_to_32_bits(bits: int) -> None:
    with pytest.raises(errors.ConfigError, match=r"^aggregation.secure_bits: expected a number >= 8 and <= 32"):
        tiny.settings(aggregation=secure(bits))


def test_a_cohort_that_a_word_has_no_room_for_is_refused_before_a_round() -> None:
    asked = tiny.settings(aggregation=secure(8)).aggregation
    masking.check(asked, 18)
    with pytest.raises(
        errors.ConfigError, match=r"^aggregation.secure_bits: a sum of 19 clients in 8 bits leaves valu"
    ):
        masking.check(asked, 19)
    masking.check(dataclasses.replace(asked, secure=False), 19)


def test_moving_statistics_are_not_summed_securely() -> None:
    with pytest.raises(errors.ConfigError, match=r"^aggregation.secure: the model's moving statistics"):
        tiny.one_round(tiny.settings("tiny_models:batch_norm", aggregation=secure()), tiny.clients(FIVE))


def test_an_algorithm_that_sends_something_else_is_refused() -> None:
    like = Payload(Weights([np.zeros(3, np.float32)], []), np.zeros(2, np.float32))
    with pytest.raises(errors.ConfigError, match=r"^aggregation.secure: the algorithm sends more than an update"):
        secure_sums.secure_of(config.Aggregation(clip_norm=1.0, secure=True), like)


def test_what_secure_sums_do_not_protect_is_told_in_sentences() -> None:
    assert all(sentence.endswith(".") for sentence in masking.SECURE_NOT)
