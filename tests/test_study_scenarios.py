"""Studies under scenarios: who was to contribute and did not is told first, and whoever trains alone is spared."""

import dataclasses
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from fedmed.engine.federation import Federation
from fedmed.reporting.display import verdicts
from fedmed.reporting.page import write_study
from fedmed.settings import config
from fedmed.settings.mishaps import Mishap
from fedmed.study import conduct, plan
from fedmed.study.consortium import Consortium
from fedmed.study.guarantees import training_settings
from fedmed.study.trainer import Trainer
from fedmed.system import errors

TREE: dict[str, Any] = {
    "name": "hard",
    "rounds": 4,
    "data": {"name": "diabetes_ehr", "args": {"patients": 0.1}, "preprocessing": "by_site"},
    "model": {"name": "logistic_regression"},
    "client": {"learning_rate": 0.2, "batch_size": 16},
    "runtime": {"lanes": 1},
    "study": {"seeds": 2, "draws": 100, "minimum_events": 5, "reference": False, "arms": ["federated", "local"]},
}
GONE = [{"name": "absent", "clients": ["largest"], "after": 1}]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("hard")
    return out, conduct.run(config.parse({**TREE, "scenario": GONE}), out, quiet=True, here=True)


def test_who_did_not_contribute_is_told_first(found: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, study = found
    first = study["warnings"][0]
    assert first.startswith("In the arm “federated”: urban_teaching, ")
    assert "was to contribute in 8 rounds of 2 seeds and did in 2, last in round 1: left after round 1" in first
    assert verdicts(study)[0] == f"Warning. {first}"
    own = study["contributions"]["federated"]["urban_teaching"]
    assert (own["asked"], own["used"], own["absent"]) == (8, 2, {"left after round 1": 6})
    assert set(study["contributions"]) == {"federated"}
    write_study(study, out)
    page = (out / "report.md").read_text()
    assert page.index("was to contribute in 8 rounds") < page.index("## ")
    assert "## Who contributed" in page


def test_without_a_scenario_nothing_is_said(tmp_path: pathlib.Path) -> None:
    plain = {**TREE, "study": {**TREE["study"], "seeds": 1}}
    study = conduct.run(config.parse(plain), tmp_path, quiet=True, here=True)
    assert study["contributions"] == {}
    assert not any("contribute" in text for text in study["warnings"])


def test_a_scenario_befalls_federated_training_alone() -> None:
    """Each hospital alone gives the same bits with it and without; the federated model does not."""
    calm, hard = config.parse(TREE), config.parse({**TREE, "scenario": GONE})
    trainer, results = Trainer(Consortium(calm)), {}
    for own in (calm, hard):
        (scenario,) = plan.scenarios(own)
        jobs = [job for job in plan.jobs(scenario, trainer.consortium.hospitals, "auroc") if job.settings.seed == 0]
        for job in (jobs[0], next(job for job in jobs if job.kind == "local")):
            results[job.kind, bool(own.scenario)] = trainer.run(job).predictions
    assert all((a == b).all() for a, b in zip(results["local", False], results["local", True], strict=True))
    assert any((a != b).any() for a, b in zip(results["federated", False], results["federated", True], strict=True))


def test_a_federation_without_a_named_hospital_keeps_what_befalls_the_others() -> None:
    own = config.parse({**TREE, "scenario": [
        {"name": "late", "clients": ["safety_net", "small_rural"]}, {"name": "boost", "clients": ["safety_net"]},
        {"name": "absent", "chance": 0.5},
    ]})  # fmt: skip
    (scenario,) = plan.scenarios(own)
    job = dataclasses.replace(plan.jobs(scenario, ["a"], "auroc")[0], kind="leave_one_out", hospital="safety_net")
    settings = training_settings(job, ["small_rural", "urban_teaching"], 3)
    assert settings.scenario == (Mishap("late", clients=("small_rural",)), Mishap("absent", chance=0.5))


def test_a_hospital_that_there_is_not_is_refused_before_training(tmp_path: pathlib.Path) -> None:
    wrong = config.parse({**TREE, "scenario": [{"name": "absent", "clients": ["small_rurl"]}]})
    with pytest.raises(errors.ConfigError, match="did you mean 'small_rural'"):
        conduct.run(wrong, tmp_path / "out", quiet=True, here=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"algorithm.name": "fedper", "algorithm.args.home": ["x"]},
            "algorithm.args.home: unknown layer with weights 'x'",
        ),
        ({"algorithm.name": "fedbn"}, "algorithm.name: fedbn keeps BatchNormalization at home, and the model has none"),
        ({"algorithm.name": "fedbn", "data.args.severity": 0.0}, "algorithm.name: fedbn keeps BatchNormalization"),
        ({"clock.deadline": 0.001}, "clock.deadline: nobody can keep it"),
        ({"partition.name": "dirichlet"}, "partition.args.clients: required, but not given"),
        ({"cohort.size": 9}, "cohort.size: expected at most"),
        ({"algorithm.name": "fedporx"}, "algorithm.name: unknown algorithm 'fedporx' (did you mean 'fedprox'?)"),
    ],
)
def test_an_arm_that_cannot_be_trained_is_refused_before_training(
    changed: dict[str, Any], said: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line with its name; nothing is trained, and neither the directory nor the one around it is left."""
    monkeypatch.setattr(Federation, "round", None)
    wrong = config.parse({**TREE, "arms": [{"name": "other", "set": changed}]})
    with pytest.raises(errors.ConfigError, match=f"^arms, 'other': {re.escape(said)}"):
        conduct.run(wrong, tmp_path / "studies" / "out", quiet=True, here=True)
    assert not list(tmp_path.iterdir())
    kept = tmp_path / "out" / "jobs"
    kept.mkdir(parents=True)
    with pytest.raises(errors.ConfigError):
        conduct.run(wrong, tmp_path / "out", quiet=True, here=True)
    assert kept.is_dir()


def test_a_deadline_that_nobody_keeps_is_refused_before_training(tmp_path: pathlib.Path) -> None:
    wrong = config.parse({**TREE, "clock": {"deadline": 0.001}})
    with pytest.raises(errors.ConfigError, match=r"^clock\.deadline: nobody can keep it"):
        conduct.run(wrong, tmp_path / "out", quiet=True, here=True)
    assert not list(tmp_path.iterdir())


def test_other_units_are_trained_on_as_the_table_holds_them() -> None:
    """A column times 18 is 18 times as far from zero before it is scaled, by the sums of the rows as they are."""
    own = config.parse({**TREE, "data": {**TREE["data"], "preprocessing": "federated"}})
    consortium = Consortium(own)
    material = consortium.material("federated", 0, "federated")
    assert material.changed is not None
    place = next(k for k, feature in enumerate(consortium.dataset.features) if not feature.is_category)

    def times(rows: Any) -> Any:
        x = np.array(rows.x)
        x[:, place] *= 18
        return dataclasses.replace(rows, x=x)

    same, other = material.changed("safety_net", lambda rows: rows), material.changed("safety_net", times)
    np.testing.assert_array_equal(np.asarray(same.x), np.asarray(material.train["safety_net"].x))
    differs = (np.asarray(other.x) != np.asarray(same.x)).any(axis=0)
    assert differs.sum() == 1
