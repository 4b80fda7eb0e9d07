"""Training with a promise, to patients or to hospitals: what noise and clipping do, and what stays secret."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny
from tiny import assert_close, assert_same

from fedmed.data.examples import Examples
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import gaussian
from fedmed.runs import experiment
from fedmed.settings import config
from fedmed.system import errors, seeds

SIZES = (11, 6, 8)
NO_CLIP = 1e6


def to_patients(model: str = "tiny_models:hidden", /, **changes: Any) -> config.RunConfig:
    """Returns settings with a promise to patients; without noise and without an effect of the clip if not told."""
    privacy = {"unit": "patient", "noise_multiplier": 0.0, "clip_norm": NO_CLIP, **changes.pop("privacy", {})}
    client = {"learning_rate": 0.2, "batch_size": "full", "epochs": 2, **changes.pop("client", {})}
    return tiny.settings(model, client=client, privacy=privacy, **changes)


def to_hospitals(**changes: Any) -> config.RunConfig:
    privacy = {"unit": "hospital", "noise_multiplier": 0.0, "clip_norm": NO_CLIP, **changes.pop("privacy", {})}
    return tiny.settings("tiny_models:hidden", privacy=privacy, **changes)


def with_group(rows: Examples, group: np.ndarray) -> Examples:
    return Examples(rows.x, rows.y, group=group)


def test_without_noise_and_clip_full_batches_are_plain_gradient_descent() -> None:
    held = tiny.clients(SIZES)
    private, plain = to_patients(), tiny.settings(client={"batch_size": "full", "epochs": 2})
    assert_close(tiny.one_round(private, held).after.trainable, tiny.one_round(plain, held).after.trainable)


def test_regularisation_is_added_after_the_noise_and_never_clipped() -> None:
    held = tiny.clients(SIZES)
    private = to_patients("tiny_models:penalised", client={"epochs": 1})
    plain = tiny.settings("tiny_models:penalised", client={"batch_size": "full", "learning_rate": 0.2})
    assert_close(tiny.one_round(private, held).after.trainable, tiny.one_round(plain, held).after.trainable)


def test_a_patient_with_several_rows_counts_once() -> None:
    """Three copies of every row, each patient's own, change neither the step nor the hospital's weight."""
    once = {name: tiny.rows(size, seed=size) for name, size in zip("abc", SIZES, strict=True)}
    thrice = {
        name: with_group(rows.take(np.tile(np.arange(len(rows)), 3)), np.tile(np.arange(len(rows)), 3))
        for name, rows in once.items()
    }
    one = tiny.one_round(to_patients(), tiny.clients_of(once))
    three = tiny.one_round(to_patients(), tiny.clients_of(thrice))
    assert_close(one.after.trainable, three.after.trainable)


def test_a_step_moves_no_further_than_clip_times_rate_without_noise() -> None:
    """Ten patients' gradients that point alike, each far longer than the clip."""
    one, clip = tiny.rows(10, seed=0, features=400).take(np.zeros(10, np.int64)), 0.5
    held = tiny.clients_of({"a": one})
    done = tiny.one_round(to_patients(privacy={"clip_norm": clip}, client={"epochs": 1}), held)
    moved = np.sqrt(sum(float(np.square(u).sum()) for u in done.updates))
    assert 0.99 * 0.2 * clip <= moved <= 0.2 * clip * (1 + 1e-5)


def test_noise_is_of_the_size_that_is_accounted_for() -> None:
    """One step of one client: what noise adds to the weights is rate x noise x clip / patients, in every weight."""
    held = tiny.clients_of({"a": tiny.rows(10, seed=0, features=400)})
    settings = {"client": {"epochs": 1}}
    quiet = tiny.one_round(to_patients(privacy={"clip_norm": 0.5}, **settings), held)
    loud = tiny.one_round(to_patients(privacy={"clip_norm": 0.5, "noise_multiplier": 3.0}, **settings), held)
    added = np.concatenate(
        [(a - b).ravel() for a, b in zip(loud.after.trainable, quiet.after.trainable, strict=True)]
    ) / (0.2 * 3.0 * 0.5 / 10)
    assert len(added) > 3000
    assert abs(added.mean()) < 4 / np.sqrt(len(added))
    assert abs(added.std() - 1) < 4 / np.sqrt(2 * len(added))


