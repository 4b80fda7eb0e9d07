"""A hospital's part: it answers what the server asks, from its own files.

    python -m fedmed_job.site_part SITE SITE_FILE

says, at the hospital and before anything is sent, whether its files can be used, and what is in each column.
"""

import filecmp
import json
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import job as jobs
from . import shared_sums, site_rows, site_scores
from .job import Array, Column, Job, JobError, Weights
from .shared_sums import Recipe

if TYPE_CHECKING:
    from .core import Trainer


class Message(NamedTuple):
    """What the server asks: "sums", "train" or "score", in a round from 0, by a recipe, with weights that travel."""

    kind: str
    round: int = 0
    recipe: str = ""
    weights: tuple[Array, ...] = ()


class Reply(NamedTuple):
    """What a hospital answers: arrays by name and numbers by name, or, in a line, why it cannot."""

    arrays: dict[str, Array]
    numbers: dict[str, float]
    trouble: str = ""


class SitePart:
    """One hospital; its files are read once.

    Attributes:
        train_rows: that it trains on.
        test_rows: that the model is scored on, or None.
    """

    def __init__(self, job: Job, initial: Weights, site: str, site_file: str | pathlib.Path) -> None:
        """Reads the hospital's files.

        Args:
            job: that was exported.
            initial: weights that it begins with; of them a hospital needs those that nobody changes.
            site: the hospital's name, one of the job's.
            site_file: JSON with `train_csv` and, if it is to be scored there, `test_csv`.

        Raises:
            JobError: something is not there, or cannot be used; one line, without a patient's value.
        """
        if site not in job.sites:
            raise JobError(f"site: {site!r} is none of the job's hospitals: {', '.join(job.sites)}")
        files = _site_file(site, site_file)
        self._job, self._initial, self._number = job, initial, job.sites.index(site)
        self.train_rows = site_rows.rows_of(job, site, files["train_csv"])
        self.test_rows = site_rows.rows_of(job, site, files["test_csv"]) if files.get("test_csv") else None
        self._sums = shared_sums.site_sums(job, self.train_rows)
        shared_sums.check_size(job, self._sums, pathlib.Path(files["train_csv"]).name)
        self._trainer = None

    def answer(self, message: Message) -> Reply:
        """Returns the hospital's answer to what the server asks."""
        if message.kind == "sums":
            return Reply(self._sums, {})
        recipe = shared_sums.own_scale(self._job, Recipe.from_json(message.recipe), self._sums)
        return self._trained(message, recipe) if message.kind == "train" else self._scored(message, recipe)

    def _trained(self, message: Message, recipe: Recipe) -> Reply:
        x, y = self._inputs(recipe, self.train_rows.x), self.train_rows.y
        if self._job.label.standardised:
            y = ((y.astype(np.float64) - recipe.label.mean) / recipe.label.scale).astype(np.float32)
        update, loss = self._made().train(message.weights, x, y, message.round, self._number)
        return Reply({f"w{place}": part for place, part in enumerate(update)}, {"rows": float(len(y)), "loss": loss})

    def _scored(self, message: Message, recipe: Recipe) -> Reply:
        if self.test_rows is None:
            return Reply({}, {})
        predicted = self._predicted(message.weights, recipe, self.test_rows.x)
        return Reply({}, site_scores.scores(self._job, self.test_rows.y, predicted))

    def predictions(self, weights: Sequence[Array], recipe: str, x: Array) -> Array:
        """Returns what a trained model says of rows: probabilities, or amounts in the files' units.

        Args:
            weights: that the job has left, those that travel.
            recipe: that it has left, as JSON.
            x: of rows, see `site_rows.columns_of`.
        """
        return self._predicted(weights, shared_sums.own_scale(self._job, Recipe.from_json(recipe), self._sums), x)

    def _predicted(self, weights: Sequence[Array], recipe: Recipe, x: Array) -> Array:
        trainer = self._made()
        trainer.assign(weights)
        predicted = trainer.predict(self._inputs(recipe, x))
        if self._job.label.standardised:
            return predicted * recipe.label.scale + recipe.label.mean
        return predicted

    def _inputs(self, recipe: Recipe, x: Array) -> Array:
        return shared_sums.applied(self._job, recipe, x)

    def _made(self) -> "Trainer":
        if self._trainer is None:
            from . import core  # TensorFlow takes seconds, and sums need none of it

            self._trainer = core.Trainer(self._job, self._initial)
        return self._trainer


