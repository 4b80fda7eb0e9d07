"""What a run and a study say of their learning: the null model's figures, skill, and warnings with what one can do."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import tiny
from test_study_figures import HOSPITALS, RULES, outcomes

from fedmed.engine.evaluation import Predicted
from fedmed.reporting import tables
from fedmed.runs import cautions, experiment, skill
from fedmed.statistics import null_model
from fedmed.study import baseline, measures, trouble
from fedmed.study.suppression import WITHHELD

SIZES = (60, 50, 40)
RNG = np.random.default_rng(8)
X = RNG.normal(size=(sum(SIZES), 4)).astype(np.float32)
SITE = np.repeat(list("abc"), SIZES)


def ran(tmp_path: pathlib.Path, y: np.ndarray, task: str, **changes: Any) -> dict[str, Any]:
    path = tmp_path / "own.npz"
    np.savez(path, x=X, y=y, site=SITE)
    changes = {"rounds": 3, **changes}
    settings = tiny.settings("tiny_models:linear", data={"args": {"path": str(path), "task": task}}, **changes)
    return experiment.run(settings, tmp_path / "run", overwrite=True)


def test_a_run_tells_the_null_model_and_the_skill_of_each_hospital(tmp_path: pathlib.Path) -> None:
    y = np.random.default_rng(8).poisson(np.exp(1.0 + 0.5 * X[:, 0])).astype(np.float64)
    summary = ran(tmp_path, y, "count", client={"learning_rate": 0.02})
    assert summary["metric"] == "deviance"
    final, null, told = summary["final"], summary["null"], summary["skill"]
    assert set(null["clients"]) == set(told["clients"]) == set("abc")
    for own, without, share in [
        (final["pooled"], null["pooled"], told["pooled"]),
        *((final["clients"][name], null["clients"][name], told["clients"][name]) for name in "abc"),
    ]:
        assert own["deviance"] >= 0
        assert share["d2"] == pytest.approx(1 - own["deviance"] / without["deviance"])
    shown = tables.final_table(summary, width=200)
    header = next(line for line in shown if line.startswith("client"))
    assert header.index("mean Poisson deviance") < header.index("the mean") < header.index("D²")


def test_the_null_model_of_a_run_is_the_mean_of_its_own_training_rows(tmp_path: pathlib.Path) -> None:
    parts = {name: tiny.rows(30, seed=number, features=4) for number, name in enumerate("ab")}
    held = tiny.clients_of(parts)
    null = skill.null_predicted(held)
    for name, part in parts.items():
        assert null.clients[name].tolist() == [part.y.mean()] * 30
    assert null.pooled.tolist() == [*null.clients["a"], *null.clients["b"]]
    oracle = sk.log_loss(parts["a"].y, null.clients["a"])
    assert null_model.null_scores("binary", parts["a"].y, null.clients["a"])["loss"] == pytest.approx(oracle)


def test_a_shared_test_set_has_the_mix_of_all_training_rows() -> None:
    held = tiny.clients()
    shared = held._replace(test={}, shared_test=tiny.rows(20, seed=9))
    null = skill.null_predicted(shared)
    assert null.pooled[0] == pytest.approx(np.mean(np.concatenate([part.y for part in held.train.values()])))
    assert {name: p[0] for name, p in null.clients.items()} == {n: part.y.mean() for n, part in held.train.items()}


@pytest.mark.parametrize("shift", [0.0, 0.05, 1.0])
def test_worse_than_the_mean_is_said_beyond_noise_only(shift: float) -> None:
    rng = np.random.default_rng(1)
    parts = {n: dataclasses.replace(tiny.rows(80, i, 4), y=rng.normal(size=80).astype(np.float32)) for i, n in
             enumerate("ab")}  # fmt: skip
    held = tiny.clients_of(parts, "regression", 0)
    null = skill.null_predicted(held)
    own = {"a": null.clients["a"] + shift, "b": null.clients["b"] + 0.001}
    named, over_all = skill.worse_at(held, Predicted(np.concatenate(list(own.values())), own), null)
    assert named == (("a",) if shift == 1.0 else ())
    assert over_all == (shift == 1.0)
    assert skill.worse_at(held, null, null) == ((), False)


def test_rows_of_one_patient_are_one_piece_of_evidence() -> None:
    y = np.tile([1.0, -0.9], 40).astype(np.float32)
    part = dataclasses.replace(tiny.rows(80, 0, 4), y=y)
    for group, worse in ((None, True), (np.repeat(["p", "q", "r", "s"], 20), False)):
        held = tiny.clients_of({"a": dataclasses.replace(part, group=group)}, "regression", 0)
        null = skill.null_predicted(held)
        own = Predicted(null.pooled + 1.0, {"a": null.clients["a"] + 1.0})
        assert skill.worse_at(held, own, null)[0] == (("a",) if worse else ())


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (0.05, None),
        (1e6, "Training diverged: log loss "),
        (0.0005, "Still improving at the last round: the last quarter"),
    ],
)
def test_a_run_says_that_it_diverged_or_was_still_improving(rate: float, said: str | None, tmp_path: Any) -> None:
    y = (X[:, 0] + 0.7 * np.random.default_rng(8).normal(size=len(X)) > 0).astype(np.int64)
    summary = ran(tmp_path, y, "binary", rounds=16, client={"learning_rate": rate}, cohort={"size": 3})
    assert [text[: len(said)] for text in summary["warnings"]] == [said] if said else not summary["warnings"]
    if said and said.startswith("Still"):
        assert "rounds = 32" in summary["warnings"][0]
        assert "fedmed tune" in summary["warnings"][0]


def test_a_model_that_is_worse_than_the_prevalence_somewhere_is_named() -> None:
    records = [
        {"round": r, "cohort": ["a"], "absent": [], "refused": [], "test": {"pooled": {"loss": 0.7}}} for r in (0, 1)
    ]
    found = cautions.warnings(tiny.settings(), "binary", records, "rounds", (["x", "y"], False), ())
    assert found == (
        "The model is worse than predicting the prevalence of the training rows at x, y, beyond noise "
        f"(2 standard errors); {cautions.ELSEWHERE}.",
    )
    assert "over all test rows" in cautions.warnings(tiny.settings(), "count", records, "rounds", ([], True), ())[0]


def explained(found: Any) -> Any:
    return baseline.explained(found, measures.measures(found.task, 0.9, "auroc"), RULES)


@pytest.mark.parametrize(("task", "oracle"), [("count", sk.d2_tweedie_score), ("regression", sk.r2_score)])
def test_a_studys_skill_is_scikit_learns_but_for_the_null_model_of_training_rows(task: Any, oracle: Any) -> None:
    found = outcomes(task)
    told, by_seed = explained(found), []
    for seed in found.seeds:
        test = found.test("federated", seed, "a")
        train = found.consortium.dataset.examples.y[found.consortium.rows(seed)["a"].train]
        loss = sk.mean_poisson_deviance if task == "count" else sk.mean_squared_error
        null = np.full(len(test.y), np.float32(train.mean(dtype=np.float64)))
        by_seed.append(1 - loss(test.y, test.p) / loss(test.y, null))
        power = {"power": 1} if task == "count" else {}
        assert by_seed[-1] == pytest.approx(oracle(test.y, test.p, **power), abs=0.02)
    own = told.skill["federated"].hospitals["a"]["d2"]
    np.testing.assert_allclose(own.by_seed, by_seed, rtol=1e-5)
    assert own.estimate == pytest.approx(np.mean(by_seed), rel=1e-5)
    assert own.low < own.estimate < own.high
    assert told.skill["federated"].mean["d2"].estimate is not None


def test_a_hospital_of_few_events_has_no_null_model_and_no_skill() -> None:
    told = explained(outcomes())
    for performance in (told.null, *told.skill.values()):
        assert {figure.reason for figure in performance.hospitals["tiny"].values()} == {WITHHELD}
        assert all(figure.estimate is None for figure in performance.mean.values())
    assert told.null.all["loss"].reason == WITHHELD  # it would follow from the sum over all
    assert told.skill["federated"].all["d2"].estimate is not None  # that of the others
    assert set(told.null.hospitals) == set(HOSPITALS)
    assert "auroc" not in told.null.all


def test_a_study_names_the_arms_that_are_worse_than_the_null_model_diverged_or_were_stopped_early() -> None:
    found = outcomes()
    metric = measures.measures("binary", 0.9, "auroc")[0]
    assert trouble.warnings(found, metric, explained(found), 0.95) == ()
    rounds = np.arange(21)
    results = {}
    for key, result in found.results.items():
        wrong = [1 - p for p in result.predictions] if key[0] == "federated" else result.predictions
        losses = 1.0 - rounds / 40 if key[0] == "federated" else np.where(rounds < 20, 0.6, 2.0)
        results[key] = result._replace(predictions=wrong, rounds=rounds, losses=losses)
    bad = dataclasses.replace(found, results=results)
    said = trouble.warnings(bad, metric, explained(bad), 0.95)
    assert said[0].startswith("In the arm “each hospital alone” training diverged (9 of 9 models)")
    assert said[1].startswith("The arm “federated” is worse than predicting the prevalence of the hospital's own")
    assert "over all hospitals and at a, b, beyond noise" in said[1]
    assert said[2].startswith("Still improving at the last round: “federated” (")
    assert "tiny" not in json.dumps(said)


def test_the_default_metric_of_counts_is_never_negative() -> None:
    assert experiment.primary_metric(tiny.settings(), "count") == "deviance"
