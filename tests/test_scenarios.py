"""Scenarios: each effect equals a case worked by hand on both runtimes; fates are functions of seed, round, client."""

import contextlib
import dataclasses
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import assert_close, assert_same

from fedmed.data import clients, corruptions
from fedmed.data.examples import Dataset, Examples, Feature
from fedmed.engine import attendance, contributions, fates, scenarios, virtual_time
from fedmed.engine.contributions import Attendance
from fedmed.engine.fates import REGULAR, Fate, Fates
from fedmed.engine.roster import Costs, Roster
from fedmed.engine.runtimes.worker import Worker
from fedmed.engine.virtual_time import Load
from fedmed.learning.values import NO_TROUBLE, Trouble
from fedmed.runs import experiment
from fedmed.settings import config
from fedmed.settings.clock import Clock
from fedmed.system import errors

RUNTIMES = ("local", "tff")
SIZES = {"a": 11, "b": 6, "c": 8}
HELD = tiny.clients()


def settings(*scenario: Mapping[str, Any], **changes: Any) -> config.RunConfig:
    return tiny.settings(**{"scenario": list(scenario), **changes})


def fates_of(*scenario: Mapping[str, Any], seed: int = 0, sizes: Mapping[str, int] = SIZES) -> Fates:
    return Fates(settings(*scenario, seed=seed), sizes)


def absent_in(found: Fates, rounds: int, client: int) -> list[int]:
    return [round_ + 1 for round_ in range(rounds) if found.of(round_, client).absent]


# Whom and when


def test_nothing_befalls_anybody_by_default() -> None:
    found = fates_of()
    assert {found.of(round_, client) for round_ in range(4) for client in range(3)} == {REGULAR}
    assert fates.trouble(settings()) == NO_TROUBLE


def test_a_client_leaves_joins_or_is_away_by_rounds_counted_from_one() -> None:
    assert absent_in(fates_of({"name": "absent", "clients": ["b"], "after": 2}), 5, 1) == [3, 4, 5]
    assert absent_in(fates_of({"name": "absent", "clients": ["b"], "until": 2}), 5, 1) == [1, 2]
    assert absent_in(fates_of({"name": "absent", "clients": ["b"], "after": 1, "until": 3}), 5, 1) == [2, 3]
    assert absent_in(fates_of({"name": "absent", "clients": ["b"], "after": 2}), 5, 0) == []


@pytest.mark.parametrize(
    ("when", "why", "announced"),
    [
        ({"after": 2}, "left after round 2", True),
        ({"until": 3}, "joined after round 3", True),
        ({"after": 2, "until": 3}, "was away in rounds 3 to 3", True),
        ({}, "never joined", True),
        ({"until": 9}, "never joined", True),
        ({"after": 2, "until": 20}, "left after round 2", True),
        ({"chance": 0.999999}, "dropped out", False),
    ],
)
def test_an_absence_says_why(when: dict[str, Any], why: str, announced: bool) -> None:
    fate = Fates(settings({"name": "absent", **when}, rounds=9), SIZES).of(2, 0)
    assert (fate.absent, fate.announced) == (why, announced)


def test_the_largest_and_the_smallest_are_those_with_most_and_fewest_patients() -> None:
    found = fates_of({"name": "late", "clients": ["largest"]}, {"name": "boost", "clients": ["smallest"]})
    assert [found.of(0, client) for client in range(3)] == [Fate(late=1), Fate(factor=10.0), REGULAR]


def test_a_share_of_the_clients_is_drawn_once() -> None:
    sizes = {f"client {number}": 5 for number in range(10)}
    found = fates_of({"name": "sign_flip", "share": 0.3}, sizes=sizes)
    hit = [[client for client in range(10) if found.of(round_, client).factor < 0] for round_ in range(6)]
    assert len(hit[0]) == 3
    assert all(each == hit[0] for each in hit)
    both = fates_of({"name": "boost", "share": 0.5}, {"name": "sign_flip", "share": 0.3}, sizes=sizes)
    fates_ = [both.of(0, client).factor for client in range(10)]
    assert sorted(fates_) == [-10.0] * 3 + [1.0] * 5 + [10.0] * 2
    others = fates_of({"name": "sign_flip", "share": 0.3}, sizes=sizes, seed=1)
    assert hit[0] != [client for client in range(10) if others.of(0, client).factor < 0]


