"""Does `fedmed tune` find the rate that a fine grid finds, in a quarter of the time?

    uv run python -m experiments.tuning

Each problem is tuned, and beside it a fine grid is trained with all rounds at the same seeds, on the same validation
patients and by the same number of processes: rates a factor of 1.5 apart over the width with which tuning begins. What
is compared is the loss on validation patients after all rounds. Skewed costs are there in dollars and in cents, which
are the same problem and should give the same model. The best of seventeen losses is partly luck, so the tuned rate and
the grid's best are also trained at seeds that neither was chosen by.
"""

import dataclasses
import json
import math
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments import programs
from fedmed.settings import config
from fedmed.system import files, machine, plain, quiet

quiet.silence()

FLAGS = flags.FLAGS
flags.DEFINE_list("problems", [], "which of the problems; all by default, and those not done are kept as they were")
flags.DEFINE_string("results", "experiments/results", "where the tables are written")

FACTOR = 1.5
_AGAIN = 4  # seeds that nothing was chosen by
_SIZES = (600, 400, 250, 150)
_FEATURES = 5
_TITLE = "# Does tuning find the best learning rate?"


@dataclasses.dataclass(frozen=True)
class Found:
    """What tuning and the fine grid came to on a problem.

    Attributes:
        problem: its name.
        about: what it is.
        measure: of the loss.
        rate: that tuning chose; null where training diverged at every rate.
        loss: of it, on validation patients after all rounds.
        best_rate: of the fine grid.
        best_loss: of it.
        again: mean loss of the tuned rate at seeds that nothing was chosen by; null where nothing was.
        best_again: of the grid's best rate at these seeds.
        rounds: trained by tuning, at all seeds.
        grid_rounds: trained by the fine grid.
        training: seconds of these rounds in tuning, all processes together.
        grid_training: of those in the fine grid.
        seconds: of tuning from its start to its end, with that of processes and what they load.
        grid_seconds: of the fine grid, likewise.
    """

    problem: str
    about: str
    measure: str
    rate: float | None
    loss: float | None
    best_rate: float
    best_loss: float
    again: float | None
    best_again: float
    rounds: int
    grid_rounds: int
    training: float
    grid_training: float
    seconds: float
    grid_seconds: float


@dataclasses.dataclass(frozen=True)
class Problem:
    """A config, how many seeds it is tuned at, and what it is in words."""

    about: str
    settings: Callable[[pathlib.Path], config.RunConfig]
    seeds: int = 2


def _costs(unit: float) -> Callable[[pathlib.Path], config.RunConfig]:
    def settings(folder: pathlib.Path) -> config.RunConfig:
        rng = np.random.default_rng(7)
        x, level, site = _patients(rng)
        dollars = np.exp(7 + 0.5 * level + 0.8 * rng.normal(size=len(x)))
        return _saved(folder, x, unit * dollars, site, "regression")

    return settings


def _counts(folder: pathlib.Path) -> config.RunConfig:
    rng = np.random.default_rng(8)
    x, level, site = _patients(rng)
    return _saved(folder, x, rng.poisson(np.exp(0.6 * level)).astype(float), site, "count")


