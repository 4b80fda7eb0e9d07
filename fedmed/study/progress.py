"""How far a study is: a bar over all jobs on a terminal and in a notebook, elsewhere a plain line now and then."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

from fedmed.reporting.bars import bar
from fedmed.reporting.progress import SECONDS_BETWEEN_LINES


class JobProgress:
    """Shows how many models are trained; nothing at all when quiet, and a line every 30 s where there is no bar."""

    def __init__(
        self,
        total: int,
        done: int,
        *,
        quiet: bool = False,
        what: str = "models",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._what = stream, what
        self._total, self._done, self._quiet, self._clock = total, done, quiet, clock
        self._told = clock()
        self._bar: tqdm | None = None if quiet else bar(what, total, done, stream)

    def step(self, name: str) -> None:
        """Counts a model."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(name, refresh=False)
            self._bar.update()
        elif not self._quiet and self._clock() - self._told >= SECONDS_BETWEEN_LINES:
            self._told = self._clock()
            print(f"{self._what} {self._done} of {self._total}", file=self._stream or sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar and leaves it on the screen; may be called twice."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
