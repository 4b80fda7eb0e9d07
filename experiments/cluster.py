"""What `runtime.name = "ray"` costs, and what it survives; each part is kept as it is done, and not done again.

    uv run --extra ray python -m experiments.cluster --only=rounds,study

- hosts: a run of W2 (`experiments.speed.workloads`), and a study, on two hosts without a folder in common
  (`experiments.hosts`; takes root): is it what it is on one, and is it with one host killed in mid-round?
- rounds: a round on Ray against one in this process, in pairs, the first of a pair the other's second.
- study: a study on Ray against the pool of processes on this machine, in pairs.
- kills: any one training process killed at a random moment of a study: is it the same study.json?
- clients: 20,000 clients of 20 rows, a file each and sharing files: time, memory, number of files.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import psutil
from absl import flags

from experiments import cluster_table, programs
from experiments.hosts import ADDRESS, Hosts, two_hosts
from experiments.speed import workloads
from fedmed.settings import config
from fedmed.system import files, machine, quiet

FLAGS = flags.FLAGS
flags.DEFINE_list("only", ["hosts", "rounds", "study", "kills", "clients"], "which parts")
flags.DEFINE_integer("pairs", 5, "of rounds of W2; of W4 twenty times as many", lower_bound=1)
flags.DEFINE_integer("studies", 3, "pairs of studies", lower_bound=1)
flags.DEFINE_integer(
    "times", 10, "how often a process of a study on Ray is killed; of one on this machine half", lower_bound=1
)
flags.DEFINE_string("results", "experiments/results/cluster.json", "what is known; the table stands beside it")

_STUDY: dict[str, Any] = {
    "name": "cluster",
    "rounds": 60,
    "data": {"name": "diabetes_ehr", "args": {"patients": 0.3}},
    "model": {"name": "mlp"},
    "client": {"learning_rate": 0.05, "batch_size": 16},
    "study": {"seeds": 2, "arms": ["federated", "local", "pooled"], "draws": 100, "reference": False},
}
_README_STUDY = pathlib.Path(__file__).parent.parent / "configs/diabetes_three_hospitals.toml"
_RAY = config.Runtime("ray", 2)
_CLOCKS = ("seconds", "evaluation_seconds", "memory_mb")


def hosts(folder: pathlib.Path) -> dict[str, Any]:
    """Runs W2, and a study, here, on two hosts, and with the second of them killed on the way."""
    run = dataclasses.replace(workloads.settings("W2"), rounds=3, runtime=config.Runtime("local", 2))
    study = config.parse(_STUDY)
    found: dict[str, Any] = {}
    for kind, settings in (("run", run), ("study", study)):
        lanes = settings.runtime.lanes
        remote = dataclasses.replace(settings, runtime=config.Runtime("ray", lanes, ADDRESS))
        here, seconds = ended(kind, settings, folder / f"{kind}-here")
        found[kind] = {"seconds here": seconds}
        with two_hosts(folder) as both:
            there, seconds = ended(kind, remote, folder / f"{kind}-there", both)
            found[kind] |= {"seconds on two hosts": seconds, "same": there == here}
        with two_hosts(folder, (2, 1)) as both, started(kind, remote, folder / f"{kind}-killed", both) as process:
            began = time.monotonic()
            wait_for_some(kind, folder / f"{kind}-killed", process)
            number = both.kill_second()
            killed_at = time.monotonic()
            status = process.wait()
            same = status == 0 and same_part(kind, folder / f"{kind}-killed") == here
            found[kind] |= {
                "processes killed": number,
                "seconds before": killed_at - began,
                "seconds after": time.monotonic() - killed_at,
                "same with one killed": same,
            }
        print(kind, found[kind], flush=True)
    return found


def command(kind: str, settings: config.RunConfig, out: pathlib.Path) -> list[str]:
    """Writes the settings and returns the command for them."""
    path = out.with_suffix(".toml")
    path.write_text(config.dumps(settings))
    return [sys.executable, "-m", "fedmed", kind, str(path), "--out", str(out), "--quiet"]


@contextlib.contextmanager
def started(
    kind: str, settings: config.RunConfig, out: pathlib.Path, where: Hosts | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts a run or a study, here or on the first of two hosts."""
    words = command(kind, settings, out)
    environment = where.environment if where else dict(os.environ)
    process = subprocess.Popen(where.command(words) if where else words, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(kind: str, settings: config.RunConfig, out: pathlib.Path, where: Hosts | None = None) -> tuple[Any, float]:
    """Runs a run or a study to its end; returns what has to be the same, and the seconds it took."""
    began = time.monotonic()
    with started(kind, settings, out, where) as process:
        if process.wait():
            raise RuntimeError(f"{kind} ended with status {process.returncode}")
    return same_part(kind, out), time.monotonic() - began


def same_part(kind: str, out: pathlib.Path) -> Any:
    """Returns what has to be the same: a run's weights, and records but for clocks; a study's all but the command."""
    if kind == "run":
        lines = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
        records = [{key: value for key, value in line.items() if key not in _CLOCKS} for line in lines]
        return json.loads((out / "summary.json").read_text())["weights_sha256"], records
    study = json.loads((out / "study.json").read_text())
    study["reproduce"].pop("command")
    return hashlib.sha256(json.dumps(study, sort_keys=True).encode()).hexdigest()


def wait_for_some(kind: str, out: pathlib.Path, process: "subprocess.Popen[bytes]") -> None:
    """Waits until a round, or a job, is done and the next one has begun."""
    while process.poll() is None:
        done = (out / "rounds.jsonl").read_text().count("\n") > 1 if (out / "rounds.jsonl").exists() else False
        if done or len(list(out.glob("jobs/*.npz"))) > 1:
            break
        time.sleep(0.05)
    time.sleep(1.0 if kind == "run" else 0.3)


def rounds(folder: pathlib.Path) -> dict[str, Any]:
    """Times rounds of W2 and W4 in pairs; both runtimes have two lanes and the same rounds."""
    del folder
    from fedmed.data.clients import prepare
    from fedmed.engine.federation import Federation
    from fedmed.engine.runtimes.starting import working

    found = {}
    for workload, pairs in (("W2", FLAGS.pairs), ("W4", 20 * FLAGS.pairs)):
        own = dataclasses.replace(workloads.settings(workload), runtime=config.Runtime("local", 2))
        other = dataclasses.replace(own, runtime=_RAY)
        clients = prepare(own)
        with working(other, None) as crew, contextlib.ExitStack() as stack:
            both = [
                stack.enter_context(contextlib.closing(Federation(s, clients.dataset, clients.train, worker=worker)))
                for s, worker in ((own, None), (other, crew))
            ]
            for federation in both:
                federation.round(federation.start())
            seconds = np.array([_pair(both, number) for number in range(pairs)])
        ratios = seconds[:, 1] / seconds[:, 0]
        found[workload] = {
            "pairs": pairs,
            "here": float(np.median(seconds[:, 0])),
            "ray": float(np.median(seconds[:, 1])),
            "ratio": float(np.median(ratios)),
            "quartiles": [float(q) for q in np.quantile(ratios, [0.25, 0.75])],
            "load": os.getloadavg()[0],
        }
        print(workload, found[workload], flush=True)
    return found


def _pair(both: Sequence[Any], number: int) -> list[float]:
    seconds = [0.0, 0.0]
    for place in (0, 1) if number % 2 else (1, 0):
        federation = both[place]
        seconds[place] = federation.round(federation.start()._replace(round=number)).seconds
    return seconds


def study(folder: pathlib.Path) -> dict[str, Any]:
    """Times studies in pairs: short ones, in which Ray's start tells, longer ones, and the README's."""
    own = config.parse(_STUDY)
    timed = {f"10 models of {rounds} rounds": dataclasses.replace(own, rounds=rounds) for rounds in (240, 720)}
    timed["the README's study"] = config.load(_README_STUDY)
    return {"studies": {name: _pairs(folder / str(k), name, timed[name]) for k, name in enumerate(timed)}}


def _pairs(folder: pathlib.Path, told: str, settings: config.RunConfig) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"pool": [], "ray": []}
    ends = set()
    folder.mkdir()
    for number in range(FLAGS.studies):
        for name in ("pool", "ray") if number % 2 else ("ray", "pool"):
            runtime = config.Runtime("ray" if name == "ray" else "local", 1)
            end, took = ended("study", dataclasses.replace(settings, runtime=runtime), folder / f"{name}-{number}")
            ends.add(end)
            seconds[name].append(took)
            print(f"{told}, on {name}: {took:.1f} s", flush=True)
    ratios = np.array(seconds["ray"]) / np.array(seconds["pool"])
    return {**seconds, "ratio": float(np.median(ratios)), "same": len(ends) == 1, "load": os.getloadavg()[0]}


