"""Does a study's first screen hold what it promises? Measured where truth is known: on synthetic hospitals.

    python -m experiments.coverage --studies=40
    python -m experiments.coverage --models=regression --studies=100
    python -m experiments.coverage --models=regression --studies=100 --anew
    python -m experiments.coverage --summarise

Each study has patients of its own, at hospitals that differ not at all or fully (severity 0 and 1), three or six of
them; with --anew, hospitals of its own too. What is judged is what the study's own functions tell. Models are
regressions that take no time (--models) or those that fedmed trains. Studies that are done are kept in --work and not
repeated; --summarise writes the tables of what is there, of both kinds of models.
"""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags

from experiments import programs
from experiments.simulated import populations, tables
from experiments.simulated.hospitals import Cell, WithFresh
from experiments.simulated.judged import StudyJudged, judged
from experiments.simulated.tallies import by_cell
from experiments.simulated.training import MODELS, trained
from fedmed.settings import config
from fedmed.system import files, machine, plain, quiet

quiet.silence()

CELLS = tuple(Cell(severity, hospitals) for severity, hospitals in itertools.product((0.0, 1.0), (3, 6)))
ANEW = tuple(dataclasses.replace(cell, anew=True) for cell in CELLS)
SEEDS, MARGIN, PATIENTS = 5, 0.02, 0.5
_MOST = 1000  # studies of a cell that are looked for

FLAGS = flags.FLAGS
flags.DEFINE_integer("studies", 40, "how many simulated studies of each cell", lower_bound=1)
flags.DEFINE_integer("fresh", 20_000, "fresh patients of each hospital", lower_bound=1000)
flags.DEFINE_enum("models", "fedmed", MODELS, "what is trained")
flags.DEFINE_boolean("anew", False, "each study has hospitals of its own")
flags.DEFINE_boolean("summarise", False, "writes the tables of the studies that are done, and does no more")
flags.DEFINE_integer("processes", 0, "studies at a time; 0 is one a core", lower_bound=0)
flags.DEFINE_string("config", "configs/diabetes_three_hospitals.toml", "the model and how it is trained")
flags.DEFINE_string("work", "runs/coverage", "where finished studies are kept")
flags.DEFINE_string("results", "experiments/results", "where the tables are written")


class Simulation(NamedTuple):
    """One simulated study and the file of its result."""

    cell: Cell
    number: int
    config: str
    models: str
    fresh: int
    path: pathlib.Path


def settings_of(path: str, cell: Cell, number: int) -> config.RunConfig:
    """Returns a study's settings: quick to train, and no two studies share a patient or a seed."""
    hospitals = f"hospitals={cell.hospitals}, severity={cell.severity}, anew={str(cell.anew).lower()}"
    args = f"{{{hospitals}, patients={PATIENTS}, replicate={number}}}"
    overrides = [
        'plugins=["experiments.simulated.hospitals"]',
        f"seed={1000 * (number + 1)}",
        'data.name="diabetes_again"',
        f"data.args={args}",
        "data.harmonise=[]",
        "rounds=10",
        "model.args={hidden=[16], l2=0.001}",
        "client.learning_rate=0.1",
        "evaluation.every=100000",
        f"study.seeds={SEEDS}",
        f"study.margin={MARGIN}",
        'study.arms=["federated","local"]',
    ]
    return config.load(path, overrides)


def simulate(one: Simulation) -> pathlib.Path:
    """Runs a simulated study, or finds it done, and returns its file."""
    if not one.path.exists():
        settings = settings_of(one.config, one.cell, one.number)
        outcomes = trained(WithFresh(settings, one.fresh), settings, one.models)
        found = judged(one.cell, one.number, outcomes, settings)
        files.write_atomically(one.path, json.dumps(plain.to_plain(found), indent=1, allow_nan=False))
    return one.path


def simulations(
    path: str, models: str, fresh: int, work: pathlib.Path, studies: int, cells: Sequence[Cell]
) -> list[Simulation]:
    """Returns the studies, number by number, so that cells fill alike."""
    return [
        Simulation(cell, n, path, models, fresh, work / f"{models}_{_key(path, cell, fresh)}_{n:03d}.json")
        for n in range(studies)
        for cell in cells
    ]


