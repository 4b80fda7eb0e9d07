"""The pages in docs/ do what they say: their code runs, block after block, as a reader would run it.

A block of Python is run. A block with a title, as in ```toml title="hospitals.toml", is a file, of Python too, and is
written before. Other blocks are not looked at. A page is tested by being there.
"""

import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

import pytest
import tiny

from fedmed.engine.runtimes.worker import Worker
from fedmed.settings import plugins

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("docs/**/*.md"))
_FENCED = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """What is between two fences: its language, the file it is ("" for none), its text, and where it begins."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """Returns the blocks of a page in order."""
    return [
        Block(found[1], found[2] or "", found[3], page.count("\n", 0, found.start(3)) + 1)
        for found in _FENCED.finditer(page)
    ]


def script(page: str) -> str:
    """Returns the blocks that are run as one program, in which a line has the number that it has in the page."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python" and not block.title:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines)


def with_code(pages: list[pathlib.Path]) -> list[pathlib.Path]:
    return [path for path in pages if script(path.read_text())]


def test_a_program_has_the_lines_of_its_page() -> None:
    page = 'a\n```python\nx = 1\n```\n```toml title="b.toml"\ny = 2\n```\n```python\nz = 3\n```\n'
    assert script(page).splitlines() == ["", "", "x = 1", "", "", "", "", "", "z = 3"]
    assert [block.title for block in blocks(page)] == ["", "b.toml", ""]


def one_core() -> int:
    """Returns a core, another one for each process of the tests.

    On one core a study trains in one process. A second one would start TensorFlow again, which takes longer than all
    that a page trains, while the tests use the other cores anyway.
    """
    cores = sorted(os.sched_getaffinity(0))
    return cores[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(cores)]


@pytest.mark.parametrize("path", with_code(PAGES), ids=lambda path: path.name)
def test_the_code_of_a_page_runs(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    page = path.read_text()
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
    program = tmp_path / f"{path.stem}_page.py"
    program.write_text(script(page))
    found = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(found)}
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {one_core()}),
    )
    assert done.returncode == 0, f"{path.name}, with the page's line numbers:\n{done.stderr}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_links_of_a_page_lead_somewhere(path: pathlib.Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("runtime", ["local", "tff"])
def test_the_algorithm_of_the_page_is_federated_averaging_without_memory(
    runtime: str, worker: Worker, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = next(b.text for b in blocks((ROOT / "docs" / "algorithms.md").read_text()) if b.title == "own_algorithm.py")
    assert len(code.splitlines()) < 40
    (tmp_path / "own_algorithm.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.load(["own_algorithm"])
    rolling = {"name": "rolling", "args": {"memory": 0.0}}
    own, plain = (
        tiny.one_round(tiny.settings(algorithm=algorithm, runtime={"name": runtime}), tiny.clients(), worker)
        for algorithm in (rolling, {"name": "fedavg"})
    )
    tiny.assert_close(own.after.trainable, plain.after.trainable)
    tiny.assert_close(own.reports, plain.reports)
