"""Reproduces the MNIST federated-averaging benchmark of McMahan et al. 2017, with seeds and intervals.

    uv run python -m experiments.mnist_benchmark --cells=2nn-iid-C0.1-E1-B10        one cell
    uv run python -m experiments.mnist_benchmark                                    all, in order

For each cell the client learning rate is tuned on seed 0 over a multiplicative grid of 10^(1/3), then of 10^(1/6)
beside the best, as in the paper; the best rate is then run with the other seeds. Rounds are read from the best-so-far
test accuracy, interpolated. Runs are kept in `--out` and resumed where they stopped; finished ones are in the results
file and are not run again.
"""

import json
import math
import os
import pathlib
import platform
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

import fedmed
from experiments import programs
from experiments.mnist_cells import CELLS, Cell
from experiments.mnist_figures import chosen_rate, interval, next_rate, rounds_to_target
from fedmed.system import files

FLAGS = flags.FLAGS
flags.DEFINE_list("cells", [], "which cells, by name; default all in order")
flags.DEFINE_integer("seeds", 3, "how many seeds with the chosen rate", lower_bound=1)
flags.DEFINE_bool("once", False, "only seed 0 with the first rate of each cell; a later call goes on from there")
flags.DEFINE_float("patience", 1.5, "a run may take this many times the paper's rounds", lower_bound=1.0)
flags.DEFINE_string("out", "runs/mnist_benchmark", "where unfinished runs are kept")
flags.DEFINE_string("results", "experiments/results/mnist_benchmark.json", "the results file; a .md lies beside it")

Results = dict[str, Any]
_GUESSING = 0.15  # a model that says the same digit for every image is right for a tenth of them
_UNKNOWN = 400  # rounds that a run may take where the paper has no figure
_ENOUGH = 3  # seeds, with the chosen rate, of a finished cell


def train(cell: Cell, rate: float, seed: int, limit: int, patience: int | None = None) -> dict[str, Any]:
    """Runs, or resumes, one run; returns its curve, rounds to target and seconds."""
    settings = cell.settings(rate, seed, limit, patience)
    out = pathlib.Path(FLAGS.out) / settings["name"]
    began = time.perf_counter()
    fedmed.run(settings, out, resume=(out / "config.toml").exists())
    records = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    curve = [round(record["test"]["pooled"]["accuracy"], 4) for record in records]
    here, recorded = time.perf_counter() - began, sum(r["seconds"] + r["evaluation_seconds"] for r in records)
    shutil.rmtree(out)
    return {
        "rate": rate,
        "seed": seed,
        "processor": _processor(),
        "rounds": rounds_to_target(curve, cell.target),
        "limit": len(curve) - 1,
        "curve": curve,
        "wall_seconds": round(max(here, recorded), 1),  # a run that was resumed took longer than this part of it
        "training_seconds": round(sum(record["seconds"] for record in records), 1),
    }


