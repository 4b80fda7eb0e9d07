"""A Ray to work on: one of our own, on this machine's loopback and ended with us, or one that is there already."""

import contextlib
import importlib.util
import ipaddress
import logging
import os
import pathlib
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fedmed.engine.runtimes import aftermath
from fedmed.settings import config
from fedmed.system import environment, errors
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
_THREAD = ThreadPoolExecutor(1, "fedmed-ray")
"""Starts and ends connections to Ray, one after the other: an end takes a second, in which the program can go on.

It is one for good: Ray's daemons die with the thread that has started them. The interpreter waits for it at its end.
"""
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
    if _uses_tls():
        return []
    return [f"set RAY_USE_TLS=1, {', '.join(_TLS)}"]


def _uses_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "").lower() in ("1", "true") and all(os.environ.get(name) for name in _TLS)


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
        self._is_connected = False  # or in between
        self._folder: PrivateFolder | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def start(self, processors: int) -> None:
        """Starts a Ray of so many processors, or connects to the one at the settings' address.

        Raises:
            UserError: there is none, it does not let us in, or this program uses Ray itself.
        """
        _THREAD.submit(self._start, processors).result()

    def _start(self, processors: int) -> None:
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
        self._is_connected = True
        with _muted():
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
        found = os.pathsep.join(path for path in sys.path if path)  # plugins beside a script
        with environment.variable("PYTHONPATH", found):
            ray = _imported()
            ray.init(
                num_cpus=processors,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                logging_level="ERROR",
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )

    def _connect(self) -> None:
        ray = _imported()
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
        """Leaves Ray, and ends it with all its processes if it is ours, while the caller goes on; twice is as well."""
        _THREAD.submit(self._close)

    def _close(self) -> None:
        if not self._is_connected:  # there may be a Ray of the program's own
            return
        self._is_connected = False
        try:
            import ray

            ray.shutdown()
        finally:
            if self._watcher is not None and self._watcher.stdin is not None:
                self._watcher.stdin.close()
                self._watcher.wait()
            if self._folder is not None:
                self._folder.close()


def _imported() -> Any:
    """Imports Ray, which reads its token then, and has it warn of nothing: that this is not the main thread, say."""
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def _probe(address: str) -> None:
    """Raises a UserError where nobody answers at HOST:PORT, or not by the TLS that we use: Ray would wait minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    host = host.strip("[]")
    try:
        answering = socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS)
    except (OSError, OverflowError) as error:
        raise errors.UserError(f"runtime.address: nobody answers at {address!r}: {error}") from None
    with answering:
        if not _uses_tls():
            _check_without_tls(answering, address)
            return
        try:
            context = ssl.create_default_context(cafile=os.environ[_TLS[2]])
            context.load_cert_chain(*(os.environ[name] for name in _TLS[:2]))
            _shake_hands(context, answering, host)
        except OSError as error:  # a certificate that cannot be read, too
            raise errors.UserError(f"runtime.address: no TLS with the Ray at {address!r}: {error}") from None


def _check_without_tls(answering: socket.socket, address: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only whether it is spoken
    with contextlib.suppress(OSError):
        _shake_hands(context, answering, None)
        raise errors.UserError(f"runtime.address: the Ray at {address!r} uses TLS; {_missing_tls()[0]}")


def _shake_hands(context: ssl.SSLContext, answering: socket.socket, host: str | None) -> None:
    context.set_alpn_protocols(["h2"])
    context.wrap_socket(answering, server_hostname=host).close()


def _hush() -> None:
    """Keeps Ray from telling of each lost process on standard output, which is the program's own.

    There is no setting for it; `log_to_driver=False` is for what the processes print.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *told, **more: None


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Lets Ray's own code, which writes past Python, say nothing: what is wrong comes as an exception.

    Nor is anybody else heard meanwhile.
    """
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