def test_several_entries_add_up() -> None:
    fate = fates_of(
        {"name": "late", "args": {"by": 2}},
        {"name": "late", "args": {"by": 3}},
        {"name": "sign_flip"},
        {"name": "boost", "args": {"times": 4}},
        {"name": "slow", "args": {"times": 3, "uplink": "1Mbit"}},
        {"name": "label_flip"},
        {"name": "slow", "args": {"times": 2, "uplink": "5Mbit"}},
    ).of(0, 0)
    assert fate == Fate(late=3, factor=-4.0, slower=6.0, uplink=1e6, rows=(5,))


def test_who_has_left_drops_out_no_more_whichever_entry_stands_first() -> None:
    leaves, drops = {"name": "absent", "after": 2}, {"name": "absent", "chance": 0.999999}
    for entries in ((leaves, drops), (drops, leaves)):
        found = fates_of(*entries)
        assert [found.of(round_, 0).absent for round_ in (1, 2, 3)] == ["dropped out", *["left after round 2"] * 2]
        assert [found.of(round_, 0).announced for round_ in (1, 2)] == [False, True]


def test_the_computations_are_made_for_what_a_scenario_can_do_and_no_more() -> None:
    asked = settings({"name": "late", "args": {"by": 2}}, {"name": "partial_work"}, {"name": "boost"})
    assert fates.trouble(asked) == Trouble(late=2, partial=True, spoils=True)
    assert fates.trouble(settings({"name": "absent"}, {"name": "slow"}, {"name": "label_flip"})) == NO_TROUBLE


# What it does to a round


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_update_is_flipped_or_boosted_before_it_is_averaged(runtime: str, worker: Worker) -> None:
    alone = {name: tiny.one_round(settings(), HELD, cohort=[name]).updates for name in SIZES}
    spoilt = settings(
        {"name": "sign_flip", "clients": ["b"]},
        {"name": "boost", "clients": ["c"], "args": {"times": 5}},
        runtime={"name": runtime},
    )
    found = tiny.one_round(spoilt, HELD, worker)
    factors, total = {"a": 1.0, "b": -1.0, "c": 5.0}, sum(SIZES.values())
    expected = [sum(SIZES[n] * factors[n] * alone[n][place] for n in SIZES) / total for place in range(4)]
    assert_close(found.updates, expected)


@pytest.mark.parametrize("runtime", ["local", pytest.param("tff", marks=pytest.mark.slow)])
def test_an_update_of_nan_is_refused_and_the_others_are_averaged(runtime: str, worker: Worker) -> None:
    found = tiny.one_round(
        settings({"name": "not_a_number", "clients": ["b"]}, runtime={"name": runtime}), HELD, worker
    )
    assert found.done.refused == ("b",)
    assert_close(found.updates, tiny.one_round(settings(), HELD, cohort=["a", "c"]).updates)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_late_update_was_computed_on_older_weights(runtime: str, worker: Worker) -> None:
    """b is two updates late: in the third round it starts from the initial weights, in the fourth from the first."""
    asked = settings({"name": "late", "clients": ["b"], "args": {"by": 2}}, runtime={"name": runtime}, rounds=4)
    prompt = settings()
    with tiny.set_up(asked, HELD, worker) as (federation, _), tiny.set_up(prompt, HELD) as (other, next_round):
        whole = [federation.start(), *(done.position for done in federation.rounds(federation.start()))]
        weights = [federation.weights(position) for position in whole]
        for number in range(4):

            def update(client: str, start: int, round_: int = number) -> list[np.ndarray]:
                return next_round(other.start(weights[start])._replace(round=round_), [client]).updates

            parts = {"a": update("a", number), "b": update("b", max(0, number - 2)), "c": update("c", number)}
            mean = [sum(SIZES[n] * parts[n][k] for n in SIZES) / sum(SIZES.values()) for k in range(4)]
            after = [w + m for w, m in zip(weights[number].trainable, mean, strict=True)]
            assert_close(weights[number + 1].trainable, after)
        assert federation.prepared.program.bytes_down == federation.weights_bytes


