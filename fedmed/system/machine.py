"""What a run is recorded to have run on and taken: versions and memory."""

import contextlib
import importlib.metadata
import platform
import sys

import psutil


def versions() -> dict[str, str]:
    """Returns the versions that results depend on."""
    packages = ("fedmed", "tensorflow-federated", "tensorflow-cpu", "keras", "numpy", "scikit-learn")
    found = {"python": sys.version.split()[0], "platform": platform.platform()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def memory_mb() -> float:
    """Returns the resident memory of this process and its children, in MB."""
    me = psutil.Process()
    total = me.memory_info().rss
    for child in me.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += child.memory_info().rss
    return round(total / 1e6, 1)
