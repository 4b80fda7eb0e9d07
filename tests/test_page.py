"""The page: one file that asks nothing of a network, escapes what users named, hides what must not be shown."""

import html.parser
import json
import pathlib
import re
from collections import Counter
from typing import Any

import page_sample
import pytest

from fedmed.reporting.page import verdict, words, write_run, write_study
from fedmed.reporting.page.render import plain
from fedmed.reporting.page.view import View

NASTY = ("<script>alert(1)</script>", 'a "quoted" & $odd$ | `name` *here*', "few & far")
VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}
NUMBER = re.compile(r"[+−]?\d+(?:[.,]\d+)*")


class Reader(html.parser.HTMLParser):
    """Collects text, tags, attributes and ids; fails where tags do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"svg", "style", "title", "nav", "script"} & set(self.open):
            self.text.append(data)


def read(path: pathlib.Path) -> Reader:
    reader = Reader()
    reader.feed((path / "report.html").read_text())
    reader.close()
    assert reader.open == []
    return reader


def study_page(folder: pathlib.Path, **given: Any) -> Reader:
    write_study(page_sample.study(**given), folder)
    return read(folder)


def run_page(folder: pathlib.Path, names: tuple[str, ...] = ("north", "south", "east")) -> Reader:
    (folder / "config.toml").write_text('name = "sample"\n')
    write_run(*page_sample.run(names), folder)
    return read(folder)


@pytest.fixture(scope="module", params=["study", "run"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Reader]:
    """A page full of names that are no HTML, and where it lies."""
    folder = tmp_path_factory.mktemp("nasty")
    return folder, study_page(folder, names=NASTY) if request.param == "study" else run_page(folder, NASTY)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Reader]:
    """The page of the sample study as it is, and where it lies."""
    folder = tmp_path_factory.mktemp("sample")
    return folder, study_page(folder)


def test_nothing_is_asked_of_a_network(page: tuple[pathlib.Path, Reader]) -> None:
    text = (page[0] / "report.html").read_text()
    for tag, name, value in page[1].attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster") or name.endswith(":href"):
            assert value.startswith(("#", "data:image/png;base64,")), f"<{tag} {name}={value}>"
        assert "url(" not in value.replace("url(#", ""), value
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert not {"script", "link", "iframe", "img", "object"} & set(page[1].tags)


def test_names_from_users_files_are_text_in_both_files(page: tuple[pathlib.Path, Reader]) -> None:
    assert "<script>alert(1)</script>" in "".join(page[1].text)
    markdown = (page[0] / "report.md").read_text()
    assert "<script" not in markdown
    assert r"\| \`name\` \*here\*" in markdown


def test_a_name_cannot_move_the_cursor_or_turn_the_direction(tmp_path: pathlib.Path) -> None:
    run_page(tmp_path, ("no\x1b[2Jrth", "so\u202euth", "east"))
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "no?[2Jrth" in text.replace("\\", "")
        assert not {"\x1b", "\u202e"} & set(text)


def test_every_link_and_id_in_the_page_is_sound(page: tuple[pathlib.Path, Reader]) -> None:
    ids = [value for _, name, value in page[1].attributes if name == "id"]
    assert [name for name, times in Counter(ids).items() if times > 1] == []
    targets = {
        value[1:] for _, name, value in page[1].attributes if name in ("href", "aria-labelledby") and value[0] == "#"
    }
    assert targets <= set(ids)


def test_drawings_are_described_and_take_the_pages_colours(page: tuple[pathlib.Path, Reader]) -> None:
    text = (page[0] / "report.html").read_text()
    drawings = re.findall(r'(?s)<svg class="plot"(.*?)>(.*?)</svg>', text)
    assert drawings
    for head, body in drawings:
        assert re.search(r'role="img" aria-label="[^"]{20,}"', head)
        assert not re.search(r"#[0-9a-f]{6}", body)
        assert "font-family" not in body


def test_html_and_markdown_carry_the_same_numbers(sample: tuple[pathlib.Path, Reader], tmp_path: pathlib.Path) -> None:
    """Every number as often in one as in the other: both are written from the same blocks."""
    for folder, reader in (sample, (tmp_path, run_page(tmp_path))):
        shown = Counter(NUMBER.findall(" ".join(reader.text)))
        told = Counter(NUMBER.findall((folder / "report.md").read_text()))
        assert shown == told
        assert sum(shown.values()) > 30


def test_the_first_section_answers_for_every_hospital(tmp_path: pathlib.Path) -> None:
    study = page_sample.study(("north", "south", "east", "west", "small"))
    write_study(study, tmp_path)
    first = (tmp_path / "report.html").read_text().split("<main>")[0].split("</style>")[1]
    for name, own in study["answer"]["hospitals"].items():
        assert f'<span class="name">{name}</span>' in first
        assert own["outcome"] in first
    assert "Joining helps" in first
    assert "Joining harms" in first
    assert "The data do not decide whether joining helps; about 150 tested patients of the rarer outcome" in first
    assert "Does it rank better?" in first
    assert "Over hospitals such as these, the mean difference in AUROC is +0.020" in first
    assert "On average hospitals with fewer than about 50 events among their training rows gain." in first


def test_a_hospital_with_too_few_events_gets_the_reason_and_no_number(tmp_path: pathlib.Path) -> None:
    reader = study_page(tmp_path, names=("north", "south", "few"))
    markdown = (tmp_path / "report.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("| few |")]
    assert any("withheld" in row for row in rows)
    finding = next(line for line in markdown.splitlines() if line.startswith("- **few**"))
    assert page_sample.WITHHELD.removeprefix("AUROC: ") in finding
    assert not NUMBER.findall(finding)
    assert page_sample.WITHHELD in " ".join(reader.text)
    assert "| None |" not in markdown
    assert "nan" not in markdown


def test_the_verdicts_words_say_what_the_numbers_say() -> None:
    study = page_sample.study(("north", "south", "east", "few"))
    own = study["answer"]["hospitals"]["north"]
    own["questions"]["calibration"]["claim"] = "open"
    found = verdict.findings(View(study))[0]
    assert found.plain == "Joining helps: AUROC and net benefit are better than alone."
    study["comparisons"][0]["hospitals"]["north"]["measures"] |= {
        "auroc": page_sample.difference(0.031),
        "net_benefit": page_sample.difference(-0.016),
    }
    ranking, calibration, usefulness = verdict.findings(View(study))[0].replies
    assert ranking.text.endswith("alone: +0.031 (+0.001 to +0.061)")
    assert (ranking.mark, calibration.mark) == ("▲", "●")
    assert calibration.text.endswith("alone; best at 1")
    assert usefulness.text == "net benefit at 10 %: 16.0 fewer (−46.0 to +14.0) per 1,000 patients than alone"
    own["outcome"] = "no worse"
    assert "AUROC is less than 0.02 worse than alone" in verdict.findings(View(study))[0].plain


def test_a_harm_is_named_with_what_mends_it() -> None:
    study = page_sample.study(("north", "south", "east", "few"))
    assert "Joining harms: AUROC, calibration and net benefit are worse" in verdict.findings(View(study))[2].plain
    mended = {**study["comparisons"][0], "of": "fine_tuned", "id": "fine_tuned-local", "primary": False}
    mended["hospitals"] = {**mended["hospitals"], "east": {**mended["hospitals"]["east"], "outcome": "no worse"}}
    study["comparisons"].append(mended)
    study["performance"]["fine_tuned"] = {"hospitals": {"east": {"ratio": page_sample.figure(1.01)}}, "all": {}}
    told = verdict.findings(View(study))[2].plain
    assert "What mends it: fine_tuned, observed / expected 1.010 (0.980 to 1.040); it is no worse off." in told


@pytest.mark.parametrize(("absent", "told"), [({}, False), ({"north": "dropped out"}, True)])
def test_a_run_tells_how_many_were_absent(tmp_path: pathlib.Path, absent: dict[str, str], told: bool) -> None:
    summary, records = page_sample.run()
    write_run(summary, [{**record, "absent": absent if record["round"] else {}} for record in records], tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "| clients asked in a round, mean | 3 |" in page
    assert ("| of them absent, mean | 1 |" in page) == told


def test_many_clients_in_a_round_are_a_plain_number(tmp_path: pathlib.Path) -> None:
    summary, records = page_sample.run()
    many = [f"client {k}" for k in range(12_500)]
    write_run(summary, [{**record, "cohort": many if record["round"] else []} for record in records], tmp_path)
    assert "| clients asked in a round, mean | 12,500 |" in (tmp_path / "report.md").read_text()


def test_counts_of_one_to_four_are_hidden_and_do_not_follow_from_a_sum(tmp_path: pathlib.Path) -> None:
    run_page(tmp_path)
    south, everyone = (
        next(line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith(start))
        for start in ("| south |", "| all, pooled |")
    )
    assert "&lt; 5" in south
    assert "hidden" in everyone
    assert "0.780" not in south
    assert words.count(0) == "0"
    assert words.count(4) == words.count(None) == "< 5"
    assert words.count(1234) == "1,234"


def test_a_run_names_the_worst_client_among_those_that_are_shown(tmp_path: pathlib.Path) -> None:
    """The loss is highest at south, which has 3 test rows: its figure is withheld, here too."""
    summary, records = page_sample.run(("north", "west", "south", "east"))
    clients = summary["final"]["clients"]
    clients["west"]["loss"], clients["south"]["loss"] = 0.4, 0.987
    summary["final"]["over_clients"] = page_sample.over_clients(clients)
    write_run(summary, records, tmp_path)
    text = (tmp_path / "report.md").read_text()
    worst, mean = (next(line for line in text.splitlines() if line.startswith(f"| {of}")) for of in ("worst", "mean"))
    assert "| 0.400 (west) |" in worst
    assert f"| {(0.31 + 0.4 + 0.31) / 3:.3f} |" in mean
    assert "0.987" not in text
    assert "Worst client in AUROC: north; " in text
    assert "2 without a figure, or with 1 to 4 test rows, are left out" in text


def test_a_hospital_of_few_patients_does_not_follow_from_the_sum(
    sample: tuple[pathlib.Path, Reader], tmp_path: pathlib.Path
) -> None:
    assert "4,000 patients" in (sample[0] / "report.md").read_text()
    study = page_sample.study()
    for size in ("rows", "patients", "train_rows", "test_rows", "tested_patients"):
        study["hospitals"][0][size] = None
    study["data"] |= {"rows": None, "patients": None}
    study["communication"]["pooled_data_bytes"] = None
    for point in study["grow"]["points"]:
        point["train_rows"] = None
    write_study(study, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "4,000" not in text
    assert "5,000" not in text
    assert "3 hospitals with rows of “made up”" in text
    assert "All rows there are." in text
    assert "| north | &lt; 5 | hidden | hidden | &lt; 5 |" in text
    assert "| for comparison: all training rows, sent once | – |" in text
    assert "times the data themselves" not in text


def test_a_run_says_where_there_is_no_saved_model(tmp_path: pathlib.Path) -> None:
    summary, records = page_sample.run()
    for file, told in (("model.keras", False), (None, True)):
        write_run(summary | {"model_file": file}, records, tmp_path)
        for name in ("report.md", "report.html"):
            assert ("Keras cannot save a model of this kind" in (tmp_path / name).read_text()) is told


def test_the_mean_over_hospitals_is_shown_where_there_is_one(tmp_path: pathlib.Path) -> None:
    study = page_sample.study()
    for own in study["performance"].values():
        own["mean"] = {"auroc": page_sample.estimate(None), "brier": page_sample.estimate(0.123)}
    write_study(study, tmp_path)
    rows = [line for line in (tmp_path / "report.md").read_text().splitlines() if "| mean over hospitals |" in line]
    assert "withheld" in rows[0]
    assert "0.123" not in rows[0]


def test_the_worst_hospital_is_named_below_its_figure(
    sample: tuple[pathlib.Path, Reader], tmp_path: pathlib.Path
) -> None:
    text = (sample[0] / "report.md").read_text()
    first, *_ = [line for line in text.splitlines() if line.startswith("| worst hospital |")]
    assert "0.610 (0.580 to 0.640)" in first
    assert "north; 1 hospital without a figure" in first
    assert "its interval ignores that it was picked" in text
    assert "worst decile" not in text
    write_study(page_sample.study([f"hospital {k}" for k in range(12)]), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| worst decile | 0.620 |" in text
    assert "mean of the worst tenth of the hospitals, rounded up" in text


def test_twenty_hospitals_with_long_names_fit(tmp_path: pathlib.Path) -> None:
    names = [f"hospital_{k}_" + "of_a_very_long_name_indeed_" * 3 for k in range(19)] + ["x"]
    reader = study_page(tmp_path, names=names, column="a column " * 12)
    text = " ".join(reader.text)
    assert "part 4 of 4" in text
    assert reader.tags.count("li") > 20
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "report.html").read_text())
    assert max(map(len, drawn)) < 70


def test_optional_parts_may_be_absent(tmp_path: pathlib.Path) -> None:
    nothing = dict.fromkeys(("answer", "calibration", "decision", "truth", "transfer", "communication", "grow"))
    lists: dict[str, Any] = {"subgroups": [], "scenarios": [], "comparisons": [], "seed_sensitivity": None}
    reader = study_page(tmp_path, **nothing, **lists)
    assert "nothing to compare" in " ".join(reader.text)
    assert "No subgroup was looked at" in " ".join(reader.text)


@pytest.mark.parametrize("task", ["multiclass", "regression", "count"])
def test_other_tasks_render(tmp_path: pathlib.Path, task: str) -> None:
    study = page_sample.study(task=task, decision=None, truth=None, specificity=None)
    study["data"] |= {"class_names": ["a", "b"] if task == "multiclass" else [], "classes": 2 * (task == "multiclass")}
    for own in study["hospitals"]:
        own |= {"events": None, "event_rate": None}
    for own in study["shift"]["label"].values() if task != "multiclass" else ():
        own |= {"shares": None, "mean": 1.5, "distance": None}
    write_study(study, tmp_path)
    assert "with the event" not in (tmp_path / "report.md").read_text().split("## How different")[0].split("Table 1")[1]
    read(tmp_path)


def test_the_same_study_gives_the_same_bytes(sample: tuple[pathlib.Path, Reader], tmp_path: pathlib.Path) -> None:
    write_study(json.loads(json.dumps(page_sample.study())), tmp_path)
    for name in ("report.html", "report.md"):
        assert (tmp_path / name).read_bytes() == (sample[0] / name).read_bytes()


def test_many_clients_of_a_run_become_quantiles(tmp_path: pathlib.Path) -> None:
    reader = run_page(tmp_path, tuple(f"client {k}" for k in range(60)))
    assert "Quantiles over 60 clients" in " ".join(reader.text)


def said_of_privacy(reader: Reader) -> str:
    return " ".join(" ".join(reader.text).split())


def test_without_a_promise_the_page_says_what_was_not_shown(tmp_path: pathlib.Path) -> None:
    privacy = {"arms": {}, "price": None, "secure": False}
    for reader, sums in (
        (study_page(tmp_path, privacy=privacy, leakage=None), "No secure aggregation"),
        (run_page(tmp_path), "What secure sums do not hide"),
    ):
        text = said_of_privacy(reader)
        for said in ("No differential privacy", sums, "membership inference", "No attack was tried"):
            assert said in text


def test_a_promise_is_told_with_its_unit_its_figures_and_whom_it_is_against(
    sample: tuple[pathlib.Path, Reader],
) -> None:
    text = said_of_privacy(sample[1])
    for said in ("to each patient", "epsilon 2.99", "Against the server", "taken as public", "seeded generator"):
        assert said in text or said.split()[-1] in text
    assert "No differential privacy" not in text


def test_an_attack_whose_control_fails_says_nothing_of_the_model(tmp_path: pathlib.Path) -> None:
    leakage = page_sample.study()["leakage"]
    for exposed in (leakage["membership"][1]["all"],):
        exposed["auc"] |= {"estimate": 0.51, "low": 0.47, "high": 0.55}
    text = said_of_privacy(study_page(tmp_path, leakage=leakage))
    assert "The control failed" in text
    assert "So the model leaks" not in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (-0.0001, "0.000"), (0.1234, "0.123"), (-1.5, "−1.500"), (1234.5, "1234"), (2e6, "2,000,000")],
)
def test_numbers_are_written_with_three_decimals_or_four_digits(value: float | None, shown: str) -> None:
    assert words.number(value) == shown


def test_units_fit() -> None:
    assert [words.size(n) for n in (0, 999, 4228, 1_014_720)] == ["0 bytes", "999 bytes", "4.23 kB", "1.01 MB"]
    assert [words.seconds(s) for s in (0.00338, 12.0, 90.0, 7200.0)] == ["3.38 ms", "12 s", "1.5 min", "2 h"]
    assert words.signed(0.0001) == "0.000"
    assert words.signed(0.02) == "+0.020"
    assert plain("_a_b_ <x>\n| y") == r"\_a_b\_ &lt;x&gt; \| y"
