"""How much longer does a client train with a promise to patients than without?

    uv run python -m experiments.private_speed

One client, one thread, the same number of steps of as many rows: a round of plain training (batches of shuffled rows)
and one of DP-SGD (Poisson batches of patients of a row each, clipped gradients, noise) take turns. The ratio is the
median over pairs. The models are fedmed's own: an mlp on 20 columns, and the two CNNs of the MNIST literature.
"""

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

from fedmed.system import quiet

quiet.silence()

from experiments import programs  # noqa: E402
from fedmed.data.examples import Dataset, Examples  # noqa: E402
from fedmed.engine.federation import Federation, Position  # noqa: E402
from fedmed.engine.programs import Programs  # noqa: E402
from fedmed.settings import config  # noqa: E402
from fedmed.settings.privacy import Privacy  # noqa: E402
from fedmed.system import machine  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_integer("pairs", 15, "how many pairs of rounds", lower_bound=3)
flags.DEFINE_integer("steps", 60, "steps of a round", lower_bound=1)


class Case(NamedTuple):
    """A model, the shape of its rows, its classes, rows a step, and the most that the ratio is to be."""

    model: str
    inputs: tuple[int, ...]
    classes: int
    batch: int
    most: float


CASES = (
    Case("mlp", (20,), 2, 32, 1.6),
    Case("mlp", (20,), 2, 64, 1.6),
    Case("mlp", (20,), 2, 256, 1.6),
    Case("mnist_cnn", (28, 28, 1), 10, 20, 4.0),
    Case("mnist_cnn", (28, 28, 1), 10, 64, 4.0),
    Case("mcmahan_cnn", (28, 28, 1), 10, 10, 4.0),
)


def settings(case: Case) -> config.RunConfig:
    """Returns the settings of plain training."""
    return config.RunConfig(
        name="speed",
        data=config.Data("none"),
        model=config.Model(case.model),
        client=config.Client(0.01, batch_size=case.batch, steps=FLAGS.steps),
        rounds=1000,
        runtime=config.Runtime(lanes=1),
    )


def data(case: Case) -> Dataset:
    """Returns random rows of one client."""
    rng, rows = np.random.default_rng(0), max(512, 4 * case.batch)
    x = rng.normal(size=(rows, *case.inputs)).astype(np.float32)
    return Dataset(
        "none",
        Examples(x, rng.integers(0, case.classes, rows)),
        "binary" if case.classes == 2 else "multiclass",
        case.classes,
    )


@contextlib.contextmanager
def federation(case: Case, privacy: Privacy) -> Iterator[Federation]:
    """Yields one client's federation."""
    own, held = dataclasses.replace(settings(case), privacy=privacy), data(case)
    made = Federation(own, held, {"client": held.examples}, programs=Programs())
    with contextlib.closing(made):
        yield made


def seconds(one: Federation, position: Position) -> tuple[float, Position]:
    """Trains a round; returns the time of a step, and where the federation stands then."""
    done = one.round(position)
    return done.seconds / FLAGS.steps, done.position


def main(argv: Sequence[str]) -> None:
    """Prints a table."""
    del argv
    here = machine.processor()
    print(f"{here.cores} cores, {here.model}; one thread, {FLAGS.pairs} pairs of {FLAGS.steps} steps\n")
    print("| model | rows a step | plain, ms | private, ms | ratio | at most |\n|---|---|---|---|---|---|")
    promise = Privacy(unit="patient", noise_multiplier=1.0)
    for case in CASES:
        with federation(case, Privacy()) as plain, federation(case, promise) as private:
            at, there, pairs = plain.start(), private.start(), []
            for _ in range(FLAGS.pairs + 1):
                a, at = seconds(plain, at)
                b, there = seconds(private, there)
                pairs.append((a, b))
        ratio = statistics.median(b / a for a, b in pairs[1:])
        once, other = (1e3 * statistics.median(side) for side in zip(*pairs[1:], strict=True))
        print(f"| {case.model} | {case.batch} | {once:.2f} | {other:.2f} | {ratio:.2f} | {case.most:g} |", flush=True)


if __name__ == "__main__":
    programs.run(main)
