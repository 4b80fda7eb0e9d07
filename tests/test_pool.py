"""Training processes of this machine: one that is killed costs time and nothing else, and none is left behind."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psutil
import pytest
import tiny

from fedmed.settings import config
from fedmed.study import pool, results
from fedmed.study.plan import Job
from fedmed.study.session import Assignment
from fedmed.system import errors

TREE: dict[str, Any] = {
    "name": "tiny",
    "rounds": 20,
    "data": {"name": "diabetes_ehr", "args": {"patients": 0.1}},
    "model": {"name": "logistic_regression"},
    "client": {"learning_rate": 0.2, "batch_size": 16},
    "evaluation": {"every": 10},
    "runtime": {"lanes": 1},
}


def task(name: str, folder: pathlib.Path, **more: Any) -> Assignment:
    settings = config.parse({**TREE, **more})
    asked = Job(name, "federated", "federated", settings, metric="loss")
    return Assignment(settings, asked, results.path_of(folder, name), asked.identity({}, {}))


def training() -> list[psutil.Process]:
    """Returns the training processes below this one."""
    return [p for p in psutil.Process().children(recursive=True) if "popen_loky" in " ".join(p.cmdline())]


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_the_results_are_the_same(tmp_path: pathlib.Path) -> None:
    (tmp_path / "here").mkdir()
    tasks, done = [task(f"job{seed}", tmp_path, seed=seed) for seed in (0, 1)], []
    with pool.Pool(1, 1, tmp_path / "workers.log") as processes:
        threading.Timer(2.0, lambda: training()[0].kill()).start()
        processes.run(tasks, lambda own: done.append(own.job.name))
        below = training()
        assert below
    assert sorted(done) == ["job0", "job1"]
    assert not psutil.wait_procs(below, timeout=5)[1]
    with pool.Here() as here:
        others = [task(f"job{seed}", tmp_path / "here", seed=seed) for seed in (0, 1)]
        here.run(others, lambda own: None)
    for one, other in zip(tasks, others, strict=True):
        a, b = (results.read(own.path, own.identity.key) for own in (one, other))
        assert a is not None
        assert b is not None
        tiny.assert_same([*a.predictions, a.curve], [*b.predictions, b.curve])


@pytest.mark.slow
def test_who_kills_processes_again_and_again_is_told_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    told = pytest.raises(
        errors.UserError, match=r"process that trained job ended, the fourth one \(.*SIGKILL.*out of memory\?"
    )
    with pool.Pool(1, 1, tmp_path / "workers.log") as processes, told:
        processes.run([task("job", tmp_path, plugins=["deadly"])], lambda own: None)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_study_that_is_stopped_leaves_no_process(number: signal.Signals, tmp_path: pathlib.Path) -> None:
    tree = {**TREE, "rounds": 2000, "study": {"seeds": 2, "arms": ["federated", "local"], "reference": False}}
    (tmp_path / "long.toml").write_text(config.dumps(config.parse(tree)))
    words = [sys.executable, "-m", "fedmed", "study", str(tmp_path / "long.toml"), "--out", str(tmp_path / "out")]
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    process = subprocess.Popen(
        [*words, "--quiet"], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    give_up = time.monotonic() + 300
    while not list((tmp_path / "out" / "jobs").glob("*.checkpoint")):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.1)
    below = psutil.Process(process.pid).children(recursive=True)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal's Ctrl-C: to all in the foreground
    else:
        process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    assert said == ("" if number == signal.SIGKILL else "stopped; the same command goes on\n")
    assert not psutil.wait_procs(below, timeout=10)[1]
