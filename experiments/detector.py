"""How many faults put into clean tables does the detector name, and how often does it cry wolf?

    uv run python -m experiments.detector

The detector was made with an eye on seeds 0 to 11; the table is of seeds from 100 on, which it had not seen. A fault
counts as named when a finding of its kind names its column and, where the fault is one site's, that site.
"""

import collections
import pathlib
import time
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments import faulty_tables, programs
from fedmed.data import faults
from fedmed.data.examples import Dataset, Examples, Feature
from fedmed.system import files

FIRST = 100
"""The first seed; smaller ones are those that the detector was made with."""

FLAGS = flags.FLAGS
flags.DEFINE_integer("draws", 25, "how many times forty faults are drawn", lower_bound=1)
flags.DEFINE_string("results", "experiments/results", "where detector.md is written")


def seconds(rows: int = 100_000, columns: int = 50) -> float:
    """Returns how long a processor is busy with a large table of ten sites."""
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(size=(rows, columns)))
    x[:, ::5] = np.floor(10 * x[:, ::5])
    site = np.array([f"site_{k}" for k in rng.integers(10, size=rows)])
    examples = Examples(x, rng.integers(2, size=rows), site)
    dataset = Dataset("table", examples, "binary", 2, features=tuple(Feature(f"c{k}") for k in range(columns)))
    began = time.process_time()
    faults.found(dataset)
    return time.process_time() - began


def table(draws: int) -> str:
    """Returns the page."""
    lines = ["# Does the detector of data faults see them?", "", "`uv run python -m experiments.detector`", ""]
    first = faulty_tables.faulty(FIRST)
    missed = [put for put in first if not faulty_tables.is_named(put)]
    lines += [f"Forty faults drawn once (seed {FIRST}): {len(first) - len(missed)} of {len(first)} are named.", ""]
    lines += ["| kind | column | site | what was put in | named |", "|---|---|---|---|---|"]
    lines += [f"| {p.kind} | {p.column} | {p.site} | {p.what} | {'no' if p in missed else 'yes'} |" for p in first]
    named, of = collections.Counter(), collections.Counter()
    for seed in range(FIRST, FIRST + draws):
        for put in faulty_tables.faulty(seed):
            of[put.kind] += 1
            named[put.kind] += faulty_tables.is_named(put)
    lines += ["", f"Drawn {draws} times:", "", "| kind | named | of |", "|---|---|---|"]
    lines += [f"| {kind} | {named[kind]} | {of[kind]} |" for kind in of]
    lines += ["", "Tables without a fault, each finding a false alarm:", "", "| table | alarms |", "|---|---|"]
    for name, make in faulty_tables.CLEAN.items():
        told = "; ".join(f"{one.kind}: {one.column}" for one in faults.found(make())) or "none"
        lines.append(f"| {name} | {told} |")
    lines += ["", f"100,000 rows of 50 columns at ten sites take {seconds():.1f} s of one core."]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    del arguments
    files.write_atomically(pathlib.Path(FLAGS.results) / "detector.md", table(FLAGS.draws))


if __name__ == "__main__":
    programs.run(main)
