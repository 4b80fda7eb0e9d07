"""The page of a study says why a figure is missing, and no more than one seed or two equal models can show."""

import pathlib
import re

import page_sample
from test_page import read, study_page

from fedmed.reporting.page import instead, verdict, write_study
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


def open_words(folder: pathlib.Path) -> int:
    """Returns how many words a reader meets with all folds closed, drawings left out."""
    html = (folder / "report.html").read_text().split("</style>")[1]
    html = re.sub(r"(?s)<svg.*?</svg>", "", html)
    while "<details" in html:  # innermost first
        html = re.sub(r"(?s)<details(?:(?!<details).)*?</details>", "", html)
    return len(re.sub("<[^>]*>", " ", html).split())


def test_a_page_is_short_until_it_is_opened(tmp_path: pathlib.Path) -> None:
    study_page(tmp_path)
    assert open_words(tmp_path) < 3000


def test_of_many_hospitals_some_are_shown_one_by_one(tmp_path: pathlib.Path) -> None:
    study = page_sample.study([f"hospital {k}" for k in range(54)])
    for k, own in enumerate(study["hospitals"]):
        own["patients"] = 1000 + k
    view = View(study)
    assert {"hospital 0", "hospital 52", "hospital 2", "hospital 5"} < set(view.apart)  # 53 is not judged
    assert len(view.apart) == 6
    write_study(study, tmp_path)
    assert open_words(tmp_path) < 5000
    drawn = re.findall(
        r'<svg class="plot" role="img" aria-label="Calibration[^"]*, ([^",]*)"', (tmp_path / "report.html").read_text()
    )
    assert drawn == [*view.apart, "all hospitals"]
    assert verdict.miscalibrated(view) == ""
    study["performance"]["federated"]["hospitals"]["hospital 7"]["ratio"] = page_sample.figure(1.23)
    assert verdict.miscalibrated(View(study)).endswith("recalibrated before use at hospital 7.")
    few = View(page_sample.study())
    assert (few.apart, few.apart_told) == (("north", "south", "east"), "")


def test_a_model_whose_own_risks_are_off_is_to_be_recalibrated() -> None:
    study = page_sample.study(("north", "south", "east", "few"))
    study["measures"].append({"name": "ratio", "label": "observed / expected", "better": "target", "target": 1.0})
    south = study["performance"]["federated"]["hospitals"]["south"]
    study["answer"]["hospitals"]["south"]["questions"]["calibration"]["measure"] = "ratio"
    study["performance"]["local"]["hospitals"]["south"]["ratio"] = page_sample.figure(1.0)
    for value, is_off in ((1.23, True), (0.7, True), (1.02, False)):
        south["ratio"] = page_sample.figure(value)
        told = verdict.findings(View(study))[1].plain
        assert (f"have to be recalibrated: {value:.2f} events came for each that it expected" in told) is is_off


def test_two_seeds_give_no_interval_on_the_first_screen(tmp_path: pathlib.Path) -> None:
    study = page_sample.study(seeds=[0, 1])
    wide = {**page_sample.difference(0.05), "low": -1.65, "high": 2.06}
    study["comparisons"][0]["hospitals"]["south"]["measures"] |= {"auroc": wide, "net_benefit": wide}
    study["answer"]["consortium"]["mean"] |= {"low": -1.65, "high": 2.06}
    write_study(study, tmp_path)
    first = (tmp_path / "report.md").read_text().split("\n## ")[0]
    assert first.count("no interval: it takes at least 3 seeds") == 3
    assert "2.06" not in first
    study["seeds"] = [0, 1, 2]
    write_study(study, tmp_path)
    assert "2.06" in (tmp_path / "report.md").read_text().split("\n## ")[0]


def test_the_first_screen_says_where_doing_without_is_better(tmp_path: pathlib.Path) -> None:
    study = page_sample.study()
    for name, outcome in (("north", "no evidence"), ("south", "reference better"), ("east", "no figure")):
        study["references"]["hospitals"][name]["alone"]["outcome"] = outcome
        study["references"]["hospitals"][name]["pooled"]["outcome"] = "federated better"
    told = instead.headline(View(study))
    assert told == (
        "By AUROC the federated model does worse than a tuned tree or regression of the hospital's own rows at south "
        "(each by its own interval)."
    )
    study["references"]["hospitals"]["south"]["alone"]["outcome"] = "no evidence"
    assert "nowhere shown to do worse" in instead.headline(View(study))


def test_the_checklist_says_which_hospitals_have_too_few_rows(tmp_path: pathlib.Path) -> None:
    text = " ".join(" ".join(study_page(tmp_path).text).split())
    assert "1 of 2 hospitals told reach it; too few at north (300 of 420)" in text
    assert "420 needed" in text
