"""An amount is learned at mean 0 and SD 1, so that a learning rate is the same in any unit; results are in units."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny

from fedmed.data import label_scale
from fedmed.data.examples import Examples
from fedmed.data.label_scale import LabelScale
from fedmed.models import saving
from fedmed.runs import experiment
from fedmed.settings import config
from fedmed.system import errors

SIZES = (24, 20, 16)
X = np.random.default_rng(3).normal(size=(sum(SIZES), 3)).astype(np.float32)
DOLLARS = (900.0 + 250.0 * (X[:, 0] - X[:, 1] ** 2)).astype(np.float32)
SITE = np.repeat(list("abc"), SIZES)


def regression(
    path: pathlib.Path, y: np.ndarray, model: str = "tiny_models:hidden", **changes: Any
) -> config.RunConfig:
    np.savez(path, x=X, y=y, site=SITE)
    data = {"args": {"path": str(path), "task": "regression"}, **changes.pop("data", {})}
    return tiny.settings(model, data=data, rounds=3, **changes)


def parts(y: np.ndarray = DOLLARS) -> dict[str, Examples]:
    return {name: Examples(X[name == SITE], y[name == SITE]) for name in "abc"}


def test_the_scale_of_several_hospitals_is_that_of_their_rows_together() -> None:
    found = label_scale.fit(parts())
    assert (found.mean, found.scale) == pytest.approx((DOLLARS.mean(dtype=np.float64), DOLLARS.std(dtype=np.float64)))
    standardised = found.standardised(Examples(X, DOLLARS))
    assert (standardised.y.mean(), standardised.y.std()) == pytest.approx((0.0, 1.0), abs=1e-6)
    np.testing.assert_allclose(found.in_units(standardised.y), DOLLARS, rtol=1e-6)


def test_labels_that_are_all_alike_are_only_centred() -> None:
    assert label_scale.fit(parts(np.full(len(X), 7.0, np.float32))) == LabelScale(7.0, 1.0)


def test_dollars_and_cents_give_the_same_model(tmp_path: pathlib.Path) -> None:
    found = {}
    for unit, factor in (("dollars", 1), ("cents", 100)):
        settings = regression(tmp_path / f"{unit}.npz", factor * DOLLARS)
        summary = experiment.run(settings, tmp_path / unit)
        model = tf.keras.models.load_model(tmp_path / unit / "model.keras", compile=False)
        records = [json.loads(line) for line in (tmp_path / unit / "rounds.jsonl").read_text().splitlines()]
        found[unit] = summary["final"]["pooled"], np.asarray(model(X))[:, 0], records[-1]["train"]["loss"]
    (scores, p, loss), (scores_cents, p_cents, loss_cents) = found["dollars"], found["cents"]
    np.testing.assert_allclose(p_cents, 100 * p, rtol=2e-5)
    assert scores_cents["rmse"] == pytest.approx(100 * scores["rmse"], rel=1e-4)
    assert scores_cents["r2"] == pytest.approx(scores["r2"], abs=1e-4)
    assert loss_cents == pytest.approx(1e4 * loss, rel=1e-4)
    assert 500 < p.mean() < 1200
    assert 0.2 * scores["loss"] < loss < 5 * scores["loss"]  # in dollars squared as well


def test_the_saved_model_predicts_what_was_scored(tmp_path: pathlib.Path) -> None:
    held = tiny.clients_of(parts(), "regression", 0)
    federation = tiny.federation(tiny.settings(), held)
    position = federation.round(federation.start()).position
    weights = federation.weights(position)
    assert federation.save_model(tmp_path / "model.keras", weights) == "model.keras"
    model = tf.keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(np.asarray(model(X))[:, 0], federation.predict(weights, X), rtol=1e-5)
    federation.close()


def test_a_run_records_the_scale_and_does_not_go_on_with_another(tmp_path: pathlib.Path) -> None:
    settings = regression(tmp_path / "own.npz", DOLLARS)
    experiment.run(settings, tmp_path / "run")
    told = json.loads((tmp_path / "run" / "preprocessing.json").read_text())
    assert told["label"]["mean"] == pytest.approx(DOLLARS.mean(), rel=0.1)
    plain = regression(tmp_path / "own.npz", DOLLARS, data={"standardise_label": False})
    with pytest.raises(errors.UserError, match=r"data\.standardise_label was True and is now False"):
        experiment.run(plain, tmp_path / "run", resume=True)
    experiment.run(plain, tmp_path / "plain")
    assert not (tmp_path / "plain" / "preprocessing.json").exists()


@pytest.mark.parametrize(
    ("last", "standardised"), [(None, True), ("linear", True), ("softplus", False), ("sigmoid", False)]
)
def test_a_model_that_gives_one_sign_only_learns_labels_as_they_are(last: str | None, standardised: bool) -> None:
    held = tiny.clients_of(parts(), "regression", 0)
    changes = tiny.settings("tiny_models:ending_in", model={"args": {"activation": last or "linear"}})
    federation = tiny.federation(changes, held)
    assert federation.label.is_plain != standardised
    federation.close()


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("count", 0)])
def test_counts_and_classes_are_learned_as_they_are(task: Any, classes: int) -> None:
    y = (DOLLARS > 900).astype(np.int64 if classes else np.float32)
    held = tiny.clients_of(parts(y), task, classes)
    federation = tiny.federation(tiny.settings(), held)
    assert federation.label == LabelScale()
    federation.close()


def test_a_model_of_several_inputs_and_one_of_a_class_of_its_own_are_saved_in_units(tmp_path: pathlib.Path) -> None:
    import tiny_models

    from fedmed.models import Spec

    label = LabelScale(10.0, 2.0)
    x = {"image": np.ones((2, 8, 8, 1), np.float32), "table": np.ones((2, 3), np.float32)}
    model = tiny_models.two_inputs(Spec({"image": (8, 8, 1), "table": (3,)}, "regression"))
    assert saving.save(model, label, tmp_path / "two.keras") == "two.keras"
    again = tf.keras.models.load_model(tmp_path / "two.keras", compile=False)
    np.testing.assert_allclose(np.asarray(again(x)), 10.0 + 2.0 * np.asarray(model(x)), rtol=1e-5)
    own = tiny_models.Subclassed(1)
    np.testing.assert_allclose(np.asarray(saving.in_units(own, label)(X)), 10.0 + 2.0 * np.asarray(own(X)), rtol=1e-5)