def _patients(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns features, what they add up to, and the hospital of each patient; hospitals differ in their level."""
    site = np.repeat(np.arange(len(_SIZES)), _SIZES)
    x = rng.normal(size=(len(site), _FEATURES)) + 0.3 * rng.normal(size=(len(_SIZES), _FEATURES))[site]
    return x, x @ rng.normal(size=_FEATURES) / 2 + 0.2 * site, np.array([f"hospital_{place}" for place in site])


def _saved(folder: pathlib.Path, x: np.ndarray, y: np.ndarray, site: np.ndarray, task: str) -> config.RunConfig:
    path = folder / "rows.npz"
    np.savez(path, x=x, y=y, site=site)
    return config.parse(
        {
            "name": "synthetic",
            "rounds": 27,
            "data": {"name": "arrays", "args": {"path": str(path), "task": task}},
            "model": {"name": "mlp"},
            "client": {"learning_rate": 0.05},
        }
    )


def _shipped(name: str, *overrides: str) -> Callable[[pathlib.Path], config.RunConfig]:
    return lambda folder: config.load(f"configs/{name}.toml", overrides)


_SYNTHETIC = "at 4 hospitals of 600 to 150 patients, 27 rounds"
PROBLEMS: Mapping[str, Problem] = {
    "costs in dollars": Problem(f"lognormal costs {_SYNTHETIC}", _costs(1.0)),
    "costs in cents": Problem("the same costs times 100", _costs(100.0)),
    "counts": Problem(f"Poisson counts {_SYNTHETIC}", _counts),
    "diabetes": Problem("configs/diabetes_three_hospitals.toml", _shipped("diabetes_three_hospitals")),
    "digits": Problem("configs/digits_fedavg.toml, 12 rounds", _shipped("digits_fedavg", "rounds=12")),
}


def found(name: str, problem: Problem) -> Found:
    """Tunes a problem, trains the fine grid, and returns what both came to."""
    from fedmed.study.tuning import tuner

    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        settings = problem.settings(folder)
        began = time.perf_counter()
        tuning = tuner.run(settings, folder / "tuning", seeds=problem.seeds)
        tuned = time.perf_counter()
        chosen = tuning["chosen"] or {}
        tuned_rate: float | None = chosen.get("learning_rate")
        rates = fine_rates(settings.client.learning_rate, tuned_rate)
        grid = _losses(settings, rates, range(problem.seeds), folder / "grid")
        ended = time.perf_counter()
        best = min(grid, key=grid.__getitem__)
        both = list(dict.fromkeys(rate for rate in (tuned_rate, best) if rate is not None))
        again = _losses(settings, both, range(problem.seeds, problem.seeds + _AGAIN), folder / "again")
        training, grid_training = (_training(folder / name) for name in ("tuning/jobs", "grid"))
    furthest: dict[float, int] = {}
    for trial in tuning["trials"]:
        furthest[trial["learning_rate"]] = max(furthest.get(trial["learning_rate"], 0), trial["rounds"])
    return Found(
        problem=name,
        about=problem.about,
        measure=tuning["measure"],
        rate=tuned_rate,
        loss=chosen.get("loss"),
        best_rate=best,
        best_loss=grid[best],
        again=None if tuned_rate is None else again[tuned_rate],
        best_again=again[best],
        rounds=problem.seeds * sum(furthest.values()),
        grid_rounds=problem.seeds * len(grid) * settings.rounds,
        training=training,
        grid_training=grid_training,
        seconds=round(tuned - began, 1),
        grid_seconds=round(ended - tuned, 1),
    )


def _training(folder: pathlib.Path) -> float:
    """Returns the seconds of all rounds; of a training that jobs went on with, the longest job's has the others'."""
    seconds: dict[str, float] = {}
    for path in folder.glob("*.npz"):
        course = path.stem.partition("-round")[0]
        with np.load(path) as archive:
            seconds[course] = max(seconds.get(course, 0.0), float(archive["seconds"]))
    return round(sum(seconds.values()), 2)


def fine_rates(start: float, tuned: float | None) -> list[float]:
    """Returns rates a factor of 1.5 apart, as wide to both sides of the config's as tuning begins.

    Where the rate that was tuned lies outside, they lie to both sides of that: nobody would search where all diverge.
    """
    steps = math.floor(4 / 3 * math.log(10) / math.log(FACTOR) + 0.5)
    if tuned is not None and abs(math.log(tuned / start, FACTOR)) > steps:
        start = tuned
    return [float(f"{start * FACTOR**step:.3g}") for step in range(-steps, steps + 1)]


def _losses(
    settings: config.RunConfig, rates: Sequence[float], seeds: range, folder: pathlib.Path
) -> dict[float, float]:
    """Returns the loss of each rate after all rounds, the mean over seeds; infinite where training diverged.

    Args:
        settings: of the problem.
        rates: to be trained.
        seeds: counted from the problem's.
        folder: a new one, of the results.
    """
    from fedmed.study import results
    from fedmed.study.plan import Job
    from fedmed.study.session import Assignment
    from fedmed.study.tuning import grid, search
    from fedmed.study.validation import Inner, Validation

    own = dataclasses.replace(settings, runtime=config.Runtime(settings.runtime.name, 1))
    own = dataclasses.replace(own, evaluation=config.Evaluation(every=own.rounds))
    inner, tasks = Inner(search.FRACTION, settings.seed), {}
    folder.mkdir()
    for rate in rates:
        for seed in seeds:
            job_settings = dataclasses.replace(grid.with_rate(own, rate), seed=settings.seed + seed)
            job = Job(f"{rate:g}-{seed}", "federated", "federated", job_settings, metric="loss")
            path = results.path_of(folder, job.name)
            tasks[rate, seed] = Assignment(own, job, path, job.identity({}, {}), inner)
    with search.runner(config.Runtime(), len(tasks), 1, folder / "workers.log", here=False) as run:
        run(list(tasks.values()), lambda task: None)
    validation, losses = Validation(own, inner), {}
    for (rate, _), task in tasks.items():
        result = results.read(task.path, task.identity.key)
        if result is None:
            raise RuntimeError(f"{task.path} is missing")
        loss = math.inf if result.refused else search.loss_of(task.job, validation, result)
        losses.setdefault(rate, []).append(loss)
    return {rate: float(np.mean(own)) for rate, own in losses.items()}


def table(rows: Sequence[Found], on: str) -> str:
    """Returns the page.

    Args:
        rows: of the problems.
        on: the machine.
    """
    header = (
        "| problem | loss | tuned rate | its loss | grid's best rate | its loss | more | more, other seeds | rounds | "
        "training | seconds |"
    )
    lines = [header, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|", *(_line(row) for row in rows)]
    return "\n\n".join([_TITLE, *_intro(on), "\n".join(lines), *_costs_told(rows)]) + "\n"


def _intro(on: str) -> Iterator[str]:
    yield (
        "`uv run python -m experiments.tuning`. Loss on validation patients after all rounds, the mean over two seeds. "
        f"The fine grid has all rounds at rates a factor of {FACTOR} apart, over the width with which tuning begins, "
        "around the tuned rate where that is outside. The best of so many is partly luck, so both rates are also "
        f"trained at {_AGAIN} other seeds. Rounds, and the seconds that these took (training): those of tuning as a "
        "share of the fine grid's. Seconds: from start to end of tuning and of the fine grid, in which starting "
        "processes and making a model for each training weigh as much as rounds of so small models."
    )
    yield f"On {on}."


def _line(row: Found) -> str:
    about = f"{row.problem}: {row.about}"
    shares = f"{row.rounds / row.grid_rounds:.2f} | {row.training / row.grid_training:.2f}"
    shares += f" | {row.seconds:.0f} and {row.grid_seconds:.0f}"
    best = f"{row.best_rate:g} | {row.best_loss:.5g}"
    if row.loss is None:
        return f"| {about} | {row.measure} | none | not finite | {best} | | | {shares} |"
    more = f"{_more(row.loss, row.best_loss)} | {_more(row.again, row.best_again)}"
    return f"| {about} | {row.measure} | {row.rate:g} | {row.loss:.5g} | {best} | {more} | {shares} |"


def _more(loss: float | None, best: float) -> str:
    return "" if loss is None else f"{100 * (loss - best) / abs(best):+z.1f} %"


def _costs_told(rows: Sequence[Found]) -> Iterator[str]:
    """Yields whether the unit of a cost matters."""
    known = {row.problem: row for row in rows}
    dollars, cents = known.get("costs in dollars"), known.get("costs in cents")
    if dollars is None or cents is None or dollars.loss is None or cents.loss is None:
        return
    ratio = cents.loss / dollars.loss / 100**2
    same = "the same rate" if dollars.rate == cents.rate else f"rates {dollars.rate:g} and {cents.rate:g}"
    yield f"Costs in cents and in dollars: {same}; the loss in cents is {ratio:.4f} times that in dollars times 100²."


def _machine() -> str:
    told = machine.processor()
    return f"{told.cores} cores of {told.model}"


def main(argv: Sequence[str]) -> None:
    """Measures the problems one after another; the table is written after each."""
    del argv
    programs.check_names("--problems", "problem", FLAGS.problems, PROBLEMS)
    folder = pathlib.Path(FLAGS.results)
    programs.check_writable("--results", folder)
    path = folder / "tuning.json"
    earlier: dict[str, Any] = json.loads(path.read_text())["problems"] if path.is_file() else {}
    fields = {field.name for field in dataclasses.fields(Found)}  # a row of an earlier program has others
    known = {name: row for name, row in earlier.items() if set(row) == fields}
    for name in FLAGS.problems or PROBLEMS:
        known[name] = plain.checked(found(name, PROBLEMS[name]))
        ordered = {name: known[name] for name in PROBLEMS if name in known}
        files.write_atomically(path, json.dumps({"machine": _machine(), "problems": ordered}, indent=1) + "\n")
        rows = [plain.from_plain(Found, row) for row in ordered.values()]
        files.write_atomically(folder / "tuning.md", table(rows, _machine()))


if __name__ == "__main__":
    programs.run(main)
