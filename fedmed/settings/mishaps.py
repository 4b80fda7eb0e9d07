"""What goes wrong in a federation: the entries `[[scenario]]` of a config."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fedmed.settings.ranges import setting
from fedmed.system import errors

BY_SIZE = ("largest", "smallest")
"""Words that name a client by how many training patients it has."""


def _table() -> Any:
    return dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Mishap:
    """Something that befalls clients: what, whom and when. Each draw is a function of (seed, round, client).

    Attributes:
        name: a registered scenario ("absent", "late", "boost", ...).
        args: its arguments.
        clients: whom, by id, or "largest" and "smallest" by training patients; all when left out.
        share: of these clients, drawn once by the seed.
        after: rounds that are over before it begins; 10 has it begin in round 11.
        until: its last round; to the end when left out.
        chance: that it befalls a client in a round, each round by itself.
    """

    name: str
    args: Mapping[str, Any] = _table()
    clients: tuple[str, ...] = ()
    share: float = setting(1.0, above=0.0, most=1.0)
    after: int = setting(0, least=0)
    until: int | None = setting(None, least=1)
    chance: float = setting(1.0, above=0.0, most=1.0)

    @property
    def is_planned(self) -> bool:
        """Whether everybody knows of it beforehand: it is not left to chance."""
        return self.chance == 1.0

    def is_due(self, round_: int) -> bool:
        """Whether a round, counted from 0, is one of its own."""
        return self.after <= round_ and (self.until is None or round_ < self.until)


def check(scenario: tuple[Mishap, ...]) -> None:
    """Checks what the types cannot say; ConfigError in one line."""
    for place, mishap in enumerate(scenario):
        where = f"scenario[{place}]"
        if mishap.until is not None and mishap.until <= mishap.after:
            raise errors.ConfigError(
                f"{where}.until: expected a round after {mishap.after} (scenario.after), got {mishap.until}"
            )
        if len(set(mishap.clients)) < len(mishap.clients):
            raise errors.ConfigError(f"{where}.clients: expected distinct names, got {list(mishap.clients)!r}")