def answered(part: Callable[[], SitePart], message: Message) -> Reply:
    """Returns a hospital's answer, or why there is none.

    Of an error that is not the job's own only the kind is told: a library's message may quote a row, and what is
    raised or logged here a framework may send to the server.

    Args:
        part: returns the hospital's part, made at the first question.
        message: what the server asks.
    """
    try:
        return part().answer(message)
    except JobError as error:
        return Reply({}, {}, str(error))
    except Exception as error:
        return Reply({}, {}, f"{type(error).__name__} at {message.kind!r}; rehearse with files like these to see more")


def _site_file(site: str, path: str | pathlib.Path) -> dict[str, str]:
    """Returns what the hospital has filled in; {site} in the path stands for its name."""
    file = pathlib.Path(str(path).replace("{site}", site)).expanduser()
    if not file.is_file():
        raise JobError(f"site file: there is no file {file.name!r} where it was said to be")
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError:
        raise JobError(f"site file: {file.name!r} is no JSON") from None
    if not isinstance(found, dict) or not found.get("train_csv") or not all(isinstance(v, str) for v in found.values()):
        raise JobError(f'site file: {file.name!r} must hold "train_csv" and may hold "test_csv", paths in quotes')
    if unknown := sorted(set(found) - {"train_csv", "test_csv"}):
        raise JobError(f"site file: {file.name!r}: unknown {unknown[0]!r}; allowed: train_csv, test_csv")
    if open_ := [name for name, value in found.items() if str(value).startswith("<")]:
        raise JobError(f"site file: {file.name!r}: fill in {open_[0]!r}")
    paths = {name: str(file.parent / pathlib.Path(value).expanduser()) for name, value in found.items() if value}
    if len(set(paths.values())) < len(paths):
        raise JobError(f"site file: {file.name!r}: train_csv and test_csv are the same file; test rows are others")
    if "test_csv" in paths and _hold_the_same(paths["train_csv"], paths["test_csv"]):
        raise JobError(f"site file: {file.name!r}: train_csv and test_csv hold the same rows; test rows are others")
    return paths


def _hold_the_same(one: str, other: str) -> bool:
    return os.path.isfile(one) and os.path.isfile(other) and filecmp.cmp(one, other, shallow=False)


def main(words: list[str]) -> int:
    """Says whether a hospital's files can be used; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(words) != 2:
        logging.error("usage: python -m fedmed_job.site_part SITE SITE_FILE")
        return 2
    return status_of(words[0], lambda: _check(*words))


def status_of(site: str, action: Callable[[], None]) -> int:
    """Does what a hospital has asked for; returns 0, or 2 once a line has said what is wrong."""
    try:
        action()
    except JobError as error:
        logging.error("%s", error)
        return 2
    except Exception as error:  # its message may quote a row
        logging.error("%s: the files cannot be used (%s)", site, type(error).__name__)
        return 2
    return 0


def _check(site: str, site_file: str) -> None:
    job = jobs.load()
    part = SitePart(job, jobs.initial_weights(), site, site_file)
    for column, values in zip(job.columns, part.train_rows.x.T, strict=True):
        logging.info("  %s: %s", column.name, _described(job, column, values))
    logging.info("  %s, the outcome: %s", job.label.name, _outcomes(job, part.train_rows.y))
    test = 0 if part.test_rows is None else len(part.test_rows.y)
    told = f"{len(part.train_rows.y)} training rows, {test} test rows, {len(job.columns)} columns"
    logging.info("%s: %s; ready", site, told)


def _described(job: Job, column: Column, values: Array) -> str:
    """Says for the hospital's own eyes what its training rows hold, as the job understands them."""
    here = values[~np.isnan(values)]
    if len(here) < job.minimum:
        return f"fewer than {job.minimum} values"
    told = f"{len(here)} values, {len(values) - len(here)} missing"
    return told if column.levels else f"{told}, mean {here.mean():.4g}"


def _outcomes(job: Job, y: Array) -> str:
    """Says how many training rows have which outcome, or the mean of amounts and counts."""
    if not job.label.classes:
        return f"{len(y)} values, mean {y.mean():.4g}"
    counts = np.bincount(y, minlength=len(job.label.classes))
    told = [str(count) if count >= job.minimum else f"fewer than {job.minimum}" for count in counts]
    return ", ".join(f"{name!r} in {count}" for name, count in zip(job.label.classes, told, strict=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
