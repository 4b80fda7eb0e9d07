"""What surrounds a run: disks that fill up, a second run in its directory, its worker's port, and many rounds."""

import contextlib
import json
import pathlib
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator

import numpy as np

from experiments.trials import bench
from experiments.trials.bench import Place, Row, Verdict
from fedmed.engine.runtimes.worker import Worker

_SOAK = 2000


@contextlib.contextmanager
def _small_disk(folder: pathlib.Path, size: int) -> Iterator[str]:
    """Makes a folder a disk of so many bytes where root may mount one; else no file may have more. Yields which."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            yield "tmpfs"
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 6, before[1]))
    try:
        yield "RLIMIT_FSIZE"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full_disk(place: Place) -> Verdict:
    """The disk is full at some file of a run; its directory is then copied to a larger one and gone on with."""
    whole, disk = bench.undisturbed(place.common), place.folder / "disk"
    needs = sum(-(-len(content) // 4096) * 4096 for content in bench.content_of(whole / "out").values())
    with _small_disk(disk, int(place.rng.uniform(0.02, 0.98) * needs) // 4096 * 4096 + 4096) as kind:
        ended = bench.command("run", whole / "trial.toml", "--out", disk / "out", "--quiet")
        if not (ended.status == 1 and ended.is_one_line and f"fedmed: {disk}" in ended.err):
            return Verdict(False, ended.last)
        out = place.folder / "out"
        shutil.copytree(disk / "out", out, ignore=shutil.ignore_patterns(".lock"))
    gone_on = bench.command("run", whole / "trial.toml", "--out", out, "--quiet", "--resume")
    return bench.same_end(gone_on, out, whole / "out", f"one line, then the same bits ({kind})")


def full_temporary_folder(place: Place) -> Verdict:
    """There is no room for the clients' rows."""
    rows, out = place.folder / "rows", place.folder / "out"
    path = bench.written(place.folder, bench.table(np.random.default_rng(0), 1200))
    with _small_disk(rows, 4096 * (1 + place.number % 2)) as kind:
        env = {"TMPDIR": str(rows)}
        if kind != "tmpfs":
            env = {"TMPDIR": str(place.folder / "none")}
        process = bench.Begun("run", path, "--out", out, "--quiet", env=env)
        status, told = process.wait(), process.said()
        left = [one.name for one in rows.iterdir()] if rows.is_dir() else []
    one_line = told.startswith("fedmed: ") and told.count("\n") == 1
    held = status in (1, 2) and one_line and not left and not out.exists()
    return Verdict(held, "one line, nothing left" if held else f"status {status}, {len(left)} left: {told[-200:]}")


def second_run(place: Place) -> Verdict:
    """A second run, or study, is started in a directory where one is writing."""
    kind = "study" if place.number % 4 == 3 else "run"
    out, rounds = place.folder / "out", 60
    path = bench.written(place.folder, rounds=rounds)
    process = bench.Begun(kind, path, "--out", out, "--quiet")
    bench.wait_for(lambda: (out / "config.toml").exists(), process)
    more = [] if kind == "study" else [[], ["--overwrite"], ["--resume"]][place.number % 4]
    second = bench.command(kind, path, "--out", out, "--quiet", *more)
    was_writing = process.status is None
    status, told = process.wait(), process.said()
    if not (second.is_refusal and was_writing and status == 0):
        return Verdict(False, f"first: {status} {told[-100:]}; second: {second.last}")
    if kind == "study":
        return Verdict((out / "study.json").is_file(), "kept out; the first ended")
    complete = bench.rounds_in(out) == rounds + 1 and (out / "summary.json").is_file()
    return Verdict(complete, "kept out; the first ended" if complete else "the first has lost rounds")


def port(place: Place) -> Verdict:
    """Others grasp for the port of a worker that starts: each 0.1 ms by TCP, and by a second worker."""
    worker, over, got = Worker(lanes=1), threading.Event(), []

    def grasp() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), socket.socket() as other:
                other.bind(("0.0.0.0" if place.number % 2 else "127.0.0.1", worker.port))
                other.listen()
                got.append(worker.port)
            over.wait(0.0001)

    worker.start()
    thread, second = threading.Thread(target=grasp), Worker(lanes=1)
    thread.start()
    second.start()
    try:
        worker.wait_ready()
        second.wait_ready()
        held = not got and worker.port != second.port and worker.is_alive() and second.is_alive()
        return Verdict(held, "kept its port" if held else f"lost its port ({len(got)} times)")
    finally:
        over.set()
        thread.join()
        worker.stop()
        second.stop()


def soak(place: Place) -> Verdict:
    """A run of 2,000 rounds: all on record, and no more memory at its end than after a tenth."""
    out = place.folder / "out"
    path = bench.written(place.folder, rounds=_SOAK, checkpoint={"every": 10})
    process = bench.Begun("run", path, "--out", out, "--quiet")
    status, said = process.wait(6 * bench.PATIENCE), process.said()
    if status:
        return Verdict(False, said[-200:])
    lines = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    memory = np.array([line["memory_mb"] for line in lines])
    early, late = float(np.median(memory[150:250])), float(np.median(memory[-100:]))
    files = sum(1 for one in out.rglob("*") if one.is_file())
    held = [line["round"] for line in lines] == list(range(_SOAK + 1)) and late < 1.05 * early and files < 40
    return Verdict(held, f"{early:.0f} MB after 200 rounds, {late:.0f} after {_SOAK:,}; {files} files")


ROWS = (
    Row(
        "disks",
        "a full disk at a random file of a run, then `--resume` with room",
        "status 1, one line that names the file; then the same bits",
        24,
        full_disk,
    ),
    Row("rows_disk", "no room for the clients' rows", "one line, nothing left", 2, full_temporary_folder),
    Row(
        "second",
        "a second run or study in a directory where one is writing",
        "refused; the first one ends whole",
        8,
        second_run,
    ),
    Row("ports", "others grasp for the port of TFF's worker as it starts", "the worker has it, alone", 10, port),
    Row(
        "soak", "a run of 2,000 rounds", "all on record; under 5 % more memory than after 200; under 40 files", 1, soak
    ),
)
