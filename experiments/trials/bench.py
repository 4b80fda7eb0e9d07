"""What trials share: a place each, a small table of three hospitals, commands, and what has to be the same."""

import contextlib
import functools
import io
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedmed import cli
from fedmed.settings import config

CLOCKS = ("seconds", "evaluation_seconds", "memory_mb")
HEADER: tuple[str, ...] = ("hospital", "patient", "age", "chol", "smokes", "stage", "died")
PATIENCE = 600
"""Seconds after which a command is taken to hang; machines are shared."""


class Verdict(NamedTuple):
    """Whether what had to hold did, and what happened, in a word or two where it held."""

    held: bool
    said: str


class Place(NamedTuple):
    """Where one trial happens.

    Attributes:
        folder: empty, and its own.
        common: of all trials of a program's run, for what is made once.
        rng: drawn from the seed, the row and the trial's number.
        number: from 0, within its row.
    """

    folder: pathlib.Path
    common: pathlib.Path
    rng: np.random.Generator
    number: int


class Row(NamedTuple):
    """A row of the table: what is done, what has to hold, how often it is tried, and a trial of it."""

    name: str
    what: str
    holds: str
    times: int
    trial: Callable[[Place], Verdict]


class Ended(NamedTuple):
    """A command's exit status, None where it ended in a traceback, and what it wrote."""

    status: int | None
    out: str
    err: str

    @property
    def is_refusal(self) -> bool:
        """Whether it is one line and status 2, and nothing else."""
        return self.status == 2 and not self.out and self.is_one_line

    @property
    def is_one_line(self) -> bool:
        """Whether the error stream has one line, of a length that can be read."""
        return self.err.startswith("fedmed: ") and self.err.count("\n") == 1 and len(self.err) < 1500

    @property
    def last(self) -> str:
        """The end of what it said, for a verdict that did not hold."""
        return f"status {self.status}: {' '.join(self.err.split())[-200:]}"


def table(rng: np.random.Generator, patients: int = 120) -> list[list[str]]:
    """Returns rows of text, one a patient, of three hospitals; the first one has the names of the columns."""
    rows = [list(HEADER)]
    for number in range(patients):
        age, chol = 60 + 10 * rng.normal(), 5 + rng.normal()
        died = rng.random() < 1 / (1 + np.exp(-(age - 60) / 5))
        values = (f"{age:.0f}", f"{chol:.2f}", "yes" if rng.random() < 0.4 else "no", "abc"[int(rng.integers(3))])
        rows.append([["north", "south", "east"][number % 3], f"p{number}", *values, str(int(died))])
    return rows


