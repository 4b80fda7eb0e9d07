"""A study that prices promises and attacks its own models: what its files hold, and what they never hold."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import Once

from fedmed.privacy.accounting import Releases
from fedmed.settings import config
from fedmed.statistics.ranking import auroc
from fedmed.study import attacking, conduct, guarantees, rebuilding, shadows
from fedmed.study.consortium import Consortium
from fedmed.study.plan import Job
from fedmed.study.schema.leaked import Audited, Rebuilt
from fedmed.study.session import Assignment, Session
from fedmed.system import errors

SENTINEL = 61.0625
"""A value of one patient that nobody else has, and no computation comes to by chance."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three hospitals' patients, one of them with a value of its own, and with several rows each."""
    rng, lines = np.random.default_rng(5), ["site,patient,age,dose,ill"]
    for number, site in enumerate(("north", "south", "east")):
        for patient in range(40):
            for _ in range(1 + patient % 3):
                age, dose = rng.uniform(20, 90), rng.normal(10, 2)
                ill = int(age / 20 + rng.normal() > 2.5)
                lines.append(f"{site},{site}{patient},{age:.3f},{dose + number:.3f},{ill}")
    site, patient, _, dose, ill = lines[7].split(",")
    lines[7] = f"{site},{patient},{SENTINEL},{dose},{ill}"
    path = tmp_path_factory.mktemp("table") / "own.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def settings(table: str, **changes: Any) -> config.RunConfig:
    args = {"path": table, "site": "site", "group": "patient", "label": "ill"}
    study = {
        "seeds": 1,
        "arms": ["federated", "local"],
        "reference": False,
        "draws": 100,
        "privacy": {"epsilons": [4.0], "set": {"client.learning_rate": 0.5}},
        "leakage": {"attack": True, "models": 8, "starts": 1, "canaries": 100},
    }
    base: dict[str, Any] = {
        "data": {"name": "table", "args": args},
        "model": {"name": "logistic_regression"},
        "client": {"learning_rate": 0.3, "batch_size": "full"},
        "privacy": {"bounds": {"age": [0, 110], "dose": [0, 30]}},
        "rounds": 3,
        "study": study,
    }
    return tiny.settings(**{**base, **changes})


@pytest.fixture(scope="module")
def studied(table: str, once: Once) -> pathlib.Path:
    def study(out: pathlib.Path) -> None:
        found = conduct.run(settings(table), out, here=True, quiet=True)
        from fedmed.reporting.page import write_study

        write_study(found, out)

    return once("leakage", study)


def told(studied: pathlib.Path) -> dict[str, Any]:
    return json.loads((studied / "study.json").read_text())


def test_federated_and_alone_are_trained_at_the_same_promise(studied: pathlib.Path) -> None:
    price = told(studied)["privacy"]["price"]
    assert [point["epsilon"] for point in price["points"]] == [None, 4.0]
    for point in price["points"]:
        assert set(point["federated"]) == set(point["local"]) == {"north", "south", "east"}
    assert price["points"][0]["cost_federated"] == {}
    assert set(price["sentences"]) == {"north", "south", "east"}


def test_what_is_not_promised_is_the_studys_own_training(studied: pathlib.Path) -> None:
    found = told(studied)
    price = found["privacy"]["price"]["points"][0]["federated"]["north"]["estimate"]
    assert price == found["performance"]["federated"]["hospitals"]["north"]["auroc"]["estimate"]


def test_each_training_is_attacked_with_a_control(studied: pathlib.Path) -> None:
    attacks = told(studied)["leakage"]["membership"]
    names = [(one["training"], one["control"]) for one in attacks]
    assert names == [("this study", False), ("overfitted", True), ("clipped, no noise", False), ("at epsilon 4", False)]
    assert {one["models"] for one in attacks} == {8}


def test_the_audit_refutes_no_noise_and_not_the_promise(studied: pathlib.Path) -> None:
    promise, control = told(studied)["leakage"]["audits"]
    assert promise["bound"] <= promise["claim"]
    assert control["control"]
    assert control["bound"] > control["claim"]


def test_one_row_is_rebuilt_from_a_bare_update_and_not_from_a_noisy_one(studied: pathlib.Path) -> None:
    for scenes in told(studied)["leakage"]["rebuilt"].values():
        by_name = {scene["scene"]: scene for scene in scenes}
        assert by_name["one row, one step"]["distance"] < 0.01
        noisy = by_name["one row under clip and noise"]["distance"]
        assert noisy is None or noisy > 0.1


