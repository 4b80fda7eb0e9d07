"""The tables of `experiments.personal`: what a model of its own brings each hospital."""

from collections.abc import Mapping
from typing import Any

from fedmed.study.sentences import signed

ARMS: Mapping[str, Mapping[str, Any]] = {
    "fedper": {},
    "fedrep": {"head_epochs": 5},
    "ditto": {"strength": 1.0},
    "apfl": {"alpha": 0.5, "adaptive": True},
}
ALONE, AVERAGED = "local", "federated"


def page(studies: Mapping[str, Mapping[str, Any]], where: str) -> str:
    """Returns the tables of studies by population."""
    asked = ", ".join(f"`{name}` {dict(args)}" if args else f"`{name}`" for name, args in ARMS.items())
    lines = [
        "# Models of one's own",
        "",
        "`uv run python -m experiments.personal`; the settings are in the program, the studies' own in their config.",
        f"Arms: {asked}; `federated` is FedAvg, `fine_tuned` is FedAvg trained further at each hospital. FedBN is left",
        f"out, as no model here has a BatchNormalization layer. Machine: {where}.",
    ]
    for name, study in studies.items():
        metric, level = study["metric"], f"{study['level']:.0%}"
        lines += [
            "",
            f"## {name}",
            "",
            f"Seeds {', '.join(map(str, study['seeds']))}; {metric['label']}, {metric['better']} is better; paired",
            f"differences with {level} intervals, each by itself: not allowed for how many there are, so that some",
            "leave out 0 by chance.",
            *table(study, ALONE, "the hospital alone"),
            *table(study, AVERAGED, "FedAvg"),
        ]
        lines += ["", *(f"Warning: {text}" for text in study["warnings"])] if study["warnings"] else []
    return "\n".join([*lines, ""])


def table(study: Mapping[str, Any], against: str, words: str) -> list[str]:
    """Returns the lines of a table: a hospital a row, an arm a column, less one arm."""
    found = {own["of"]: own for own in study["comparisons"] if own["against"] == against}
    arms = [arm["name"] for arm in study["design"]["arms"] if arm["name"] in found]
    metric = study["metric"]["name"]
    lines = ["", f"| less {words} | {' | '.join(arms)} |", "|---" * (len(arms) + 1) + "|"]
    for hospital in (one["id"] for one in study["hospitals"]):
        told = [found[arm]["hospitals"][hospital]["measures"][metric] for arm in arms]
        lines.append(f"| {hospital} | {' | '.join(map(cell, told))} |")
    told = [found[arm]["all"]["measures"][metric] for arm in arms]
    return [*lines, f"| all rows together | {' | '.join(map(cell, told))} |"]


def cell(told: Mapping[str, Any]) -> str:
    """Returns a difference with its interval, or why there is none."""
    if told["estimate"] is None:
        return f"none: {told['reason']}"
    if told["low"] is None or told["high"] is None:
        return signed(told["estimate"])
    return f"{signed(told['estimate'])} ({signed(told['low'])} to {signed(told['high'])})"
