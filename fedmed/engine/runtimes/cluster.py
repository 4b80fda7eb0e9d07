"""A Ray to work on: one of our own, on this machine's loopback and ended with us, or one that is there already."""

import contextlib
import importlib.util
import ipaddress
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from fedmed.engine.runtimes import aftermath
from fedmed.settings import config
from fedmed.system import errors
from fedmed.system.folders import PrivateFolder

INSTALL = "install it with: uv sync --extra ray (with pip: pip install ray==2.52.1)"
PREFIX = "fedmed-ray-"
_LONGEST_FOLDER = 40  # Ray puts sockets below it, and a socket's path has 107 bytes at most
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or Ray warns
    "RAY_worker_niceness": "0",  # by default others go first, and a round waits for the last lane
    "RAY_enable_metrics_collection": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # or it complains, past Python, that there is nobody to take metrics
}
_ANSWER_SECONDS = 10.0
_TLS = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")


def check(runtime: config.Runtime) -> None:
    """Checks what can be known of a cluster before it is asked for anything; other runtimes pass.

    Raises:
        ConfigError: Ray is not installed, or rows would travel to another machine without a token or in the clear.
    """
    if runtime.name != "ray":
        return
    if importlib.util.find_spec("ray") is None:
        raise errors.ConfigError(f"runtime.name: 'ray' needs the package ray, which is not installed; {INSTALL}")
    if not runtime.address or _is_here(runtime.address) or runtime.insecure:
        return
    missing = [*_missing_token(), *_missing_tls()]
    if missing:
        raise errors.ConfigError(
            f"runtime.address: {errors.shown(runtime.address)} may have other machines, and rows would be sent there "
            f"unguarded: {' and '.join(missing)}; or runtime.insecure = true where the network is private"
        )


def _is_here(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _missing_token() -> list[str]:
    kept = pathlib.Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or pathlib.Path.home() / ".ray" / "auth_token")
    has = bool(os.environ.get("RAY_AUTH_TOKEN")) or kept.is_file()
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" and has:
        return []
    return ["set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"]


def _missing_tls() -> list[str]:
    if os.environ.get("RAY_USE_TLS", "").lower() in ("1", "true") and all(os.environ.get(name) for name in _TLS):
        return []
    return [f"set RAY_USE_TLS=1, {', '.join(_TLS)}"]


def put(value: Any) -> Any:
    """Puts a value into the cluster's store, and returns the reference; it lives as long as somebody holds that."""
    import ray

    return ray.put(value)


def get(references: Any) -> Any:
    """Returns what a reference, or each of a list of them, stands for."""
    import ray

    return ray.get(references)


class Cluster:
    """A connection to Ray, from `start` to `close`; one a process at a time.

    Attributes:
        runtime: the settings.
        is_ours: whether it was started here, and ends here.
    """

    def __init__(self, runtime: config.Runtime) -> None:
        self.runtime, self.is_ours = runtime, not runtime.address
        self._folder: PrivateFolder | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def start(self, processors: int) -> None:
        """Starts a Ray of so many processors, or connects to the one at the settings' address.

        Raises:
            UserError: there is none, it does not let us in, or this program uses Ray itself.
        """
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            raise errors.UserError(
                "runtime.name: this program is connected to a Ray already, and fedmed needs a connection of its own; "
                "call ray.shutdown() before"
            )
        if self.is_ours and "ray" in sys.modules and "RAY_AUTH_MODE" not in os.environ:
            raise errors.UserError(
                "runtime.name: this program has imported ray, which reads its token then, and one is drawn later; "
                "import ray after fedmed has started it, or set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN before"
            )
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        with _handlers_kept(), _muted():
            if self.is_ours:
                self._start_here(processors)
            else:
                self._connect()
        _hush()

    def _start_here(self, processors: int) -> None:
        if os.environ.setdefault("RAY_AUTH_MODE", "token").lower() == "token":
            # Kept until this process ends: Ray reads it once.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        within = None if len(tempfile.gettempdir()) + len(PREFIX) + 10 <= _LONGEST_FOLDER else "/tmp"
        self._folder = PrivateFolder(PREFIX, within)
        folder = str(self._folder.path)
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", aftermath.__file__, folder], stdin=subprocess.PIPE, start_new_session=True
        )
        found = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # plugins beside a script
        try:
            import ray

            ray.init(
                num_cpus=processors,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                logging_level="ERROR",
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )
        finally:
            os.environ.pop("PYTHONPATH")
            if found is not None:
                os.environ["PYTHONPATH"] = found

    def _connect(self) -> None:
        import ray

        address = self.runtime.address
        _probe(address)
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            why = " ".join(str(error).split())[:200] or "is the token the cluster's?"
            raise errors.UserError(f"runtime.address: no Ray that lets us in at {address!r}: {why}") from None

    @property
    def processors(self) -> int:
        """How many processors all of its hosts have."""
        import ray

        return int(ray.cluster_resources().get("CPU", 0))

    def close(self) -> None:
        """Leaves Ray, and ends it with all its processes if it is ours; may be called twice."""
        ray = sys.modules.get("ray")
        if ray is not None:
            with _handlers_kept():
                ray.shutdown()
        watcher, self._watcher = self._watcher, None
        if watcher is not None and watcher.stdin is not None:
            watcher.stdin.close()
            watcher.wait()
        if self._folder is not None:
            self._folder.close()


def _probe(address: str) -> None:
    """Raises a UserError where nobody answers at HOST:PORT, for which Ray would wait two minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise errors.UserError(f"runtime.address: nobody answers at {address!r}: {error}") from None


def _hush() -> None:
    """Keeps Ray from telling of each lost process on standard output, which is the program's own.

    There is no setting for it; `log_to_driver=False` is for what the processes print.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *told, **more: None


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Lets Ray's own code, which writes past Python, say nothing: what is wrong comes as an exception."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keeps the handlers of signals, of which Ray sets some of its own: it would end us where we end cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
