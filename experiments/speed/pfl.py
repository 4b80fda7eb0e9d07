"""Apple's pfl, distributed over processes as its guide shows: one a core, each a `pfl_worker` of this folder."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from experiments.speed import workloads
from fedmed.data import clients
from fedmed.engine import attendance


def prepare(workload: str) -> tuple[Callable[[int], float], Callable[[], None]]:
    """Returns a function that trains round n and returns its mean training loss, and one that cleans up."""
    count = min(os.cpu_count() or 1, _cohort_size(workload))  # a process without a client would hang the others
    addresses = _addresses(count)
    workers = [_start(workload, rank, addresses) for rank in range(count)]

    def run_round(number: int) -> float:
        del number
        for worker in workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        answers = [_answer(worker) for worker in workers]
        return answers[0]["loss"]  # pfl sums metrics over its processes: all say the same

    def close() -> None:
        for worker in workers:
            worker.stdin.close()
        for worker in workers:
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()

    for worker in workers:
        _answer(worker)
    return run_round, close


def _cohort_size(workload: str) -> int:
    settings = workloads.settings(workload)
    return attendance.cohort_size(settings.cohort, len(clients.deal(settings)[1]))


def _addresses(count: int) -> str:
    """Returns an address a process; the first one's is where they meet, so its port must be free."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return ",".join(f"localhost:{free.getsockname()[1] + rank}" for rank in range(count))


def _start(workload: str, rank: int, addresses: str) -> Any:
    environment = {"PFL_WORKER_ADDRESSES": addresses, "PFL_WORKER_RANK": str(rank), "PFL_PYTORCH_DEVICE": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.speed.child", "pfl_worker", workload],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip


def _answer(worker: Any) -> dict[str, Any]:
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"a process of pfl's ended early, with status {worker.wait()}")
    return json.loads(line)
