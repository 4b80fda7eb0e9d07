"""The worker: TFF's executor in a process of its own, whose life we own from start to end.

TFF starts its worker so that it outlives Python and keeps standard output open. This one writes to a file, ends with
us on a normal exit, an exception or a signal, and, on Linux, is ended by the kernel when we are killed.

The worker listens without credentials on every interface of the machine and runs any graph it is sent, file reads
included; its port should not be reachable from other machines (TFF 0.87 offers no option to bind the loopback only).
"""

import atexit
import contextlib
import ctypes
import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

import psutil

from fedmed.system import errors

_START_SECONDS = 60.0
_MESSAGE_BYTES = 2 * 1000 * 1000 * 1000  # protobuf's limit


class WorkerError(errors.UserError):
    """The worker did not start, or died more often than it is worth starting it again."""


class Worker:
    """One worker process; `start` returns at once, `wait_ready` blocks until its port answers."""

    def __init__(self, lanes: int, log: pathlib.Path | None = None) -> None:
        self._lanes = lanes
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._reserved: socket.socket | None = None
        self.port = 0
        atexit.register(self.stop)

    def start(self) -> None:
        """Starts the process, one thread a lane: several clients at once beat one client on several threads."""
        self._reserved = _reserved_port()
        self.port = self._reserved.getsockname()[1]
        command = [
            str(binary()),
            f"--port={self.port}",
            f"--max_concurrent_computation_calls={max(4, 2 * self._lanes)}",
            f"--grpc_max_message_length_megabytes={_MESSAGE_BYTES // 1_000_000}",
        ]
        environment = dict(os.environ, TF_NUM_INTRAOP_THREADS="1", TF_CPP_MIN_LOG_LEVEL="2")
        with self._log_file() as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                preexec_fn=_ending_with(os.getpid()) if sys.platform == "linux" else None,
                start_new_session=True,  # Ctrl-C is ours to handle: it must not tear the worker down first
            )

    def _log_file(self) -> IO[bytes]:
        return open(self._log or os.devnull, "ab")

    @property
    def pid(self) -> int | None:
        """The process id, or None before the start and after the end."""
        return self._process.pid if self._process else None

    def is_alive(self) -> bool:
        """Tells whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self) -> None:
        """Blocks until the worker's port accepts connections; WorkerError after a minute or when it has died."""
        give_up = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up:
            if not self.is_alive():
                raise WorkerError(f"the TFF worker ended while starting{self._where_to_look()}")
            if self._listens():
                self._release()
                return
            time.sleep(0.02)
        raise WorkerError(f"the TFF worker did not answer within {_START_SECONDS:.0f} s{self._where_to_look()}")

    def _listens(self) -> bool:
        """Whether the port answers and it is this process that does: another may have been quicker."""
        with contextlib.suppress(psutil.Error):
            for at in psutil.Process(self.pid).connections("tcp"):
                if at.status == psutil.CONN_LISTEN and at.laddr.port == self.port:
                    return True
        return False

    def _release(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _where_to_look(self) -> str:
        return f"; its log: {self._log}" if self._log else ""

    def stop(self) -> None:
        """Ends the process and waits for it; may be called twice."""
        atexit.unregister(self.stop)
        self._release()
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.kill()  # it holds nothing worth saving, and does not end on SIGTERM while it computes
        process.wait()


def binary() -> pathlib.Path:
    """Returns TFF's worker binary, found without importing TFF (which takes seconds)."""
    spec = importlib.util.find_spec("tensorflow_federated")
    locations = spec.submodule_search_locations if spec else None
    path = pathlib.Path(next(iter(locations))) / "data" / "worker_binary" if locations else pathlib.Path()
    if not path.is_file():
        raise WorkerError("TFF's worker binary was not found; is tensorflow-federated 0.87 installed?")
    return path


def _reserved_port() -> socket.socket:
    """Returns a socket bound to a port that nobody else gets, but a process that shares ports as the worker does.

    It is never listened on, so that no connection goes to it, and is held until the worker listens: two workers that
    chose the same port would both get it, and each run would talk to the other's.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("", 0))
    return reserved


def _ending_with(parent: int) -> Callable[[], None]:
    """Returns what the new process does first: asks the kernel to be killed when its parent dies."""
    set_death_signal, pr_set_pdeathsig = ctypes.CDLL(None).prctl, 1

    def bind() -> None:
        set_death_signal(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return bind