@pytest.mark.parametrize(
    ("algorithm", "rate"), [("fedavg", 0.2), ("scaffold", 1e-9), ("mimelite", 1e-9), ("fedper", 1e-9)]
)
def test_moving_statistics_are_the_mean_of_what_clients_end_with_however_late(algorithm: str, rate: float) -> None:
    """A statistic is a state: what a late client adds to it must not add up with what others have added already.

    Where clients or the server hold a state, weights do not move, so that statistics depend on their start alone.
    """
    args = {"args": {"home": ["dense_1"]}} if algorithm == "fedper" else {}
    asked = {"algorithm": {"name": algorithm, **args}, "rounds": 4, "client": {"learning_rate": rate}}
    model, late = "tiny_models:batch_norm", [{"name": "late", "clients": ["b"], "args": {"by": 2}}]
    delayed, other = (tiny.federation(tiny.settings(model, **asked, **more), HELD) for more in ({"scenario": late}, {}))
    positions = [delayed.start(), *(done.position for done in delayed.rounds(delayed.start()))]
    weights = [delayed.weights(position) for position in positions]

    def ends(client: str, start: int, round_: int) -> list[np.ndarray]:
        position = other.start(weights[start])._replace(round=round_)
        return other.weights(other.round(position, [client]).position).moving

    for number in range(4):
        parts = {"a": ends("a", number, number), "b": ends("b", max(0, number - 2), number)}
        parts["c"] = ends("c", number, number)
        mean = [sum(SIZES[n] * part[k] for n, part in parts.items()) / 25 for k in range(4)]
        assert_close(weights[number + 1].moving, mean, rtol=1e-4)
    for federation in (delayed, other):
        federation.close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_partial_work_is_a_share_of_the_local_steps_at_least_one(runtime: str, worker: Worker) -> None:
    """Of 3 epochs of 3, 2 and 2 batches of 4 rows, .4 are 4, 2 and 2 steps."""
    asked = settings(
        {"name": "partial_work", "args": {"least": 0.4, "most": 0.4}}, client={"epochs": 3}, runtime={"name": runtime}
    )
    found = tiny.one_round(asked, HELD, worker)
    seen = dict(zip(SIZES, found.reports[:, 0], strict=True))
    assert seen == {"a": 11 + 4, "b": 6, "c": 8}
    assert found.done.partial == {"a": 4 / 9, "b": 2 / 6, "c": 2 / 6}  # what was done, not what was drawn
    clock = Clock("1Gbit", "1Gbit", 1.0)
    timed = tiny.one_round(dataclasses.replace(asked, clock=clock), HELD, worker).done
    assert timed.clock_seconds == pytest.approx(11 + 4, abs=0.01)
    whole = settings({"name": "partial_work", "args": {"most": 0.1}}, client={"batch_size": "full"})
    assert tiny.one_round(whole, HELD).done.partial == {}  # the one step that there is
    two = tiny.trained_eagerly(
        found.before.trainable, tiny.batches_of(HELD.train["b"], asked.client, 1)[:2], asked.client.learning_rate
    )
    one = tiny.one_round(dataclasses.replace(asked, aggregation=config.Aggregation()), HELD, worker, ["b"])
    assert_close(one.after.trainable, two)


def test_how_much_work_is_done_is_drawn_anew_each_round() -> None:
    found = fates_of({"name": "partial_work", "args": {"least": 0.2, "most": 0.9}})
    drawn = [found.of(round_, 0).work for round_ in range(200)]
    assert 0.2 <= min(drawn) < 0.25
    assert 0.85 < max(drawn) <= 0.9
    assert drawn == [found.of(round_, 0).work for round_ in range(200)]


def test_flipped_labels_are_trained_on_in_their_rounds_only() -> None:
    other = Examples(HELD.train["b"].x, 1 - HELD.train["b"].y)
    wrong = tiny.clients_of({**HELD.train, "b": other})
    asked = settings({"name": "label_flip", "clients": ["b"], "after": 1, "until": 2}, rounds=3)
    with tiny.set_up(asked, HELD) as (federation, _):
        positions = [federation.start(), *(done.position for done in federation.rounds(federation.start()))]
    for number, held in enumerate((HELD, wrong, HELD)):
        with tiny.set_up(settings(), held) as (plain, next_round):
            start = plain.start(federation.weights(positions[number]))._replace(round=number)
            assert_same(next_round(start).after.trainable, federation.weights(positions[number + 1]).trainable)


def test_a_scenario_that_cannot_strike_leaves_the_bits() -> None:
    found = []
    for scenario in ([], [{"name": "absent", "after": 50}], [{"name": "slow"}]):
        with tiny.set_up(settings(*scenario), HELD) as (federation, _):
            *_, last = federation.rounds(federation.start())
        found.append(federation.weights(last.position).trainable)
    for other in found[1:]:
        assert_same(other, found[0])


# Rows


