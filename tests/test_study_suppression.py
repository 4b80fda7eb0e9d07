"""Nothing that is shown depends on a count that is withheld, so none can be worked out from it."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from test_study_figures import HOSPITALS, REPRODUCE, RULES, outcomes

from fedmed.data.examples import Feature, Task
from fedmed.settings.study import Study
from fedmed.study import (
    comparisons,
    design,
    distances,
    estimates,
    grow,
    measures,
    price,
    report,
    risks,
    subgroups,
    suppression,
    table_one,
    views,
)
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema import Cell
from fedmed.system import plain

AUROC = measures.measures("binary", 0.9, "auroc")[0]
TINY = slice(-40, None)


def changed(y: Any = None, column: tuple[Feature, Any] | None = None, seeds: int = 3) -> Outcomes:
    """Returns outcomes whose last hospital has these labels or, as last column, these values."""
    found = outcomes(seeds=seeds)
    dataset = found.consortium.dataset
    labels, x, features = dataset.examples.y.copy(), np.array(dataset.examples.x), list(dataset.features)
    if y is not None:
        labels[TINY] = y
    if column is not None:
        features[2], x[TINY, 2] = column
        x[:600, 2] = np.resize([0.0, 1.0], 600)
    examples = dataclasses.replace(dataset.examples, x=x, y=labels)
    found.consortium.dataset = dataclasses.replace(dataset, examples=examples, features=tuple(features))
    return found


def events(count: int, seeds: int = 3) -> Outcomes:
    return changed(np.arange(40) < count, seeds=seeds)


def told(found: Outcomes) -> str:
    """Returns whatever is shown that counts patients by outcome or value, as text."""
    settings = dataclasses.replace(found.arms[0].settings, study=Study(draws=100, thresholds=(0.1, 0.3)))
    everything = plain.to_plain(report.findings(settings, found, "auroc", reproduce=REPRODUCE))
    kept = ("data", "hospitals", "table1", "shift", "calibration", "decision", "curves")
    counts = [[{k: g[k] for k in ("name", "patients", "events")} for g in c["groups"]] for c in everything["subgroups"]]
    tiny = {arm: own["hospitals"]["tiny"] for arm, own in everything["performance"].items()}
    return json.dumps([{key: everything[key] for key in kept}, counts, tiny, everything["transfer"]])


@pytest.mark.parametrize("seeds", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_what_is_shown_is_the_same_whatever_the_small_count(seeds: int) -> None:
    assert told(events(2, seeds)) == told(events(3, seeds)) == told(events(4, seeds))
    assert told(events(36, seeds)) == told(events(38, seeds))  # few without the event
    assert told(events(12, seeds)) != told(events(14, seeds))


def of_patients(count: int) -> Outcomes:
    """Returns outcomes whose last hospital's 40 rows are of so many patients."""
    found = outcomes(seeds=2)
    found.consortium.patient[TINY] = 600 + np.arange(40) % count
    return found


def test_what_is_shown_is_the_same_whatever_the_small_number_of_patients() -> None:
    two, three, four, five, six = (told(of_patients(count)) for count in range(2, 7))
    assert two == three == four
    assert four != five != six


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_hospital_of_few_patients_has_no_count(task: Task) -> None:
    found = outcomes(task)
    found.consortium.patient[TINY] = 600 + np.arange(40) % 3
    own = {hospital.id: vars(hospital) for hospital in report.hospitals(found, "auroc", 10)}
    sizes = ("rows", "patients", "train_rows", "test_rows", "tested_patients", "events", "event_rate", "informative")
    assert [own["tiny"][size] for size in sizes] == [None] * len(sizes)
    assert [own["a"][size] for size in sizes[:4]] == [400, 400, 200, 200]
    data = design.data(found.arms[0].settings, found.consortium)
    assert data.rows is data.patients is None, "the others' counts would be all that is missing"
    assert suppression.small_hospitals(found) == ("tiny",)
    for row in table_one.table_one(found.consortium).rows:
        assert row.cells["tiny"] == Cell("hidden", 0.0 if row.name == "rows" else None)
        assert row.all.text == "hidden" or row.statistic in ("mean (SD)", "median [IQR]")
        assert row.all.missing is None or row.name == "rows"
    told_ = distances.shift(found.consortium, 0.95)
    assert told_.features is not None
    assert told_.features.hospitals["tiny"].difference == (None,) * 3
    assert told_.label["tiny"].mean is told_.label["tiny"].shares is None


