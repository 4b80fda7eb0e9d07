"""What a result depends on, by one rule: every setting but a named few, the data, the packages, and the source code."""

import hashlib
import inspect
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from fedmed.engine import registered
from fedmed.settings import config, sources
from fedmed.system import machine

NOT_OF_A_RUN = ("rounds", "stop", "checkpoint", "study", "arms")
"""Settings that a resumed run may change: how long it goes, what it saves, and what only a study looks at."""

NOT_OF_A_MODEL = ("name", "stop", "checkpoint", "study", "arms")
"""Settings that do not change a study's model: studies train all rounds."""


class Identity(NamedTuple):
    """What a result depends on, each part as text under a name such as "client.learning_rate"."""

    settings: Mapping[str, str]
    data: Mapping[str, str]
    packages: Mapping[str, str]
    sources: Mapping[str, str]

    @property
    def key(self) -> str:
        """A hash of all of it."""
        return hashlib.sha256(json.dumps(self._asdict(), sort_keys=True).encode()).hexdigest()

    def difference(self, now: "Identity") -> str:
        """Returns in words the first thing that has changed since this one, "" when nothing has."""
        for name, (before, after) in _changed(self.settings, now.settings).items():
            return f"{name} was {before} and is now {after}"
        for name in _changed(self.data, now.data):
            return f"the data have changed ({name})"
        for name, (before, after) in _changed(self.packages, now.packages).items():
            return f"{name} was {before} and is now {after}"
        for name in _changed(self.sources, now.sources):
            return f"the code of {name} has changed"
        return ""


def settings_of(settings: config.RunConfig, leave_out: Collection[str] = NOT_OF_A_RUN, **more: Any) -> Identity:
    """Returns what is known of a result's identity from the settings alone.

    Args:
        settings: all of them.
        leave_out: names of settings that do not matter.
        more: what else matters, beside the settings.
    """
    tree = {key: value for key, value in config.to_tree(settings).items() if key not in leave_out}
    if "runtime" in tree:  # a cluster gives the bits that this process does
        name = "local" if settings.runtime.name == "ray" else settings.runtime.name
        tree["runtime"] = {"name": name, "lanes": settings.runtime.lanes}
    if settings.privacy.target_epsilon is not None and settings.privacy.noise_multiplier is None:
        tree["rounds"] = settings.rounds  # the noise was chosen for them, and they have spent all that was promised
    return Identity({key: repr(value) for key, value in flat({**tree, **more}).items()}, {}, {}, {})


def completed(told: Identity, checksums: Mapping[str, str], sources: Mapping[str, str]) -> Identity:
    """Returns an identity with the data's checksums, the packages' versions and the source code's checksums added."""
    return told._replace(data=dict(checksums), packages=machine.packages(), sources=dict(sources))


def code_of(settings: config.RunConfig) -> dict[str, str]:
    """Returns checksums of the source of all that is plugged in, by module, and of fedmed's own.

    Plugins must have been imported, since what a user's script has registered by name counts too.
    """
    found = sources.of(settings)
    for table, factory in registered.factories(settings).items():
        if factory.__module__ == "__main__":
            found[f"{table} {registered.name_in(settings, table)!r}"] = _source(factory)
        elif factory.__module__.partition(".")[0] != "fedmed":
            found |= sources.digests([factory.__module__])
    return found


def _source(function: Any) -> str:
    """Returns a checksum of the file that a function was written in, or, in a notebook, of its own lines."""
    try:
        path = pathlib.Path(inspect.getsourcefile(function) or "")
        text = path.read_bytes() if path.is_file() else inspect.getsource(function).encode()
    except (OSError, TypeError):
        return sources.NO_SOURCE
    return hashlib.sha256(text).hexdigest()


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns plain tables as one, keys dotted."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    pairs = {key: (before.get(key, "not set"), now.get(key, "not set")) for key in sorted({*before, *now})}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