def table() -> Dataset:
    x = np.array([[50.0, 0], [60, 1], [np.nan, 1], [70, 0]])
    features = (Feature("chol", "mg/dL"), Feature("sex", levels=("f", "m")))
    return Dataset("table", Examples(x, np.array([0, 1, 1, 0])), "binary", 2, features=features)


def test_labels_become_the_next_class_or_are_mirrored() -> None:
    rng = np.random.default_rng(0)
    three = Dataset("three", Examples(np.zeros((4, 1)), np.array([0, 1, 2, 0])), "multiclass", 3)
    assert corruptions.labels_flipped(three, 1.0)(three.examples, rng).y.tolist() == [1, 2, 0, 1]
    amounts = Examples(np.zeros((3, 1)), np.array([1.0, 2, 6], np.float32))
    of = Dataset("amounts", amounts, "regression", 0)
    assert corruptions.labels_flipped(of, 1.0)(amounts, rng).y.tolist() == [5, 4, 0]
    counts = Dataset("counts", amounts, "count", 0)
    assert corruptions.labels_flipped(counts, 1.0)(amounts, rng).y.tolist() == [6, 5, 1]
    assert (corruptions.labels_flipped(three, 0.5)(three.examples, rng).y != three.examples.y).sum() == 2


def test_other_units_are_numbers_times_and_plus_before_any_scaling() -> None:
    held = table()
    change = corruptions.units_changed(held, "chol", 0.5, 1.0, "scenario[0].args")
    changed = np.asarray(change(held.examples, np.random.default_rng(0)).x)
    np.testing.assert_array_equal(changed[:, 0], [26, 31, np.nan, 36])
    np.testing.assert_array_equal(np.asarray(held.examples.x)[:, 0], [50, 60, np.nan, 70])
    with pytest.raises(errors.ConfigError, match="did you mean 'chol'"):
        corruptions.units_changed(held, "cholesterol"[:5], 0.5, 1.0, "scenario[0].args")


def test_a_backdoor_marks_a_share_of_the_rows_and_labels_them() -> None:
    rng, images = np.random.default_rng(0), np.zeros((6, 5, 5, 1), np.uint8)
    digits = Dataset("digits", Examples(images, np.arange(6) % 3), "multiclass", 3)
    found = corruptions.backdoored(digits, corruptions.patch(digits, 2, "scenario[0]"), 2, 0.5, "scenario[0].args")(
        digits.examples, rng
    )
    marked = np.asarray(found.x)[:, -1, -1, 0] == 255
    assert marked.sum() == 3
    assert (found.y[marked] == 2).all()
    assert (found.y[~marked] == digits.examples.y[~marked]).all()
    assert np.asarray(found.x)[marked].sum() == 3 * 4 * 255


def test_a_backdoor_is_as_bright_as_images_are_and_needs_some() -> None:
    def made(x: Any, task: Any = "multiclass", classes: int = 3) -> Dataset:
        return Dataset("own", Examples(x, np.arange(6) % 3), task, classes)

    bright = made(np.full((6, 5, 5), 7.0, np.float32) * np.arange(6)[:, np.newaxis, np.newaxis])
    assert np.asarray(corruptions.patch(bright, 2, "scenario[0]")(bright.examples.x))[0, -1, -1] == 35.0
    with pytest.raises(errors.ConfigError, match=r"^scenario\[0\].args.size: expected less than an image's 5 pixels"):
        corruptions.patch(bright, 5, "scenario[0]")
    both = made({"image": np.ones((6, 5, 5)), "age": np.ones((6, 2))})
    marked: Any = corruptions.patch(both, 1, "scenario[0]")({"image": np.zeros((2, 5, 5)), "age": np.zeros((2, 2))})
    assert (marked["image"].sum(), marked["age"].sum()) == (2, 0)
    with pytest.raises(errors.ConfigError, match=r"^scenario\[0\].args.target: expected a class, 0 to 2, got 3"):
        fates.check(settings({"name": "backdoor", "args": {"target": 3}}), bright, SIZES)
    for flat in (made(np.ones((6, 4))), made({"a": np.ones((6, 4)), "b": np.ones((6, 2))})):
        with pytest.raises(
            errors.ConfigError, match=r"^scenario\[0\]: a backdoor without args.column is a patch in im"
        ):
            fates.check(settings({"name": "backdoor"}), flat, SIZES)
    with pytest.raises(errors.ConfigError, match=r"^scenario\[0\].args.target: is a class, and own has none: its task"):
        fates.check(settings({"name": "backdoor"}), made(np.ones((6, 5, 5)), "regression", 0), SIZES)


