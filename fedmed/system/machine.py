"""What a run is recorded to have run on and taken: versions, processor and memory."""

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import sys
from typing import NamedTuple

import psutil

_PACKAGES = ("fedmed", "tensorflow-federated", "tensorflow-cpu", "keras", "numpy", "scikit-learn")
# Those that decide which of TensorFlow's and oneDNN's kernels run, as /proc/cpuinfo spells them.
_INSTRUCTIONS = (
    "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8",
    "asimd",
)  # fmt: skip


class Processor(NamedTuple):
    """A machine's processor.

    Attributes:
        model: its name; where the kernel tells only a part, such as "AMD EPYC", family and model number follow.
        cores: logical ones that this machine has.
        instructions: sets of instructions that kernels for dense arithmetic use, as /proc/cpuinfo names them.
    """

    model: str
    cores: int
    instructions: tuple[str, ...]


def processor(cpuinfo: pathlib.Path = pathlib.Path("/proc/cpuinfo")) -> Processor:
    """Returns what the operating system tells of the processor; outside Linux its name only."""
    try:
        lines = [line.partition(":") for line in cpuinfo.read_text().split("\n\n")[0].splitlines()]
    except OSError:
        lines = []
    told = {name.strip(): value.strip() for name, _, value in lines}
    found = set((told.get("flags") or told.get("Features", "")).split())
    model = told.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in told:
        model += f" (family {told['cpu family']}, model {told.get('model', '?')})"
    return Processor(model, os.cpu_count() or 1, tuple(name for name in _INSTRUCTIONS if name in found))


def packages() -> dict[str, str]:
    """Returns the versions that results depend on: of Python and of packages."""
    found = {"python": sys.version.split()[0], "architecture": platform.machine()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def versions() -> dict[str, str]:
    """Returns those versions and the operating system's, which is told and changes nothing."""
    return {**packages(), "platform": platform.platform()}


class Memory(NamedTuple):
    """A machine's memory, or what its container leaves of it, in bytes.

    Attributes:
        total: all of it.
        free: what programs may still take.
    """

    total: float
    free: float


def memory(cgroup: pathlib.Path = pathlib.Path("/sys/fs/cgroup")) -> Memory:
    """Returns the memory that there is; what is only kept of files, and given up when needed, counts as free."""
    found = psutil.virtual_memory()
    try:
        limit, used = (float((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        told = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        used -= float(told["inactive_file"])
    except (OSError, ValueError, KeyError):  # there is no limit, which is written as "max"
        return Memory(found.total, found.available)
    return Memory(min(limit, found.total), min(limit - used, found.available))


def memory_mb() -> float:
    """Returns the resident memory of this process and its children, in MB."""
    me = psutil.Process()
    total = me.memory_info().rss
    for child in me.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += child.memory_info().rss
    return round(total / 1e6, 1)