def complete(cell: Cell, results: Results) -> None:
    """Tunes the rate on seed 0, then runs the other seeds; what the results hold already is not run again."""
    limit = _UNKNOWN if cell.paper is None else round(FLAGS.patience * cell.paper) + 2
    if FLAGS.once:
        _once(cell, cell.rates[len(cell.rates) // 2], 0, limit, results)
        return
    rate = _tuned_rate(cell, limit, results)
    if rate is None:
        return
    for seed in range(1, FLAGS.seeds):
        _once(cell, rate, seed, limit, results)


def _tuned_rate(cell: Cell, limit: int, results: Results) -> float | None:
    """Tries the cell's rates on seed 0, the grid's next while the best is at its edge, then the half steps beside it.

    Half steps go up first: a rate too high shows soon, and the paper's best ones are high.
    """
    rates = sorted(cell.rates)
    middle = rates[len(rates) // 2]
    while True:
        # From the middle outwards: the sooner a good rate is known, the shorter the runs of the others.
        for rate in sorted(rates, key=lambda rate: abs(math.log(rate / middle))):
            _try(cell, rate, limit, results)
        best = chosen_rate([run for run in _runs(results, cell) if run["rate"] in rates])
        if best is None:
            return None
        if best == rates[-1]:
            rates.append(next_rate(best, 2))
        elif best == rates[0]:
            rates.insert(0, next_rate(best, -2))
        else:
            break
    for sixths in (1, -1):
        _try(cell, next_rate(best, sixths), limit, results)
    return chosen_rate(_runs(results, cell))


def _try(cell: Cell, rate: float, limit: int, results: Results) -> None:
    """Runs a rate on seed 0, no longer than the best one took: it would not be the best then.

    Nor need a rate go on that has not improved for some time.
    """
    reached = [run["rounds"] for run in _runs(results, cell) if run["rounds"] and run["seed"] == 0]
    here = min([limit, *(int(best) + 1 for best in reached)])
    _once(cell, rate, 0, here, results, 5 + here // 10 if reached else None)


def _once(cell: Cell, rate: float, seed: int, limit: int, results: Results, patience: int | None = None) -> None:
    if any(run["rate"] == rate and run["seed"] == seed for run in _runs(results, cell)):
        return
    run = train(cell, rate, seed, limit, patience)
    print(f"{cell.name} rate {rate:g} seed {seed}: {_said(run)} in {run['wall_seconds']:.0f} s", flush=True)
    results["cells"].setdefault(cell.name, []).append(run)
    write(results)


def _said(run: Mapping[str, Any]) -> str:
    best = max(run["curve"])
    return f"{run['rounds']:.1f} rounds" if run["rounds"] else f"not within {run['limit']} rounds (best {best:.4f})"


def _runs(results: Results, cell: Cell) -> list[dict[str, Any]]:
    return results["cells"].get(cell.name, [])


def markdown(results: Results) -> str:
    """Returns the table beside the paper's."""
    machine = results["machine"]
    runs = [run for cell in CELLS for run in _runs(results, cell)]
    processors = sorted({run.get("processor", machine["processor"]) for run in runs} or {machine["processor"]})
    lines = [
        "# MNIST: rounds to a test accuracy",
        "",
        "McMahan et al. 2017 (arXiv 1602.05629): 2NN to 97 %, CNN to 99 %, 100 clients. Made by",
        "`uv run python -m experiments.mnist_benchmark`; every run's curve is in "
        f"`{pathlib.Path(FLAGS.results).name}`.",
        f"Machine: {machine['cores']} cores, {' or '.join(processors)}, no GPU.",
        "Mean over seeds with a 95 % t interval; seed 0 also chose the rate.",
        "Minutes are of machines that did other work too, and count pauses.",
        "",
        "| cell | paper | fedmed: rounds | 95 % interval | rate | rounds of each seed | minutes | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_row(cell, _runs(results, cell)) for cell in CELLS if _runs(results, cell)), ""])


def _row(cell: Cell, runs: Sequence[Mapping[str, Any]]) -> str:
    minutes = f"{sum(run['wall_seconds'] for run in runs) / 60:.1f}"
    rate = chosen_rate(runs)
    mine = [run for run in runs if run["rate"] == rate]
    values = [run["rounds"] for run in mine if run["rounds"] is not None]
    if not values:
        best = max(max(run["curve"]) for run in runs)
        tried = "not reached so far with rate " + ", ".join(f"{run['rate']:g}" for run in runs)
        return f"| {cell.name} | {cell.paper or '-'} | - (best {best:.4f}) | | | | {minutes} | {tried} |"
    missed = len(mine) - len(values)
    span = interval(values)
    note = f"{missed} of {len(mine)} seeds not within {mine[0]['limit']} rounds" if missed else (
        _beside_the_paper(cell.paper, values, mine, runs)
    )  # fmt: skip
    note = "; ".join(part for part in (note, "unfinished" if len(mine) < _ENOUGH else "") if part)
    shown = "" if span is None else f"{span[0]:.1f} to {span[1]:.1f}"
    each = ", ".join("-" if run["rounds"] is None else f"{run['rounds']:.1f}" for run in mine)
    cells = (cell.name, cell.paper or "-", f"{statistics.fmean(values):.1f}", shown, f"{rate:g}", each, minutes, note)
    return f"| {' | '.join(map(str, cells))} |"


def _beside_the_paper(
    paper: int | None, values: Sequence[float], mine: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> str:
    """Says of a shortfall how near the target the runs were after the paper's rounds, and which rates failed."""
    if paper is None:
        return ""
    if statistics.fmean(values) <= paper:
        return "as the paper or better"
    reached = statistics.fmean(max(run["curve"][: paper + 1]) for run in mine)
    dead = sorted(run["rate"] for run in runs if max(run["curve"][1:]) < _GUESSING)
    why = f"; predicts one class with rate {', '.join(f'{rate:g}' for rate in dead)}" if dead else ""
    return f"slower than the paper: {100 * reached:.2f} % after its {paper} rounds{why}"


def write(results: Results) -> None:
    """Writes the results and the table, each whole or not at all."""
    path = pathlib.Path(FLAGS.results)
    text = json.dumps(results)
    files.write_atomically(path, text.replace('{"rate"', '\n{"rate"') + "\n")
    files.write_atomically(path.with_suffix(".md"), markdown(results))


def load() -> Results:
    """Returns what was run before, or the empty results of this machine."""
    path = pathlib.Path(FLAGS.results)
    if path.exists():
        return json.loads(path.read_text())
    return {"machine": {"cores": os.cpu_count(), "processor": _processor(), "python": platform.python_version()},
            "cells": {}}  # fmt: skip


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if (
        info.exists()
    ) else []  # fmt: skip
    return names[0] if names else platform.processor()


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    del argv
    by_name = {cell.name: cell for cell in CELLS}
    programs.check_names("--cells", "cell", FLAGS.cells, by_name)
    programs.check_writable("--results", pathlib.Path(FLAGS.results).parent)
    results = load()
    for cell in [by_name[name] for name in FLAGS.cells] or CELLS:
        complete(cell, results)
    print(markdown(results))


if __name__ == "__main__":
    programs.run(main)
