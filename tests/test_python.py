"""fedmed from Python: errors that speak of arguments, progress, results that show themselves, and data of TFF's."""

import base64
import io
import json
import pathlib
import pickle
import re
import shlex
import subprocess
import sys
import tomllib
import types
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import test_cli

import fedmed
from fedmed import cli
from fedmed.reporting import bars, display
from fedmed.reporting.progress import SECONDS_BETWEEN_LINES, Progress
from fedmed.settings import config
from fedmed.settings.overrides import apply_overrides
from fedmed.study import reach
from fedmed.study.progress import JobProgress
from fedmed.system import errors

CONFIG = f"""{test_cli.CONFIG}
[study]
seeds = 1
draws = 100
minimum_events = 5
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_message_names_arguments_to_python_and_flags_on_the_command_line() -> None:
    error = errors.UserError(f"x: holds a run; add {errors.RESUME}, {errors.OVERWRITE}, or choose another {errors.OUT}")
    assert str(error) == "x: holds a run; add resume=True, overwrite=True, or choose another out"
    assert error.on_command_line() == "x: holds a run; add --resume, --overwrite, or choose another --out"
    assert pickle.loads(pickle.dumps(error)).on_command_line() == error.on_command_line()
    assert repr(error) == f"UserError({str(error)!r})"


def test_what_the_user_typed_stays_as_it_is_in_a_message() -> None:
    typed = r"a\1{out}%s --out"
    for told in (str(error := errors.UserError(f"{typed}: {errors.argument(typed, typed)}")), error.on_command_line()):
        assert told == f"{typed}: {typed}"


@pytest.mark.parametrize(
    ("overrides", "python", "flag"),
    [
        (["rounds=1", "0.1"], "overrides[1], '0.1': expected key.path=value", "--set '0.1': expected key.path=value"),
        (["rounds.x=1"], "overrides[0], 'rounds.x=1': rounds is a value", "--set 'rounds.x=1': rounds is a value"),
    ],
)
def test_an_override_is_an_item_to_python_and_a_flag_on_the_command_line(
    overrides: list[str], python: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(fedmed.ConfigError) as caught:
        fedmed.run("config.toml", overrides=overrides)
    assert str(caught.value).startswith(python)
    assert cli.main(["run", "config.toml", *(word for text in overrides for word in ("--set", text))]) == 2
    assert capsys.readouterr().err.startswith(f"fedmed: {flag}")


def test_overrides_are_applied_in_order() -> None:
    tree = {"rounds": 1, "cohort": {"size": 3}}
    apply_overrides(tree, ["rounds=2", "rounds=5", "cohort.size=none", "data.name=digits"])
    assert tree == {"rounds": 5, "cohort": {}, "data": {"name": "digits"}}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the test run as if in a kernel of Jupyter's without widgets, which fedmed does not depend on."""
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)


def test_a_notebook_is_a_shell_with_a_kernel(kernel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bars.in_notebook()
    for shell in (None, types.SimpleNamespace()):  # no shell, and IPython on a terminal
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert not bars.in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not bars.in_notebook()


@pytest.mark.filterwarnings("error")
def test_a_notebook_without_widgets_has_a_bar_of_characters(kernel: None, capsys: pytest.CaptureFixture[str]) -> None:
    run, study = Progress("auroc"), JobProgress(3, 0)
    run.start(2)
    run.round({"round": 1, "test": {"pooled": {"auroc": 0.8}}})
    study.step("a")
    run.close()
    study.close()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "rounds 1/2 |" in shown.err
    assert "auroc 0.8000" in shown.err
    assert "models 1/3 |" in shown.err


def test_without_a_bar_a_line_now_and_then_says_what_is_counted() -> None:
    shown, now = io.StringIO(), [0.0]
    progress = JobProgress(4, 1, what="tuning, step 1: models", stream=shown, clock=lambda: now[0])
    for now[0] in (SECONDS_BETWEEN_LINES - 1, SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_LINES + 1):
        progress.step("a")
    assert shown.getvalue() == "tuning, step 1: models 3 of 4\n"


def test_a_stream_that_is_given_is_written_to_also_in_a_notebook(kernel: None) -> None:
    assert bars.bar("rounds", 2, 0, io.StringIO()) is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_run_shows_its_progress_on_a_terminal_unless_it_is_to_be_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, silent = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    fedmed.run("config.toml", "shown")
    monkeypatch.setattr(sys, "stderr", silent)
    fedmed.run("config.toml", "silent", quiet=True)
    assert "rounds 2/2 |" in shown.getvalue()
    assert silent.getvalue() == ""
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The directory of a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "config.toml").write_text(CONFIG)
    fedmed.run(folder / "config.toml", folder / "run", quiet=True)
    return folder / "run"


def result_of(folder: pathlib.Path) -> fedmed.RunResult:
    return fedmed.RunResult(json.loads((folder / "summary.json").read_text()), folder)


def test_what_a_run_returns_reads_as_its_summary(folder: pathlib.Path) -> None:
    result = fedmed.run("config.toml", "here", quiet=True)
    stored = json.loads((folder / "here" / "summary.json").read_text())
    assert result == stored
    assert stored == result
    assert json.loads(json.dumps(dict(result))) == stored
    assert result["final"]["round"] == 2
    assert {**result} == stored
    assert result.folder == folder / "here"
    with pytest.raises(TypeError):
        result["name"] = "another"  # pyright: ignore[reportIndexIssue]


def test_a_run_shows_itself_as_the_table_of_the_command(run_folder: pathlib.Path) -> None:
    shown = repr(result_of(run_folder))
    assert all(f"\n{name}" in shown for name in ("urban_teaching", "safety_net", "small_rural", "all, pooled"))
    assert shown.endswith(f"Results: {run_folder}")


