"""Simulated studies: what is judged is what a study tells, and what is counted is worked by hand."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest

from experiments import coverage
from experiments.simulated import populations, tables
from experiments.simulated.hospitals import Cell, WithFresh
from experiments.simulated.judged import AUROC, BENEFIT, RATIOS, HospitalJudged, StudyJudged, Told, judged
from experiments.simulated.tallies import Share, by_cell
from experiments.simulated.training import trained
from experiments.simulated.worse import AT_MARGIN, with_worse
from fedmed.settings import config
from fedmed.statistics import auroc
from fedmed.study.outcomes import Outcomes
from fedmed.system import plain

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "diabetes_three_hospitals.toml")
CELL = Cell(1.0, 3)


class Study(NamedTuple):
    settings: config.RunConfig
    hospitals: WithFresh
    outcomes: Outcomes


@pytest.fixture(scope="module")
def study() -> Study:
    settings = coverage.settings_of(CONFIG, CELL, 0)
    hospitals = WithFresh(settings, 3000)
    return Study(settings, hospitals, trained(hospitals, settings, "regression"))


def test_no_two_studies_share_a_patient_and_fresh_ones_are_never_trained_on(study: Study) -> None:
    other = WithFresh(coverage.settings_of(CONFIG, CELL, 1), 10)
    rows = [part.dataset.examples.x for part in (study.hospitals, other)]
    rows += [study.hospitals.fresh[name].x for name in study.hospitals.hospitals]
    told = [tuple(row) for part in rows for row in np.nan_to_num(np.asarray(part)).tolist()]
    assert len(set(told)) == len(told)


def test_a_model_is_made_worse_by_the_margin(study: Study) -> None:
    worse = with_worse(study.outcomes, study.hospitals, 0.02)
    for name in study.hospitals.hospitals:
        before, after = (worse.test(arm, study.settings.seed, name) for arm in ("federated", AT_MARGIN))
        assert not np.array_equal(before.p, after.p)
    # On as many rows as tell it, the noise takes what it should: all tested rows, all seeds.
    losses = [
        auroc(worse.test("federated", seed, name).y, worse.test("federated", seed, name).p)
        - auroc(worse.test(AT_MARGIN, seed, name).y, worse.test(AT_MARGIN, seed, name).p)
        for seed in worse.seeds
        for name in worse.hospitals
    ]
    assert np.mean(losses) == pytest.approx(0.02, abs=0.015)


def test_a_study_tells_every_figure_beside_its_truth(study: Study) -> None:
    found = judged(CELL, 0, study.outcomes, study.settings)
    assert plain.from_plain(StudyJudged, json.loads(json.dumps(plain.to_plain(found)))) == found
    for name, own in found.hospitals.items():
        assert set(own.told) == {AUROC, BENEFIT, *RATIOS.values()}, name
        assert all(told.low <= told.estimate <= told.high for told in own.told.values())
        assert 0.3 < own.told[RATIOS["federated"]].truth < 3
    assert found.mean is not None
    assert found.mean.truth == pytest.approx(np.mean([own.told[AUROC].truth for own in found.hospitals.values()]))
    assert set(found.null) == set(RATIOS)


def one(number: int, truth: float, outcome: str, claims: Mapping[str, str] | None = None) -> StudyJudged:
    told = {figure: Told(1.0, 1.0, 0.5, 2.0) for figure in RATIOS.values()}
    told |= {AUROC: Told(truth, 0.5, 0.0, 1.0), BENEFIT: Told(0.01, 0.0, -0.1, 0.1)}
    null = {"federated": "undecided", "local": "gains"}
    hospital = HospitalJudged(told, outcome, claims or {}, "", False, null, "no worse" if number else "undecided")
    mean = Told(truth, 0.5, 0.0, 1.0)
    return StudyJudged("x", number, {"a": hospital}, mean, (0.0, 0.6), {"local": Told(0.0, 0.1, 0.05, 0.2)})


def test_counts_are_worked_by_hand() -> None:
    studies = [one(0, 0.5, "gains", {"ranking": "better"}), one(1, 0.9, "undecided"), one(2, 1.3, "harmed", {"ranking": "worse"})]  # noqa: E501 # fmt: skip
    found = by_cell(studies)["all"]
    assert found.coverage[AUROC].own == Share(2, 3)
    assert found.coverage[AUROC].expected == Share(3, 3)  # the mean truth is 0.9
    assert found.predicted == Share(0, 3)
    claims = found.claims
    assert (claims.null, claims.null_mean) == (Share(3, 6), Share(3, 3))
    assert (claims.at_margin, claims.at_margin_studies) == (Share(2, 3), Share(2, 3))
    assert claims.wrong == Share(1, 2)
    assert (claims.gains, claims.gains_before, claims.gains_with_consortium) == (Share(1, 3), Share(0, 3), Share(1, 3))
    assert dict(claims.outcomes) == {"gains": 1, "harmed": 1, "undecided": 1}
    assert any("66.7 % (2/3)" in line for line in tables.markdown("x", {"x": found, "all": found}))


def test_where_hospitals_are_drawn_anew_the_mean_is_over_all_of_them() -> None:
    studies = [dataclasses.replace(one(n, truth, "undecided"), anew=True) for n, truth in enumerate((0.5, 0.9, 1.3))]
    found = populations.by_cell(studies)["x"]
    assert (found.mean.expected, found.mean.own) == (Share(3, 3), Share(2, 3))  # 0.9 lies in 0 to 1, and 1.3 does not
    assert found.predicted == Share(2, 6)  # 0 to 0.6 of each holds 0.5, which is not its own in two of three
    assert found.null == Share(3, 3)
    assert any("33.3 % (2/6)" in line for line in tables.of_populations("x", {"x": found}))


def test_hospitals_of_one_study_are_not_anothers() -> None:
    cell = Cell(1.0, 3, anew=True)
    names, sizes = [], []
    for number in range(2):
        hospitals = WithFresh(coverage.settings_of(CONFIG, cell, number), 10)
        names.append(hospitals.hospitals)
        sizes += [int(np.sum(hospitals.dataset.examples.site == name)) for name in hospitals.hospitals]
    assert names[0] == names[1]
    assert "urban_teaching" not in names[0]
    assert len(set(sizes)) == 6
