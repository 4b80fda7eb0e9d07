"""`fedmed version`: what is installed."""

import importlib.metadata
import sys
from collections.abc import Sequence

from absl import flags

from fedmed.commands.command import Command

PACKAGES = {
    "fedmed": ("fedmed",),
    "TensorFlow": ("tensorflow-cpu", "tensorflow"),
    "TensorFlow Federated": ("tensorflow-federated",),
    "Keras": ("keras",),
    "NumPy": ("numpy",),
    "JAX": ("jax",),
}
"""A package's name for people, and the distributions that may hold it."""


def versions() -> dict[str, str]:
    """Returns the version of each package, "" where it is not installed; nothing is imported."""
    return {name: _version(distributions) for name, distributions in PACKAGES.items()}


def _version(distributions: Sequence[str]) -> str:
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    del values, arguments
    for name, version in versions().items():
        print(f"{name} {version or 'is not installed'}")
    print(f"Python {sys.version.split()[0]}")
    return 0


COMMAND = Command("version", "", "Versions of fedmed and of what it stands on.", lambda values: None, _execute)
