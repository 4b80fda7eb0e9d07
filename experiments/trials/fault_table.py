"""The page of `experiments.faults`: a line a row, how many trials held, what happened, and seconds."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.trials.bench import Row

_HOW = 6
"""Of what happened, so many kinds are named."""


def page(rows: Mapping[str, Row], found: Mapping[str, Any]) -> str:
    """Returns the page of all rows that have trials, in the order of `rows`."""
    done = [rows[name] for name in rows if found.get(name, {}).get("trials")]
    told = {(found[row.name]["of"]["machine"], found[row.name]["of"]["seed"]) for row in done}
    lines = [
        "# What befalls a run, and what is lost",
        "",
        "Made by `uv run python -m experiments.faults`, which goes on where it was stopped.",
        *(f"Machine: {machine}; seed {seed}." for machine, seed in sorted(told)),
        "",
        "| row | what befell | what had to hold | held | aim | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in done:
        trials = found[row.name]["trials"]
        held, seconds = sum(bool(one[0]) for one in trials), sum(one[2] for one in trials)
        lines.append(
            f"| `{row.name}` | {row.what} | {row.holds} | {held} of {len(trials)} | {row.times} | {seconds:,.0f} |"
        )
    lines += ["", "What happened, and how often:", ""]
    for row in done:
        lines.append(f"- `{row.name}`: {_how(found[row.name]['trials'])}.")
    lost = [(row.name, one[1]) for row in done for one in found[row.name]["trials"] if not one[0]]
    if lost:
        lines += ["", "What did not hold:", "", *(f"- `{name}`: {said}" for name, said in lost)]
    return "\n".join([*lines, ""])


def _how(trials: Sequence[Sequence[Any]]) -> str:
    counted = collections.Counter(str(one[1]) for one in trials if one[0])
    parts = [f"{said} ({count})" for said, count in counted.most_common(_HOW)]
    rest = sum(counted.values()) - sum(count for _, count in counted.most_common(_HOW))
    return "; ".join([*parts, *([f"otherwise ({rest})"] if rest else [])]) or "none held"