def kills(folder: pathlib.Path) -> dict[str, Any]:
    """Kills one training process of a study at a random moment, again and again."""
    rng = np.random.default_rng()  # of moments: they are not to be the same when it goes on
    few = {"seeds": 1, "arms": ["federated", "local"], "draws": 100, "reference": False}
    known = json.loads(pathlib.Path(FLAGS.results).read_text()) if pathlib.Path(FLAGS.results).exists() else {}
    found = known.get("kills", {}).get("so far", {})
    short = config.parse({**_STUDY, "rounds": 100, "model": {"name": "logistic_regression"}, "study": few})
    expected, took = ended("study", short, folder / "whole")
    for name, most in (("ray", FLAGS.times), ("pool", -(-FLAGS.times // 2))):
        runtime = config.Runtime("ray" if name == "ray" else "local", 1)
        times, same = found.get(name, {}).get("killed", 0), found.get(name, {}).get("same", 0)
        settings, out = dataclasses.replace(short, runtime=runtime), folder / name
        while times < most:
            with started("study", settings, out) as process:
                while process.poll() is None and not list(out.glob("jobs/*.npz")):
                    time.sleep(0.05)
                time.sleep(float(rng.uniform(0.0, 0.3)) * took)
                hit = _kill_one(process.pid, rng) if process.poll() is None else False
                status = process.wait()
            if hit:
                times += 1
                same += status == 0 and same_part("study", out) == expected
                found[name] = {"killed": times, "same": same}
                files.write_atomically(
                    pathlib.Path(FLAGS.results), json.dumps({**known, "kills": {"so far": found}}, indent=1) + "\n"
                )
                print(name, times, same, flush=True)
            shutil.rmtree(out, ignore_errors=True)
    return found


def _kill_one(pid: int, rng: np.random.Generator) -> bool:
    """Kills one training process below a study's; returns false where there is none."""
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(pid).children(recursive=True)
        training = [
            p for p in below if "RemoteSession" in " ".join(p.cmdline()) or "popen_loky" in " ".join(p.cmdline())
        ]
        if training:
            os.kill(training[rng.integers(len(training))].pid, signal.SIGKILL)
            return True
    return False


def clients(folder: pathlib.Path) -> dict[str, Any]:
    """Writes and trains 20,000 clients of 20 rows, each way in a process of its own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400_000, 20)).astype(np.float32)
    np.savez(folder / "rows.npz", x=x, y=(x.sum(1) > 0).astype(np.int64))
    found = {}
    for name, full in (("a file each", 0), ("shared files", None)):
        words = [sys.executable, "-m", "experiments.many_clients", f"--rows={folder / 'rows.npz'}"]
        ended = subprocess.run([*words, f"--full={-1 if full is None else full}"], capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(ended.stderr[-2000:])
        found[name] = json.loads(ended.stdout.splitlines()[-1])
        print(name, found[name], flush=True)
    return found


PARTS: dict[str, Callable[[pathlib.Path], dict[str, Any]]] = {
    "hosts": hosts, "rounds": rounds, "study": study, "kills": kills, "clients": clients,
}  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Does the parts that are not done, and writes the table."""
    del argv
    quiet.silence()
    programs.check_names("--only", "part", FLAGS.only, PARTS)
    path = pathlib.Path(FLAGS.results)
    programs.check_writable("--results", path.parent)
    known = json.loads(path.read_text()) if path.exists() else {}
    for name in FLAGS.only:
        if name not in known or "so far" in known[name]:
            processor = machine.processor()
            with tempfile.TemporaryDirectory(prefix="fmc-", dir="/tmp") as folder:  # Ray's sockets need a short path
                told = PARTS[name](pathlib.Path(folder))
            known[name] = {**told, "machine": f"{processor.cores} cores, {processor.model}"}
            files.write_atomically(path, json.dumps(known, indent=1) + "\n")
    files.write_atomically(path.with_suffix(".md"), cluster_table.page(known))


if __name__ == "__main__":
    programs.run(main)
