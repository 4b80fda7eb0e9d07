"""fedmed on TFF's executor (`runtime.name = "tff"`)."""

from collections.abc import Callable

from experiments.speed import fedmed


def prepare(workload: str) -> tuple[Callable[[int], float], Callable[[], None]]:
    """Returns a function that trains round n and returns its mean training loss, and one that cleans up."""
    return fedmed.prepare(workload, "tff")