def test_a_small_share_of_few_rows_is_one_row() -> None:
    rows = Dataset("own", Examples(np.ones((6, 2)), np.zeros(6, np.int64)), "binary", 2)
    assert corruptions.labels_flipped(rows, 0.001)(rows.examples, np.random.default_rng(0)).y.sum() == 1


def test_what_is_refused_in_any_case_is_absent_from_a_search() -> None:
    asked = settings(
        {"name": "not_a_number", "clients": ["b"], "chance": 0.5}, {"name": "boost"}, rounds=8, runtime={"lanes": 1}
    )
    searched = scenarios.without_refusals(asked)
    assert [one.name for one in searched.scenario] == ["absent", "boost"]
    ends = []
    for own in (asked, searched):
        with contextlib.closing(tiny.federation(own, HELD)) as federation:
            done = list(federation.rounds(federation.start()))
            ends.append(
                (federation.weights(done[-1].position).trainable, [{*one.refused, *one.absent} for one in done])
            )
    assert ends[0][1] == ends[1][1]
    assert {"b"} in ends[0][1]
    assert_close(ends[0][0], ends[1][0])


# The virtual clock, by a worked example


def test_the_virtual_clock_by_hand() -> None:
    """1 MB down at 8 Mbit/s is 1 s, 600 rows at 100 a second 6 s, 2 MB up at 4 Mbit/s 4 s: 11 s in all."""
    clock, load = Clock("4Mbit", "8Mbit", 100.0), Load(1_000_000, 600, 2_000_000)
    assert virtual_time.seconds(clock, load, REGULAR) == pytest.approx(11)
    assert virtual_time.seconds(clock, load._replace(rows=300), REGULAR) == pytest.approx(8)
    assert virtual_time.seconds(clock, load, Fate(slower=3.0, uplink=1e6)) == pytest.approx(1 + 18 + 16)


def test_a_round_lasts_as_long_as_the_slowest_and_no_longer_than_the_deadline() -> None:
    load = Load(1_000_000, 600, 2_000_000)
    loads, slow = {"a": load, "b": load}, Fate(slower=10.0)
    clock = Clock("4Mbit", "8Mbit", 100.0)
    assert virtual_time.with_deadline(clock, loads, {"a": REGULAR, "b": slow})[1] == pytest.approx(65)
    impatient = dataclasses.replace(clock, deadline=20.0)
    found, seconds = virtual_time.with_deadline(impatient, loads, {"a": REGULAR, "b": slow})
    assert (found["b"].absent, seconds) == (virtual_time.MISSED, 20.0)
    dropped, known = Fate(absent="dropped out"), Fate(absent="left after round 2", announced=True)
    assert virtual_time.with_deadline(impatient, loads, {"a": REGULAR, "b": dropped})[1] == 20.0
    assert virtual_time.with_deadline(impatient, loads, {"a": REGULAR, "b": known})[1] == pytest.approx(11)
    assert virtual_time.with_deadline(clock, loads, {"a": REGULAR, "b": dropped})[1] == pytest.approx(11)
    assert virtual_time.with_deadline(clock, loads, {"a": REGULAR, "b": Fate(late=2)})[1] == pytest.approx(11)
    assert virtual_time.with_deadline(clock, loads, {"a": Fate(late=2), "b": Fate(late=2)})[1] == pytest.approx(11)


def test_a_deadline_that_nobody_can_keep_is_refused() -> None:
    with pytest.raises(errors.ConfigError, match=r"^clock.deadline: nobody can keep it: expected at least"):
        tiny.one_round(settings(clock={"deadline": 1e-3}), HELD)
    slower = {"name": "slow", "args": {"times": 2, "uplink": "1Mbit"}}  # no way to be in time
    with pytest.raises(errors.ConfigError, match=r"^clock.deadline: nobody can keep it"):
        tiny.one_round(settings(slower, clock={"deadline": 1e-3}), HELD)
    for easier in ({"name": "slow", "args": {"times": 0.1, "uplink": "1Gbit"}}, {"name": "late"}):
        tiny.one_round(settings(easier, clock={"deadline": 1e-3}), HELD)


