"""`fedmed doctor`: is everything there that a run needs, and what to do about what is not."""

import importlib.metadata
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from absl import flags

from fedmed.commands import version
from fedmed.commands.command import Command
from fedmed.system import machine, quiet

_INSTALL = "install with: pip install uv && uv sync"
_NEEDED = {
    "TensorFlow": ("2.14.", _INSTALL),
    "TensorFlow Federated": ("0.87.", _INSTALL),
    "Keras": ("2.14.", _INSTALL),
    "NumPy": ("1.", "NumPy 2 does not work with TensorFlow 2.14; " + _INSTALL),
    "JAX": ("0.4.", "TensorFlow Federated imports JAX; " + _INSTALL),
}
_LEAST_MEMORY, _LEAST_DISK = 2e9, 1e9
_ANSWER_SECONDS = 20


class Finding(NamedTuple):
    """What was looked at, what was found, and what to do: "wrong" stops a run, a "note" does not."""

    level: Literal["ok", "note", "wrong"]
    subject: str
    found: str
    advice: str = ""


def findings() -> Iterator[Finding]:
    """Yields each finding as it is made; the slow ones, which import TensorFlow, come last."""
    for look in (_python, _packages, _cores, _memory, _disk, _mnist, _device, _federated, _worker, _cluster, _network):
        yield from look()


def _python() -> Iterator[Finding]:
    found = sys.version.split()[0]
    fits = sys.version_info[:2] == (3, 11)
    yield Finding("ok" if fits else "wrong", "Python", found, "" if fits else f"TFF 0.87 needs Python 3.11; {_INSTALL}")


def _packages() -> Iterator[Finding]:
    for name, found in version.versions().items():
        start, advice = _NEEDED.get(name, ("", ""))
        fits = bool(found) and found.startswith(start)
        yield Finding("ok" if fits else "wrong", name, found or "not installed", "" if fits else advice)


def _cores() -> Iterator[Finding]:
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("ok", "cores", f"{ours}, so as many clients train at a time")


def _memory() -> Iterator[Finding]:
    total, free = machine.memory()
    enough = free >= _LEAST_MEMORY
    advice = "" if enough else "close what else runs; a run takes 1 to 2 GB"
    yield Finding("ok" if enough else "note", "memory", f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free", advice)


def _disk() -> Iterator[Finding]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    enough = free >= _LEAST_DISK
    advice = "" if enough else "clients' rows are written there; free some space, or set TMPDIR to another folder"
    yield Finding("ok" if enough else "note", f"disk at {folder}", f"{free / 1e9:.1f} GB free", advice)


def _mnist() -> Iterator[Finding]:
    from fedmed.data import mnist

    found = mnist.find()
    advice = "it is downloaded when first used; without a network put mnist.npz in the folder that $FEDMED_DATA names"
    yield Finding("ok", "MNIST", str(found)) if found else Finding("note", "MNIST", "not on this machine", advice)


def _device() -> Iterator[Finding]:
    try:
        import tensorflow as tf

        kinds = [device.device_type for device in tf.config.list_physical_devices()]
    except Exception as error:  # whatever is broken, the user is to read what
        yield Finding("wrong", "TensorFlow starts", _first_line(error), _INSTALL)
        return
    yield Finding("ok", "device", f"{' and '.join(dict.fromkeys(kinds))}; clients train on the CPU")


def _federated() -> Iterator[Finding]:
    try:
        from fedmed.engine.runtimes import context  # noqa: F401  (it imports TFF)
    except Exception as error:
        yield Finding("wrong", "TFF starts", _first_line(error), _INSTALL)
        return
    yield Finding("ok", "TFF starts", "yes")


def _worker() -> Iterator[Finding]:
    from fedmed.engine.runtimes.worker import Worker, WorkerError

    advice = 'reinstall tensorflow-federated==0.87.0; until then: --set runtime.name="local"'
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(1, pathlib.Path(folder) / "worker.log")
        try:
            worker.start()
            worker.wait_ready()
            _connect(worker.port)
            yield Finding("ok", "TFF's worker", "starts and answers")
        except (WorkerError, OSError) as error:
            yield Finding("wrong", "TFF's worker", _first_line(error), advice)
        finally:
            worker.stop()


def _connect(port: int) -> None:
    """Waits until the worker speaks its protocol, which says more than an open port."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            raise TimeoutError(f"it does not answer within {_ANSWER_SECONDS} s") from None


def _cluster() -> Iterator[Finding]:
    from fedmed.engine.runtimes import cluster

    try:
        found = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("note", "Ray", "not installed", f"only runtime.name=ray needs it; {cluster.INSTALL}")
        return
    yield Finding("ok", "Ray", f"{found}, for runtime.name=ray")


def _network() -> Iterator[Finding]:
    found = (
        "with runtime.name=tff, TFF's worker listens on every network interface while a run lasts, without a password"
    )
    advice = (
        "on a machine that others can reach, keep them out by a firewall, or keep to the default, runtime.name=local"
    )
    yield Finding("note", "network", found, advice)


def _first_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    del values, arguments
    quiet.silence()
    return report(findings)


def report(look: Callable[[], Iterator[Finding]]) -> int:
    """Prints the findings, and returns 1 when something that a run needs is wrong, else 0."""
    wrong = 0
    for finding in look():
        wrong += finding.level == "wrong"
        print(f"{finding.level.ljust(5)}  {finding.subject.ljust(20)}  {finding.found}", flush=True)
        if finding.advice:
            print(f"{' ' * 29}-> {finding.advice}", flush=True)
    print(f"\n{wrong} thing{'s' * (wrong != 1)} to mend." if wrong else "\nReady to run.")
    return 1 if wrong else 0


COMMAND = Command("doctor", "", "Is everything there that a run needs?", lambda values: None, _execute)
