"""The page on the files of results says what their types say, every field of them, and types say what files hold."""

import dataclasses
import json
import pathlib
import re

import page_sample
import pytest

import fedmed
from fedmed.reporting import reference
from fedmed.runs import experiment
from fedmed.runs.summary import RoundRecord, Summary
from fedmed.settings import config
from fedmed.study.schema import Findings, page
from fedmed.system import plain

PAGE = pathlib.Path(fedmed.__file__).parent.parent / "docs" / "results.md"


def test_the_page_is_that_of_the_types() -> None:
    assert PAGE.read_text() == page.text(), "python -m fedmed.study.schema.page docs/results.md writes it anew"


def test_links_lead_to_headings_and_no_two_headings_are_alike() -> None:
    text = page.text()
    headings = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    assert len(set(headings)) == len(headings)
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= {heading.lower() for heading in headings}


@dataclasses.dataclass(frozen=True)
class Half:
    """Half described.

    Attributes:
        one: of two.
    """

    one: int
    two: int


def test_a_field_without_a_word_on_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="Half: its docstring tells of one; its fields are one, two"):
        reference.described(Half)


def test_a_run_leaves_what_the_page_says(tmp_path: pathlib.Path) -> None:
    settings = config.parse(
        {
            "name": "tiny",
            "rounds": 2,
            "data": {"name": "diabetes_ehr", "args": {"patients": 0.1}},
            "model": {"name": "logistic_regression"},
            "client": {"learning_rate": 0.2},
            "evaluation": {"every": 2},
            "runtime": {"name": "local"},
        }
    )
    told = experiment.run(settings, tmp_path / "run")
    lines = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()
    assert plain.to_plain(plain.from_plain(Summary, told)) == told
    for tree in map(json.loads, lines):
        assert plain.to_plain(plain.from_plain(RoundRecord, tree)) == tree
    assert [json.loads(line)["test"] is None for line in lines] == [False, True, False]


def test_the_pages_are_tested_on_what_the_types_allow() -> None:
    plain.from_plain(Findings, page_sample.study())
    summary, records = page_sample.run()
    plain.from_plain(Summary, summary)
    for record in records:
        plain.from_plain(RoundRecord, record)