@pytest.mark.parametrize(
    ("name", "args", "times"),
    [
        ("scaffold", {}, 1),
        ("ditto", {"strength": 1.0}, 2),
        ("ditto", {"strength": 1.0, "personal_epochs": 3}, 4),
        ("fedrep", {"head_epochs": 2}, 3),
        ("apfl", {}, 2),
        ("mimelite", {}, 2),
    ],
)
def test_the_clock_counts_all_that_a_client_trains(name: str, args: dict[str, Any], times: int) -> None:
    """The slowest is a, with 11 rows at one a second; what is sent takes next to no time."""
    clock = {"rows_per_second": 1.0, "uplink": "1Gbit", "downlink": "1Gbit"}
    own = settings(algorithm={"name": name, "args": args}, clock=clock)
    assert tiny.one_round(own, HELD).done.clock_seconds == pytest.approx(11 * times, abs=0.01)


@pytest.mark.parametrize("client", [{"steps": 7}, {"steps": 7, "batch_size": "full"}, {"epochs": 2}])
@pytest.mark.parametrize("work", [1.0, 0.4])
def test_the_clock_counts_the_rows_that_are_trained_on(client: dict[str, Any], work: float) -> None:
    """11 rows in batches of 4: 4, 4, 3, 4, 4, 3, 4 in 7 steps; a part of them is whole steps."""
    clock = {"rows_per_second": 1.0, "uplink": "1Gbit", "downlink": "1Gbit"}
    less = [] if work == 1.0 else [{"name": "partial_work", "args": {"least": work, "most": work}}]
    own = settings(*less, clock=clock, client={"batch_size": 4, **client})
    done = tiny.one_round(own, tiny.clients([11])).done
    assert done.clock_seconds == pytest.approx(float(done.sums["examples"].sum()), abs=0.01)