def test_poisson_batches_may_be_empty_and_then_do_nothing() -> None:
    """Of six patients one is expected a step: some batches are empty, which TensorFlow's kernels would abort on."""
    image = np.random.default_rng(0).integers(0, 255, (6, 12, 12, 1), dtype=np.uint8)
    held = tiny.clients_of({"a": Examples(image, np.array([0, 1, 0, 1, 1, 0]))})
    done = tiny.one_round(to_patients("tiny_models:pooled_image", client={"batch_size": 1, "epochs": 8}), held)
    assert all(np.isfinite(w).all() for w in done.after.trainable)


def test_a_row_that_is_no_number_adds_nothing() -> None:
    rows = tiny.rows(8, seed=1)
    x = np.array(rows.x)
    x[3] = np.nan
    spoilt = tiny.one_round(to_patients(client={"epochs": 1}), tiny.clients_of({"a": Examples(x, rows.y)}))
    kept = np.delete(np.arange(8), 3)
    without = tiny.one_round(to_patients(client={"epochs": 1}), tiny.clients_of({"a": rows.take(kept)}))
    assert_close([u * 8 for u in spoilt.updates], [u * 7 for u in without.updates])


def test_both_runtimes_train_alike_with_noise(worker: Worker) -> None:
    for settings in (
        to_patients(client={"batch_size": 3}, privacy={"noise_multiplier": 1.0, "clip_norm": 1.0}),
        to_hospitals(privacy={"noise_multiplier": 1.0, "clip_norm": 1.0}, cohort={"size": 2}),
    ):
        held = tiny.clients(SIZES)
        here = tiny.one_round(settings, held).after.trainable
        tree = config.to_tree(settings) | {"runtime": {"name": "tff", "lanes": 2}}
        there = tiny.one_round(config.parse(tree), held, worker).after.trainable
        assert_close(here, there)


def test_no_training_metric_leaves_a_client_that_promises() -> None:
    done = tiny.one_round(to_patients(), tiny.clients(SIZES))
    for name in ("examples", "loss", "hits"):
        assert_same([done.done.sums[name]], [np.zeros(3, np.float32)])


def test_batch_normalisation_is_refused_with_what_to_do() -> None:
    for settings in (to_patients("tiny_models:batch_norm"), _hospitals_with("tiny_models:batch_norm")):
        with pytest.raises(errors.ModelError, match="GroupNormalization or LayerNormalization"):
            tiny.one_round(settings, tiny.clients(SIZES))


def _hospitals_with(model: str) -> config.RunConfig:
    return tiny.settings(model, privacy={"unit": "hospital", "noise_multiplier": 1.0})


def test_hospitals_sum_is_over_how_many_were_expected() -> None:
    """Two of three hospitals come while all three are expected: the mean is over three."""
    held = tiny.clients(SIZES)
    both = tiny.one_round(to_hospitals(), held, cohort=["a", "b"])
    single = [tiny.one_round(tiny.settings(), held, cohort=[name]).updates for name in ("a", "b")]
    assert_close(both.updates, [(a + b) / 3 for a, b in zip(*single, strict=True)])


def test_hospitals_updates_count_alike_and_are_clipped() -> None:
    held, clip = tiny.clients((40, 4)), 0.05
    done = tiny.one_round(to_hospitals(privacy={"clip_norm": clip}), held)
    single = [tiny.one_round(tiny.settings(), held, cohort=[name]).updates for name in held.train]
    scaled = []
    for update in single:
        norm = np.sqrt(sum(float(np.square(u).sum()) for u in update))
        scaled.append([u * clip / norm for u in update])
    assert_close(done.updates, [(a + b) / 2 for a, b in zip(*scaled, strict=True)], atol=1e-7)


def test_hospitals_noise_is_drawn_by_seed_and_round() -> None:
    held = tiny.clients(SIZES)
    quiet = tiny.one_round(to_hospitals(privacy={"clip_norm": 0.5}), held)
    loud = tiny.one_round(to_hospitals(privacy={"clip_norm": 0.5, "noise_multiplier": 2.0}), held)
    shapes = [tf.TensorShape(w.shape) for w in quiet.after.trainable]
    z = gaussian.normal(shapes, tf.constant(seeds.pair(0, "noise", 0)))
    expected = [w + 2.0 * 0.5 * n.numpy() / 3 for w, n in zip(quiet.after.trainable, z, strict=True)]
    assert_close(loud.after.trainable, expected)


def test_a_round_without_any_hospital_still_gets_its_noise(worker: Worker) -> None:
    for runtime, own in (("local", None), ("tff", worker)):
        settings = to_hospitals(privacy={"noise_multiplier": 1.0}, runtime={"name": runtime, "lanes": 2})
        done = tiny.one_round(settings, tiny.clients(SIZES), own, cohort=[])
        assert all(np.abs(u).max() > 0 for u in done.updates)


