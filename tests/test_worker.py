"""No process of ours is left, however a program ends; and a pipe behind a run is closed with it."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import tiny

from fedmed.engine.runtimes.worker import Worker, WorkerError
from fedmed.settings import config

TESTS = pathlib.Path(__file__).parent
ROOT = TESTS.parent
PATIENCE = 5.0  # seconds within which everything must be gone

OWNER = """
import signal, sys, time
# A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from fedmed.engine.runtimes.worker import Worker
worker = Worker(lanes=1)
worker.start()
worker.wait_ready()
print(worker.pid, flush=True)
{ending}
"""
ENDINGS = {
    "a normal end": "",
    "an exception": "raise ValueError('in the middle')",
    "sys.exit": "sys.exit(3)",
    "Ctrl-C": "time.sleep(60)",
    "SIGTERM": "time.sleep(60)",
    "kill -9": "time.sleep(60)",
}
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM, "kill -9": signal.SIGKILL}


def gone(processes: list[psutil.Process]) -> bool:
    """Tells whether all have ended in time; those that have not are killed, so that no test leaves a process."""
    alive = psutil.wait_procs(processes, timeout=PATIENCE)[1]
    left = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    for process in left:
        process.kill()
    return not left


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_worker_ends_with_its_owner(ending: str) -> None:
    program = OWNER.format(ending=ENDINGS[ending])
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        worker = [psutil.Process(pid)] if psutil.pid_exists(pid) else []  # an owner that ends by itself may be faster
        if ending in SIGNALS:
            owner.send_signal(SIGNALS[ending])
        owner.wait(timeout=30)
        assert gone(worker)
        assert owner.stdout.read() == ""  # nobody holds the pipe open


def test_a_worker_ends_when_it_is_stopped_and_can_start_again() -> None:
    worker = Worker(lanes=1)
    assert (worker.pid, worker.is_alive()) == (None, False)
    for _ in range(2):
        worker.start()
        assert worker.is_alive()
        assert worker.pid is not None
        process = psutil.Process(worker.pid)
        worker.stop()
        worker.stop()
        assert not process.is_running()
        assert not worker.is_alive()


def test_nobody_else_gets_the_port_of_a_worker_that_starts_and_who_listens_there_is_told_apart() -> None:
    worker, other = Worker(lanes=1), Worker(lanes=1)
    worker.start()
    with socket.socket() as squatter, pytest.raises(OSError, match="in use"):
        squatter.bind(("", worker.port))
    worker.wait_ready()
    other.start()
    assert other.port != worker.port
    other.port = worker.port  # which answers, but is another process's
    assert not other._listens()
    for one in (worker, other):
        one.stop()


def test_a_worker_that_dies_while_it_starts_is_told_with_its_log(tmp_path: pathlib.Path) -> None:
    worker = Worker(lanes=1, log=tmp_path / "worker.log")
    worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"ended while starting; its log: .*worker\.log"):
        worker.wait_ready()
    worker.stop()


def test_a_round_survives_the_death_of_its_worker() -> None:
    """A worker that dies between rounds is started again, and the round has the same bits."""
    worker = Worker(lanes=2)
    worker.start()
    try:
        with tiny.set_up(tiny.settings(runtime={"name": "tff"}), tiny.clients(), worker) as (_, next_round):
            first = next_round()
            before = worker.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(before)] if psutil.pid_exists(before) else [], timeout=PATIENCE)
            again = next_round()
            assert worker.pid != before
        tiny.assert_same(again.after.trainable, first.after.trainable)
    finally:
        worker.stop()


# Whole runs


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run on TFF that takes a while, without its --out."""
    folder = tmp_path_factory.mktemp("runs")
    data = tiny.save_sites(folder / "own.npz")
    endless = tiny.settings(data={"args": {"path": data}}, rounds=100000, runtime={"name": "tff"})
    (folder / "endless.toml").write_text(config.dumps(endless))
    return [sys.executable, "-m", "fedmed", "run", str(folder / "endless.toml")]


def run(command: list[str], out: pathlib.Path, *more: str) -> "subprocess.Popen[bytes]":
    environment = dict(os.environ, PYTHONPATH=str(TESTS))
    return subprocess.Popen([*command, "--out", str(out), *more], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


def children_in_mid_run(process: "subprocess.Popen[bytes]", out: pathlib.Path) -> list[psutil.Process]:
    """Waits for the third round, a minute at most, and returns the processes below."""
    give_up = time.monotonic() + 60
    path = out / "rounds.jsonl"
    while not (path.exists() and path.read_text().count("\n") > 3):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_run_ended_by_a_signal_leaves_no_process(
    number: signal.Signals, status: int, command: list[str], tmp_path: pathlib.Path
) -> None:
    process = run(command, tmp_path / "out", "--quiet")
    below = children_in_mid_run(process, tmp_path / "out")
    assert below
    process.send_signal(number)
    assert process.wait(timeout=30) == status
    assert gone(below)


@pytest.mark.slow
def test_a_run_whose_model_fails_leaves_no_process_and_no_directory(command: list[str], tmp_path: pathlib.Path) -> None:
    process = run(command, tmp_path / "out", "--set", "model.name=tiny_models:raising")
    below: set[psutil.Process] = set()
    while process.poll() is None:
        below |= set(psutil.Process(process.pid).children(recursive=True))
        time.sleep(0.05)
    assert process.returncode == 2
    assert below, "the worker starts before the model is built"
    assert gone([*below])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_behind_a_pipe_returns(command: list[str], tmp_path: pathlib.Path) -> None:
    line = [*command, "--out", str(tmp_path / "out"), "--set", "rounds=2"]
    piped = f"{subprocess.list2cmdline(line)} 2>&1 | tail -1"
    done = subprocess.run(
        piped, shell=True, cwd=ROOT, env=dict(os.environ, PYTHONPATH=str(TESTS)), capture_output=True, timeout=120
    )
    assert done.stdout.decode().strip() == f"Results: {tmp_path / 'out'}"
