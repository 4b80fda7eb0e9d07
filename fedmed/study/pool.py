"""Training processes side by side, one thread each; none outlives the study, however it ends."""

import ctypes
import os
import pathlib
import pickle
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import psutil

from fedmed.study.session import Assignment, Reply, Session
from fedmed.system import errors

_BYTES_EACH = 1_500_000_000


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
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Pool":
        threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": str(self._lanes), "OMP_NUM_THREADS": "1"}
        found = {"PYTHONPATH": os.pathsep.join(sys.path)}  # plugins beside a script
        environment = {**os.environ, **threads, **found}
        with self._log.open("wb") as log:
            for _ in range(self._count):
                process = subprocess.Popen(
                    [sys.executable, "-c", "from fedmed.study import session; session.main()"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                    start_new_session=True,  # Ctrl-C is the parent's to handle
                )
                self._processes.append(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()  # results are written whole or not at all
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if not any(process.returncode not in (0, -signal.SIGKILL) for process in self._processes):
            self._log.unlink(missing_ok=True)

    def run(self, tasks: Sequence[Assignment], done: Callable[[Assignment], None]) -> None:
        """Runs all tasks, in order as processes become free, and tells of each as it is done.

        Raises:
            UserError: a setting does not fit, or a process was killed.
            RuntimeError: a bug, with its traceback.
        """
        waiting = list(reversed(tasks))
        with selectors.DefaultSelector() as selector:
            for process in self._processes[: len(tasks)]:
                _give(selector, process, waiting.pop())
            while selector.get_map():
                for ready, _ in selector.select():
                    process, task = ready.data
                    self._check(process, task)
                    done(task)
                    selector.unregister(ready.fileobj)
                    if waiting:
                        _give(selector, process, waiting.pop())

    def _check(self, process: Any, task: Assignment) -> None:
        try:
            reply: Reply = pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError):
            code = process.wait()
            why = f"killed by signal {-code}; out of memory?" if code < 0 else f"status {code}, see {self._log}"
            raise errors.UserError(
                f"study: the process that trained {task.job.name} ended ({why}); starting the study again goes on"
            ) from None
        if reply.error:
            raise errors.UserError(reply.error)
        if reply.bug:
            raise RuntimeError(f"training {task.job.name} failed:\n{reply.bug}")


def _give(selector: selectors.BaseSelector, process: subprocess.Popen[bytes], task: Assignment) -> None:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a training process has no pipes")
    try:
        pickle.dump(task, process.stdin)
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended; reading its answer tells so
    selector.register(process.stdout, selectors.EVENT_READ, (process, task))


def _end_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
