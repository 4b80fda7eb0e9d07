"""Kills a run, and a study, at random moments and goes on with them: do they end with the same bits?

    uv run python -m experiments.kills --times=20

The run is of SCAFFOLD, whose clients keep something, with drop-outs; the study has the same in its federated arm. Each
is first left alone, to know the end and how long it takes. Then it is ended by SIGKILL at a random moment, which no
program can prepare for, and the same command goes on, until it ends. A run must then have the same weights and the same
records but for clocks; a study the same study.json, byte for byte. A moment at which it had already ended does not
count, and another is drawn.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments import programs
from fedmed.settings import config
from fedmed.system import files, machine

FLAGS = flags.FLAGS
flags.DEFINE_list("kinds", ["run", "study"], "what is killed: run, study")
flags.DEFINE_integer("times", 20, "how often each is killed", lower_bound=1)
flags.DEFINE_integer("seed", 0, "of the moments")
flags.DEFINE_string("results", "experiments/results/kills.md", "the table")

_SETTINGS: dict[str, Any] = {
    "name": "kills",
    "rounds": 120,
    "data": {"name": "diabetes_ehr", "args": {"patients": 0.3}},
    "model": {"name": "mlp"},
    "client": {"learning_rate": 0.05, "batch_size": 16},
    "algorithm": {"name": "scaffold"},
    "scenario": [{"name": "absent", "chance": 0.3}],
    "checkpoint": {"every": 7},
    "study": {"seeds": 2, "arms": ["federated", "local"], "draws": 100},
}
_CLOCKS = ("seconds", "evaluation_seconds", "memory_mb")


def command(kind: str, path: pathlib.Path, out: pathlib.Path) -> list[str]:
    """Returns the command that starts, or goes on with, a run or a study."""
    resume = ["--resume"] if kind == "run" else []
    return [sys.executable, "-m", "fedmed", kind, str(path), "--out", str(out), "--quiet", *resume]


def digest(kind: str, out: pathlib.Path) -> Any:
    """Returns what has to be the same."""
    if kind == "study":
        return (out / "study.json").read_bytes()
    lines = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    records = [{key: value for key, value in line.items() if key not in _CLOCKS} for line in lines]
    return json.loads((out / "summary.json").read_text())["weights_sha256"], records


def kill(words: Sequence[str], after: float) -> bool:
    """Starts a command and kills it after some seconds; returns false when it had ended before."""
    process = subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def trial(kind: str, folder: pathlib.Path) -> str:
    """Kills a kind as often as asked; returns its row of the table."""
    path = folder / "kills.toml"
    path.write_text(config.dumps(config.parse(_SETTINGS)))
    whole, began = folder / f"{kind}-whole", time.monotonic()
    subprocess.run(command(kind, path, whole), check=True)
    took, expected = time.monotonic() - began, digest(kind, whole)
    rng, same, killed = np.random.default_rng(FLAGS.seed), 0, 0
    out = folder / kind
    while killed < FLAGS.times:
        after = float(rng.uniform(0.3, 1.0)) * took  # before that it imports TensorFlow and has nothing to lose
        if kill(command(kind, path, out), after):
            killed += 1
            subprocess.run(command(kind, path, out), check=True)
            alike = digest(kind, out) == expected
            same += alike
            said = "same" if alike else "OTHER"
            print(f"{kind} {killed}: killed after {after:.1f} of {took:.1f} s, {said}", flush=True)
        shutil.rmtree(out)
    return f"| {kind} | {killed} | {same} of {killed} | {took:.0f} s |"


def main(argv: Sequence[str]) -> None:
    """Runs the trials and writes the table."""
    del argv
    programs.check_names("--kinds", "kind", FLAGS.kinds, ("run", "study"))
    programs.check_writable("--results", pathlib.Path(FLAGS.results).parent)
    with tempfile.TemporaryDirectory() as folder:
        rows = [trial(kind, pathlib.Path(folder)) for kind in FLAGS.kinds]
    processor = machine.processor()
    lines = [
        "# Killed and gone on with",
        "",
        "SCAFFOLD with a share of .3 of the hospitals dropping out of each round, ended by SIGKILL at a random moment",
        "and gone on with by the same command. Made by `uv run python -m experiments.kills`. Same: a run's weights and",
        "records but for clocks, a study's study.json, to the byte.",
        "",
        f"Machine: {processor.cores} cores, {processor.model}.",
        "",
        "| what | killed | same as undisturbed | time undisturbed |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    files.write_atomically(pathlib.Path(FLAGS.results), "\n".join(lines))
    print("\n".join(rows))


if __name__ == "__main__":
    programs.run(main)