def _key(path: str, cell: Cell, fresh: int) -> str:
    """Returns a hash of what a simulated study depends on, so that another's are not taken for it."""
    told = [config.to_tree(settings_of(path, cell, 0)), fresh, machine.versions()]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def report(done: dict[str, list[StudyJudged]], fresh: int) -> tuple[str, dict[str, Any]]:
    """Returns the page and its numbers."""
    same = {models: [one for one in studies if not one.anew] for models, studies in done.items()}
    anew = {models: [one for one in studies if one.anew] for models, studies in done.items()}
    found = {models: by_cell(studies) for models, studies in same.items() if studies}
    drawn = {models: populations.by_cell(studies) for models, studies in anew.items() if studies}
    lines = ["# Does the first screen hold what it promises?", "", _ABOUT.format(seeds=SEEDS, fresh=fresh), ""]
    for models, cells in found.items():
        lines += tables.markdown(_TITLES[models], cells)
    for models, cells in drawn.items():
        lines += tables.of_populations(_TITLES[models], cells)
    told = {
        "made_by": _MADE_BY,
        "processor": machine.processor()._asdict(),
        "versions": machine.versions(),
        "seeds": SEEDS,
        "seeds_of_study_n": "1000 (n + 1) and those that follow it; patients are replicate n",
        "fresh": fresh,
    }
    numbers = {models: {**found.get(models, {}), **drawn.get(models, {})} for models in (*found, *drawn)}
    return "\n".join(lines).rstrip() + "\n", {**told, **plain.to_plain(numbers)}


_MADE_BY = (
    "python -m experiments.coverage --models=fedmed",
    "python -m experiments.coverage --models=regression --studies=100",
    "python -m experiments.coverage --models=regression --studies=100 --anew",
)
_ABOUT = """\
Simulated studies of {seeds} seeds, each with patients of its own, and {fresh:,} fresh patients of each hospital for
the truth. Made by `python -m experiments.coverage`, the same with `--models=regression --studies=100`, and that with
`--anew`, as far as they have come; every number is in coverage.json.

Two truths stand beside each interval. The *expected* one is of models trained on as many patients of these
hospitals, over training sets and seeds, found as the mean truth over the studies of a cell: a difference promises
it. The *own models'* truth is what the mean over the study's seeds is on fresh patients, given the patients that
happened to be trained on: observed / expected (O/E) promises it.

Two of these intervals are wider than the truth beside them asks for. O/E's: splits are stratified, so a hospital's
training rows have the events of its tested ones, and its models are right about them more often than about others.
With five splits an interval that allows for chance in the tested patients holds too often, with twenty it is right
(tests/test_statistics_coverage.py). And the consortium's mean: it is of *hospitals such as these*, while here each
study has the very same ones. It is judged where hospitals are drawn anew in each study, at the end of the page, and
is more careful than it must be for those of the study."""
_TITLES = {
    "fedmed": "Networks of 16 units that fedmed trains, 10 rounds",
    "regression": "Logistic regressions: all hospitals' rows in one place against each hospital's own",
}


def _done(work: pathlib.Path, studies: int) -> dict[str, list[StudyJudged]]:
    found = {}
    for models in MODELS:
        paths = [one.path for one in simulations(FLAGS.config, models, FLAGS.fresh, work, studies, (*CELLS, *ANEW))]
        found[models] = [plain.from_plain(StudyJudged, json.loads(path.read_text())) for path in paths if path.exists()]
    return found


def main(argv: Sequence[str]) -> None:
    """Runs the studies that are not done and writes the tables."""
    del argv
    work, results = pathlib.Path(FLAGS.work), pathlib.Path(FLAGS.results)
    programs.check_writable("--work", work)
    programs.check_writable("--results", results)
    if not FLAGS.summarise:
        todo = simulations(FLAGS.config, FLAGS.models, FLAGS.fresh, work, FLAGS.studies, ANEW if FLAGS.anew else CELLS)
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(FLAGS.processes or os.cpu_count(), spawn) as processes:
            list(processes.map(simulate, todo))
    page, numbers = report(_done(work, _MOST), FLAGS.fresh)
    files.write_atomically(results / "coverage.json", json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    files.write_atomically(results / "coverage.md", page)
    print(page)


if __name__ == "__main__":
    programs.run(main)
