"""Whether algorithms are for their models, and deadlines for anybody: tried before anything is trained.

What an algorithm needs of a model, such as a layer of some name, and how long its weights are under way, is known once
the model is built, which takes TensorFlow: so it is a job, which makes the program and trains nothing.
"""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence

from fedmed.settings import config
from fedmed.settings.privacy import NONE
from fedmed.study import plan
from fedmed.study.plan import Job
from fedmed.study.results import UNFIT, Result
from fedmed.system import errors

FOR_ANY_MODEL = ("fedavg", "fedprox", "scaffold", "fednova")
"""Algorithms that need not be tried; whether any other is for the model is known once the model is built."""


def doubtful(asked: Mapping[str, config.RunConfig], own: config.RunConfig, scenario: str = "") -> dict[str, Job]:
    """Returns jobs that try what may not fit, one for each algorithm, model and clock, by the first name that has them.

    Args:
        asked: settings by name, such as an arm's.
        own: the config's, whose model the first round tries in any case.
        scenario: whose data they are for, by its name.
    """
    found: dict[str, Job] = {}
    known: set[str] = set()
    for name, settings in asked.items():
        asks = repr((settings.algorithm, settings.model, settings.clock))
        fits = settings.algorithm.name in FOR_ANY_MODEL and settings.model == own.model
        if not (fits and settings.clock.deadline is None) and asks not in known:
            known.add(asks)
            tried = dataclasses.replace(settings, privacy=NONE)  # a promise is checked by itself
            file = f"_{plan.job_name(scenario, name, settings.seed, None, 'fitting')}"  # unlike the name of any arm
            found[name] = Job(file, name, "federated", tried, attack="fitting")
    return found


def check(tries: Mapping[str, Job], told: Mapping[str, Result], where: Mapping[str, str]) -> None:
    """Raises a ConfigError for the first that does not fit.

    Args:
        tries: what was tried, by name.
        told: the results, by the job's name.
        where: by name, what the error is to begin with.
    """
    for name, job in tries.items():
        why = told[job.name].told.get(UNFIT)
        if why:
            raise errors.ConfigError(f"{where[name]}{why}")


def missing(out: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders that have to be made for a directory, itself first; none where it is there."""
    return [path for path in [out, *out.parents] if not path.exists()]


@contextlib.contextmanager
def unmade(made: Sequence[pathlib.Path]) -> Iterator[None]:
    """Removes a directory that was just made, `missing` before, where a setting turns out to be wrong."""
    try:
        yield
    except errors.UserError:
        for path in made[:1]:
            shutil.rmtree(path, ignore_errors=True)
        for path in made[1:]:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
