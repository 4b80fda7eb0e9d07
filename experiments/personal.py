"""What does a model of its own bring each hospital: against training alone, and against FedAvg's one model for all?

    uv run python -m experiments.personal

A study of the three diabetes hospitals at severity 1 and one of the four heart disease hospitals, each with all arms on
the same splits. Models that a study holds already are not trained again: a stopped program goes on. FedBN is left out,
as no model here has a BatchNormalization layer. The heart disease config's logistic regression has a single layer,
which leaves FedPer and FedRep nothing to share; so all arms have a network with a hidden layer there.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from absl import flags

import fedmed
from experiments import personal_tables, programs
from fedmed.settings import config
from fedmed.settings.study import Arm
from fedmed.system import files, machine

FLAGS = flags.FLAGS
flags.DEFINE_list("only", [], "which populations, by name; default all")
flags.DEFINE_integer("seeds", 5, "how many splits, each with its own training randomness", lower_bound=1)
flags.DEFINE_integer("rounds", None, "rounds in place of the configs'", lower_bound=1)
flags.DEFINE_integer("draws", 1000, "bootstrap samples", lower_bound=100)
flags.DEFINE_bool("tune", False, "search each arm's learning rate on validation patients, all arms alike")
flags.DEFINE_string("out", "studies/personal", "where the studies are kept")
flags.DEFINE_string("results", "experiments/results/personal.md", "the table")


class Population(NamedTuple):
    """A config, and the model that all arms have where it is not the config's."""

    path: str
    model: config.Model | None = None


POPULATIONS: Mapping[str, Population] = {
    "diabetes": Population("configs/diabetes_severity.toml"),
    "heart": Population(
        "configs/heart_disease_four_hospitals.toml", config.Model("mlp", args={"hidden": [16], "l2": 0.001})
    ),
}


def settings(population: Population) -> config.RunConfig:
    """Returns the study's settings."""
    own = config.load(population.path)
    arms = tuple(
        Arm(name, {"algorithm.name": name, **{f"algorithm.args.{key}": value for key, value in args.items()}})
        for name, args in personal_tables.ARMS.items()
    )
    asked = dataclasses.replace(
        own.study,
        question="What does a model of its own bring each hospital?",
        arms=(personal_tables.AVERAGED, personal_tables.ALONE, "fine_tuned"),
        seeds=FLAGS.seeds,
        draws=FLAGS.draws,
        tune=FLAGS.tune,
        reference=False,
    )
    rounds, model = FLAGS.rounds or own.rounds, population.model or own.model
    return dataclasses.replace(own, rounds=rounds, model=model, arms=arms, study=asked)


def main(argv: Sequence[str]) -> None:
    """Runs the studies, or what of them is left, and writes the page."""
    del argv
    path = pathlib.Path(FLAGS.results)
    programs.check_names("--only", "population", FLAGS.only, POPULATIONS)
    programs.check_writable("--results", path.parent)
    here, studies = machine.processor(), {}
    for name in FLAGS.only or POPULATIONS:
        studies[name] = fedmed.study(settings(POPULATIONS[name]), pathlib.Path(FLAGS.out) / name)
    found = personal_tables.page(studies, f"{here.cores} cores, {here.model}")
    files.write_atomically(path, found)
    print(found)


if __name__ == "__main__":
    programs.run(main)
