"""Commands that are ended from outside: SIGKILL and going on, SIGINT, SIGTERM, SIGHUP, and TFF's worker killed."""

import contextlib
import functools
import os
import pathlib
import signal
import time
from collections.abc import Iterator

import psutil

from experiments.trials import bench
from experiments.trials.bench import Place, Row, Verdict

_LONG = 40
_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@functools.cache
def _timed(common: pathlib.Path, kind: str) -> tuple[pathlib.Path, float, float]:
    """Returns the folder of an undisturbed command, and seconds until it first wrote and until it ended."""
    folder = common / f"kill-{kind}"
    folder.mkdir()
    path = bench.written(folder, rounds=_LONG, checkpoint={"every": 3})
    began = time.monotonic()
    process = bench.Begun(kind, path, "--out", folder / "out", "--quiet")
    bench.wait_for(lambda: (folder / "out" / "config.toml").exists(), process)
    first = time.monotonic() - began
    if process.wait():
        raise RuntimeError(process.said()[-300:])
    return folder, first, time.monotonic() - began


def _killed(place: Place, kind: str) -> pathlib.Path:
    """Starts a command and kills it at a random moment between its first file and its end; draws again if too late."""
    folder, first, took = _timed(place.common, kind)
    while True:
        out = place.folder / f"out{len(list(place.folder.iterdir()))}"
        process = bench.Begun(kind, folder / "trial.toml", "--out", out, "--quiet")
        began = time.monotonic()
        bench.wait_for(lambda out=out: (out / "config.toml").exists(), process)
        until = time.monotonic() + float(place.rng.uniform(0, 0.9 * (took - first)))
        bench.wait_for(lambda until=until: time.monotonic() > until, process)
        late = process.status is not None
        process.signal(signal.SIGKILL)
        process.wait()
        process.said()
        if not late:
            return out
        if time.monotonic() - began > bench.PATIENCE:
            raise RuntimeError("it always ends before it can be killed")


def killed_run(place: Place) -> Verdict:
    """A run is killed and gone on with."""
    out, whole = _killed(place, "run"), _timed(place.common, "run")[0]
    ended = bench.command("run", whole / "trial.toml", "--out", out, "--quiet", "--resume")
    return bench.same_end(ended, out, whole / "out", "same bits")


def killed_study(place: Place) -> Verdict:
    """A study is killed, and the same command goes on."""
    out, whole = _killed(place, "study"), _timed(place.common, "study")[0]
    ended = bench.command("study", whole / "trial.toml", "--out", out, "--quiet")
    if ended.status:
        return Verdict(False, ended.last)
    alike = (out / "study.json").read_bytes() == (whole / "out" / "study.json").read_bytes()
    return Verdict(alike, "same bytes" if alike else "other bytes")


@contextlib.contextmanager
def _heeded() -> Iterator[None]:
    """Has what is started inside heed all signals: a shell that starts this in the background has some ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ended(place: Place) -> Verdict:
    """A run is asked to end by a signal at a random moment."""
    number = list(_SIGNALS)[place.number % len(_SIGNALS)]
    path, out, rows = bench.written(place.folder, rounds=10**6), place.folder / "out", place.folder / "rows"
    rows.mkdir()
    early = place.number % 4 == 0
    with _heeded():
        process = bench.Begun("run", path, "--out", out, "--quiet", env={"TMPDIR": str(rows)}, cold=early)
    if not early:  # it imports or prepares otherwise
        bench.wait_for(lambda: bench.rounds_in(out) > 2, process)
    time.sleep(float(place.rng.uniform(0.2, 1.5)))
    below = psutil.Process(process.pid).children(recursive=True)
    process.signal(number)
    status = process.wait()
    process.said()
    _, alive = psutil.wait_procs(below, timeout=10)
    left = [path.name for path in rows.iterdir() if "clients" in path.name]
    if status in (-number, _SIGNALS[number]) and early and not out.exists():
        return Verdict(not alive and not left, f"{number.name} before it had begun")
    held = status == _SIGNALS[number] and not alive and not left
    said = f"{number.name}: status {status}"
    return Verdict(held, said if held else f"{said}, {len(alive)} processes and {len(left)} folders of rows left")


@functools.cache
def _on_tff(common: pathlib.Path) -> pathlib.Path:
    folder = common / "on-tff"
    folder.mkdir()
    path = bench.written(folder, rounds=30, runtime={"name": "tff", "lanes": 1})
    done = bench.command("run", path, "--out", folder / "out", "--quiet")
    if done.status:
        raise RuntimeError(done.last)
    return folder


def worker_killed(place: Place) -> Verdict:
    """TFF's worker is killed in the middle of a run, up to three times."""
    whole, out = _on_tff(place.common), place.folder / "out"
    process, killed = bench.Begun("run", whole / "trial.toml", "--out", out, "--quiet"), 0
    for _ in range(1 + place.number % 3):
        seen = bench.rounds_in(out)
        more = seen + int(place.rng.integers(2, 6))
        bench.wait_for(lambda more=more: bench.rounds_in(out) >= more, process)
        for child in psutil.Process(process.pid).children() if process.status is None else ():
            if "worker" in child.name():
                os.kill(child.pid, signal.SIGKILL)
                killed += 1
    status, said = process.wait(), process.said()
    if status or not killed:
        return Verdict(False, f"status {status}, {killed} killed: {said[-200:]}")
    alike = bench.end_of(out) == bench.end_of(whole / "out")
    return Verdict(alike, f"killed {killed}x, same bits" if alike else "other bits")


def several_on_tff(place: Place) -> Verdict:
    """Three runs on TFF at once, each with a worker of its own."""
    whole = _on_tff(place.common)
    outs = [place.folder / f"out{number}" for number in range(3)]
    processes = [bench.Begun("run", whole / "trial.toml", "--out", out, "--quiet") for out in outs]
    statuses = [process.wait() for process in processes]
    alike = not any(statuses) and all(bench.end_of(out) == bench.end_of(whole / "out") for out in outs)
    return Verdict(alike, "same bits" if alike else f"statuses {statuses}")


ROWS = (
    Row("kill_run", "a run killed (SIGKILL) at a random moment, then `--resume`", "the same bits", 50, killed_run),
    Row("kill_study", "a study killed, then the same command", "study.json the same, byte for byte", 20, killed_study),
    Row(
        "endings",
        "SIGINT, SIGTERM, SIGHUP at a random moment",
        "status 130, 143, 129; no process, no row left",
        24,
        ended,
    ),
    Row("worker", "TFF's worker killed in mid-run, up to three times", "the same bits", 10, worker_killed),
    Row("several_tff", "three runs on TFF at once", "the same bits in each", 2, several_on_tff),
)
