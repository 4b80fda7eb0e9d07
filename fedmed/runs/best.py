"""The best round so far by one metric, and when to stop."""

import dataclasses
from typing import Any, Literal

from fedmed.settings import config
from fedmed.statistics.metrics import Metric


@dataclasses.dataclass
class Best:
    """Follows a metric over evaluations.

    Attributes:
        round: the best one; the newest before there is a value.
        value: its value; None before there is one.
        stale: evaluations since then without improvement; none before there is a value.
        latest: whether the last round is to be called the best, as no round may be chosen by its test rows.
    """

    metric: Metric
    stop: config.Stop
    round: int = 0
    value: float | None = None
    stale: int = 0
    latest: bool = False

    def improves(self, number: int, value: float | None) -> bool:
        """Takes note of a round's value, and tells whether it is the best so far."""
        if self.latest:
            self.round, self.value = number, value
            return True
        if self.value is not None and (value is None or self._sign * value <= self._sign * self.value):
            self.stale += 1
            return False
        self.round, self.value, self.stale = number, value, 0
        return True

    @property
    def stopped(self) -> Literal["target", "patience"] | None:
        """Why training is to stop, None as long as it is not."""
        target, patience = self.stop.target, self.stop.patience
        if target is not None and self.value is not None and self._sign * self.value >= self._sign * target:
            return "target"
        return "patience" if patience is not None and self.stale >= patience else None

    @property
    def _sign(self) -> int:
        return 1 if self.metric.better == "higher" else -1

    def to_facts(self) -> dict[str, Any]:
        """Returns what a checkpoint holds of it."""
        return {"round": self.round, "value": self.value, "stale": self.stale}

    def restore(self, facts: dict[str, Any]) -> None:
        """Goes on from what a checkpoint holds."""
        self.round, self.value, self.stale = facts["round"], facts["value"], facts["stale"]