def text_of(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as CSV, in which cells with commas or quotes are quoted."""
    quoted = [[f'"{cell}"' if set(cell) & set(",\n") else cell for cell in row] for row in rows]
    return "\n".join(",".join(row) for row in quoted) + "\n"


def tree(path: pathlib.Path, **changes: Any) -> dict[str, Any]:
    """Returns plain settings for a table of `bench.table`; `changes` replace whole tables."""
    return {
        "name": "trial",
        "rounds": 6,
        "data": {
            "name": "table",
            "args": {"path": str(path), "label": "died", "site": "hospital", "group": "patient"},
        },
        "model": {"name": "logistic_regression"},
        "client": {"learning_rate": 0.05, "batch_size": 8},
        "algorithm": {"name": "scaffold"},
        "scenario": [{"name": "absent", "chance": 0.3}],
        "checkpoint": {"every": 2},
        "runtime": {"lanes": 1},
        "study": {"seeds": 1, "arms": ["federated", "local"], "draws": 100, "reference": False},
        **changes,
    }


def written(folder: pathlib.Path, rows: Sequence[Sequence[str]] | None = None, **changes: Any) -> pathlib.Path:
    """Writes a table and settings for it into a folder; returns the config's path."""
    path = folder / "patients.csv"
    path.write_text(text_of(table(np.random.default_rng(0)) if rows is None else rows))
    (folder / "trial.toml").write_text(config.dumps(config.parse(tree(path, **changes))))
    return folder / "trial.toml"


def command(*words: str | pathlib.Path) -> Ended:
    """Runs a command of fedmed in this process."""
    out, err = io.StringIO(), io.StringIO()
    status: int | None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _patient():
        try:
            status = cli.main([str(word) for word in words])
        except BaseException as error:
            status = None
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            if isinstance(error, KeyboardInterrupt):
                raise
    return Ended(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    def hangs(number: int, frame: object) -> None:
        raise TimeoutError(f"it has not ended after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Begun:
    """A command of fedmed in a process of its own.

    It is forked from a process that has imported what a run needs and done nothing yet: hundreds of imports of
    TensorFlow would take most of the time, and before them a command has nothing to lose. A `cold` one is not.
    """

    def __init__(self, *words: str | pathlib.Path, env: Mapping[str, str] | None = None, cold: bool = False) -> None:
        self._log = pathlib.Path(tempfile.mkstemp(prefix="fedmed-trial-")[1])
        given = [str(word) for word in words]
        self._process: Any
        if cold:
            with self._log.open("wb") as file:
                command = [sys.executable, "-m", "fedmed", *given]
                self._process = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=file, stderr=file)
        else:
            self._process = _imported().Process(target=_serve, args=(given, dict(env or {}), str(self._log)))
            self._process.start()
        self.pid: int = self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, None as long as it runs."""
        process = self._process
        return process.poll() if isinstance(process, subprocess.Popen) else process.exitcode

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """Waits for the end and returns the exit status."""
        wait_for(lambda: False, self, seconds)
        return self.status

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def said(self) -> str:
        """Returns what it wrote, and forgets it."""
        text = self._log.read_text()
        self._log.unlink()
        return text


@functools.cache
def _imported() -> Any:
    context = multiprocessing.get_context("forkserver")
    needed = ("fedmed.runs.experiment", "fedmed.engine.checkpoints", "fedmed.engine.evaluation", "fedmed.study.conduct")
    context.set_forkserver_preload([__name__, *needed, "fedmed.reporting.page", "fedmed.reporting.curves"])
    return context


def _serve(words: list[str], env: dict[str, str], log: str) -> None:
    """Is the program `fedmed` in a process that was forked for it."""
    os.environ.update(env)
    tempfile.tempdir = None  # it may have another now
    handle = os.open(log, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.argv = ["fedmed", *words]
    raise SystemExit(cli.main())


def rounds_in(out: pathlib.Path) -> int:
    """Returns how many rounds a run's directory has on record."""
    path = out / "rounds.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def wait_for(happened: Callable[[], bool], process: Begun, seconds: float = PATIENCE) -> None:
    """Waits until something has happened, or the process has ended, or some seconds have passed."""
    give_up = time.monotonic() + seconds
    while not happened() and process.status is None and time.monotonic() < give_up:
        time.sleep(0.02)


def end_of(out: pathlib.Path) -> Any:
    """Returns what has to be the same of a run: its weights, and its records but for clocks."""
    lines = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    records = [{key: value for key, value in line.items() if key not in CLOCKS} for line in lines]
    return json.loads((out / "summary.json").read_text())["weights_sha256"], records


@functools.cache
def undisturbed(common: pathlib.Path, kind: str = "run") -> pathlib.Path:
    """Returns the folder of a run, or a study, that nothing befell: trial.toml, and what it has left in `out`."""
    folder = common / f"undisturbed-{kind}"
    folder.mkdir()
    ended = command(kind, written(folder), "--out", folder / "out", "--quiet")
    if ended.status:
        raise RuntimeError(f"the undisturbed {kind} failed: {ended.last}")
    return folder


def content_of(folder: pathlib.Path) -> dict[str, bytes]:
    """Returns the files below a folder, but for locks."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def same_end(ended: Ended, out: pathlib.Path, whole: pathlib.Path, how: str) -> Verdict:
    """Returns whether a command that went on with a run ended as the undisturbed one did."""
    if ended.status:
        return Verdict(False, ended.last)
    alike = end_of(out) == end_of(whole)
    return Verdict(alike, how if alike else "ended, with other bits")


def refused_untouched(ended: Ended, out: pathlib.Path, before: Mapping[str, bytes]) -> Verdict:
    """Returns whether a command was refused in one line, and nothing in the directory has changed."""
    if not ended.is_refusal:
        return Verdict(False, ended.last)
    same = content_of(out) == before
    return Verdict(same, "refused" if same else f"refused, but files changed: {ended.last}")
