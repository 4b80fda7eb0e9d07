"""Reads TOML, and tells in one line what is wrong with a file or too much for the reader."""

import pathlib
import tomllib
from typing import Any

from fedmed.system import errors


def read(file: pathlib.Path) -> dict[str, Any]:
    """Reads a TOML file into plain tables; ConfigError when it is missing or is not TOML."""
    if not file.is_file():
        beside = sorted(p.name for p in file.parent.glob("*.toml")) if file.parent.is_dir() else []
        hint = errors.nearest(file.name, beside) or (f"; there are: {', '.join(beside)}" if beside else "")
        raise errors.ConfigError(f"{file}: no such config{hint}")
    try:
        return loads(file.read_text(), str(file))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.ConfigError(f"{file}: not valid TOML: {errors.shortened(str(error))}") from None


def loads(text: str, where: str) -> dict[str, Any]:
    """Reads TOML; ConfigError for what is no mistake in TOML, but more than Python's reader takes."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise
    except RecursionError:
        raise errors.ConfigError(f"{where}: tables or lists are nested too deeply to be read") from None
    except ValueError:  # of int(), which takes 4,300 digits
        raise errors.ConfigError(f"{where}: a whole number has too many digits to be read") from None
