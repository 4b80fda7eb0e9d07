"""Tuning: halving goes on bit for bit, no test row enters, no work is done twice, and what is wrong is one line."""

import dataclasses
import json
import math
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import psutil
import pytest

import fedmed
from fedmed import cli
from fedmed.engine.federation import Federation
from fedmed.reporting.page import write_study
from fedmed.settings import config
from fedmed.study import conduct
from fedmed.study.plan import Job
from fedmed.study.schema.tuned import Tuning
from fedmed.study.session import Assignment, Course, Session
from fedmed.study.tuning import grid, tuner
from fedmed.study.tuning.halving import Candidate, Halving, Losses, Trial, budgets
from fedmed.study.validation import Inner, Validation
from fedmed.system import errors, plain

SIZES = {"a": 60, "b": 40, "c": 30}


def save(path: pathlib.Path, *, task: str = "regression", noise_in: np.ndarray | None = None) -> config.RunConfig:
    """Writes rows of three hospitals, two rows a patient, and returns settings; labels of `noise_in` are spoilt."""
    rng = np.random.default_rng(5)
    count = sum(SIZES.values())
    x = rng.normal(size=(count, 3))
    mean = x @ [1.0, -0.5, 0.2]
    y = mean + 0.1 * rng.normal(size=count) if task == "regression" else rng.poisson(np.exp(0.5 * mean)).astype(float)
    if noise_in is not None:
        y[noise_in] = 50.0 - 3 * y[noise_in]
    site, group = np.repeat(list(SIZES), list(SIZES.values())), np.arange(count) // 2
    np.savez(path, x=x, y=y, site=site, group=group)
    return config.parse(
        {
            "name": "tiny",
            "rounds": 6,
            "data": {"name": "arrays", "args": {"path": str(path), "task": task}},
            "model": {"name": "logistic_regression"},
            "client": {"learning_rate": 0.02, "batch_size": 16},
            "runtime": {"lanes": 1},
        }
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[config.RunConfig, pathlib.Path, dict[str, Any]]:
    """A finished tuning."""
    folder = tmp_path_factory.mktemp("tuned")
    settings = save(folder / "rows.npz")
    return settings, folder / "out", tuner.run(settings, folder / "out", seeds=1, quiet=True, here=True)


# --- The rule, without training: losses are a function of the step.


def search(halving: Halving, loss: Any) -> dict[Trial, float]:
    """Returns all that a search tries where `loss` (candidate, rounds) is what a trial comes to."""
    known: dict[Trial, float] = {}
    while trials := halving.next(known):
        assert len(set(trials)) == len(trials)
        assert not set(trials) & set(known), "nothing is tried twice"
        known |= {trial: loss(trial.candidate, trial.rounds) for trial in trials}
    return known


def test_the_best_third_goes_on_to_three_times_the_rounds() -> None:
    known = search(Halving(1, budgets(45)), lambda c, rounds: (c.step - 1) ** 2 + 1 / rounds)
    assert budgets(45) == (5, 15, 45)
    by_rounds = {n: sorted(t.candidate.step for t in known if t.rounds == n) for n in (5, 15, 45)}
    assert by_rounds == {5: list(range(-4, 5)), 15: [0, 1, 2], 45: [0, 1]}
    assert Halving(1, budgets(45)).chosen(known) == Candidate(0, 1)


@pytest.mark.parametrize("best", [-18, -9, -5, 0, 3, 7, 18])
def test_the_grid_grows_until_the_best_is_inside_or_the_end_is_reached(best: int) -> None:
    halving = Halving(1, budgets(40))
    found = halving.chosen(search(halving, lambda c, rounds: abs(c.step - best)))
    assert found == Candidate(0, best)
    assert halving.at_end(Candidate(0, best)) == (abs(best) == 18)


def test_a_few_rounds_mislead_and_the_neighbours_put_it_right() -> None:
    """After few rounds the best rate is 10^(3/3) times that of all rounds, as with a rate that is fast but noisy."""
    halving = Halving(1, budgets(27))
    known = search(halving, lambda c, rounds: abs(c.step - {3: 3, 9: 2, 27: 0}[rounds]))
    assert halving.chosen(known) == Candidate(0, 0)


def test_what_diverges_is_never_chosen_and_smaller_rates_are_tried() -> None:
    halving = Halving(1, budgets(9))
    known = search(halving, lambda c, rounds: math.inf if c.step > -6 else -c.step)
    assert halving.chosen(known) == Candidate(0, -6)
    hopeless = search(halving, lambda c, rounds: math.inf)
    assert halving.chosen(hopeless) is None
    assert min(trial.candidate.step for trial in hopeless) == -18


def test_where_all_that_went_on_diverges_the_next_best_is_trained() -> None:
    halving = Halving(1, budgets(9))
    known = search(halving, lambda c, rounds: math.inf if rounds > 2 and c.step > -2 else -c.step)
    assert halving.chosen(known) == Candidate(0, -2)


def test_each_combination_has_its_own_grid() -> None:
    """Adam's best rate may be a hundredth of SGD's: each is searched where its own best lies."""
    halving = Halving(2, budgets(9))
    middle = (0, -8)
    known = search(halving, lambda c, rounds: abs(c.step - middle[c.combination]) - c.combination)
    assert halving.chosen(known) == Candidate(1, -8)


def test_with_one_round_there_is_nothing_to_halve() -> None:
    assert budgets(1) == (1,)
    known: Losses = search(Halving(1, budgets(1)), lambda c, rounds: abs(c.step))
    assert len(known) == 9


def test_rates_are_a_third_of_an_order_apart_and_begin_at_the_configs() -> None:
    assert [grid.rate(0.05, step) for step in (-3, -1, 0, 1, 3)] == [0.005, 0.0232, 0.05, 0.108, 0.5]


# --- Rows


def test_validation_rows_are_training_rows_and_split_by_patient(tmp_path: pathlib.Path) -> None:
    settings = save(tmp_path / "rows.npz")
    for inner in (Inner(0.25, 0), Inner(0.25)):
        hospitals = Validation(settings, inner)
        outer = fedmed.prepare(dataclasses.replace(settings, seed=3 if inner.of is None else 0)).rows
        for name, own in hospitals.rows(3).items():
            assert set(own.train) | set(own.test) == set(outer[name].train)
            assert not set(hospitals.patient[own.train]) & set(hospitals.patient[own.test])
            assert len(own.test) == pytest.approx(len(outer[name].train) / 4, abs=2)


@pytest.mark.parametrize("task", ["regression", pytest.param("count", marks=pytest.mark.slow)])
def test_the_labels_of_test_rows_change_nothing(tmp_path: pathlib.Path, task: str) -> None:
    settings = save(tmp_path / "rows.npz", task=task)
    settings = dataclasses.replace(settings, rounds=1)
    first = tuner.run(settings, tmp_path / "first", seeds=1, quiet=True, here=True)
    test = np.concatenate([own.test for own in fedmed.prepare(settings).rows.values()])
    assert len(test) > 20
    spoilt = dataclasses.replace(save(tmp_path / "rows.npz", task=task, noise_in=test), rounds=1)
    assert tuner.run(spoilt, tmp_path / "again", seeds=1, quiet=True, here=True) == first


def test_too_few_patients_are_told_before_anything_is_written(tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.ones((12, 2)), y=np.arange(12.0), site=np.repeat(["a", "b"], 6))
    settings = config.parse({**config.to_tree(save(tmp_path / "x.npz")),
                             "data": {"name": "arrays", "args": {"path": str(tmp_path / "rows.npz")}}})  # fmt: skip
    with pytest.raises(errors.DataError, match=r"^tuning: the hospitals have too few training patients to choose"):
        tuner.run(settings, tmp_path / "out", quiet=True, here=True)
    assert not (tmp_path / "out").exists()


# --- Training


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
def test_a_longer_job_goes_on_from_a_shorter_one_bit_for_bit(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    settings = dataclasses.replace(save(tmp_path / "rows.npz"), algorithm=config.Algorithm(algorithm))
    inner, session, played = Inner(0.25, 0), Session(), []
    round_ = Federation.round
    monkeypatch.setattr(Federation, "round", lambda self, p: (played.append(p.round), round_(self, p))[1])

    def trained(rounds: int, course: str) -> Any:
        from fedmed.study import results

        job = Job("job", "federated", "federated", dataclasses.replace(settings, rounds=rounds), metric="loss")
        told, path = job.identity({}, {}), tmp_path / f"{course}-{rounds}.npz"
        of_course = told._replace(settings={k: v for k, v in told.settings.items() if k != "rounds"})
        session.run(Assignment(settings, job, path, told, inner, Course(tmp_path / f"{course}.checkpoint", of_course)))
        return results.read(path, told.key)

    short, long, whole = trained(2, "one"), trained(6, "one"), trained(6, "other")
    assert played == [0, 1, 2, 3, 4, 5, *range(6)]
    for a, b in zip(long.predictions, whole.predictions, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(long.curve, whole.curve)
    np.testing.assert_array_equal(long.sent, whole.sent)
    again = trained(2, "one")  # its course has gone further since, so it begins anew
    np.testing.assert_array_equal(short.curve, again.curve)


def test_what_is_found_is_left_in_files_that_agree(
    done: tuple[config.RunConfig, pathlib.Path, dict[str, Any]],
) -> None:
    settings, out, found = done
    assert json.loads((out / "tuning.json").read_text()) == found
    tuning = plain.from_plain(Tuning, found)
    assert tuning.chosen is not None
    losses = {t.learning_rate: t.loss for t in tuning.trials if t.rounds == 6 and t.loss is not None}
    assert tuning.chosen.loss == min(losses.values())
    assert tuning.untrained is not None
    assert min(losses.values()) < tuning.untrained / 10
    tuned = config.load(out / "tuned.toml")
    assert tuned.name == "tiny_tuned"
    rate = dataclasses.replace(tuned.client, learning_rate=0.02)
    assert dataclasses.replace(tuned, name="tiny", client=rate) == settings
    assert tuned.client.learning_rate == tuning.chosen.learning_rate
    assert "no test row was looked at" in (out / "tuned.toml").read_text()
    assert f"| {tuning.chosen.learning_rate:g} (chosen) |" in (out / "tuning.md").read_text()
    assert (out / "learning_rates.png").stat().st_size > 5000
    assert not list(out.glob("jobs/*.checkpoint")) + list(out.glob("jobs/*.kept"))


def test_what_is_done_is_not_done_again_and_a_stopped_tuning_goes_on(
    done: tuple[config.RunConfig, pathlib.Path, dict[str, Any]], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out, found = done
    played, stop, round_ = [], [22], Federation.round

    def watched(self: Federation, position: Any) -> Any:
        if len(played) == stop[0]:
            stop[0] = -1
            raise KeyboardInterrupt
        played.append(position.round)
        return round_(self, position)

    monkeypatch.setattr(Federation, "round", watched)
    assert tuner.run(settings, out, seeds=1, quiet=True, here=True) == found
    assert played == []
    with pytest.raises(KeyboardInterrupt):
        tuner.run(settings, tmp_path / "out", seeds=1, quiet=True, here=True)
    assert not (tmp_path / "out" / "tuned.toml").exists()
    assert tuner.run(settings, tmp_path / "out", seeds=1, quiet=True, here=True) == found
    last = {trial["learning_rate"]: trial["rounds"] for trial in found["trials"]}  # a rate's last trial comes last
    repeated = len(played) - sum(last.values())
    assert 0 <= repeated < 6, "at most the rounds of the one job that was stopped"


@pytest.mark.slow
def test_a_grid_is_crossed_with_rates_and_what_was_chosen_runs(tmp_path: pathlib.Path) -> None:
    settings = dataclasses.replace(save(tmp_path / "rows.npz"), rounds=2)
    changes = {"client.optimizer": ["sgd", "adam"], "client.epochs": [1, 2]}
    found = fedmed.tune(settings, tmp_path / "out", grid=changes, seeds=1, quiet=True)
    kinds = {tuple(trial["set"].values()) for trial in found["trials"]}
    assert kinds == {("sgd", 1), ("sgd", 2), ("adam", 1), ("adam", 2)}
    assert found.learning_rate == found["chosen"]["learning_rate"]
    assert found.settings.client.optimizer == found["chosen"]["set"]["client.optimizer"]
    assert "other settings" in repr(found)
    assert "<table>" in found._repr_html_()
    summary = fedmed.run(dataclasses.replace(found.settings, rounds=1), tmp_path / "run", quiet=True)
    assert summary["rounds"] == 1


def test_where_all_diverge_nothing_is_chosen_and_it_is_said(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = save(tmp_path / "rows.npz")
    wild = dataclasses.replace(settings, rounds=1, client=dataclasses.replace(settings.client, learning_rate=1e30))
    path = tmp_path / "wild.toml"
    path.write_text(config.dumps(wild))
    found = tuner.run(wild, tmp_path / "out", seeds=1, quiet=True, here=True)
    assert found["chosen"] is None
    assert {trial["fate"] for trial in found["trials"]} <= {"refused", "diverged"}
    assert not (tmp_path / "out" / "tuned.toml").exists()
    assert "nothing was chosen" in (tmp_path / "out" / "tuning.md").read_text()
    words = ["tune", str(path), "--seeds=1", f"--out={tmp_path / 'out'}"]  # nothing is left to train
    assert cli.main(words) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("fedmed: At every learning rate that was tried, 1e+24 to 2.15e+31")
    assert "Results: " in shown.out


WRONG = {
    "client.epochs": "--grid 'client.epochs': expected KEY=V1,V2, such as client.epochs=1,5",
    "client.epochs=": "expected KEY=V1,V2",
    "client.epochs=1": "--grid 'client.epochs': expected two or more different values, got ['1']",
    "client.epochs=1,1": "expected two or more different values",
    "client.epoch=1,2": "--grid client.epoch=1: client.epoch: unknown setting 'epoch' (did you mean 'epochs'?)",
    "client.epochs=1,x": "--grid client.epochs=x: client.epochs: expected a whole number, got 'x'",
    "client.learning_rate=0.1,1": "--grid 'client.learning_rate': is not searched: it is searched already",
    "seed=1,2": "--grid 'seed': is not searched: every candidate must be scored on the same rows",
    "privacy.unit=patient,hospital": "--grid 'privacy.unit': is not searched: a search looks at validation patients",
    "privacy.noise_multiplier=1.0,2.0": "many times without noise, which no promise covers",
    "data.args.path=a,b": "is not searched: every candidate must be scored on the same rows",
    "algorithm.name=fedavg,fedpro": "algorithm.name: unknown algorithm 'fedpro' (did you mean 'fedprox'?)",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=list(WRONG))
def test_a_wrong_grid_is_one_line_and_status_2(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(config.dumps(save(tmp_path / "rows.npz")))
    assert cli.main(["tune", str(path), "--grid", text, "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out
    assert not (tmp_path / "out").exists()


def test_a_combination_whose_algorithm_is_not_for_the_model_is_one_line_before_training(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, asked = save(tmp_path / "rows.npz"), {"algorithm.name": ["fedavg", "fedbn"]}
    monkeypatch.setattr(Federation, "round", None)
    said = (
        r"grid algorithm\.name=fedbn: algorithm\.name: fedbn keeps BatchNormalization at home, and the model has none$"
    )
    with pytest.raises(errors.ConfigError, match=said):
        tuner.run(settings, tmp_path / "out", grid=asked, seeds=1, quiet=True, here=True)
    assert not (tmp_path / "out").exists()


def test_values_of_a_grid_are_read_as_toml() -> None:
    found = grid.parsed(["model.args.hidden=[8],[8, 4]", "client.steps=none,5", "client.optimizer=sgd, adam"])
    assert found == {"model.args.hidden": ([8], [8, 4]), "client.steps": (None, 5), "client.optimizer": ("sgd", "adam")}
    with pytest.raises(errors.ConfigError, match="is there twice"):
        grid.parsed(["client.epochs=1,2", "client.epochs=3,4"])


@pytest.mark.slow
def test_a_tuning_that_is_stopped_says_so_and_the_same_command_goes_on(tmp_path: pathlib.Path) -> None:
    path, out = tmp_path / "tiny.toml", tmp_path / "out"
    path.write_text(config.dumps(save(tmp_path / "rows.npz")))
    words = [sys.executable, "-m", "fedmed", "tune", str(path), "--out", str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 120
        while len(list(out.glob("jobs/*.npz"))) < 3 and time.monotonic() < give_up:
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        shown, said = process.communicate(timeout=30)
    assert (process.returncode, shown) == (143, "")
    assert said.endswith("stopped; the same command goes on\n")
    assert not psutil.wait_procs(children, timeout=10)[1]
    trained = {file: file.stat().st_mtime_ns for file in out.glob("jobs/*.npz")}
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "tiny: client.learning_rate = " in ended.stdout
    assert ended.stdout.endswith(f"Config: {out / 'tuned.toml'}\n")
    assert {file: file.stat().st_mtime_ns for file in trained} == trained


# --- A study that tunes its arms


@pytest.mark.slow
def test_a_study_tunes_every_arm_alike_before_it_is_trained(tmp_path: pathlib.Path) -> None:
    arms = ["federated", "local", "pooled", "leave_one_out", "fine_tuned"]
    tree = study_of(tmp_path, arms, rounds=2)
    tree["arms"] = [{"name": "adam", "set": {"client.optimizer": "adam"}}]
    found = conduct.run(config.parse(tree), tmp_path / "out", quiet=True, here=True)
    design = found["design"]
    rates = {(own["arm"], own["hospital"]): own["learning_rates"] for own in design["tuned"]}
    assert set(rates) == {(arm, None) for arm in ("federated", "pooled", "leave_one_out", "fine_tuned", "adam")} | {
        ("local", name) for name in SIZES
    }
    assert rates["leave_one_out", None] == rates["fine_tuned", None] == rates["federated", None]
    notes = {(own["arm"], own["hospital"]): own["notes"] for own in design["tuned"]}
    assert "too few training patients" in notes["local", "c"][0]
    assert rates["local", "c"] == [0.02]
    assert rates["local", "a"] != [0.02]
    again = conduct.run(config.parse(tree), tmp_path / "out", quiet=True, here=True)
    assert again == found


def test_a_tuned_study_says_so_in_its_record_and_on_its_page(tmp_path: pathlib.Path) -> None:
    found = conduct.run(
        config.parse(study_of(tmp_path, ["federated"], rounds=1)), tmp_path / "out", quiet=True, here=True
    )
    design = found["design"]
    (own,) = design["tuned"]
    assert own["arm"] == "federated"
    assert own["learning_rates"] != [0.02]
    assert "searched for each arm alike" in design["tuning"]
    assert design["not_done"][0].startswith("Settings other than the learning rate")
    write_study(found, tmp_path / "out")
    page = (tmp_path / "out" / "report.md").read_text()
    assert "searched for each arm alike" in page
    assert f"{own['learning_rates'][0]:g}" in page
    assert "were not tuned for each arm" not in page


def study_of(folder: pathlib.Path, arms: list[str], rounds: int) -> dict[str, Any]:
    """Returns the settings of a study that tunes these arms, as plain tables."""
    tree = config.to_tree(dataclasses.replace(save(folder / "rows.npz"), rounds=rounds))
    tree["study"] = {"seeds": 1, "draws": 100, "arms": arms, "tune": True, "minimum_events": 5}
    return tree
