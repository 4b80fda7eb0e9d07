"""Reference models are scikit-learn's own, tuned where no test row is seen, and the page says which is better."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from page_sample import study as sample
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from test_study_figures import HOSPITALS, RULES, Held, outcomes

from fedmed.data.examples import Task
from fedmed.reporting.page import write_study
from fedmed.settings import config
from fedmed.settings.study import REFERENCES
from fedmed.study import plan, reference_models, references, report
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan, Job
from fedmed.study.reference_models import Boosting, Regression, Rows, tuned

SETTINGS = config.parse(
    {"name": "x", "rounds": 2, "data": {"name": "x"}, "model": {"name": "x"}, "client": {"learning_rate": 1.0}}
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keeps trees of few rows from waiting for threads."""
    with threadpoolctl.threadpool_limits(1):
        yield


def job(kind: Any, hospital: str | None = None, seed: int = 0) -> Job:
    return Job("job", kind, kind, dataclasses.replace(SETTINGS, seed=seed), hospital=hospital, metric="auroc")


def held(task: Task) -> Held:
    """Returns three hospitals of which labels depend on the columns."""
    found = Held("binary" if task == "multiclass" else task)
    rng, dataset = np.random.default_rng(2), found.dataset
    x = np.asarray(dataset.examples.x)
    pull = np.nan_to_num(x[:, 0] - 60) / 15 + x[:, 2]
    y = {
        "binary": (pull + rng.normal(size=len(pull)) > 1).astype(np.int64),
        "multiclass": np.digitize(pull + rng.normal(size=len(pull)), [0.0, 2.0]),
        "regression": (pull + rng.normal(size=len(pull))).astype(np.float32),
        "count": rng.poisson(np.exp(pull / 2)).astype(np.float32),
    }[task]
    classes = {"binary": 2, "multiclass": 3}.get(task, 0)
    examples = dataclasses.replace(dataset.examples, y=y)
    found.dataset = dataclasses.replace(dataset, examples=examples, task=task, classes=classes)
    return found


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "count"])
@pytest.mark.parametrize("kind", ["boosting_alone", "regression_pooled"])
def test_predictions_are_scikit_learns(task: Task, kind: str) -> None:
    """The same rows and the setting that was chosen, given to scikit-learn by hand."""
    consortium, own = held(task), job(kind, "b" if kind.endswith("alone") else None)
    result = reference_models.trained(own, consortium)
    rows, tests = reference_models.material(own, consortium)
    rng = reference_models.seeds.generator(0, "study.reference", reference_models.zlib.crc32(b"b"))
    by_class = task in ("binary", "multiclass")
    if kind == "boosting_alone":
        chosen = tuned(Boosting(task, consortium.dataset.classes, consortium.dataset.features, 0), task, rows, rng)
        assert chosen is not None
        rate, leaves, iterations = chosen.setting
        given: dict[str, Any] = {"learning_rate": rate, "max_leaf_nodes": leaves, "max_iter": iterations}
        given |= {
            "early_stopping": False,
            "min_samples_leaf": 10,
            "l2_regularization": 1.0,
            "categorical_features": [2],
        }
        loss = "poisson" if task == "count" else "squared_error"
        model = HistGradientBoostingClassifier(**given) if by_class else HistGradientBoostingRegressor(loss, **given)
        raw = np.asarray(consortium.dataset.examples.x)[consortium.rows(0)["b"].test]
        np.testing.assert_array_equal(tests[1], raw)
    else:
        rng = reference_models.seeds.generator(0, "study.reference", 0)
        chosen = tuned(Regression(task, consortium.dataset.classes), task, rows, rng)
        assert chosen is not None
        penalised = {
            "regression": Ridge(alpha=chosen.setting),
            "count": PoissonRegressor(alpha=chosen.setting, max_iter=1000),
        }
        model: Any = penalised.get(task, LogisticRegression(C=1 / chosen.setting, max_iter=1000))
        assert abs(rows.x[:, 0].mean()) < 1e-5
    model.fit(rows.x, rows.y)
    raw_p = model.predict_proba(tests[1]) if by_class else model.predict(tests[1])
    np.testing.assert_allclose(result.predictions[1], raw_p[:, 1] if task == "binary" else raw_p, rtol=1e-6)
    assert len(result.curve) == result.sent.size == result.weight_bytes == 0


def test_the_setting_is_that_of_the_least_loss_left_out_and_no_patient_is_on_both_sides() -> None:
    seen = []

    class Watched:
        settings = ("poor", "good")

        def fitted(self, setting: Any, x: Any, y: Any) -> Any:
            raise AssertionError

        def tried(self, x: Any, y: Any, to: Any) -> Any:
            seen.append((set(x[:, 0]), set(to[:, 0])))
            yield np.full(len(to), 0.9)
            yield np.full(len(to), 0.5)

    patient = np.repeat(np.arange(30), 2)
    rows = Rows(patient[:, None].astype(float), np.tile([0, 1], 30), patient, np.zeros(60, int))
    found = tuned(Watched(), "binary", rows, np.random.default_rng(0))
    assert found is not None
    assert found.setting == "good"
    np.testing.assert_allclose(found.losses, np.log(2))
    assert len(seen) == 5
    assert all(not train & out for train, out in seen)


@pytest.mark.parametrize("kind", ["boosting", "regression"])
def test_a_hospital_with_nothing_to_tune_on_predicts_a_share(kind: str) -> None:
    consortium = held("binary")
    y = consortium.dataset.examples.y.copy()
    y[-40:] = 0
    consortium.dataset = dataclasses.replace(
        consortium.dataset, examples=dataclasses.replace(consortium.dataset.examples, y=y)
    )
    result = reference_models.trained(job(f"{kind}_alone", "tiny"), consortium)
    np.testing.assert_allclose(result.predictions[0], 1 / 22)
    assert np.isnan(result.inner).all()


