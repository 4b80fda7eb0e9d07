"""What makes the hospitals' columns mean the same: entries of `data.harmonise`."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from fedmed.settings.ranges import setting
from fedmed.system import errors


def _table() -> Any:
    return dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Harmonise:
    """A change to one column of a table at load, before anything is split or scaled; entries apply in their order.

    Attributes:
        column: its name.
        sites: the hospitals whose rows are changed; all when left out.
        missing: numbers or levels that mean missing there, e.g. [-9].
        recode: levels and what they are to be called, e.g. { m = "male", f = "female" }; numbers too, as text.
        times: multiplies a number, e.g. 38.67 for cholesterol from mmol/L to mg/dL.
        plus: is added then.
        below: `times` and `plus` are for numbers below this only, where one hospital mixes two units.
        above: likewise, for numbers above this.
    """

    column: str
    sites: tuple[str, ...] = ()
    missing: tuple[float | str, ...] = ()
    recode: Mapping[str, Any] = _table()
    times: float = setting(1.0, above=0.0)
    plus: float = 0.0
    below: float | None = None
    above: float | None = None

    @property
    def converts(self) -> bool:
        """Whether numbers are multiplied or added to."""
        return self.times != 1.0 or self.plus != 0.0


def check(changes: tuple[Harmonise, ...]) -> None:
    """Checks what the types cannot say; ConfigError in one line."""
    for place, change in enumerate(changes):
        where = f"data.harmonise[{place}]"
        if not change.converts and not change.missing and not change.recode:
            raise errors.ConfigError(f"{where}: changes nothing; give times, plus, missing or recode")
        if (change.below is not None or change.above is not None) and not change.converts:
            raise errors.ConfigError(f"{where}: below and above are for times and plus, which are not given")
        if len(set(change.sites)) < len(change.sites):
            raise errors.ConfigError(f"{where}.sites: expected distinct names, got {list(change.sites)!r}")
        for level, name in change.recode.items():
            if not isinstance(name, str) or not name.strip():
                raise errors.ConfigError(f"{where}.recode.{level}: expected a name in quotes, got {errors.shown(name)}")


def written(change: Harmonise) -> str:
    """Returns an entry as a line of TOML, without what is left at its default."""
    parts = []
    for field in dataclasses.fields(change):
        value = getattr(change, field.name)
        if value not in (field.default, {}, ()) or field.name == "column":
            parts.append(f"{field.name} = {_toml(value)}")
    return f"{{ {', '.join(parts)} }}"


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_toml(key)} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
