"""The page of a study says why a figure is missing, and no more than one seed or two equal models can show."""

import pathlib

import page_sample
from test_page import read, study_page

from fedmed.reporting.page import verdict, write_study
from fedmed.reporting.page.view import View


def test_a_distance_that_is_withheld_says_why(tmp_path: pathlib.Path) -> None:
    study, why = page_sample.study(), "withheld: a hospital's small count would follow"
    for own in study["shift"]["label"].values():
        own |= {"distance": None, "reason": why}
    for own in study["shift"]["features"]["hospitals"].values():
        own["reason"] = ["", why]
    write_study(study, tmp_path)
    part = (tmp_path / "report.md").read_text().split("## How different")[1].split("\n## ")[0]
    assert part.count("a hospital's small count would follow") == 2
    assert next(line for line in part.splitlines() if line.startswith("| sex |")).count("withheld") == 3


def test_models_that_do_exactly_alike_are_no_finding(tmp_path: pathlib.Path) -> None:
    study = page_sample.study()
    nothing = {"estimate": 0.0, "low": None, "high": None, "method": "no interval", "reason": "", "p_value": 1.0}
    study["answer"]["hospitals"]["south"] |= {"difference": nothing, "detectable": None}
    study["seed_sensitivity"]["hospitals"]["south"] = {
        "by_seed": [0.0] * 3, "sd": 0.0, "least": 0.0, "greatest": 0.0, "signs_agree": False
    }  # fmt: skip
    found = verdict.findings(View(study))[1]
    assert "score on these test patients exactly alike, so nothing can be said of others" in found.plain
    assert "interval" not in found.plain + found.numbers
    write_study(study, tmp_path)
    seeds = (tmp_path / "report.md").read_text().split("## Does the answer depend on the seed")[1]
    assert "no difference" in next(line for line in seeds.splitlines() if line.startswith("| south |"))


def test_one_seed_is_told_as_one_and_as_too_few(tmp_path: pathlib.Path) -> None:
    reader = study_page(tmp_path, seeds=[0], seed_sensitivity=None)
    text = " ".join(" ".join(reader.text).split())
    assert "one seed cannot show how much the answer depends on the split" in text
    assert "1 seeds" not in text
    assert "least to greatest over seeds" not in text


def test_the_checklist_of_an_own_table_says_which_columns_are_not_used(tmp_path: pathlib.Path) -> None:
    study = page_sample.study()
    assert "none was selected" in " ".join(study_page(tmp_path).text)
    study["data"]["roles"] = ["label", "site", "ignore"]
    write_study(study, tmp_path)
    text = " ".join(read(tmp_path).text)
    assert "1 column of the table; those that “label”, “site” and “ignore” name are not among them." in text
    assert "fedmed data CONFIG" in text
    assert "datasheet" not in text
