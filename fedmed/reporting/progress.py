"""How far a run is: a bar on a terminal and in a notebook, elsewhere a plain line now and then."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from tqdm import tqdm

from fedmed.reporting.bars import bar

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Shows rounds done, the metric and the time left; where there is nothing to draw a bar on, in a line every 30 s.

    Without `stream` it is standard error, or the notebook that the program runs in.

    Without `metric` it is AUROC for a binary task, else the first one (accuracy, loss).
    """

    def __init__(
        self,
        metric: str | None = None,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metric = metric
        self._quiet = quiet
        self._stream = stream
        self._clock = clock
        self._bar: tqdm | None = None
        self._value: float | None = None
        self._total = self._first = 0
        self._started = self._told = 0.0

    def start(self, total_rounds: int, done: int = 0) -> None:
        """Begins at round `done` of `total_rounds`; a resumed run has done some already."""
        self._total, self._first = total_rounds, done
        self._started = self._told = self._clock()
        if not self._quiet:
            self._bar = bar("rounds", total_rounds, done, self._stream)

    def round(self, record: Mapping[str, Any]) -> None:
        """Shows a record of rounds.jsonl; round 0 is the evaluation before training."""
        pooled = (record.get("test") or {}).get("pooled", {})
        if pooled and self._metric is None:
            self._metric = next((name for name in ("auroc", "deviance") if name in pooled), next(iter(pooled)))
        self._value = pooled.get(self._metric, self._value)
        if self._bar is not None:
            self._bar.set_postfix_str(self._metric_text(), refresh=False)
            self._bar.update(record["round"] - self._bar.n)
            self._bar.refresh()
        elif not self._quiet and self._clock() - self._told >= SECONDS_BETWEEN_LINES:
            self._told = self._clock()
            print(self._line(record["round"]), file=self._stream or sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar and leaves it on the screen; may be called twice."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _metric_text(self) -> str:
        return "" if self._value is None else f"{self._metric} {self._value:.4f}"

    def _line(self, round_: int) -> str:
        done = round_ - self._first
        each = (self._clock() - self._started) / done if done > 0 else None
        left = "" if each is None else f"{duration(each * (self._total - round_))} left"
        return ", ".join(part for part in (f"round {round_} of {self._total}", self._metric_text(), left) if part)


def duration(seconds: float) -> str:
    """Returns a time in the two units that matter: "8 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
