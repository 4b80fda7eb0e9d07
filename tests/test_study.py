"""A study: the same splits for all arms, models trained once, and the same answer after being killed."""

import dataclasses
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import time
from typing import Any

import numpy as np
import psutil
import pytest

from fedmed.engine.federation import Federation, Position
from fedmed.models import building
from fedmed.reporting.page import write_study
from fedmed.runs import experiment
from fedmed.settings import config
from fedmed.settings.mishaps import Mishap
from fedmed.statistics import metrics
from fedmed.study import conduct, design, grow, plan, results
from fedmed.study.consortium import Consortium
from fedmed.study.plan import Job
from fedmed.study.schema import Findings
from fedmed.study.trainer import Trainer
from fedmed.system import errors, plain

TREE: dict[str, Any] = {
    "name": "tiny",
    "rounds": 3,
    "data": {"name": "diabetes_ehr", "args": {"patients": 0.1}, "preprocessing": "by_site"},
    "model": {"name": "logistic_regression"},
    "client": {"learning_rate": 0.2, "batch_size": 16},
    "study": {"seeds": 2, "draws": 100, "minimum_events": 5, "reference": False},
}


def settings(**study: Any) -> config.RunConfig:
    """Returns settings of a study of 940 patients; `arms_` are its [[arms]]."""
    arms = study.pop("arms_", [])
    return config.parse({**TREE, "study": {**TREE["study"], **study}, "arms": arms})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, dict[str, Any]]:
    """A finished study with every kind of arm."""
    out = tmp_path_factory.mktemp("study") / "out"
    arms = ["federated", "local", "pooled", "recalibrated", "leave_one_out", "fine_tuned"]
    prox = {"name": "prox", "set": {"algorithm.name": "fedprox", "algorithm.args.mu": 0.1}}
    mild = {"name": "mild", "set": {"data.args.severity": 0.0}}
    growing = {"grow": True, "grow_hospitals": [1, 2, 3], "grow_shares": [0.5, 1.0]}
    shaped = settings(arms=arms, arms_=[prox, mild], reference=True, **growing)
    return out, conduct.run(shaped, out, quiet=True, here=True)


def job(kind: Any, hospital: str | None = None, **changes: Any) -> Job:
    """Returns a job of the tiny study at its first seed."""
    return dataclasses.replace(Job("job", kind, kind, settings(), hospital=hospital, metric="auroc"), **changes)


def test_a_curve_of_all_ends_where_the_tables_do(study: tuple[pathlib.Path, dict[str, Any]]) -> None:
    """Both rank patients of the same hospital only, so that a target of the one can be sought on the other."""
    _, found = study
    assert found["curves"]["metric"] == "auroc"
    for arm in ("federated", "pooled", "prox"):
        curve, told = found["curves"]["arms"][arm]["all"], found["performance"][arm]["all"]["auroc"]["by_seed"]
        assert (curve["low"][-1], curve["high"][-1]) == pytest.approx((min(told), max(told)), abs=1e-6)


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(Consortium(settings()))


def test_the_federated_arm_is_what_a_run_trains(trainer: Trainer, tmp_path: pathlib.Path) -> None:
    single = dataclasses.replace(settings(), runtime=config.Runtime("local", 1))
    summary = experiment.run(single, tmp_path / "run")
    found = trainer.run(job("federated"))
    scores = [summary["final"]["clients"][name]["auroc"] for name in trainer.consortium.hospitals]
    np.testing.assert_allclose(found.curve[-1, :3], [np.nan if s is None else s for s in scores], atol=1e-6)


