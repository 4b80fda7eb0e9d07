"""Whether what a rule of aggregation holds at once fits into memory, asked before anything is trained."""

from fedmed.learning.lane import Way
from fedmed.learning.weights import byte_count
from fedmed.settings.config import Aggregation
from fedmed.system import errors, machine


def check(asked: Aggregation, way: Way, cohort: int) -> None:
    """Raises a ConfigError where a round's updates, as often as the rule has them at once, are more than is free.

    Args:
        asked: for the rule's name.
        way: the recorded program's; its rule says how often, and its payload how large an update is.
        cohort: how many clients a round has.
    """
    one, free = byte_count(way.payload), machine.memory().free
    needed = way.aggregator.copies * cohort * one
    if needed > free:
        raise errors.ConfigError(
            f"aggregation.rule: {asked.rule!r} holds all updates of a round at once, {cohort} x {one / 1e6:,.1f} MB, "
            f"and takes up to {way.aggregator.copies:g} times that = {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB "
            "are free; ask fewer clients (cohort.size), or use 'mean', which holds a few updates"
        )
