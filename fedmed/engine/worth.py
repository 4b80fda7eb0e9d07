"""What promises are worth: what makes one of little worth although it is kept."""

import functools
import math

from fedmed.engine.promises import Promises
from fedmed.system import errors

_WEAK_EPSILON, _WEAK_DELTA = 10.0, 0.01
_named = functools.partial(errors.first_few, most=5)


def doubts(made: Promises) -> tuple[str, ...]:
    """Returns, in sentences, what makes a promise of little worth although it is kept."""
    loose = [name for name, own in made.by_client.items() if own.spent(made.rounds) > _WEAK_EPSILON]
    large = [name for name, own in made.by_client.items() if own.delta > _WEAK_DELTA]
    careless = [name for name, own in made.by_client.items() if own.delta >= 1 / own.units]
    found = []
    if any(own.noise == 0 for own in made.by_client.values()):
        found.append("No noise is added, so nothing is promised to anybody.")
    elif loose:
        found.append(
            f"Little is promised at {_named(loose)}: epsilon exceeds {_WEAK_EPSILON:g}, at which what leaks may "
            f"make an attacker {math.exp(_WEAK_EPSILON):,.0f} times as sure."
        )
    if large:
        found.append(
            f"The promise may fail at {_named(large)}: delta exceeds {_WEAK_DELTA:g}, a chance of 1 in "
            f"{1 / _WEAK_DELTA:g} that it does not hold. There are too few to promise much to."
        )
    if careless:
        found.append(
            f"The promise may fail for somebody at {_named(careless)}: delta is no less than one in their number "
            f"of {made.unit}s. It must be well below; n^-1.1 is the default."
        )
    return tuple(found)
