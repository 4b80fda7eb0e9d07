"""What the trained model says of a hospital's patients, whose outcome need not be known.

    python -m fedmed_job.predict SITE SITE_FILE RESULTS ROWS OUT

RESULTS is the folder with `weights.npz` and `results.json` that the job has left, ROWS a CSV like the training rows,
OUT the CSV to be made, which must not be there yet: a line for each of ROWS, in order. SITE and SITE_FILE say how the
hospital's numbers are meant; its training rows must be where they were.
"""

import json
import logging
import os
import pathlib
import sys
import zipfile

import numpy as np

from . import job as jobs
from . import site_rows
from .job import Array, Job, JobError
from .site_part import SitePart, status_of

_PRIVATE = 0o600  # it tells of patients


def main(words: list[str]) -> int:
    """Writes the predictions; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(words) != 5:
        logging.error("usage: python -m fedmed_job.predict SITE SITE_FILE RESULTS ROWS OUT")
        return 2
    return status_of(words[0], lambda: _predict(*words))


def _predict(site: str, site_file: str, results: str, rows: str, out: str) -> None:
    if os.path.lexists(out):
        raise JobError(f"{pathlib.Path(out).name}: it is there already; name a new file for what is predicted")
    job = jobs.load()
    weights, recipe = left_in(pathlib.Path(results))
    part = SitePart(job, jobs.initial_weights(), site, site_file)
    predicted = part.predictions(weights, recipe, site_rows.columns_of(job, site, rows))
    if not np.isfinite(predicted).all():
        raise JobError(
            f"{pathlib.Path(rows).name}: for some rows the model gives no number: their values are too large"
        )
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w", encoding="utf-8") as file:
            file.write(written(job, predicted))
    except OSError as error:
        raise JobError(f"{pathlib.Path(out).name}: it cannot be written ({error.strerror})") from None


def left_in(results: pathlib.Path) -> tuple[list[Array], str]:
    """Returns the weights and the recipe of a folder of results; JobError where it is none."""
    try:
        told = json.loads((results / "results.json").read_text(encoding="utf-8"))
        return jobs.unpacked((results / "weights.npz").read_bytes()).sent, json.dumps(told["recipe"])
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        raise JobError(f"{results.name}: it has no weights.npz and results.json of a job") from None


def written(job: Job, predicted: Array) -> str:
    """Returns a CSV: the probability of the second class or of each, or the expected amount or count."""
    if job.task == "multiclass":
        names = [f"probability_of_{name}" for name in job.label.classes]
    else:
        names = [f"probability_of_{job.label.classes[1]}" if job.label.classes else f"expected_{job.label.name}"]
    lines = [",".join(f"{value:.6g}" for value in np.atleast_1d(row)) for row in predicted]
    return "\n".join([",".join(names), *lines, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
