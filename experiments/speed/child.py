"""Runs one contender: says when it is ready, then trains a round for each line it reads, and tells the seconds."""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable

from fedmed.system import quiet

_BEGAN = time.perf_counter()


def main(contender: str, workload: str) -> None:
    """Speaks JSON lines on a copy of standard output; whatever a library prints goes to standard error."""
    quiet.silence()  # for every contender, so that all of TensorFlow's get the same kernels
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module = importlib.import_module(f"experiments.speed.{contender}")
    run_round: Callable[[int], float]
    run_round, close = module.prepare(workload)
    answers.write(json.dumps({"ready": time.perf_counter() - _BEGAN}) + "\n")
    for number, _ in enumerate(sys.stdin):
        began = time.perf_counter()
        loss = run_round(number)
        answers.write(json.dumps({"seconds": time.perf_counter() - began, "loss": loss}) + "\n")
    close()


if __name__ == "__main__":
    main(*sys.argv[1:])
