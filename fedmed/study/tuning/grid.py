"""What is searched: learning rates a fixed factor apart, crossed with any other settings that the user names."""

import copy
import dataclasses
import itertools
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fedmed.reporting.trials import told
from fedmed.settings import config, toml_file
from fedmed.settings.overrides import set_value
from fedmed.study.tuning.halving import STEPS_AN_ORDER
from fedmed.system import errors

GRID = errors.argument("grid", "--grid")
_DIGITS = 3
_SAME_ROWS = "every candidate must be scored on the same rows"
_NOT_SEARCHED = {
    "name": "it names the config",
    "seed": _SAME_ROWS,
    "plugins": "they are the same for all candidates",
    "rounds": "candidates are compared after the same rounds",
    "partition": _SAME_ROWS,
    "stop": "candidates train all rounds",
    "privacy": "a search looks at validation patients many times without noise, which no promise covers",
    "checkpoint": "it changes no model",
    "evaluation": "it changes no model",
    "runtime": "it changes no model",
    "study": "it changes no model",
    "arms": "they are a study's",
    "client.learning_rate": "it is searched already",
    "model.task": _SAME_ROWS,
}


class Combination(NamedTuple):
    """Settings that are changed together, and the config with these changes made."""

    changes: Mapping[str, Any]
    settings: config.RunConfig

    def at(self, step: int) -> config.RunConfig:
        """Returns the settings with the learning rate of a step."""
        return with_rate(self.settings, rate(self.settings.client.learning_rate, step))


def rate(start: float, step: int) -> float:
    """Returns a learning rate so many steps from another, to three digits; step 0 is the other itself."""
    return float(f"{start * 10 ** (step / STEPS_AN_ORDER):.{_DIGITS}g}") if step else start


def with_rate(settings: config.RunConfig, learning_rate: float) -> config.RunConfig:
    """Returns the settings with another learning rate of the clients."""
    return dataclasses.replace(settings, client=dataclasses.replace(settings.client, learning_rate=learning_rate))


def changed(settings: config.RunConfig, changes: Mapping[str, Any]) -> config.RunConfig:
    """Returns the settings with some of them, by dotted keys, replaced; raises ConfigError as a config does."""
    tree = copy.deepcopy(config.to_tree(settings))
    for key, value in changes.items():
        set_value(tree, key, value, GRID)
    return config.parse(tree)


def parsed(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Returns each "KEY=V1,V2" as key and values, which are read as TOML, else taken as strings.

    Raises:
        ConfigError: a text is no "KEY=V1,V2", or a key is there twice.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, equals, values = (part.strip() for part in text.partition("="))
        where = f"{GRID} {errors.shown(text)}"
        if not equals or not key or not values:
            raise errors.ConfigError(f"{where}: expected KEY=V1,V2, such as client.epochs=1,5")
        if key in found:
            raise errors.ConfigError(f"{where}: {key} is there twice; give all its values at once")
        found[key] = _values(values, where)
    return found


def _values(text: str, where: str) -> tuple[Any, ...]:
    try:
        return tuple(toml_file.loads(f"values = [{text}]", where)["values"])
    except tomllib.TOMLDecodeError:
        return tuple(_value(part.strip(), where) for part in text.split(","))


def _value(text: str, where: str) -> Any:
    try:
        return toml_file.loads(f"value = {text}", where)["value"]
    except tomllib.TOMLDecodeError:
        return None if text == "none" else text


def combinations(settings: config.RunConfig, grid: Mapping[str, Sequence[Any]]) -> tuple[Combination, ...]:
    """Returns the config with every combination of the values; one, the config's own, without a grid.

    Raises:
        ConfigError: a key is not to be searched, or has fewer than two values, or a value cannot be its setting's.
    """
    for key, values in grid.items():
        _check(key, values)
    found = []
    for values in itertools.product(*grid.values()):
        changes = dict(zip(grid, values, strict=True))
        try:
            found.append(Combination(changes, changed(settings, changes)))
        except errors.ConfigError as error:
            raise errors.ConfigError(f"{GRID} {told(changes)}: {error}") from None
    return tuple(found)


def _check(key: str, values: Sequence[Any]) -> None:
    same_data = key.split(".")[0] == "data" and key != "data.preprocessing"
    why = _NOT_SEARCHED.get(key) or _NOT_SEARCHED.get(key.split(".")[0]) or (_SAME_ROWS if same_data else "")
    if why:
        raise errors.ConfigError(f"{GRID} {errors.shown(key)}: is not searched: {why}")
    texts = [repr(value) for value in values]
    if isinstance(values, str) or len(set(texts)) < max(2, len(texts)):
        raise errors.ConfigError(f"{GRID} {errors.shown(key)}: expected two or more different values, got {texts}")