def test_only_rounds_that_a_budget_allows_are_audited(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Releases] = []

    def audited(promise: str, settings: config.RunConfig, releases: Releases, *, control: bool) -> Audited:
        seen.append(releases)
        return Audited(promise, control, 0.0, 0.0, 0.0, 0, "")

    monkeypatch.setattr(attacking, "audited", audited)
    promise = {"unit": "patient", "noise_multiplier": 10.0, "target_epsilon": 1.0}
    own = settings(table, privacy={"bounds": {"age": [0, 110], "dose": [0, 30]}, **promise}, rounds=200, study=FEW)
    job = Job("auditing", "auditing", "federated", own, attack="auditing")
    consortium = Consortium(own)
    attacking.attacked(job, consortium)
    made = guarantees.promises_of(job, consortium)
    assert made is not None
    assert made.rounds < 200
    assert [(one.noise, one.steps) for one in seen] == [(10.0, made.rounds), (0.0, made.rounds)]


def test_no_patients_value_is_in_any_file_of_the_study(studied: pathlib.Path) -> None:
    """Neither as text nor as the float32 or float64 that arrays hold it as; the page shows no picture of a table."""
    forms = [str(SENTINEL).encode(), np.float32(SENTINEL).tobytes(), np.float64(SENTINEL).tobytes()]
    looked_at = 0
    for path in studied.rglob("*"):
        if path.is_file():
            looked_at += 1
            content = path.read_bytes()
            assert not any(form in content for form in forms), path
    assert looked_at > 5
    assert all(one["pictures"] == [] for own in told(studied)["leakage"]["rebuilt"].values() for one in own)


PROMISE = {"privacy.unit": "patient", "privacy.target_epsilon": 4.0}
FEW = {"seeds": 1, "arms": ["federated", "local"], "reference": False, "draws": 100}


