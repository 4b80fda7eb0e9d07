"""Who takes part in a round and in which lane: functions of (seed, round), so a resumed run draws the same."""

import dataclasses
import os
from collections.abc import Sequence

from fedmed.settings import config
from fedmed.system import errors, seeds


def cohort_size(settings: config.Cohort, clients: int) -> int:
    """Returns how many of `clients` take part in a round; ConfigError when more are asked for than there are."""
    if settings.size is not None:
        if settings.size > clients:
            raise errors.ConfigError(f"cohort.size: expected at most {clients} (all clients), got {settings.size}")
        return settings.size
    return max(1, round(settings.fraction * clients)) if settings.fraction is not None else clients


def cohort(seed: int, round_: int, clients: Sequence[str], size: int, *, poisson: bool = False) -> list[str]:
    """Draws `size` clients without replacement, returned in the order of `clients`.

    With `poisson` each is drawn by itself, so many on average: what a promise to hospitals is counted for.
    """
    if size == len(clients):
        return list(clients)
    if poisson:
        drawn = seeds.generator(seed, "sampling", round_).random(len(clients)) < size / len(clients)
        return [client for client, taken in zip(clients, drawn, strict=True) if taken]
    picked = seeds.generator(seed, "sampling", round_).choice(len(clients), size, replace=False)
    return [clients[int(i)] for i in sorted(picked)]


def with_lanes(settings: config.RunConfig, begun: int = 0) -> config.RunConfig:
    """Fixes what was left to the machine (the number of lanes), so that the same config repeats the same bits.

    Args:
        settings: of a run.
        begun: the lanes that it has begun with, perhaps on another machine; 0 for a new one.

    Raises:
        ConfigError: this machine is none to go by, since a cluster is asked for.
    """
    if settings.runtime.lanes:
        return settings
    if settings.runtime.address:
        raise errors.ConfigError("runtime.lanes: required with runtime.address: how many of its processors to use")
    count = begun or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return dataclasses.replace(settings, runtime=dataclasses.replace(settings.runtime, lanes=count))


def side_by_side(runtime: config.Runtime) -> config.Runtime:
    """Returns where a job of a study runs: in one process, on a cluster too, since others run beside it."""
    return config.Runtime("local" if runtime.name == "ray" else runtime.name, runtime.lanes or 1)


def lanes(costs: Sequence[int], count: int) -> list[list[int]]:
    """Deals positions to at most `count` lanes so that the largest lane is small: longest first, to the emptiest.

    Returns:
        Positions of each lane that has any, ascending within a lane.
    """
    dealt: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for position in sorted(range(len(costs)), key=lambda p: (-costs[p], p)):
        lane = loads.index(min(loads))
        dealt[lane].append(position)
        loads[lane] += max(1, costs[position])
    return [sorted(lane) for lane in dealt if lane]
