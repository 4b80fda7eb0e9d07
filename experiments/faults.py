"""Is nothing lost, whatever befalls a run, a study or their files? Trials, counted.

    uv run python -m experiments.faults
    uv run python -m experiments.faults --rows=malformed,sentinels

Each row of the table is one kind of trouble, tried as often as it says; a trial is a function of the seed and its
number. Finished trials are kept in the results file, and the same command goes on with those that are left. A row
begins anew when the seed, the machine, or a line of fedmed or of its own trials has changed. The exit status is 1 where
a row misses its figure.
"""

import functools
import hashlib
import json
import pathlib
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from fedmed.system import quiet

quiet.silence()

from experiments import programs  # noqa: E402
from experiments.trials import damage, fault_table, injection, kills, malformed, sentinels, surroundings  # noqa: E402
from experiments.trials.bench import Place, Row, Verdict  # noqa: E402
from fedmed.system import errors, files, machine  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_list("rows", [], "which rows, by name; default all")
flags.DEFINE_integer("seed", 0, "of all that is drawn", lower_bound=0)
flags.DEFINE_integer("times", None, "at most so many trials a row; default what each says", lower_bound=1)
flags.DEFINE_string("results", "experiments/results/faults.json", "the results file; a .md lies beside it")

ROWS: Mapping[str, Row] = {
    row.name: row for module in (kills, damage, surroundings, malformed, sentinels, injection) for row in module.ROWS
}
_ROOT = pathlib.Path(__file__).parent.parent


@functools.cache
def _code_of(module: str) -> str:
    """Returns a checksum of fedmed's own lines, and of those of a row's trials."""
    trials = [_ROOT / "experiments" / "trials" / "bench.py", pathlib.Path(sys.modules[module].__file__ or "")]
    digest = hashlib.sha256()
    for path in [*sorted((_ROOT / "fedmed").rglob("*.py")), *trials]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def opened(path: pathlib.Path) -> dict[str, Any]:
    """Returns the results so far, by row, less those of another seed or of code that has changed since."""
    try:
        kept = json.loads(path.read_text()) if path.exists() else {}
        rows = {name: dict(row) for name, row in kept.get("rows", {}).items() if name in ROWS}
    except (ValueError, AttributeError, TypeError):
        raise errors.UserError(f"--results: {str(path)!r} holds no results of this program; choose another") from None
    return {name: row for name, row in rows.items() if row.get("of") == _told(ROWS[name])}


def _told(row: Row) -> dict[str, Any]:
    """Returns what a row's trials depend on."""
    here = machine.processor()
    return {
        "seed": FLAGS.seed,
        "code": _code_of(row.trial.__module__),
        "machine": f"{here.cores} cores, {here.model}",
    }


def tried(row: Row, number: int, common: pathlib.Path) -> tuple[Verdict, float]:
    """Returns a trial's verdict and its seconds; whatever it raises is a verdict too."""
    rng = np.random.default_rng([FLAGS.seed, zlib.crc32(row.name.encode()), number])
    folder, began = pathlib.Path(tempfile.mkdtemp(prefix="fedmed-trial-")), time.monotonic()
    try:
        verdict = row.trial(Place(folder, common, rng, number))
    except Exception as error:
        verdict = Verdict(False, f"{type(error).__name__}: {errors.shortened(str(error))}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    said = verdict.said.replace(str(folder), "…").replace(str(common), "…")
    return Verdict(bool(verdict.held), " ".join(said.split())), time.monotonic() - began


def wanted(row: Row) -> int:
    """Returns how many trials of a row are asked for."""
    return min(row.times, FLAGS.times or row.times)


def main(argv: Sequence[str]) -> None:
    """Runs what is left, keeping each trial as it is done, and writes the table."""
    del argv
    path = pathlib.Path(FLAGS.results)
    programs.check_names("--rows", "row", FLAGS.rows, ROWS)
    programs.check_writable("--results", path.parent)
    chosen, found = [ROWS[name] for name in FLAGS.rows or ROWS], opened(path)
    with tempfile.TemporaryDirectory(prefix="fedmed-trials-") as common:
        for row in chosen:
            trials = found.setdefault(row.name, {"of": _told(row), "trials": []})["trials"]
            while len(trials) < wanted(row):
                verdict, seconds = tried(row, len(trials), pathlib.Path(common))
                trials.append([verdict.held, verdict.said, round(seconds, 2)])
                print(f"{row.name} {len(trials)}: {'held' if verdict.held else 'LOST'}, {verdict.said}", flush=True)
                files.write_atomically(path, json.dumps({"rows": found}, indent=1) + "\n")
    page = fault_table.page(ROWS, found)
    files.write_atomically(path.with_suffix(".md"), page)
    print(page)
    missed = [row.name for row in chosen if not all(held for held, *_ in found[row.name]["trials"])]
    if missed:
        print(f"faults: {', '.join(missed)}: not all held", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    programs.run(main)