@pytest.mark.parametrize(
    ("study", "arms", "said"),
    [
        ({"tune": True, "privacy": {"epsilons": [4.0]}}, [], "study.tune: .* the arm 'federated at 4'"),
        ({"tune": True}, [{"name": "dp", "set": PROMISE}], "study.tune: .* the arm 'dp'"),
        ({}, [{"name": "ft", "train": "fine_tuned", "set": PROMISE}], "arms, 'ft': 'fine_tuned' trains"),
        (
            {"arms": ["federated", "fine_tuned"]},
            [{"name": "elsewhere", "set": {**PROMISE, "data.test_fraction": 0.5}}],
            "arms, 'fine_tuned': 'fine_tuned' trains",
        ),
    ],
)
def test_no_arm_with_a_promise_is_tuned_for_or_fine_tuned(
    table: str, tmp_path: pathlib.Path, study: dict[str, Any], arms: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        conduct.run(settings(table, study={**FEW, **study}, arms=arms), tmp_path / "out", here=True, quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_studys_own_promise_is_not_fine_tuned_by_a_named_arm(table: str, tmp_path: pathlib.Path) -> None:
    own = settings(
        table,
        privacy={"bounds": {"age": [0, 110], "dose": [0, 30]}, "unit": "patient", "target_epsilon": 4.0},
        study=FEW,
        arms=[{"name": "further", "train": "fine_tuned"}],
    )
    with pytest.raises(errors.ConfigError, match="arms, 'further': 'fine_tuned' trains"):
        conduct.run(own, tmp_path / "out", here=True, quiet=True)


def rebuilt(own: config.RunConfig) -> dict[str, list[Rebuilt]]:
    job = Job("rebuilding", "rebuilding", "federated", own, attack="rebuilding")
    return rebuilding.rebuilt(job, Consortium(own))


@pytest.mark.parametrize(
    "trouble",
    [
        {"scenario": [{"name": "absent", "chance": 1.0}]},
        {"scenario": [{"name": "absent", "clients": ["south"], "chance": 1.0}]},
        {"clock": {"deadline": 1e-6}},
    ],
)
def test_an_update_is_attacked_whoever_else_would_be_absent(table: str, trouble: dict[str, Any]) -> None:
    """What is asked is what a server sees of an update; a study under trouble sends fewer, and the same ones."""
    small = {**FEW, "leakage": {"attack": True, "models": 8, "starts": 1, "canaries": 100}}
    plain, troubled = settings(table, study=small), settings(table, study=small, **trouble)
    assert rebuilt(troubled) == rebuilt(plain)
    assert shadows.overfitted(troubled, is_table=True) == shadows.overfitted(plain, is_table=True)


def test_a_row_is_held_against_all_other_patients_of_its_hospital(table: str) -> None:
    """Patients of one hospital are most alike, and whoever attacks it has to tell them apart."""
    own = settings(table, study={**FEW, "leakage": {"attack": True, "models": 8, "starts": 1, "canaries": 100}})
    train = Consortium(own).material("federated", own.seed, own.data.preprocessing).train
    x, whose = (np.concatenate(parts) for parts in zip(*[(p.x, p.group) for p in train.values()], strict=True))
    spread = x.std(axis=0)
    for name, scenes in rebuilt(own).items():
        whole = next(scene for scene in scenes if scene.scene == "a round as it is")
        rows, patients = np.asarray(train[name].x), train[name].group
        assert patients is not None
        nearest = [
            np.sqrt(np.square((x[whose != patient] - row) / spread).mean(axis=1)).min()
            for row, patient in zip(rows, patients, strict=True)
        ]
        assert whole.other == pytest.approx(np.median(nearest), rel=1e-3)


def test_an_amount_is_inverted_with_the_label_that_was_learned(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doses are about 10 and are learned at mean 0 and SD 1; given the label of one row, its update tells the row."""
    monkeypatch.setattr(rebuilding, "_WAYS", ("inversion",))
    args = {"path": table, "site": "site", "group": "patient", "label": "dose", "task": "regression"}
    own = settings(
        table,
        data={"name": "table", "args": args},
        model={"name": "logistic_regression"},
        privacy={},
        study={**FEW, "leakage": {"attack": True, "models": 8, "starts": 3, "canaries": 100}},
    )
    for scenes in rebuilt(own).values():
        distance = scenes[0].distance
        assert distance is not None
        assert distance < 0.01


def test_shadow_models_train_on_whole_patients_and_half_of_them(table: str) -> None:
    consortium = Consortium(settings(table))
    inside = shadows.inside(consortium, 8, seed=0)
    for name, rows in consortium.held.items():
        patient = consortium.patient[rows]
        for model in inside[name]:
            members = set(patient[model].tolist())
            assert members.isdisjoint(patient[~model].tolist())
            assert len(members) == 20
        np.testing.assert_array_equal(inside[name][0::2], ~inside[name][1::2])


def test_confidence_is_the_logit_of_what_the_label_was_given() -> None:
    y, p = np.array([1, 0]), np.array([0.8, 0.8])
    np.testing.assert_allclose(shadows.confidence("binary", y, p), [np.log(4), -np.log(4)])
    classes = np.array([[0.1, 0.9], [0.5, 0.5]])
    np.testing.assert_allclose(shadows.confidence("multiclass", np.array([1, 0]), classes), [np.log(9), 0.0])
    np.testing.assert_allclose(shadows.confidence("regression", np.array([1.0]), np.array([3.0])), [-4.0])
    assert np.isfinite(shadows.confidence("binary", y, np.array([0.0, 0.0]))).all()
    assert auroc(np.array([True, False]), np.array([2.0, 1.0])) == 1.0


def test_models_that_are_attacked_have_the_rate_that_was_found_for_those_like_them(
    table: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control learns by heart at a rate of its own; no attack is searched, and none is left without a rate."""
    attacked = {"attack": True, "models": 8, "starts": 1, "canaries": 100}
    study = {"seeds": 1, "arms": ["federated"], "reference": False, "draws": 100, "tune": True, "leakage": attacked}
    trained: dict[str, Job] = {}
    run = Session.run

    def noted(self: Session, task: Assignment) -> None:
        trained[task.job.name] = task.job
        run(self, task)

    monkeypatch.setattr(Session, "run", noted)
    found = conduct.run(settings(table, rounds=1, study=study), tmp_path / "out", here=True, quiet=True)
    (own,) = found["design"]["tuned"]
    (rate,) = own["learning_rates"]
    assert rate != 0.3
    by_arm = {
        job.arm: job.settings.client.learning_rate for job in trained.values() if job.shadow is not None or job.attack
    }
    assert by_arm == {shadows.OWN: rate, shadows.OVERFITTED: 0.1, "rebuilding": rate, "auditing": rate}
    assert sum(job.shadow is not None for job in trained.values()) == 2 * 8
