"""The course of the trials: what is left of each row is tried, and each verdict is kept as it comes."""

import functools
import hashlib
import json
import pathlib
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from experiments.trials import bench, damage, injection, kills, malformed, sentinels, surroundings
from experiments.trials.bench import Place, Row, Verdict
from fedmed.system import errors, files, machine

ROWS: Mapping[str, Row] = {
    row.name: row for module in (kills, damage, surroundings, malformed, sentinels, injection) for row in module.ROWS
}
_FEDMED = pathlib.Path(__file__).parent.parent.parent / "fedmed"


@functools.cache
def _code_of(module: str) -> str:
    """Returns a checksum of fedmed's own lines, and of those of a row's trials."""
    trials = [pathlib.Path(sys.modules[name].__file__ or "") for name in (bench.__name__, module)]
    digest = hashlib.sha256()
    for path in [*sorted(_FEDMED.rglob("*.py")), *trials]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _told(row: Row, seed: int) -> dict[str, Any]:
    """Returns what a row's trials depend on."""
    here = machine.processor()
    return {"seed": seed, "code": _code_of(row.trial.__module__), "machine": f"{here.cores} cores, {here.model}"}


def opened(path: pathlib.Path, seed: int) -> dict[str, Any]:
    """Returns the results so far, by row, less those of another seed or machine, or of code that has changed since.

    Raises:
        UserError: the file holds something else.
    """
    try:
        kept = json.loads(path.read_text()) if path.exists() else {"rows": {}}
        return {
            name: {"of": row["of"], "trials": [(bool(held), str(said), float(s)) for held, said, s in row["trials"]]}
            for name, row in kept["rows"].items()
            if name in ROWS and row["of"] == _told(ROWS[name], seed)
        }
    except (ValueError, AttributeError, TypeError, KeyError):
        raise errors.UserError(f"--results: {str(path)!r} holds no results of this program; choose another") from None


def complete(rows: Iterable[Row], path: pathlib.Path, *, seed: int, times: int | None = None) -> dict[str, Any]:
    """Tries what is left of the rows and returns all results by row; a verdict is in the file once it is known.

    Args:
        rows: which.
        path: the results file.
        seed: of all that is drawn.
        times: at most so many trials a row.
    """
    found = opened(path, seed)
    with tempfile.TemporaryDirectory(prefix="fedmed-trials-") as common:
        for row in rows:
            trials = found.setdefault(row.name, {"of": _told(row, seed), "trials": []})["trials"]
            while len(trials) < min(row.times, times or row.times):
                verdict, seconds = _tried(row, len(trials), pathlib.Path(common), seed)
                trials.append((verdict.held, verdict.said, round(seconds, 2)))
                print(f"{row.name} {len(trials)}: {'held' if verdict.held else 'LOST'}, {verdict.said}", flush=True)
                files.write_atomically(path, json.dumps({"rows": found}, indent=1) + "\n")
    return found


def _tried(row: Row, number: int, common: pathlib.Path, seed: int) -> tuple[Verdict, float]:
    """Returns a trial's verdict and its seconds; whatever it raises is a verdict too."""
    rng = np.random.default_rng([seed, zlib.crc32(row.name.encode()), number])
    folder, began = pathlib.Path(tempfile.mkdtemp(prefix="fedmed-trial-")), time.monotonic()
    try:
        verdict = row.trial(Place(folder, common, rng, number))
    except Exception as error:
        verdict = Verdict(False, f"{type(error).__name__}: {errors.shortened(str(error))}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    said = verdict.said.replace(str(folder), "…").replace(str(common), "…")
    return Verdict(bool(verdict.held), " ".join(said.split())), time.monotonic() - began


def missed(rows: Iterable[Row], found: Mapping[str, Any]) -> list[str]:
    """Returns the names of the rows of which not every trial held."""
    return [row.name for row in rows if not all(held for held, *_ in found[row.name]["trials"])]
