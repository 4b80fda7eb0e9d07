"""Ctrl-C, SIGTERM and a lost terminal end a run cleanly, and soon, whatever a library does with them."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

GRACE_SECONDS = 4.0
_STATUS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


class Interruption:
    """Whether the run was asked to stop: `status` is the exit status to end with, None as long as it was not.

    An exception that a signal raises can be lost, in a bare `except` while TensorFlow is imported or in a callback. So
    it is raised again, at the latest at the end of a round, of which an observer is told.
    """

    def __init__(self) -> None:
        self.status: int | None = None

    def start(self, total_rounds: int, done: int) -> None:
        """Raises if a stop was asked for."""
        self._raise_again()

    def round(self, record: Mapping[str, Any]) -> None:
        """Raises if a stop was asked for."""
        self._raise_again()

    def close(self) -> None:
        """Does nothing: the run is over."""

    def _raise_again(self) -> None:
        if self.status is not None:
            raise KeyboardInterrupt


@contextlib.contextmanager
def watched() -> Iterator[Interruption]:
    """Turns SIGINT, SIGTERM and SIGHUP into KeyboardInterrupt inside the block, which has 4 s to end before we do.

    SIGHUP, of a terminal or an ssh that is gone, stays ignored where it is, as under nohup. KeyboardInterrupt for all,
    since event loops pass it on where they swallow other exceptions. Should the time not do, the kernel ends our worker
    with us, and the next run removes the clients' files.
    """
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may set handlers
        return
    over = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if asked.status is None:
            asked.status = _STATUS[signal.Signals(number)]
            threading.Thread(target=_end_at_last, args=(over, asked), daemon=True).start()
        raise KeyboardInterrupt

    def lost(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):  # in JAX's callback for garbage collection, say
            threading.Thread(target=_again, args=(over,), daemon=True).start()
        else:
            hook_before(unraisable)

    numbers = [number for number in _STATUS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    handlers_before = {number: signal.signal(number, stop) for number in numbers}
    hook_before, sys.unraisablehook = sys.unraisablehook, lost
    try:
        yield asked
    finally:
        over.set()
        sys.unraisablehook = hook_before
        for number, handler in handlers_before.items():
            signal.signal(number, handler)


def _end_at_last(over: threading.Event, asked: Interruption) -> None:
    if not over.wait(GRACE_SECONDS):
        os._exit(asked.status or 1)


def _again(over: threading.Event) -> None:
    if not over.wait(0.05):
        os.kill(os.getpid(), signal.SIGINT)
