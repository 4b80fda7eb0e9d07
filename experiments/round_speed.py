"""Times a round of federated training: fedmed, TFF's own library, and a hand-written TensorFlow loop, side by side.

    uv run python -m experiments.round_speed --workloads=W1,W2,W3,W4 --rounds=5 --json=speed.json

With --peers also Flower and pfl, from an environment of their own (experiments/speed/PEERS.md says how to make it).

Each contender lives in a process of its own and trains one round in turn, so that a machine that slows down slows all.
The first round (it compiles) is reported as start-up, not as a round. Figures are medians. Peak memory is the sum, over
a contender's processes, of the highest resident memory that the kernel noted for each; nothing polls while rounds run.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import psutil
from absl import flags

from experiments import programs
from experiments.speed import workloads
from fedmed.system import errors, files, machine, quiet

CONTENDERS = ("fedmed", "fedmed_tff", "tff", "handwritten")
PEERS = ("flower", "pfl")
FLAGS = flags.FLAGS
flags.DEFINE_list("workloads", ["W1", "W2", "W3", "W4"], "which workloads: W1, W2, W3, W4")
flags.DEFINE_list("contenders", list(CONTENDERS), f"which contenders: {', '.join(CONTENDERS + PEERS)}")
flags.DEFINE_integer("rounds", 5, "timed rounds of each contender", lower_bound=1)
flags.DEFINE_string("json", None, "also write the results to this file")
flags.DEFINE_bool("peers", False, "also time Flower and pfl: see experiments/speed/PEERS.md")
flags.DEFINE_string("peers_python", "~/.cache/fedmed-peers/bin/python", "the Python of the peers' environment")


@flags.multi_flags_validator(
    ["contenders", "peers", "peers_python"],
    "no Python at --peers_python; make one by `uv venv --python 3.11 ~/.cache/fedmed-peers && uv pip install --python "
    "~/.cache/fedmed-peers/bin/python -r experiments/speed/peers.txt` (experiments/speed/PEERS.md)",
)
def _has_peers(values: dict[str, Any]) -> bool:
    """Tells whether the peers' Python is there, should it be needed."""
    needed = values["peers"] or any(name in PEERS for name in values["contenders"] or [])
    return not needed or _peers_python(values["peers_python"]).is_file()


def _peers_python(given: str) -> pathlib.Path:
    return pathlib.Path(given).expanduser().absolute()  # not resolved: a link's own folder makes the environment


class Contender:
    """A contender's process, and the peak memory of it and its children."""

    def __init__(self, name: str, workload: str, python: str = sys.executable) -> None:
        self.name = name
        self._began = time.perf_counter()
        root = pathlib.Path(__file__).resolve().parents[1]
        self._complaints = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (open as long as the process)
        self._process = subprocess.Popen(
            [python, "-m", "experiments.speed.child", name, workload],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True, cwd=root,
        )  # fmt: skip
        self.peak_mb = 0.0
        self.memory_mb: list[float] = []
        self.seconds: list[float] = []
        self.start_to_first_round = 0.0

    def start(self) -> None:
        """Waits until the contender is ready and trains its first round, which compiles."""
        self._answer()
        self.round()
        self.start_to_first_round = time.perf_counter() - self._began

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise errors.UserError(f"{self.name} ended early: {self._last_complaint()}")
        return json.loads(line)

    def round(self) -> float:
        """Trains one round; returns its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.loss = answer["loss"]
        return answer["seconds"]

    def _last_complaint(self) -> str:
        self._complaints.seek(0)
        lines = [line.strip() for line in self._complaints if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def note_memory(self) -> None:
        """Notes the resident memory of the process and its children, in MB, and their peak."""
        processes = [psutil.Process(self._process.pid)]
        processes += processes[0].children(recursive=True)
        self.memory_mb.append(round(sum(_memory(p.pid, "VmRSS") for p in processes), 1))
        self.peak_mb = max(self.peak_mb, sum(_memory(p.pid, "VmHWM") for p in processes))

    def close(self) -> None:
        """Ends the process and its children."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._complaints.close()


