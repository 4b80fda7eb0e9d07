"""Where a study's questions and figures meet: models alike in one of them only, rare classes, counts, infinite ones."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from test_study_figures import RULES, outcomes

from fedmed.data.examples import Task
from fedmed.engine.contributions import Contribution
from fedmed.statistics import ArmTest, Question, informative_patients, random_effects
from fedmed.study import attended, comparisons, estimates, judging, measures, overall, report, risks, sentences
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema import Comparison
from fedmed.system import plain

Change = Callable[[np.ndarray], np.ndarray]
ALL = measures.measures("binary", 0.9, "auroc")
AUROC = ALL[0]


def twins(change: Change, hospitals: tuple[int, ...] = (0, 1, 2)) -> Outcomes:
    """Returns outcomes whose federated models are the local ones, but for a change of predictions there."""
    found = outcomes()
    results = {}
    for key, result in found.results.items():
        base = found.results["local", key[1], "a"].predictions
        made = [change(p) if place in hospitals else result.predictions[place] for place, p in enumerate(base)]
        results[key] = result._replace(predictions=base if key[0] == "local" else made)
    return dataclasses.replace(found, results=results)


def compared(found: Outcomes, scored: tuple[Measure, ...]) -> Comparison:
    return comparisons.compare(found, "federated", "local", scored, RULES, primary=True)


def test_models_that_rank_alike_can_harm_in_calibration_and_the_sentence_says_that() -> None:
    found = twins(lambda p: p**3)
    told = compared(found, ALL)
    assert told.hospitals["a"].measures["auroc"].method == estimates.ALIKE
    answer = comparisons.answer(found, told, report.performances(found, ALL, RULES), ALL, RULES)
    assert answer.hospitals["a"].outcome == "harmed"
    said = answer.hospitals["a"].sentence
    assert said.startswith("a: harmed in calibration")
    assert "exactly alike" not in said
    assert "Observed / expected" in said


def test_a_hospital_where_models_do_exactly_alike_counts_in_the_mean_over_hospitals() -> None:
    found = twins(lambda p: p, hospitals=(0,))
    told = compared(found, (AUROC,))
    apart = told.hospitals["b"].measures["auroc"]
    assert told.hospitals["a"].measures["auroc"].method == estimates.ALIKE
    answer = overall.consortium(found, told, AUROC, RULES)
    assert answer is not None
    assert answer.hospitals == 2
    assert apart.estimate is not None
    assert apart.error is not None
    assert answer.mean.estimate == pytest.approx(apart.estimate / 2)
    expected = random_effects(np.array([0.0, apart.estimate]), np.array([apart.error, apart.error]))
    assert expected is not None
    assert answer.tau == pytest.approx(expected.tau)
    assert "the two models do exactly alike, 0 is counted" in answer.about


def test_open_questions_that_point_apart_are_told_each_its_way() -> None:
    found = outcomes()
    own = compared(found, ALL).hospitals["a"]
    sides: dict[Question, Literal["better", "worse"]] = {"ranking": "better", "calibration": "worse"}
    questions = {
        name: dataclasses.replace(own.questions[name], claim="open", p_value=0.03, p_adjusted=0.3, side=side)
        for name, side in sides.items()
    }
    words = sentences.Words(("x", "y"), {one.name: one for one in ALL}, 0.95, 0.02, "patients")
    said = sentences._remarks(dataclasses.replace(own, questions=questions, outcome="undecided", needed=None), words)
    assert said == [
        "By itself AUROC would be told better and observed / expected would be told worse; it is not once it is "
        "allowed for that several questions were asked at several hospitals."
    ]


@pytest.mark.parametrize(
    ("task", "labels", "metric", "informative"),
    [
        ("multiclass", [0] * 50 + [1] * 30 + [2] * 3, "auroc", 3),
        ("multiclass", [0] * 50 + [1] * 30 + [2] * 3, "accuracy", 33),
        ("multiclass", [0] * 50 + [1] * 30 + [2] * 3, None, 33),
        ("count", list(range(190, 210)), "deviance", 20),
        ("count", [0] * 30 + [1] * 4 + [7], "deviance", 5),
        ("binary", [0] * 30 + [1] * 4, "auroc", 4),
        ("regression", [1.0] * 12, "r2", 12),
    ],
)
def test_whose_number_says_how_much_is_known(
    task: Task, labels: list[float], metric: str | None, informative: int
) -> None:
    y = np.array(labels)
    assert informative_patients(task, [ArmTest(y, y, np.arange(len(y)))], metric) == informative


def test_predictions_that_are_not_finite_have_no_calibration_curve() -> None:
    found = twins(lambda p: np.where(p > np.median(p), np.inf, p))
    assert risks._curve(found, "federated", "a", RULES) is None
    assert risks._curve(found, "local", "a", RULES) is not None


def test_the_mean_over_hospitals_is_made_one_way_and_stays_within_its_scale() -> None:
    found = outcomes()
    rules = dataclasses.replace(RULES, minimum_events=2)
    mean = estimates.mean_performance(found, "federated", AUROC, rules)
    judge = judging.Judge(found, AUROC, rules, found.hospitals)
    other = judge.mean("federated")
    assert (mean.estimate, mean.low, mean.high) == pytest.approx((other.estimate, other.low, other.high))
    perfect = twins(lambda p: p)
    y = perfect.consortium.dataset.examples.y
    for seed in perfect.seeds:
        rows = [perfect.rows(seed, name) for name in perfect.hospitals]
        near = [np.where(np.arange(len(own)) < 3, 0.5, np.where(y[own] == 1, 0.99, 0.01)) for own in rows]
        key = ("federated", seed, None)
        perfect.results[key] = perfect.results[key]._replace(predictions=near)  # type: ignore[index]
    accuracy = measures.by_name(ALL, "accuracy")
    told = estimates.mean_performance(perfect, "federated", accuracy, rules)
    assert told.estimate is not None
    assert told.high is not None
    assert 0.9 < told.estimate < told.high <= 1.0


@pytest.mark.parametrize("few", [False, True])
def test_weights_are_not_told_where_a_hospitals_few_rows_would_follow(few: bool) -> None:
    found = outcomes(seeds=1)
    if few:
        found.consortium.patient[found.consortium.rows(0)["tiny"].train] = 1000 + np.arange(20) % 2
    own = Contribution(4, 1, 1, {"dropped out": 3}, 0, 0, 0, 0.2, 0.1)
    key = ("federated", 0, None)
    results = {**found.results, key: found.results[key]._replace(contributions={"a": plain.to_plain(own)})}
    told = attended.contributed(dataclasses.replace(found, results=results))["federated"]
    assert told["a"].planned_share == (None if few else 0.2)
    (said,) = attended.shortfalls(told, (0,))
    weight = "" if few else ", 100% of the training weight,"
    assert said == f"a{weight} was to contribute in 4 rounds and did in 1, last in round 1: dropped out (3 rounds)."
