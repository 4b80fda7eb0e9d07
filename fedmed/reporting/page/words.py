"""Numbers, counts and lists as a page writes them."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page.blocks import Cell

NONE = "–"
_HIDDEN_BELOW = 5
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def number(value: float | None) -> str:
    """Returns 3 decimals of what is small, 4 digits of what may be large, with a true minus sign."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return re.sub(r"^-(?=0\.?0*$)", "", text).replace("-", "−")


def signed(value: float | None) -> str:
    """Returns a difference, with its sign."""
    text = number(value)
    return text if value is None or value <= 0 or not text.strip("0.") else f"+{text}"


def span(low: float | None, high: float | None, sign: bool = False) -> str:
    """Returns an interval: "0.71 to 0.78", or "" without one."""
    if low is None or high is None:
        return ""
    write = signed if sign else number
    return f"{write(low)} to {write(high)}"


def alike(difference: Mapping[str, Any]) -> bool:
    """Whether two models differ in no draw of the test patients, so that the difference is 0 without an interval."""
    return difference.get("estimate") == 0 and difference.get("low") is None


def estimate(value: Mapping[str, Any] | None, sign: bool = False) -> str:
    """Returns an Estimate as "0.751 (0.712 to 0.790)"; a dash where it has no value."""
    if not value or value.get("estimate") is None:
        return NONE
    within = span(value.get("low"), value.get("high"), sign)
    shown = (signed if sign else number)(value["estimate"])
    return f"{shown} ({within})" if within else shown


def count(value: float | None) -> str:
    """Returns a count with a comma at the thousands; null and 1 to 4 are hidden."""
    return "< 5" if value is None or 0 < value < _HIDDEN_BELOW else f"{round(value):,}"


def percent(share: float | None, digits: int = 1) -> str:
    """Returns a share as per cent."""
    return NONE if share is None else f"{100 * share:.{digits}f} %".replace("-", "−")


def p_value(value: float | None) -> str:
    """Returns a p-value with 3 decimals."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def points(value: float, digits: int) -> str:
    """Returns hundredths without a sign."""
    return f"{abs(100 * value):.{digits}f}"


def size(bytes_: float | None) -> str:
    """Returns bytes in the unit that fits: "1.2 MB"."""
    if bytes_ is None:
        return NONE
    power = min(len(_UNITS) - 1, int(math.log(max(1.0, bytes_), 1000) + 1e-9))
    return f"{bytes_ / 1000**power:,.3g} {_UNITS[power]}" if power else f"{round(bytes_)} bytes"


def seconds(value: float | None) -> str:
    """Returns a time in the unit that fits."""
    if value is None:
        return NONE
    for unit, least in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if value >= least:
            return f"{value / least:.3g} {unit}"
    return f"{1000 * value:.3g} ms"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Returns "a, b and c"; of many, the first ones and how many more there are."""
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def short(name: str, longest: int = 26) -> str:
    """Returns a name cut to fit a drawing; tables have it whole."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def plural(number_: int, noun: str) -> str:
    """Returns "1 hospital", "2 hospitals"."""
    return f"{number_:,} {noun}{'' if number_ == 1 else 's'}"


def capital(text: str) -> str:
    """Returns a text that starts with a capital."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """Returns a text that starts with a capital and ends with a full stop; the words themselves stay."""
    text = text.strip()
    ended = text if not text or text[-1] in ".!?" else f"{text}."
    return capital(ended)


class Notes:
    """Collects why figures are missing, so that a cell holds a mark and the reason stands below the table."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def mark(self, reason: str) -> str:
        """Returns the mark of a reason, the same for the same reason."""
        turn, letter = divmod(len(self._marks), 26)
        return self._marks.setdefault(reason, chr(ord("a") + letter) * (turn + 1))

    def estimate(self, value: Mapping[str, Any] | None, sign: bool = False, why: str = "") -> str | Cell:
        """Returns an Estimate's cell; one without a value says so and bears the mark of its reason."""
        if value and value.get("estimate") is not None:
            return estimate(value, sign)
        reason = (value or {}).get("reason") or why
        return f"withheld [{self.mark(reason)}]" if reason else NONE

    def listed(self, *general: str) -> tuple[tuple[str, str], ...]:
        """Returns the notes for the table, after what holds for all of it."""
        reasons = [(mark, sentence(reason)) for reason, mark in self._marks.items()]
        return (*(("", text) for text in general if text), *reasons)