def test_a_model_that_is_not_built_again_begins_as_one_that_is(trainer: Trainer) -> None:
    built: list[int] = []
    fresh = Trainer(trainer.consortium)
    first = fresh.run(job("federated"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "build_checked", lambda *_: built.append(1))
        again = fresh.run(job("federated"))
    assert not built
    for a, b in zip(first.predictions, again.predictions, strict=True):
        np.testing.assert_array_equal(a, b)
    other = fresh.run(job("federated", repeat=1))
    assert not np.array_equal(first.predictions[0], other.predictions[0])


def test_a_traced_program_leaves_nothing_behind(trainer: Trainer) -> None:
    first = trainer.run(job("federated"))
    trainer.run(job("local", "small_rural"))
    again, fresh = trainer.run(job("federated")), Trainer(Consortium(settings())).run(job("federated"))
    for other in (again, fresh):
        for a, b in zip(first.predictions, other.predictions, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_consortium_of_one_is_that_hospital_alone(trainer: Trainer) -> None:
    alone = trainer.run(job("local", "small_rural"))
    one = trainer.run(job("federated", members=("small_rural",)))
    pooled = trainer.run(job("pooled", members=("small_rural",)))
    for a, b, c in zip(alone.predictions, one.predictions, pooled.predictions, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_a_repetition_has_the_same_split_and_other_weights(trainer: Trainer) -> None:
    first, again = trainer.run(job("federated")), trainer.run(job("federated", repeat=1))
    assert [len(p) for p in first.predictions] == [len(p) for p in again.predictions]
    assert any((a != b).any() for a, b in zip(first.predictions, again.predictions, strict=True))


def test_a_long_job_goes_on_from_its_checkpoint(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after two of three rounds, it trains the third only, and ends with the same bits and the same traffic."""
    changes = {"algorithm": config.Algorithm("scaffold"), "scenario": (Mishap("absent", chance=0.4),)}
    long = job("federated", settings=dataclasses.replace(settings(), **changes))
    trainer, told = Trainer(Consortium(settings()), pause=0.0), long.identity({}, {})
    whole = trainer.run(long)
    played, stops, round_ = [], [True], Federation.round

    def watched(self: Federation, position: Position, *args: Any) -> Any:
        if stops and position.round == 2:
            stops.clear()
            raise KeyboardInterrupt
        played.append(position.round)
        return round_(self, position, *args)

    monkeypatch.setattr(Federation, "round", watched)
    path = tmp_path / "job.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        trainer.run(long, path, told)
    again = trainer.run(long, path, told)
    assert played == [0, 1, 2]
    for a, b in zip(whole.predictions, again.predictions, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(whole.curve, again.curve)
    np.testing.assert_array_equal(whole.sent, again.sent)
    (tmp_path / "job.other.checkpoint").write_text("of a job whose name begins alike")
    trainer.forget(path)
    assert [file.name for file in tmp_path.iterdir()] == ["job.other.checkpoint"]


def test_a_checkpoint_of_what_has_changed_since_is_no_obstacle(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long job was stopped, then its model was edited: it is trained from its start, not refused."""
    trainer, path = Trainer(Consortium(settings()), pause=0.0), tmp_path / "job.checkpoint"
    long = job("federated", settings=dataclasses.replace(settings(), algorithm=config.Algorithm("scaffold")))
    trainer.run(long, path, long.identity({}, {"my_model": "old"}))
    played, round_ = [], Federation.round
    monkeypatch.setattr(Federation, "round", lambda self, p: (played.append(p.round), round_(self, p))[1])
    trainer.run(long, path, long.identity({}, {"my_model": "new"}))
    assert played == [0, 1, 2]


def test_a_cohort_of_more_than_there_are_is_refused_as_in_a_run(tmp_path: pathlib.Path) -> None:
    large = dataclasses.replace(settings(), cohort=config.Cohort(size=10))
    with pytest.raises(errors.ConfigError, match=r"^cohort.size: expected at most 3 \(all clients\), got 10$"):
        conduct.run(large, tmp_path / "out", quiet=True, here=True)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def at_home() -> dict[str, config.RunConfig]:
    """Settings of a model with a layer that FedPer leaves at home, and of FedAvg on the same."""
    model = config.Model("mlp", {"hidden": [4]})
    return {
        name: dataclasses.replace(settings(), model=model, algorithm=config.Algorithm(name))
        for name in ("fedper", "fedavg")
    }


@pytest.mark.parametrize(("kind", "hospital"), [("local", "small_rural"), ("pooled", None)])
def test_one_client_keeps_what_it_trains_and_is_tested_with_it(
    trainer: Trainer, at_home: dict[str, config.RunConfig], kind: Any, hospital: str | None
) -> None:
    """With one client, FedPer is FedAvg: training alone, and on all rows in one place."""
    own, plain = (trainer.run(job(kind, hospital, settings=at_home[name])) for name in ("fedper", "fedavg"))
    tested = [place for place, name in enumerate(trainer.consortium.hospitals) if hospital in (None, name)]
    for place in tested:
        np.testing.assert_allclose(own.predictions[place], plain.predictions[place], atol=1e-5)


def test_a_hospital_left_out_trains_what_stays_at_home(trainer: Trainer, at_home: dict[str, config.RunConfig]) -> None:
    """Its layer is trained for the epochs of fine-tuning; what is on the curve is the untrained model and the end."""
    found = {
        epochs: trainer.run(job("leave_one_out", "small_rural", settings=at_home["fedper"], fine_tune_epochs=epochs))
        for epochs in (1, 8)
    }
    place = trainer.consortium.hospitals.index("small_rural")
    for result in found.values():
        assert result.rounds.tolist() == [0, 3]
        assert result.losses.shape == (2,)
        assert result.losses[1] < result.losses[0]
    assert np.abs(found[8].predictions[place] - found[1].predictions[place]).max() > 1e-3


def test_what_is_done_at_a_hospital_left_out_is_said(at_home: dict[str, config.RunConfig]) -> None:
    told = {name: plan.about(plan.ArmPlan("x", "leave_one_out", own, {})) for name, own in at_home.items()}
    assert "is trained there from the final global model, in 3 rounds of one epoch (study" in told["fedper"]
    assert told["fedavg"] == plan.ABOUT["leave_one_out"]
    left, plain = (
        plan.jobs(plan.Scenario("", own, (plan.ArmPlan("x", "leave_one_out", own, {}),), {}), ["a"], "auroc")[0]
        for own in at_home.values()
    )
    assert (left.fine_tune_epochs, plain.fine_tune_epochs) == (3, 0)


@pytest.mark.parametrize("name", ["fedper", "ditto"])
def test_a_model_of_ones_own_is_tuned_further_and_what_a_run_saves_of_it_is_told(
    trainer: Trainer, at_home: dict[str, config.RunConfig], name: str, tmp_path: pathlib.Path
) -> None:
    args = {"strength": 0.1} if name == "ditto" else {}
    own = dataclasses.replace(at_home["fedper"], algorithm=config.Algorithm(name, args))
    tuned, plain = (trainer.run(job(kind, settings=own, fine_tune_epochs=2)) for kind in ("fine_tuned", "federated"))
    for a, b in zip(tuned.predictions, plain.predictions, strict=True):
        assert np.abs(a - b).max() > 1e-4
    summary = experiment.run(dataclasses.replace(own, rounds=1, runtime=config.Runtime("local", 1)), tmp_path / "run")
    whole = [text for text in summary["warnings"] if text.startswith("weights.npz and model.keras are not a whole mod")]
    noted = [text for text in summary["notes"] if text.startswith("each client is scored with a model of its own")]
    assert (len(whole), len(noted)) == ((1, 0) if name == "fedper" else (0, 1))


def test_a_fine_tuned_arms_curve_ends_with_the_models_that_are_tested(trainer: Trainer) -> None:
    found, plain = (trainer.run(job(kind, fine_tune_epochs=8)) for kind in ("fine_tuned", "federated"))
    assert found.rounds.tolist() == [0, 3]
    rows = trainer.consortium.rows(0)
    y = np.concatenate([trainer.consortium.dataset.examples.y[rows[name].test] for name in rows])
    told = metrics.score("binary", "loss", y, np.concatenate(found.predictions).astype(np.float64))
    assert found.losses[-1] == pytest.approx(told)
    assert abs(found.losses[-1] - plain.losses[-1]) > 1e-3
    np.testing.assert_array_equal(found.curve[0], plain.curve[0])
    assert found.sent[-1].tolist() == plain.sent[-1].tolist()


def test_what_goes_wrong_in_fine_tuning_is_said(tmp_path: pathlib.Path) -> None:
    """The federation clips the one step of a round; by itself a hospital's linear regression runs away at this rate."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(180, 3))
    y, site = x.sum(1) + rng.normal(size=180), np.repeat(["a", "b", "c"], 60)
    np.savez(tmp_path / "rows.npz", x=x, y=y, site=site)
    tree = {
        "name": "tiny",
        "rounds": 2,
        "data": {"name": "arrays", "args": {"path": str(tmp_path / "rows.npz")}},
        "model": {"name": "logistic_regression"},
        "client": {"learning_rate": 1e6, "batch_size": 16, "steps": 1},
        "aggregation": {"clip_norm": 0.1},
        "study": {**TREE["study"], "seeds": 1, "arms": ["federated", "local", "fine_tuned"], "fine_tune_epochs": 6},
    }
    found = conduct.run(config.parse(tree), tmp_path / "out", quiet=True, here=True)
    lost = found["refused"]["fine_tuned"]
    assert set(lost) == {"a", "b", "c"}
    assert all(0 < times < 6 for times in lost.values())
    assert "federated" not in found["refused"]
    (said,) = [text for text in found["warnings"] if text.startswith("In the arm “federated, then fine-tuned” updates")]
    assert f"a ({lost['a']} of 8 rounds)" in said
    diverged = "In the arm “federated, then fine-tuned” training diverged (1 of 1 models)"
    assert any(text.startswith(diverged) for text in found["warnings"])


def test_a_line_of_two_points_is_explained(study: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, found = study
    assert found["curves"]["arms"]["fine_tuned"]["rounds"] == [0, 3]
    write_study(found, out)
    said = "Of “federated, then fine-tuned” the line joins the untrained models and the end"
    assert said in " ".join((out / "report.md").read_text().split())


def test_a_study_of_untrained_models_has_no_answer(tmp_path: pathlib.Path) -> None:
    wild = config.parse({**TREE, "rounds": 2, "client": {"learning_rate": 1e30, "batch_size": 16},
                         "study": {**TREE["study"], "seeds": 1, "arms": ["federated", "local"]}})  # fmt: skip
    with pytest.raises(
        errors.UserError, match=r"^study: nothing was learned: .*not finite: safety_net, small_rural, urb"
    ):
        conduct.run(wild, tmp_path / "out", quiet=True, here=True)
    assert not (tmp_path / "out" / "study.json").exists()


def test_refused_hospitals_are_named_and_the_page_begins_with_them(tmp_path: pathlib.Path) -> None:
    wild = config.parse({**TREE, "rounds": 2, "scenario": [{"name": "not_a_number", "clients": ["small_rural"]}],
                         "study": {**TREE["study"], "seeds": 1, "arms": ["federated", "local"]}})  # fmt: skip
    found = conduct.run(wild, tmp_path / "out", quiet=True, here=True)
    assert found["refused"]["federated"] == {"small_rural": 2}
    missed, refused, *_, simulated = found["warnings"]
    assert missed.startswith("In the arm “federated”: small_rural, 10% of the training weight, was to contribute in 2")
    assert refused.startswith("In the arm “federated” updates were not finite and were left out")
    assert simulated.startswith("Simulated trouble: not_a_number (small_rural). Figures are of a federation in which")
    write_study(found, tmp_path / "out")
    page = (tmp_path / "out" / "report.md").read_text()
    assert page.index("**Warning.** In the arm “federated”") < page.index(found["answer"]["summary"][:20])


def test_a_target_costs_what_those_who_took_part_have_sent(tmp_path: pathlib.Path) -> None:
    """One of three hospitals a round: after as many rounds, a third of what all of them would have sent."""
    found = {}
    for size in (1, 3):
        changed = settings(seeds=1, arms=["federated"], target=0.01)
        changed = dataclasses.replace(changed, cohort=config.Cohort(size=size))
        told = conduct.run(changed, tmp_path / str(size), quiet=True, here=True)["communication"]
        found[size] = (told["bytes_per_hospital"], told["bytes_all"])
        assert told["target"]["arms"]["federated"]["rounds"] == 0
        assert told["target"]["arms"]["federated"]["bytes_per_hospital"] == 0
    assert found[1] == pytest.approx(tuple(value / 3 for value in found[3]), abs=1)


def test_an_edited_model_is_trained_anew_and_an_unchanged_one_is_not(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "grown_model.py"
    text = "from tiny_models import layers\nimport tensorflow as tf\n\n\ndef build(spec, units={units}):\n"
    text += "    shape = layers.Input(spec.inputs)\n"
    text += "    return tf.keras.Sequential([shape, layers.Dense(units), layers.Dense(1, activation='sigmoid')])\n"
    code.write_text(text.format(units=2))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))
    own = config.parse({**TREE, "rounds": 1, "model": {"name": "grown_model:build"},
                        "study": {**TREE["study"], "seeds": 1, "arms": ["federated"]}})  # fmt: skip

    def weights_bytes() -> int:
        return conduct.run(own, tmp_path / "out", quiet=True)["communication"]["weights_bytes"]

    small = weights_bytes()
    result = next((tmp_path / "out" / "jobs").glob("*.npz"))
    trained = result.stat().st_mtime_ns
    assert weights_bytes() == small
    assert result.stat().st_mtime_ns == trained
    code.write_text(text.format(units=8))
    assert weights_bytes() > small
    assert result.stat().st_mtime_ns > trained


def test_a_test_at_a_hospital_left_out_is_not_called_undone(trainer: Trainer) -> None:
    """Whether it was asked for among the study's arms, by its own setting, or as an arm of its own."""
    ways = [
        {},
        {"arms": ["federated", "leave_one_out"]},
        {"leave_one_out": True},
        {"arms_": [{"name": "others", "train": "leave_one_out"}]},
    ]
    said = []
    for way in ways:
        asked = settings(**way)
        made = design.design(asked, plan.scenarios(asked)[0].arms, [], trainer.consortium, "auroc", 0.02)
        said.append(any("at a hospital that took no part" in text for text in made.not_done))
    assert said == [True, False, False, False]


def test_a_hospital_left_out_is_not_learned_from() -> None:
    consortium = Consortium(settings())
    material = consortium.material("leave_one_out", 0, "by_site", hospital="small_rural")
    assert set(material.train) == {"safety_net", "urban_teaching"}
    assert set(material.test) == set(consortium.hospitals)
    scaled = np.asarray(consortium.material("local", 0, "by_site", hospital="small_rural").train["small_rural"].x)
    np.testing.assert_allclose(scaled[:, 0].mean(), 0, atol=1e-5)  # a hospital alone knows its own mean only


def test_a_smaller_share_of_patients_is_part_of_a_larger_one() -> None:
    consortium = Consortium(settings())
    parts = [consortium.material("federated", 0, "none", share=share).train["urban_teaching"] for share in (0.25, 0.5)]
    small, large = ({tuple(row) for row in np.asarray(part.x)} for part in parts)
    assert len(small) == pytest.approx(len(large) / 2, abs=1)
    assert small < large


def test_growing_adds_hospitals_to_those_that_are_there() -> None:
    consortium = Consortium(settings())
    nested = [set(grow.members(consortium, "small_rural", size, seed=3)) for size in (1, 2, 3)]
    assert nested[0] == {"small_rural"}
    assert nested[0] < nested[1] < nested[2]


def test_one_hospital_with_fewer_patients_trains_on_fewer() -> None:
    """A curve of one hospital only has points over its patients all the same, each of a model of its own."""
    asked = settings(seeds=1, grow=True, grow_hospitals=[1], grow_shares=[0.25, 1.0])
    consortium = Consortium(asked)
    whole, quarter = grow.jobs(asked, consortium, "urban_teaching", "auroc")
    assert (whole.arm, quarter.arm) == ("1 hospital", "25 % of patients")
    patients = [
        consortium.patients_trained("local", 0, job.hospital, members=job.members, share=job.share)["urban_teaching"]
        for job in (whole, quarter)
    ]
    assert patients[1] == round(patients[0] / 4)


def test_every_seed_has_a_split_of_its_own_and_all_arms_have_it() -> None:
    consortium = Consortium(settings())
    first, second = (consortium.rows(seed)["urban_teaching"].test for seed in (0, 1))
    assert not np.array_equal(first, second)
    tests = [consortium.material(kind, 1, "none", "urban_teaching").test for kind in ("federated", "pooled", "local")]
    for test in tests:
        np.testing.assert_array_equal(test["urban_teaching"].y, consortium.dataset.examples.y[second])


def test_jobs_have_names_and_keys_of_their_own() -> None:
    shaped = settings(arms_=[{"name": "prox", "set": {"algorithm.name": "fedprox", "algorithm.args.mu": 0.1}}])
    jobs = plan.jobs(plan.scenarios(shaped)[0], ["a", "a/b", "a_b"], "auroc")
    assert len({job.name for job in jobs}) == len(jobs) == 2 * (1 + 3 + 1 + 1)
    assert len({job.identity({}, {}).key for job in jobs}) == len(jobs)
    assert jobs[0].identity({"x": "1"}, {}).key != jobs[0].identity({}, {}).key


def test_what_a_study_shows_does_not_change_what_it_trains() -> None:
    a = plan.jobs(plan.scenarios(settings())[0], ["h"], "auroc")
    b = plan.jobs(plan.scenarios(settings(draws=500, question="why?"))[0], ["h"], "auroc")
    assert [job.identity({}, {}).key for job in a] == [job.identity({}, {}).key for job in b]


def test_study_json_is_strict_and_holds_no_row(study: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, found = study
    text = (out / "study.json").read_text()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in study.json")) == found
    assert plain.to_plain(plain.from_plain(Findings, found)) == found
    longest = max(len(x) for x in lists(found))
    assert longest <= 100  # nothing is as long as a hospital's test rows


def lists(value: Any) -> list[list[Any]]:
    """Returns every list in plain values."""
    if isinstance(value, dict):
        return [found for item in value.values() for found in lists(item)]
    return [value, *(found for item in value for found in lists(item))] if isinstance(value, list) else []


def test_a_study_answers_each_hospital(study: tuple[pathlib.Path, dict[str, Any]]) -> None:
    _, found = study
    assert found["answer"]["comparison"] == "federated-local"
    assert set(found["answer"]["hospitals"]) == {"urban_teaching", "safety_net", "small_rural"}
    kinds = {"federated", "local", "pooled", "recalibrated", "leave_one_out", "fine_tuned"}
    assert set(found["performance"]) == {*kinds, "prox"}
    assert {c["id"] for c in found["comparisons"]} >= {"federated-leave_one_out", "fine_tuned-local", "prox-federated"}
    assert [scenario["name"] for scenario in found["scenarios"]] == ["mild"]
    assert [point["hospitals"] for point in found["grow"]["points"]] == [1, 2, 3, 3, 3]


def test_finished_models_are_not_trained_again(study: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, found = study
    before = {path: path.stat().st_mtime_ns for path in (out / "jobs").glob("*.npz")}
    bytes_before = (out / "study.json").read_bytes()
    shaped = config.load(out / "config.toml")
    assert conduct.run(shaped, out, quiet=True, here=True) == found
    assert {path: path.stat().st_mtime_ns for path in (out / "jobs").glob("*.npz")} == before
    assert (out / "study.json").read_bytes() == bytes_before


def test_a_damaged_or_foreign_result_counts_as_none(tmp_path: pathlib.Path) -> None:
    path = results.path_of(tmp_path, "x")
    result = results.Result([np.zeros(2)], np.arange(1), np.zeros((1, 2)), np.zeros((1, 2)), {"a": 1}, 1.0, 4)
    results.write(path, "key", result)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # it holds a prediction a patient
    assert results.read(path, "key") is not None
    assert results.read(path, "other") is None
    path.write_bytes(path.read_bytes()[:-40])
    assert results.read(path, "key") is None
    path.write_bytes(b"")
    assert results.read(path, "key") is None
    assert results.read(tmp_path / "none.npz", "key") is None
    path.unlink()
    path.mkdir()
    with pytest.raises(errors.UserError, match=r"x\.npz: is a folder, where a model's result is to be; move it away"):
        results.read(path, "key")


def test_what_is_wrong_is_told_before_anything_is_written(tmp_path: pathlib.Path) -> None:
    for wrong, words in (
        ({"metric": "auc"}, "study.metric"),
        ({"subgroups": ["agee"]}, "did you mean"),
        ({"grow": True, "grow_hospital": "x"}, "study.grow_hospital"),
    ):
        with pytest.raises(errors.UserError, match=words):
            conduct.run(settings(**wrong), tmp_path / "out", quiet=True, here=True)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.UserError, match="holds no study"):
        conduct.run(settings(), tmp_path, quiet=True, here=True)


def command(path: pathlib.Path, out: pathlib.Path) -> list[str]:
    return [sys.executable, "-m", "fedmed", "study", str(path), "--out", str(out)]


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_bytes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "tiny.toml"
    asked = settings(arms=["federated", "local"])
    flawless = dataclasses.replace(asked.data, args={**asked.data.args, "units": False, "coding": False})
    path.write_text(config.dumps(dataclasses.replace(asked, data=flawless)))  # so that there is nothing to say of them
    out = tmp_path / "out"
    process = subprocess.Popen(command(path, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 60
    while not list(out.glob("jobs/*.npz")) and time.monotonic() < give_up:
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    done = {file: file.stat().st_mtime_ns for file in out.glob("jobs/*.npz")}
    assert len(done) > 0
    assert not (out / "study.json").exists()
    ended = subprocess.run(command(path, out), capture_output=True, text=True, check=True)
    assert "small_rural" in ended.stdout
    assert not ended.stderr
    assert {file: file.stat().st_mtime_ns for file in done} == done
    whole, again = conduct.run(config.load(path), tmp_path / "whole", quiet=True, here=True), out / "study.json"
    whole["reproduce"]["command"] = f"fedmed study {path}"
    assert json.loads(again.read_text()) == whole
