"""What a run is recorded to have run on and taken: versions and memory."""

import contextlib
import importlib.metadata
import platform
import sys

import psutil

_PACKAGES = ("fedmed", "tensorflow-federated", "tensorflow-cpu", "keras", "numpy", "scikit-learn")


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


def memory_mb() -> float:
    """Returns the resident memory of this process and its children, in MB."""
    me = psutil.Process()
    total = me.memory_info().rss
    for child in me.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += child.memory_info().rss
    return round(total / 1e6, 1)
