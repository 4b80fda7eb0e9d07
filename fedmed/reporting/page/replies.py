"""The answer to each question of the first screen, with its figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Reply
from fedmed.reporting.page.view import View
from fedmed.statistics import ENOUGH_SEEDS, says_nothing

_MARKS = {"better": ("gains", "▲"), "worse": ("harmed", "▼"), "open": ("open", "●")}


TOO_FEW = f"no interval: it takes at least {ENOUGH_SEEDS} seeds"


def told(view: View, difference: Mapping[str, Any], size: float) -> Mapping[str, Any]:
    """Returns a difference without its interval where so few seeds make it too wide to say anything."""
    low, high = difference.get("low"), difference.get("high")
    if low is None or high is None or not says_nothing(low, high, size, len(view.study["seeds"])):
        return difference
    return {**difference, "low": None, "high": None}


def scale(measure: str, sides: Sequence[Mapping[str, Any] | None]) -> float:
    """Returns the size of what was compared; net benefit is a share of the patients."""
    values = [abs(side["estimate"]) for side in sides if side and side.get("estimate") is not None]
    return 1.0 if measure == "net_benefit" else max(values, default=1.0)


def reply(view: View, hospital: str, key: str, asked: Mapping[str, Any], arms: Sequence[str], other: str) -> Reply:
    """Returns the answer to a question at a hospital; `other` is what the second of the arms is called."""
    measure = view.measure(asked["measure"])
    tone, mark = _MARKS[asked["claim"]]
    performance = [view.study["performance"][arm]["hospitals"] for arm in arms]
    performed = [own.get(hospital, {}).get(measure["name"]) for own in performance]
    comparison = view.study["answer"]["comparison"]
    compared = next(c for c in view.study["comparisons"] if c["id"] == comparison)["hospitals"][hospital]["measures"]
    question = _question(view, key, measure)
    if measure["name"] not in compared:
        sides = [words.estimate(side) for side in performed]
        text = f"{measure['label']} {sides[0]} against {sides[1]} {other}; best at {measure['target']:g}"
        return Reply(question, mark, tone, text, words.estimate(performed[0]))
    difference = told(view, compared[measure["name"]], scale(measure["name"], performed))
    more = "" if difference is compared[measure["name"]] else f" ({TOO_FEW})"
    if measure["name"] == "net_benefit":
        text = f"{measure['label']}: {_per_thousand(difference)} per 1,000 patients than {other}{more}"
        return Reply(question, mark, tone, text, _thousand(difference))
    values = [words.estimate({**(side or {}), "low": None}) for side in performed]
    text = f"{measure['label']} {values[0]} against {values[1]} {other}: {words.estimate(difference, sign=True)}{more}"
    return Reply(question, mark, tone, text, words.estimate(difference, sign=True))


def _question(view: View, key: str, measure: Mapping[str, Any]) -> str:
    if key == "usefulness":
        return "Is it more useful?"
    if key == "calibration":
        return "Is it better calibrated?" if measure["better"] == "target" else f"Is its {measure['label']} better?"
    return "Does it rank better?" if measure["name"] == "auroc" else f"Is its {view.metric['label']} better?"


def _per_thousand(difference: Mapping[str, Any]) -> str:
    value = difference["estimate"]
    text = f"{abs(1000 * value):.1f} {'more' if value >= 0 else 'fewer'}"
    if difference["low"] is None:
        return text
    return f"{text} ({_signed(difference['low'])} to {_signed(difference['high'])})"


def _thousand(difference: Mapping[str, Any]) -> str:
    ends = "" if difference["low"] is None else f" ({_signed(difference['low'])} to {_signed(difference['high'])})"
    return f"{_signed(difference['estimate'])}{ends}"


def _signed(value: float) -> str:
    text = f"{1000 * value:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text
