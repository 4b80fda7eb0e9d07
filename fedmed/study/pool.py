"""Training processes side by side on this machine, by loky, one thread each; none outlives the study."""

import atexit
import contextlib
import ctypes
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import psutil
from joblib.externals import loky
from joblib.externals.loky import process_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from fedmed.study import session
from fedmed.study.session import Assignment, Reply, Session
from fedmed.system import environment, errors, quiet

_BYTES_EACH = 1_500_000_000
_RESTARTS = 3
"""How often processes are started again that were killed; one that is killed again and again has too little memory."""


def size(jobs: int, lanes: int) -> int:
    """Returns how many processes to start: one for so many cores, as far as there are jobs and memory for them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // lanes, jobs, int(psutil.virtual_memory().available // _BYTES_EACH)))


class Here:
    """A context that trains in this process, one after another, as a Pool would elsewhere: for small studies."""

    def __init__(self) -> None:
        self._session = Session()

    def __enter__(self) -> "Here":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def run(self, tasks: Sequence[Assignment], done: Callable[[Assignment], None]) -> None:
        """Runs all tasks in order; what goes wrong is raised as it is."""
        for task in tasks:
            self._session.run(task)
            done(task)


class Pool:
    """A context in which training processes run, each on as many cores as a job has lanes."""

    def __init__(self, processes: int, lanes: int, log: pathlib.Path) -> None:
        self._count, self._lanes, self._log = processes, lanes, log
        self._executor: Any = None
        self._restarts = 0

    def __enter__(self) -> "Pool":
        self._log.unlink(missing_ok=True)
        self._executor = self._started()
        return self

    def _started(self) -> Any:
        found = [path for path in sys.path if path]  # plugins beside a script
        begin = (os.getpid(), self._log, found)
        threads = quiet.one_core_each(self._lanes)
        # The process that frees what a killed pool leaves behind is started here too, and is to do so without a word.
        silent = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning")))
        with environment.variable("PYTHONWARNINGS", silent):
            return loky.ProcessPoolExecutor(self._count, initializer=_begin, initargs=begin, env=threads)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(kill_workers=True)  # results are written whole or not at all
        if not self._restarts:
            self._log.unlink(missing_ok=True)

    def run(self, tasks: Sequence[Assignment], done: Callable[[Assignment], None]) -> None:
        """Runs all tasks, in order as processes become free, and tells of each as it is done.

        Where a process is killed, all are started again and go on with what is not done, three times in all.

        Raises:
            UserError: a setting does not fit, or processes were killed more often.
            RuntimeError: a bug, with its traceback.
        """
        left = dict(enumerate(tasks))
        while left:
            running: dict[Any, int] = {}
            try:
                self._work_off(left, running, done)
            except BrokenProcessPool as error:
                self._start_again(error, [left[place].job.name for place in running.values() if place in left])

    def _work_off(
        self, left: dict[int, Assignment], running: dict[Any, int], done: Callable[[Assignment], None]
    ) -> None:
        """Gives each process one task at a time, so that what was running is known when one is killed."""
        waiting = list(reversed(left))
        while waiting or running:
            with _interrupts_held():  # what is started meanwhile never hears of Ctrl-C, which is the parent's to handle
                while waiting and len(running) < self._count:
                    place = waiting.pop()
                    running[self._executor.submit(_train, left[place])] = place
            ready, _ = loky.wait(list(running), return_when=loky.FIRST_COMPLETED)
            for future in ready:
                reply = future.result()
                task = left.pop(running.pop(future))
                session.check(reply, task)
                done(task)

    def _start_again(self, error: BaseException, names: Sequence[str]) -> None:
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise errors.UserError(
                f"study: a process that trained {' or '.join(names)} ended, the fourth one "
                f"({_signals(error)}out of memory? see {self._log}); starting the study again goes on"
            ) from None
        self._executor.shutdown(kill_workers=True)
        self._executor = self._started()


def _signals(error: BaseException) -> str:
    """Returns by what signals loky says that processes ended, "" where it does not."""
    found = str(error).partition("exit codes of the workers are {")[2].partition("}")[0]
    return f"{found}; " if found else ""


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keeps SIGINT from this thread, and for good from the processes that it starts meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In a training process


def _begin(parent: int, log: pathlib.Path, found: Sequence[str]) -> None:
    """Ties the process's life to its parent's, and has what libraries print go to the log."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.path.extend(path for path in found if path not in sys.path)
    # loky ends a process that has grown by 300 MB, taking it for a leak: it is what a session keeps for the next job.
    process_executor._MAX_MEMORY_LEAK_SIZE = float("inf")
    quiet.silence()


def _train(task: Assignment) -> Reply:
    return session.answer(_session(), task)


_SESSIONS: list[Session] = []


def _session() -> Session:
    if not _SESSIONS:
        _SESSIONS.append(Session())
        atexit.register(_SESSIONS[0].close)
    return _SESSIONS[0]
