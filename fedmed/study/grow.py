"""The learning curve over the consortium: how one hospital's figure grows with hospitals and with patients."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from fedmed.settings import config
from fedmed.settings.study import GROW
from fedmed.study import estimates, suppression
from fedmed.study.consortium import Consortium
from fedmed.study.estimates import Rules
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan, Job, Scenario, job_name, seeds_of
from fedmed.study.schema import Grow, GrowPoint
from fedmed.system import errors, seeds

NAME = GROW
ALONE = "1 hospital"

_DIALLED = "diabetes_ehr"  # its consortium can be made larger than the config's


class Point(NamedTuple):
    """One size of the consortium."""

    name: str
    axis: Literal["hospitals", "patients"]
    hospitals: int
    share: float


def scenario(settings: config.RunConfig) -> Scenario:
    """Returns the hospitals that the curve draws from: the config's, or as many as it needs of synthetic ones."""
    args = settings.data.args
    if settings.data.name == _DIALLED and settings.partition.name == "by_site":
        most = max(*settings.study.grow_hospitals, args.get("hospitals", 3), 3)
        data = dataclasses.replace(settings.data, args={**args, "hospitals": most})
        settings = dataclasses.replace(settings, data=data)
    return Scenario(NAME, settings, (), {})


def points(settings: config.RunConfig, available: int) -> list[Point]:
    """Returns the sizes that are trained, the watched hospital alone first."""
    sizes = sorted({1, *(min(size, available) for size in settings.study.grow_hospitals)})
    growing = [Point(f"{size} hospital{'s' if size > 1 else ''}", "hospitals", size, 1.0) for size in sizes]
    shares = [share for share in sorted(settings.study.grow_shares) if share < 1]
    most = sizes[-1]
    return [*growing, *(Point(f"{100 * share:g} % of patients", "patients", most, share) for share in shares)]


def watched(settings: config.RunConfig, main: Consortium) -> str:
    """Returns the hospital that is watched; ConfigError when the one asked for is not there."""
    asked = settings.study.grow_hospital
    if asked is None:
        return min(main.held, key=lambda name: len(main.held[name]))
    if asked not in main.held:
        raise errors.ConfigError(errors.unknown("study.grow_hospital", "hospital", asked, main.held))
    return asked


def members(consortium: Consortium, hospital: str, size: int, seed: int) -> tuple[str, ...]:
    """Returns the watched hospital and others drawn by seed, in the order of the partition; more are added to fewer."""
    others = [name for name in consortium.hospitals if name != hospital]
    order = seeds.generator(seed, "study.grow").permutation(len(others))
    chosen = {hospital, *(others[int(place)] for place in order[: size - 1])}
    return tuple(name for name in consortium.hospitals if name in chosen)


def jobs(settings: config.RunConfig, consortium: Consortium, hospital: str, metric: str) -> list[Job]:
    """Returns the jobs of all points and seeds."""
    found = []
    for seed in seeds_of(settings):
        own = dataclasses.replace(settings, seed=seed)
        for point in points(settings, len(consortium.hospitals)):
            name = job_name(NAME, point.name, seed, None)
            if point.hospitals == 1:
                found.append(Job(name, point.name, "local", own, hospital=hospital, share=point.share, metric=metric))
            else:
                chosen = members(consortium, hospital, point.hospitals, seed)
                found.append(Job(name, point.name, "federated", own, members=chosen, share=point.share, metric=metric))
    return found


def arms(settings: config.RunConfig, available: int) -> tuple[ArmPlan, ...]:
    """Returns an arm for each point."""
    return tuple(
        ArmPlan(point.name, "local" if point.hospitals == 1 else "federated", settings, {})
        for point in points(settings, available)
    )


def curve(settings: config.RunConfig, outcomes: Outcomes, hospital: str, metric: Measure, rules: Rules) -> Grow:
    """Returns the curve of the watched hospital."""
    found = []
    for point in points(settings, len(outcomes.hospitals)):
        figure = estimates.performance(outcomes, point.name, hospital, metric, rules)
        gain = None
        if point.name != ALONE:
            gain = estimates.difference(outcomes, point.name, ALONE, hospital, metric, rules)
        arm: Literal["local", "federated"] = "local" if point.hospitals == 1 else "federated"
        rows = _train_rows(outcomes, hospital, point)
        found.append(GrowPoint(*point, train_rows=rows, performance={arm: figure}, difference=gain))
    about = (
        f"{hospital} is tested, on its own test rows, by models of a growing consortium; which hospitals join is "
        "drawn anew at each seed. Differences are from training alone with all of its patients."
    )
    return Grow(hospital, metric.name, _with_full_share(found), about)


def _with_full_share(found: Sequence[GrowPoint]) -> tuple[GrowPoint, ...]:
    """Adds the end of the curve over patients: the whole consortium with all patients, which is trained once."""
    if not any(point.axis == "patients" for point in found):
        return tuple(found)
    whole = [point for point in found if point.axis == "hospitals"][-1]
    return (*found, dataclasses.replace(whole, name="100 % of patients", axis="patients"))


def _train_rows(outcomes: Outcomes, hospital: str, point: Point) -> int | None:
    """Returns the training rows of all who take part, mean over seeds; None where a small count would follow."""
    consortium = outcomes.consortium
    if any(suppression.few_on_a_side(consortium, name, outcomes.seeds) for name in consortium.hospitals):
        return None
    totals = []
    for seed in outcomes.seeds:
        chosen = members(outcomes.consortium, hospital, point.hospitals, seed)
        totals.append(sum(len(outcomes.consortium.rows(seed)[name].train) for name in chosen) * point.share)
    return round(float(np.mean(totals)))