def test_nothing_is_sent_to_whom_the_server_knows_to_be_away() -> None:
    away = {"name": "absent", "clients": ["a"]}
    found = tiny.one_round(settings(away), HELD).done
    everybody = tiny.one_round(settings(), HELD).done
    dropped = tiny.one_round(settings({**away, "chance": 0.999999}), HELD).done
    assert (found.bytes_down, dropped.bytes_down) == (everybody.bytes_down * 2 // 3, everybody.bytes_down)


def test_who_misses_the_deadline_is_not_in_the_mean_and_the_run_counts_the_hours() -> None:
    """29 float32 up and down; a trains on 11 rows, 1 a second; b, 6 rows, is 100 times slower and too late."""
    size = 4 * (3 * 8 + 8 + 8 + 1)
    asked = settings(
        {"name": "slow", "clients": ["b"], "args": {"times": 100}},
        clock={"rows_per_second": 1.0, "uplink": "1kbit", "downlink": "1kbit", "deadline": 20.0},
        client={"batch_size": "full"},
    )
    found = tiny.one_round(asked, HELD)
    assert found.done.absent == {"b": virtual_time.MISSED}
    assert found.done.clock_seconds == 20.0
    patient = dataclasses.replace(asked, clock=dataclasses.replace(asked.clock, deadline=None), scenario=())
    alone = tiny.one_round(patient, HELD)
    assert alone.done.clock_seconds == pytest.approx(11 + 2 * 8 * size / 1000)
    assert_close(found.updates, tiny.one_round(patient, HELD, cohort=["a", "c"]).updates)


# Planned and real contribution


def test_contributions_by_hand() -> None:
    rounds = [
        Attendance(("a", "b"), {}, {"a": 1}, {}, ()),
        Attendance(("a", "b"), {"b": "dropped out"}, {}, {"a": 0.5}, ()),
        Attendance(("a", "b"), {"b": "left after round 2"}, {}, {}, ("a",)),
        Attendance(("a", "b"), {"b": "left after round 2"}, {}, {}, ()),
    ]
    found = contributions.of(rounds, {"a": 1.0, "b": 3.0})
    assert (found["a"].asked, found["a"].used, found["a"].last, found["a"].refused) == (4, 3, 4, 1)
    assert (found["a"].late, found["a"].partial) == (1, 1)
    assert (found["a"].planned_share, found["a"].real_share) == (0.25, (0.25 + 1 + 0 + 1) / 4)
    assert found["b"].absent == {"dropped out": 1, "left after round 2": 2}
    assert (found["b"].used, found["b"].last, found["b"].real_share) == (1, 1, 0.75 / 4)
    assert contributions.shortfalls(found, {"a": 1.0, "b": 3.0}) == (
        "b, 75% of the training weight, was to contribute in 4 rounds and did in 1, last in round 1: dropped out "
        "(1 round), left after round 2 (2 rounds).",
        "a, 25% of the training weight, was to contribute in 4 rounds and did in 3, last in round 4: its update was "
        "not finite (1 round).",
    )


def test_who_left_for_good_is_named_before_all_who_missed_more_of_their_rounds() -> None:
    """The cohort is drawn, and asks z once after it left; the others drop out half of the time."""
    others = dict.fromkeys("abcde", 1.0)
    rounds = [Attendance(("z", *others), {}, {}, {}, ())] * 4
    rounds += [Attendance(tuple(others), dict.fromkeys(others, "dropped out"), {}, {}, ())] * 4
    rounds += [Attendance(("z",), {"z": "left after round 4"}, {}, {}, ())]
    shares = {**others, "z": 3.0}
    first, *said = contributions.shortfalls(contributions.of(rounds, shares), shares)
    assert first == (
        "z, 38% of the training weight, was to contribute in 5 rounds and did in 4, last in round 4: left after "
        "round 4 (1 round)."
    )
    assert [text[:1] for text in said[:2]] == ["a", "b"]
    assert said[2:] == ["3 more contributed in at most 75% of their rounds, the least in 50%."]


@pytest.mark.parametrize(("rule", "share"), [("mean", 6 / 25), ("geometric_median", 6 / 25), ("median", 1 / 3)])
def test_a_rule_that_counts_clients_alike_gives_each_the_same_weight(rule: str, share: float) -> None:
    with tiny.set_up(settings(aggregation={"rule": rule}), HELD) as (made, _):
        assert made.shares["b"] / sum(made.shares.values()) == pytest.approx(share)


def test_what_never_happens_and_what_spoils_a_model_is_said() -> None:
    asked = settings(
        {"name": "absent", "after": 2},
        {"name": "label_flip", "clients": ["a", "b"]},
        {"name": "late", "args": {"by": 1}},
        {"name": "partial_work"},
        rounds=2,
    )
    never, spoils = scenarios.warnings(asked, Fates(asked, {"a": 11, "b": 6, "c": 8}).whom)
    assert never == "scenario[0], absent, befalls nobody: it begins after round 2 of 2."
    assert spoils.startswith("Simulated trouble: label_flip (a, b), late (all clients). Figures are of a federation in")
    assert scenarios.warnings(settings({"name": "partial_work"}), [()]) == ()


def test_boosts_beyond_float32_are_refused_without_a_warning() -> None:
    boosts = [{"name": "boost", "clients": ["a"], "args": {"times": 1e12}}] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert tiny.one_round(settings(*boosts), HELD).done.refused == ("a",)


def test_a_study_says_that_each_seed_draws_others() -> None:
    asked = settings({"name": "boost", "share": 0.5}, {"name": "late", "clients": ["largest"]}, {"name": "sign_flip"})
    told = fates.whom_at_any_seed(asked, {"a": 11, "b": 6, "c": 8})
    assert told == [("50% of clients, drawn by each seed",), ("a",), ()]


def test_who_was_drawn_to_be_corrupted_is_named() -> None:
    sizes = dict.fromkeys("abcdefghi", 10) | {"most": 99}
    entries = [{"name": "boost", "share": 0.2}, {"name": "sign_flip", "clients": ["largest"], "chance": 0.5}]
    asked = settings(*entries, {"name": "boost", "chance": 0.5, "args": {"times": 3.0}}, rounds=40)
    told = Fates(asked, sizes)
    hit = [[told.of(round_, number).factor for round_ in range(40)] for number in range(10)]
    drawn = [name for name, factors in zip(sizes, hit, strict=True) if any(abs(f) >= 10 for f in factors)]
    assert len(drawn) == 2
    (said,) = scenarios.warnings(asked, told.whom)
    assert said.startswith(f"Simulated trouble: boost ({', '.join(drawn)}), sign_flip (most), boost (any client). ")


def test_a_run_whose_largest_client_leaves_says_so_first(tmp_path: pathlib.Path) -> None:
    from fedmed.reporting import tables

    path = tiny.save_sites(tmp_path / "own.npz")
    gone = [{"name": "absent", "clients": ["largest"], "after": 1}]
    summary = experiment.run(tiny.settings(data={"args": {"path": path}}, scenario=gone, rounds=4), tmp_path / "out")
    (said,) = summary["missed"]
    assert said.startswith("a, 41% of the training weight, was to contribute in 4 rounds and did in 1, last in round 1")
    assert list(summary)[:3] == ["schema", "name", "missed"]
    assert tables.final_table(summary)[1] == f"Not as planned: {said}"
    page = (tmp_path / "out" / "report.md").read_text()
    assert page.index("was to contribute in 4 rounds") < page.index("## Results")
    assert "left after round 1 (3)" in page
    assert summary["contributions"]["a"]["real_share"] == pytest.approx(0.4 / 4, abs=0.01)


def test_a_run_with_every_kind_of_trouble_goes_on_to_the_same_bits(tmp_path: pathlib.Path) -> None:
    from test_experiment import Interrupting, assert_same_run

    path = tiny.save_sites(tmp_path / "own.npz")
    scenario = [
        {"name": "absent", "chance": 0.3},
        {"name": "late", "clients": ["b"], "args": {"by": 2}},
        {"name": "partial_work", "chance": 0.5},
        {"name": "boost", "clients": ["c"], "chance": 0.5},
        {"name": "label_flip", "clients": ["d"], "args": {"share": 0.5}, "after": 1},
    ]
    own = tiny.settings(data={"args": {"path": path}}, scenario=scenario, rounds=6, algorithm={"name": "scaffold"},
                        checkpoint={"every": 1})  # fmt: skip
    experiment.run(own, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        experiment.run(own, tmp_path / "parts", observers=[Interrupting(at=3)])
    experiment.run(own, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


# Bad input


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ({"name": "absnt"}, "scenario[0].name: unknown scenario 'absnt' (did you mean 'absent'?)"),
        ({"name": "late", "args": {"bye": 2}}, "scenario[0].args: unknown argument 'bye' (did you mean 'by'?)"),
        ({"name": "late", "args": {"by": 0}}, "scenario[0].args.by: expected a number >= 1 and <= 100, got 0"),
        (
            {"name": "boost", "args": {"times": -1}},
            "scenario[0].args.times: expected a number > 0 and <= 1e+12, got -1",
        ),
        ({"name": "sign_flip", "args": {"times": 1e300}}, "scenario[0].args.times: expected a number > 0 and <= 1e+12"),
        ({"name": "wrong_units", "args": {"column": "chol", "plus": 1e300}}, "scenario[0].args.plus: expected a numb"),
        ({"name": "backdoor", "args": {"value": -1e13}}, "scenario[0].args.value: expected a number from -1e+12 t"),
        ({"name": "slow", "args": {"uplink": "fast"}}, "scenario[0].args.uplink: expected bits a second such as"),
        ({"name": "absent", "clients": ["bb"]}, "scenario[0].clients: unknown client 'bb' (did you mean 'b'?)"),
        ({"name": "absent", "after": 3, "until": 3}, "scenario[0].until: expected a round after 3"),
        ({"name": "absent", "chance": 0.0}, "scenario[0].chance: expected a number > 0.0 and <= 1.0, got 0.0"),
        ({"name": "absent", "clients": ["b", "b"]}, "scenario[0].clients: expected distinct names"),
        ({"name": "wrong_units", "args": {"column": "x", "times": 2}}, "scenario[0].args.column: is of a table"),
        ({"name": "wrong_units", "args": {"column": "x", "times": 0}}, "scenario[0].args.times: expected a number oth"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_in_one_line(scenario: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.ConfigError) as refused:
        fates.check(settings(scenario), HELD.dataset, SIZES)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_federation_closes_with_files_of_changed_rows() -> None:
    federation = tiny.federation(settings({"name": "label_flip"}), HELD)
    federation.round(federation.start())
    folder = federation._store.folder
    assert len(list(folder.iterdir())) == 1 + 3  # small clients share a file; what is made of one has its own
    federation.close()
    assert not folder.exists()


def test_the_hours_of_the_config_that_ships_by_hand() -> None:
    """Until the largest leaves, its 4,500 rows at 200 a second decide; then the smallest's, on its slow line, do."""
    own = config.load(pathlib.Path(__file__).parents[1] / "configs" / "hard_diabetes.toml")
    held = clients.prepare(own)
    roster = Roster(attendance.with_lanes(own), held.train)
    size, asked = 4228, list(held.train)  # 1,057 float32
    costs = Costs(size, size, [own.client])
    seconds = [roster.attending(round_, asked, costs).seconds for round_ in range(40)]
    gone = [bool(roster.attending(round_, asked, costs).fates["small_rural"].absent) for round_ in range(40)]
    down = 8 * size / 50e6
    largest = down + 4500 / 200 + 8 * size / 10e6
    smallest = down + 675 * 5 / 200 + 8 * size / 500e3
    expected = [60.0 if missing else largest if round_ < 10 else smallest for round_, missing in enumerate(gone)]
    assert seconds == pytest.approx(expected)
    assert 0 < sum(gone) < 20