def test_a_class_of_one_patient_is_no_obstacle() -> None:
    consortium = held("multiclass")
    y = consortium.dataset.examples.y.copy()
    y[y == 2] = 1
    y[consortium.rows(0)["b"].train[0]] = 2
    consortium.dataset = dataclasses.replace(
        consortium.dataset, examples=dataclasses.replace(consortium.dataset.examples, y=y)
    )
    for kind in ("boosting_alone", "regression_alone"):
        found = reference_models.trained(job(kind, "b"), consortium).predictions[1]
        assert found.shape == (100, 3)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_how_networks_are_trained_is_nothing_to_a_reference_model() -> None:
    def key(own: Job, **changes: Any) -> str:
        changed = dataclasses.replace(own, settings=dataclasses.replace(own.settings, **changes))
        return changed.identity({"x": "1"}, reference_models.code_of(own)).key

    own, network = job("boosting_alone", "b"), job("federated")
    assert key(own) == key(own, rounds=9, client=config.Client(0.5))
    assert key(own) != key(own, seed=3)
    assert key(network) != key(network, rounds=9)
    assert list(reference_models.code_of(own)) == ["fedmed.study.reference_models"]
    assert reference_models.code_of(network) == {}


def test_only_a_table_of_the_studys_own_data_has_references() -> None:
    dataset = held("binary").dataset
    main = plan.scenarios(SETTINGS)[0]
    assert tuple(arm.name for arm in plan.fitting(main, dataset).references) == REFERENCES
    assert plan.fitting(main, dataclasses.replace(dataset, features=())).references == ()
    assert plan.fitting(dataclasses.replace(main, name="mild"), dataset).references == ()


def with_references(better: str) -> Outcomes:
    """Returns outcomes in which the models of one reference arm know the risk, and the others nothing at all.

    The arm that knows is also the best by cross-validation; at the tiny hospital nothing could be tuned.
    """
    found = outcomes()
    risk, results = found.consortium.risk, dict(found.results)  # pyright: ignore[reportAttributeAccessIssue]
    start = found.results["federated", 0, None]
    for arm in REFERENCES:
        for seed in found.seeds:
            tests = [found.rows(seed, name) for name in HOSPITALS]
            noise = np.random.default_rng(seed)
            p = [(risk[rows] if arm == better else noise.uniform(0.1, 0.3, len(rows))) for rows in tests]
            inner = (0.3 if arm == better else 0.5, 0.4, float("nan"))
            for hospital in HOSPITALS if arm.endswith("alone") else (None,):
                results[arm, seed, hospital] = start._replace(predictions=p, inner=inner)
    plans = tuple(ArmPlan(arm, arm, SETTINGS, {}) for arm in REFERENCES)
    return dataclasses.replace(found, results=results, references=plans)


def test_the_better_by_cross_validation_is_set_against_the_federated_model() -> None:
    found = with_references("regression_alone")
    scored = report.scored(SETTINGS, found.consortium, "auroc")
    told = references.references(found, report.performances(found, scored[:2], RULES), scored, RULES)
    assert told is not None
    large, tiny = told.hospitals["a"], told.hospitals["tiny"]
    assert large.alone.arm == "regression_alone"
    assert large.pooled.outcome == "federated better"
    federated, alone = (large.figures[arm]["auroc"].estimate for arm in ("federated", "regression_alone"))
    assert large.alone.difference.estimate == pytest.approx((federated or 0.0) - (alone or 0.0))
    assert "The federated model does better than boosted trees of everybody's rows" in large.sentence
    assert tiny.alone.outcome == "no figure"
    assert told.measures == {"auroc": "AUROC", "loss": "log loss", "ratio": "observed / expected"}
    assert [arm.name for arm in told.arms] == [*REFERENCES, "federated", "local"]
    assert "boosting_alone" not in report.performances(found, scored[:1], RULES)


def test_a_mean_that_tells_of_few_patients_trained_on_is_withheld() -> None:
    found = with_references("regression_alone")
    scored = report.scored(SETTINGS, found.consortium, "auroc")
    told = references.references(found, {}, scored, RULES)
    assert told is not None
    for figures in (told.hospitals["tiny"].figures, told.all):
        for arm in ("boosting_alone", "regression_alone"):
            for name in ("loss", "ratio"):
                assert figures[arm][name].estimate is None
                assert set(figures[arm][name].by_seed) == {None}
    assert told.hospitals["a"].figures["boosting_alone"]["loss"].estimate is not None


def test_where_boosting_wins_the_page_says_so(tmp_path: pathlib.Path) -> None:
    study = sample()
    study["references"]["hospitals"]["north"]["sentence"] = (
        "north: The federated model does worse than boosted trees of the hospital's own rows (AUROC 0.850 against "
        "0.912, difference -0.062, 95 % interval -0.082 to -0.042)."
    )
    write_study(study, tmp_path)
    text = (tmp_path / "report.md").read_text()
    part = text.split("## What one would do instead")[1].split("\n## ")[0]
    assert "- **north.** The federated model does worse than boosted trees" in part
    assert "−0.082 to −0.042" in part
    assert "| boosting, alone |" in part
    assert "| boosting, alone |" not in text.replace(part, "")  # no other table has it
    write_study(sample(references=None, recalibration=None), tmp_path)
    assert "What one would do instead" not in (tmp_path / "report.md").read_text()