def test_rows_are_hidden_where_few_patients_are_tested() -> None:
    found = outcomes(seeds=1)
    tested = found.consortium.rows(0)["tiny"].test
    found.consortium.patient[tested] = 1000 + np.arange(20) % 4
    own = report.hospitals(found, "auroc", 10)[2]
    assert (own.rows, own.patients) == (40, 24)
    assert own.train_rows is own.test_rows is own.tested_patients is None
    data = design.data(found.arms[0].settings, found.consortium)
    assert (data.rows, data.patients) == (640, 624)
    point = grow.Point("1 hospital", "hospitals", 1, 1.0)
    assert grow._train_rows(found, "a", point) is None
    assert grow._train_rows(outcomes(seeds=1), "a", point) == 200
    arms = report.performances(found, [AUROC], RULES)
    cost = price.communication(found, Study(), AUROC, arms)
    assert cost is not None
    assert cost.pooled_data_bytes is None
    assert cost.bytes_all > 0


LEVELS = Feature("ward", levels=("x", "y", "z"))
FLAG, SEX = Feature("flag"), Feature("Sex code")


@pytest.mark.parametrize(
    ("feature", "values", "few", "more"),
    [
        (LEVELS, (0, 1, 2), (25, 13, 2), (25, 12, 3)),
        (LEVELS, (0, 1, np.nan), (25, 13, 2), (25, 12, 3)),
        (FLAG, (0, 1), (38, 2), (37, 3)),
        (FLAG, (0, 1, np.nan), (20, 18, 2), (20, 17, 3)),
    ],
)
def test_a_small_count_of_a_level_does_not_follow_from_tables_by_level(
    feature: Feature, values: Sequence[float], few: Sequence[int], more: Sequence[int]
) -> None:
    consortia = [changed(column=(feature, np.repeat(values, counts))).consortium for counts in (few, more)]
    assert table_one.table_one(consortia[0]) == table_one.table_one(consortia[1])
    assert distances.shift(consortia[0], 0.95) == distances.shift(consortia[1], 0.95)
    shift = distances.shift(consortia[0], 0.95).features
    assert shift is not None
    for name in HOSPITALS:
        assert shift.hospitals[name].difference[2] is None
        assert shift.hospitals[name].reason[2] == suppression.WITHHELD
        assert shift.hospitals[name].difference[0] is not None


@pytest.mark.parametrize("stage", [Feature("stage", levels=("i", "Erdheim", "ii", "Castleman")), Feature("stage")])
def test_a_level_that_few_patients_of_all_hospitals_hold_is_not_named(stage: Feature) -> None:
    found = outcomes(seeds=2)
    dataset = found.consortium.dataset
    x, features = np.array(dataset.examples.x), (*dataset.features[:2], stage)
    x[:, 2] = np.arange(len(x)) % 2 * 2  # codes 0 and 2
    x[[0, 1, 500], 2], x[[2, 620, 630, 639], 2] = 1, 3
    examples = dataclasses.replace(dataset.examples, x=x)
    found.consortium.dataset = dataclasses.replace(dataset, examples=examples, features=features)
    settings = dataclasses.replace(found.arms[0].settings, study=Study(draws=100, subgroups=("stage",)))
    everything = report.findings(settings, found, "auroc", reproduce=REPRODUCE)
    told_ = json.dumps(plain.to_plain(everything), ensure_ascii=False)
    assert "Erdheim" not in told_
    assert "Castleman" not in told_
    first, second = stage.levels[::2] or ("0", "2")
    assert [g.name for g in everything.subgroups[0].groups] == [
        f"stage = {name}" for name in (first, second, "other, rare")
    ]
    rows = {row.level: row for row in everything.table1.rows if row.name == "stage"}
    if stage.is_category:
        assert everything.data.features[2].levels == (first, second, "other, rare")
        assert list(rows) == [first, second, "other, rare"]
        assert {cell.text for cell in rows["other, rare"].cells.values()} == {"< 5"}
        assert "other, rare" in everything.table1.note
    else:
        assert "other, rare" not in everything.table1.note


