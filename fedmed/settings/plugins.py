"""The user's own modules: importing one lets its decorated functions register themselves."""

import contextlib
import importlib
import pathlib
import sys
from collections.abc import Iterator, Sequence

from fedmed.system import errors


def load(names: Sequence[str]) -> None:
    """Imports each module; one that is imported already is left as it is.

    Raises:
        ConfigError: a module is not found, or fails while it is imported; one line says where.
    """
    for place, name in enumerate(names):
        where = f"plugins[{place}]"
        if not all(part.isidentifier() for part in name.split(".")):
            raise errors.ConfigError(f"{where}: expected a module's name such as 'my_package.my_data', got {name!r}")
        try:
            with importable_from_here():
                importlib.import_module(name)
        except errors.UserError:
            raise
        except Exception as error:  # whatever a stranger's module raises, it is theirs to mend
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise errors.ConfigError(f"{where}: cannot import {name!r}: {why}") from error


def is_dotted(name: str) -> bool:
    """Tells a path to a user's own ("my_package.module:function") from a registered name."""
    return ":" in name or "." in name


def parted(path: str) -> tuple[str, str]:
    """Returns module and function of a dotted path, "my_package.module:function" or "my_package.module.function"."""
    module, _, function = path.partition(":") if ":" in path else path.rpartition(".")
    return module, function


@contextlib.contextmanager
def importable_from_here() -> Iterator[None]:
    """Lets a module in the current folder be imported, as `python program.py` would."""
    here = str(pathlib.Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