def _memory(pid: int, field: str) -> float:
    """Returns what the kernel notes of a process in /proc, in MB; 0 when it is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 / 1e6


def measure(workload: str, names: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """Times the contenders on a workload, a round each in turn."""
    rows, cohort = _size(workload)
    running: list[Contender] = []
    try:
        for name in names:
            running.append(Contender(name, workload, _python(name)))
            running[-1].start()  # one after the other, so that start-up is measured on a quiet machine
        for _ in range(rounds):
            for contender in running:
                contender.seconds.append(contender.round())
                contender.note_memory()
    finally:
        for contender in running:
            contender.close()
    return [_result(workload, contender, rows, cohort) for contender in running]


def _python(name: str) -> str:
    return str(_peers_python(FLAGS.peers_python)) if name in PEERS else sys.executable


def _size(workload: str) -> tuple[int, int]:
    """Returns how many rows a round trains on, and how many clients take part."""
    return {"W1": (60_000, 10), "W2": (6_000, 10), "W3": (20_000, 1_000), "W4": (3 * 20 * 32, 3)}[workload]


def _result(workload: str, contender: Contender, rows: int, cohort: int) -> dict[str, Any]:
    median = statistics.median(contender.seconds)
    return {
        "workload": workload,
        "contender": contender.name,
        "seconds_per_round": median,
        "seconds": contender.seconds,
        "examples_per_second": rows / median,
        "ms_per_client": 1000 * median / cohort,
        "peak_memory_mb": contender.peak_mb,
        "memory_mb": contender.memory_mb,
        "start_to_first_round": contender.start_to_first_round,
        "last_loss": contender.loss,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Returns the results of one workload as text, with ratios to the hand-written loop and to TFF's library."""
    by_name = {result["contender"]: result for result in results}
    heads = ("s/round", "examples/s", "ms/client", "peak MB", "start s", "x hand", "x TFF")
    widths = (8, 11, 10, 8, 8, 7, 6)
    lines = [" " * 12 + "".join(f" {head:>{width}}" for head, width in zip(heads, widths, strict=True))]
    for name, r in by_name.items():
        ratios = [
            f"{r['seconds_per_round'] / by_name[other]['seconds_per_round']:.2f}" if other in by_name else "-"
            for other in ("handwritten", "tff")
        ]
        lines.append(
            f"{name:12} {r['seconds_per_round']:8.3f} {r['examples_per_second']:11,.0f} {r['ms_per_client']:10.2f} "
            f"{r['peak_memory_mb']:8.0f} {r['start_to_first_round']:8.1f} {ratios[0]:>7} {ratios[1]:>6}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    del argv
    programs.check_names("--workloads", "workload", FLAGS.workloads, workloads.WHAT)
    programs.check_names("--contenders", "contender", FLAGS.contenders, (*CONTENDERS, *PEERS))
    if FLAGS.json:
        programs.check_writable("--json", pathlib.Path(FLAGS.json).parent)
    results: list[dict[str, Any]] = []
    quiet.silence()  # here too, so that what is recorded is what the contenders inherit
    print(_words(processor := machine.processor()), flush=True)
    names = list(dict.fromkeys([*FLAGS.contenders, *(PEERS if FLAGS.peers else ())]))
    for workload in FLAGS.workloads:
        print(f"\n{workload}: {workloads.WHAT[workload]}", flush=True)
        found = measure(workload, names, FLAGS.rounds)
        print(table(found), flush=True)
        results += found
        if FLAGS.json:  # after each workload, since the next one takes minutes
            told = {"machine": _machine(processor), "results": results}
            files.write_atomically(pathlib.Path(FLAGS.json), json.dumps(told, indent=2))


# Variables that change which kernels run, or on how many threads.
_KERNELS = (
    "TF_ENABLE_",
    "TF_DISABLE_",
    "TF_NUM_",
    "TF_XLA_",
    "OMP_",
    "KMP_",
    "MKL_",
    "ONEDNN_",
    "DNNL_",
    "XLA_",
    "MALLOC_",
    "LD_PRELOAD",
)


def _machine(processor: machine.Processor) -> dict[str, Any]:
    """Returns what figures depend on besides the programs."""
    environment = {name: value for name, value in sorted(os.environ.items()) if name.startswith(_KERNELS)}
    return {
        "processor": processor.model,
        "cores": processor.cores,
        "instructions": processor.instructions,
        "onednn": environment.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's choice"),
        "environment": environment,
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _words(processor: machine.Processor) -> str:
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's choice")
    return f"{processor.model}, {processor.cores} cores, {' '.join(processor.instructions)}; oneDNN: {onednn}"


if __name__ == "__main__":
    programs.run(main)
