"""What tuning tried and chose, as a table for the console and as a page of Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedmed.reporting import tables

PICTURE = "learning_rates"
_CHOSEN = " (chosen)"
_UNTRAINED = "untrained"


def console(tuning: Mapping[str, Any]) -> list[str]:
    """Returns lines of text: what was chosen, what makes it doubtful, and a line for each candidate.

    Args:
        tuning: what tuning.json holds.
    """
    lines = tables.aligned(list(zip(*rows(tuning), strict=True)))
    return [*(f"Warning. {text}" for text in tuning["warnings"]), answer(tuning), "", *lines, "", *_notes(tuning)]


def markdown(tuning: Mapping[str, Any]) -> str:
    """Returns the same as a page, with the picture."""
    header, *body = rows(tuning)
    cells = [header, ["---", *("---:" for _ in header[1:])], *body]
    said = [f"**Warning.** {text}" for text in tuning["warnings"]]
    table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)
    picture = f"![Loss by learning rate]({PICTURE}.svg)"
    title = f"# The learning rate of {tables.printable(tuning['name'])}"
    return "\n\n".join([title, *said, answer(tuning), table, " ".join(_notes(tuning)), picture]) + "\n"


def answer(tuning: Mapping[str, Any]) -> str:
    """Returns in a sentence what was chosen."""
    chosen, name, own = tuning["chosen"], tables.printable(tuning["name"]), tuning["learning_rate"]
    if chosen is None:
        return f"{name}: nothing was chosen."
    rate = f"client.learning_rate = {chosen['learning_rate']:g}"
    others = "".join(f", {text}" for text in (told(chosen["set"]),) if text)
    was = "as in the config" if chosen["learning_rate"] == own else f"the config's: {own:g}"
    return f"{name}: {rate}{others} ({was}); {tuning['measure']} {number(chosen['loss'])} after all rounds."


def told(changes: Mapping[str, Any]) -> str:
    """Returns changed settings in words, "" for none."""
    return ", ".join(f"{key}={_value(value)}" for key, value in changes.items())


def number(value: float | None) -> str:
    """Returns a loss to five digits, so that near rates can be told apart."""
    return "not finite" if value is None else f"{value:.5g}"


def combinations(tuning: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the combinations of other settings that were tried, in order."""
    found: dict[str, Mapping[str, Any]] = {told(trial["set"]): trial["set"] for trial in tuning["trials"]}
    return list(found.values())


def _notes(tuning: Mapping[str, Any]) -> list[str]:
    """Returns how the table is to be read."""
    count = len(tuning["seeds"])
    over = f"the mean over {count} seeds, each with other validation patients" if count > 1 else "at one seed"
    untrained = number(tuning["untrained"])
    share = f"{100 * tuning['validation']:g} % of each hospital's training patients"
    return [
        f"{tuning['measure'].capitalize()} per validation row of all hospitals, {over}; untrained: {untrained}.",
        f"Validation patients are {share}. No test row was looked at.",
        "The best third of each column goes on; the best after all rounds is compared with its neighbours too.",
    ]


def rows(tuning: Mapping[str, Any]) -> list[list[str]]:
    """Returns header and rows of the table: a row for each candidate, a column for each number of rounds."""
    losses: dict[tuple[str, float], dict[int, str]] = {}
    for trial in tuning["trials"]:
        cell = number(trial["loss"]) if trial["fate"] == "trained" else trial["fate"]
        losses.setdefault((told(trial["set"]), trial["learning_rate"]), {})[trial["rounds"]] = cell
    with_others = any(others for others, _ in losses)
    chosen = tuning["chosen"] and (told(tuning["chosen"]["set"]), tuning["chosen"]["learning_rate"])
    budgets: Sequence[int] = tuning["budgets"]

    def lines() -> Iterator[list[str]]:
        for key, own in losses.items():
            name = f"{key[1]:g}{_CHOSEN if key == chosen else ''}"
            yield [name, *([key[0]] if with_others else []), *(own.get(rounds, "") for rounds in budgets)]

    others = ["other settings"] if with_others else []
    return [["learning rate", *others, *(f"round {rounds}" for rounds in budgets)], *lines()]


def _value(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else str(value).lower()
