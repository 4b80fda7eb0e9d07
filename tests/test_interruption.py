"""A lost terminal ends a run as Ctrl-C does: no rows stay behind, unless the user wants it to go on without one."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tiny

TESTS = pathlib.Path(__file__).parent


def started(folder: pathlib.Path, hangup: signal.Handlers) -> "subprocess.Popen[bytes]":
    """Starts a run in a folder, with temporary files there, and waits until it trains."""
    path = tiny.save_sites(folder / "own.npz")
    (folder / "tmp").mkdir()
    (folder / "config.toml").write_text(
        f"rounds = 1000000\ndata = {{ name = 'arrays', args = {{ path = '{path}' }} }}\n"
        "model = { name = 'tiny_models:linear' }\nclient = { learning_rate = 0.1 }\nevaluation = { every = 1000 }\n"
    )
    environment = dict(os.environ, TMPDIR=str(folder / "tmp"), PYTHONPATH=f"{TESTS}:{TESTS.parent}")
    process = subprocess.Popen(
        [sys.executable, "-m", "fedmed", "run", "config.toml", "--out", "out"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup),
    )
    trains(process, folder, 3)
    return process


def trains(process: "subprocess.Popen[bytes]", folder: pathlib.Path, lines: int) -> None:
    """Waits until so many rounds are written."""
    rounds, give_up = folder / "out" / "rounds.jsonl", time.monotonic() + 120
    while not (rounds.is_file() and rounds.read_bytes().count(b"\n") > lines):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.05)


def rows_in(folder: pathlib.Path) -> list[pathlib.Path]:
    return list((folder / "tmp").glob("fedmed-clients-*"))


def test_a_lost_terminal_ends_the_run_and_leaves_no_rows(tmp_path: pathlib.Path) -> None:
    with started(tmp_path, signal.SIG_DFL) as process:
        assert rows_in(tmp_path)
        for pipe in (process.stdout, process.stderr):  # where a last word would go is gone too
            assert pipe is not None
            pipe.close()
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=10) == 129
    assert rows_in(tmp_path) == []


@pytest.mark.slow
def test_a_run_under_nohup_goes_on(tmp_path: pathlib.Path) -> None:
    with started(tmp_path, signal.SIG_IGN) as process:
        process.send_signal(signal.SIGHUP)
        trains(process, tmp_path, (tmp_path / "out" / "rounds.jsonl").read_bytes().count(b"\n") + 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 143
    assert rows_in(tmp_path) == []