def test_levels_are_folded_by_hand() -> None:
    consortium = outcomes().consortium
    codes = np.resize([0.0, 2.0], 640)
    codes[[5, 7]], codes[[6, 8, 9]], codes[10] = 1, 3, np.nan
    feature, folded = suppression.without_rare(consortium, Feature("c", levels=("p", "q", "r", "s", "t")), codes)
    assert feature.levels == ("p", "r", "t", "other, rare")
    assert folded[:11].tolist()[:10] == [0, 1, 0, 1, 0, 3, 3, 3, 3, 3]
    assert np.isnan(folded[10])
    few = np.where(np.arange(640) < 3, 1.0, 0.0)
    assert suppression.without_rare(consortium, Feature("flag", levels=("0", "1")), few)[0].levels == ("0", "1")
    assert suppression.without_rare(consortium, Feature("code", levels=("1", "7")), few)[0].levels[1] == "other, rare"


def test_a_column_without_a_value_has_one_subgroup() -> None:
    values = np.full(3, np.nan)
    feature, codes = subgroups.levelled(Feature("sex"), values, {})
    group, names = subgroups.labels(feature, codes, {})
    assert names == ["sex missing"]
    assert set(group) == {"sex missing"}


def test_a_number_of_two_values_is_counted_as_levels() -> None:
    codes = suppression.coded(SEX, np.array([1.0, 2.0, np.nan, 2.0]))
    assert codes is not None
    np.testing.assert_array_equal(codes[0], [0, 1, np.nan, 1])
    assert codes[1] == ("1", "2")
    assert suppression.coded(FLAG, np.array([1.0, 2.0, 3.0])) is None


def test_the_pooled_curve_is_that_of_the_hospitals_that_are_shown() -> None:
    found, at = events(3), 0.2
    told_ = risks.decision(found, [at], [("federated", "local")], RULES)
    y = found.consortium.dataset.examples.y
    shares = [y[found.rows(seed, ("a", "b"))].mean() for seed in found.seeds]
    assert told_.treat_all.all is not None
    assert told_.treat_all.all[0] == pytest.approx(np.mean(shares) - (1 - np.mean(shares)) * at / (1 - at))
    assert "without tiny" in told_.about
    assert "without tiny" in risks.calibration(found, RULES).about
    assert "without tiny" not in risks.calibration(events(15), RULES).about


def test_a_category_of_many_levels_has_one_row_with_what_is_missing() -> None:
    many = Feature("code", levels=tuple(map(str, range(30))))
    consortium = changed(column=(many, np.append(np.arange(30), np.full(10, np.nan)))).consortium
    row = next(row for row in table_one.table_one(consortium).rows if row.name == "code")
    assert row.level == "30 levels, not listed"
    assert row.cells["tiny"] == Cell("-", 25.0)


@pytest.mark.parametrize("name", ["Age (years)", "age_years", "SEX", "Patient sex", "sex=male", "Gender"])
def test_columns_of_sex_and_age_are_found_by_their_words(name: str) -> None:
    dataset = outcomes().consortium.dataset
    named = dataclasses.replace(dataset, features=(Feature(name), Feature("stage"), Feature("average")))
    assert subgroups.columns(named, Study()) == [name]
    if "age" in name.lower():
        assert subgroups.labels(Feature(name), np.arange(20.0, 90.0), {})[1][0] == f"{name} under 45"


def test_two_models_that_are_the_same_get_no_interval_and_no_claim() -> None:
    found = outcomes()
    twins = {key: found.results["federated", key[1], None] for key in found.results}
    alike = dataclasses.replace(found, results=twins)
    compared = report.compare_all(alike, [AUROC], RULES)
    own = compared[0].hospitals["a"].measures["auroc"]
    assert (own.estimate, own.low, own.high, own.method) == (0.0, None, None, estimates.ALIKE)
    arms = report.performances(alike, [AUROC], RULES)
    answer = comparisons.answer(alike, compared[0], arms, [AUROC], RULES)
    assert "score on these test patients exactly alike" in answer.hospitals["a"].sentence
    assert "interval" not in answer.hospitals["a"].sentence
    assert "2 are undecided" in answer.summary
    seeds = views.seed_sensitivity(answer, alike.seeds)
    assert seeds is not None
    assert seeds.hospitals["a"].least == seeds.hospitals["a"].greatest == 0
