"""How fast hospitals and their lines are: the table `[clock]`, by which rounds take virtual time."""

import dataclasses
import functools
import re

from fedmed.settings.ranges import setting
from fedmed.system import errors


@dataclasses.dataclass(frozen=True)
class Clock:
    """A virtual clock: what a round would take among real hospitals. It changes a run only where it has a deadline.

    Attributes:
        uplink: of a hospital, in bits a second.
        downlink: likewise.
        rows_per_second: how many rows a hospital's machine trains on in a second, a row counting once an epoch.
        deadline: seconds after which the server goes on without those who have not answered.
    """

    uplink: str = "10Mbit"
    downlink: str = "100Mbit"
    rows_per_second: float = setting(1000.0, above=0.0)
    deadline: float | None = setting(None, above=0.0)


DEFAULT = Clock()

_LINE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kMG]?)bit(?:/s|ps)?\s*")


@functools.cache  # a round asks it twice for every client
def bits_per_second(line: str, where: str) -> float:
    """Returns "10Mbit" as 1e7; ConfigError, with the setting `where`, when it cannot be read."""
    found = _LINE.fullmatch(line)
    value = float(found[1]) * {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]] if found else 0.0
    if value <= 0:
        raise errors.ConfigError(
            f"{where}: expected bits a second such as '10Mbit' or '500kbit', got {errors.shown(line)}"
        )
    return value


def check(clock: Clock) -> None:
    """Checks what the types cannot say; ConfigError in one line."""
    bits_per_second(clock.uplink, "clock.uplink")
    bits_per_second(clock.downlink, "clock.downlink")