def test_who_took_part_is_told_to_nobody_where_hospitals_are_promised() -> None:
    settings = to_hospitals(privacy={"noise_multiplier": 1.0}, cohort={"size": 1}, clock={"rows_per_second": 1.0})
    with tiny.set_up(settings, tiny.clients(SIZES)) as (federation, _):
        position, sent = federation.start(), set()
        for _ in range(6):
            done = federation.round(position)
            position = done.position
            assert (done.cohort, done.absent, done.late, done.partial) == ((), {}, {}, {})
            assert (done.refused, done.sums) == ((), {})
            sent.add((done.bytes_down, done.bytes_up, done.clock_seconds))
        assert len(sent) == 1  # bytes would tell how many they were, and seconds who the slowest was
        assert done.clock_seconds == pytest.approx(max(SIZES), abs=0.01)  # a round of all: their largest trains longest
        counts = {len(federation.cohort(round_)) for round_ in range(40)}
        assert {0, 1, 2} <= counts


def test_no_time_of_a_round_is_written_where_hospitals_are_promised(data: str, tmp_path: pathlib.Path) -> None:
    own = to_hospitals(privacy={"noise_multiplier": 1.0}, data={"args": {"path": data}}, cohort={"size": 1})
    summary = experiment.run(own, tmp_path / "run")
    assert summary["seconds"] is None
    records = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [record["seconds"] for record in records] == [0.0, None, None]  # round 0 trains nobody
    assert len({record["clock_seconds"] for record in records[1:]}) == 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two hospitals: to work out what is promised at one takes longer than its training."""
    own, path = tiny.site_rows(), tmp_path_factory.mktemp("data") / "own.npz"
    np.savez(path, x=np.asarray(own.x)[:70], y=own.y[:70], site=np.asarray(own.site)[:70])
    return str(path)


def of_a_run(data: str, **changes: Any) -> config.RunConfig:
    privacy = {"unit": "patient", "noise_multiplier": 2.0, **changes.pop("privacy", {})}
    base: dict[str, Any] = {"data": {"args": {"path": data}}, "rounds": 4, "checkpoint": {"every": 1}}
    return tiny.settings("tiny_models:dropout", privacy=privacy, **{**base, **changes})


@pytest.fixture(scope="module")
def finished(data: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The directory of a run of four rounds."""
    out = tmp_path_factory.mktemp("finished") / "out"
    experiment.run(of_a_run(data), out)
    return out


def summary_of(out: pathlib.Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())


def test_a_resumed_private_run_equals_an_uninterrupted_one(
    data: str, finished: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    straight = summary_of(finished)
    experiment.run(of_a_run(data, rounds=2), tmp_path / "halted")
    resumed = experiment.run(of_a_run(data), tmp_path / "halted", resume=True)
    assert straight["weights_sha256"] == resumed["weights_sha256"]
    assert straight["privacy"] == resumed["privacy"]


def test_the_ledger_grows_to_what_the_summary_tells_and_no_round_is_the_best(finished: pathlib.Path) -> None:
    summary = summary_of(finished)
    records = [json.loads(line) for line in (finished / "rounds.jsonl").read_text().splitlines()]
    ledger = [record["privacy"] for record in records]
    assert ledger[0] is None
    for client, told in summary["privacy"]["promises"].items():
        spent = [one[client] for one in ledger[1:]]
        assert spent == sorted(spent)
        assert spent[-1] == pytest.approx(told["epsilon"], abs=1e-9)
    assert all(record["train"] is None for record in records)
    assert summary["best"] == summary["final"]


def test_a_run_ends_before_its_budget_is_exceeded(data: str, finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    whole = summary_of(finished)["privacy"]["promises"]
    target = 0.99 * max(told["epsilon"] for told in whole.values())
    ended = experiment.run(of_a_run(data, privacy={"target_epsilon": target}), tmp_path / "ended")
    assert ended["stopped"] == "budget"
    assert ended["rounds"] == 3
    assert all(told["epsilon"] <= target for told in ended["privacy"]["promises"].values())


def test_a_promise_that_was_spent_is_not_gone_on_with(data: str, tmp_path: pathlib.Path) -> None:
    """In full batches, whose noise is soon found."""
    told: dict[str, Any] = {
        "client": {"batch_size": "full"},
        "privacy": {"noise_multiplier": None, "target_epsilon": 5.0},
    }
    experiment.run(of_a_run(data, rounds=2, **told), tmp_path / "out")
    with pytest.raises(errors.ConfigError, match="rounds was 2 and is now 3"):
        experiment.run(of_a_run(data, rounds=3, **told), tmp_path / "out", resume=True)
