"""Single settings changed by "key.path=value", on the command line, from Python, or for an arm of a study."""

import tomllib
from collections.abc import Sequence
from typing import Any

from fedmed.settings import toml_file
from fedmed.system import errors


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """Sets each "key.path=value", in order; the value is read as TOML, else taken as a string; "none" unsets it.

    Raises:
        ConfigError: an override is no "key.path=value", or goes through a setting that is no table.
    """
    for place, override in enumerate(overrides):
        where = errors.argument(f"overrides[{place}], {errors.shown(override)}", f"--set {errors.shown(override)}")
        path, equals, text = override.partition("=")
        if not equals or not all(key.strip() for key in path.split(".")):
            raise errors.ConfigError(f"{where}: expected key.path=value, such as client.learning_rate=0.1")
        try:
            value = toml_file.loads(f"value = {text}", where)["value"]
        except tomllib.TOMLDecodeError:
            value = text
        set_value(tree, path, None if text.strip() == "none" else value, where)


def set_value(tree: dict[str, Any], path: str, value: Any, where: str) -> None:
    """Sets a dotted key in the tables, or unsets it for None; tables on its way are made where there are none."""
    keys = [key.strip() for key in path.split(".")]
    for depth, key in enumerate(keys[:-1]):
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise errors.ConfigError(f"{where}: {'.'.join(keys[: depth + 1])} is a value, not a table")
    if value is None:
        tree.pop(keys[-1], None)
    else:
        tree[keys[-1]] = value