def test_a_notebook_shows_a_run_with_its_curves_and_its_page(
    run_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_folder.parent)
    shown = result_of(run_folder)._repr_html_()
    assert ElementTree.fromstring(shown).tag == "div"  # it is well-formed
    assert "urban_teaching</th>" in shown
    assert '<a href="run/report.html"' in shown
    picture = re.search(r'<img [^>]*src="data:image/svg\+xml;base64,([^"]*)"', shown)
    assert picture is not None
    assert base64.b64decode(picture[1]) == (run_folder / "learning_curves.svg").read_bytes()
    monkeypatch.chdir("/")
    elsewhere = fedmed.RunResult(dict(result_of(run_folder)), pathlib.Path("/no/such"))
    assert "<img" not in elsewhere._repr_html_()
    assert "<a " not in elsewhere._repr_html_()


NASTY = "<script>alert('x')</script> & $a_b$"


def test_a_hospitals_name_is_no_html(run_folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text().replace("small_rural", "<b>&\\u001b"))
    shown = fedmed.RunResult(summary | {"name": NASTY}, tmp_path)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "&lt;b&gt;&amp;?</th>" in shown
    study = {
        "warnings": [NASTY],
        "notes": [],
        "answer": {"summary": f"Of 1: {NASTY}", "hospitals": {NASTY: {"sentence": f"{NASTY}: harmed. Yes."}}},
    }
    shown = display.StudyResult(study, tmp_path)
    assert "<script>" not in shown._repr_html_()
    assert "harmed. Yes.</td>" in shown._repr_html_()
    assert f"{NASTY}: harmed. Yes." in repr(shown)


def test_overrides_are_a_list() -> None:
    with pytest.raises(fedmed.ConfigError, match="expected a list of texts"):
        fedmed.run("config.toml", overrides="rounds=1")


def tree(**data: object) -> dict[str, Any]:
    """Returns settings of the smallest study there is, as plain tables."""
    own = tomllib.loads(CONFIG)
    study = {**own["study"], "arms": ["federated", "local"]}
    return {**own, "name": "own", "rounds": 1, "study": study, "data": data or own["data"]}


@pytest.mark.slow
def test_a_study_from_python_is_that_of_the_command(folder: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    overrides = ["rounds=1", "study.arms=['federated', 'local']"]
    result = fedmed.study("config.toml", overrides=overrides)
    assert capfd.readouterr().out == ""
    assert result.folder == folder / "studies" / "config"
    kept = (result.folder / "study.json").read_bytes()
    assert result == json.loads(kept)
    again = ["study", "config.toml", "--set", overrides[0], "--set", overrides[1]]
    assert shlex.split(result["reproduce"]["command"]) == ["fedmed", *again]
    assert cli.main(again) == 0
    assert (result.folder / "study.json").read_bytes() == kept
    shown = capfd.readouterr().out
    assert all(f"\n{line}\n" in f"\n{shown}" for line in repr(result).splitlines()[:5])
    page = result._repr_html_()
    assert '<a href="studies/config/report.html"' in page
    assert all(f"{name}</th>" in page for name in result["answer"]["hospitals"])


def test_data_registered_in_the_program_are_studied_in_it(folder: pathlib.Path) -> None:
    @fedmed.datasets.register("registered_here")
    def registered_here(*, rows: int = 120) -> fedmed.Dataset:
        rng = np.random.default_rng(0)
        examples = fedmed.Examples(rng.normal(size=(rows, 3)), np.arange(rows) % 2, np.repeat(["a", "b"], rows // 2))
        features = tuple(fedmed.Feature(name) for name in "xyz")
        return fedmed.Dataset("registered_here", examples, "binary", 2, features=features)

    result = fedmed.study(tree(name="registered_here"), "mine", quiet=True)
    assert set(result["answer"]["hospitals"]) == {"a", "b"}
    assert result["reproduce"]["command"] == ""
    assert "<h4>Command" not in (folder / "mine" / "report.html").read_text()


def test_only_what_other_processes_cannot_find_keeps_a_study_in_this_one(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @fedmed.partitions.register("partition_here")
    def partition_here() -> fedmed.Partition:
        raise NotImplementedError

    (folder / "plugin_of_test_python.py").write_text(
        "import fedmed\n\n@fedmed.partitions.register('partition_of_a_plugin')\ndef own():\n    ...\n"
    )
    arm = {"name": "own", "set": {"partition.name": "partition_here"}}
    plugin = {"plugins": ["plugin_of_test_python"], "partition": {"name": "partition_of_a_plugin"}}
    for changes, only_here in (({}, False), (plugin, False), ({"arms": [arm]}, True), (plugin | {"arms": [arm]}, True)):
        assert reach.is_only_here(config.parse({**tree(), **changes})) is only_here


def test_the_function_study_keeps_its_name_whatever_is_imported() -> None:
    script = "import fedmed; from fedmed.study import conduct; import fedmed.study.plan; assert callable(fedmed.study)"
    subprocess.run([sys.executable, "-c", script], check=True)
    script = "import fedmed.study.plan, fedmed; assert callable(fedmed.study)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_where_a_run_lies_already_python_is_told_its_arguments(
    folder: pathlib.Path, run_folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(fedmed.UserError, match="add resume=True to go on with it, overwrite=True to replace it, or ch"):
        fedmed.run("config.toml", run_folder)
    with pytest.raises(fedmed.UserError, match=r"is not empty and holds no study; choose another out$"):
        fedmed.study("config.toml", run_folder)
    assert cli.main(["run", "config.toml", "--out", str(run_folder)]) == 2
    told = capsys.readouterr().err
    assert "add --resume to go on with it, --overwrite to replace it, or choose another --out" in told
