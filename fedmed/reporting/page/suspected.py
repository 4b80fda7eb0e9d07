"""What is probably wrong with the data, and how the config mends it."""

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Fold, Section, Table, Text
from fedmed.reporting.page.view import View

_KINDS = {
    "unit": "unit",
    "code": "code for missing",
    "level": "level",
    "outcome": "knows the outcome",
    "identifier": "identifier",
    "constant": "one value only",
}
_MANY = 4
"""Doubts beyond which they are folded."""


def doubts(view: View) -> Section | None:
    """Returns the columns that are probably not what they seem, None where there are none."""
    found = view.study["data"].get("faults") or []
    if not found:
        return None
    rows = [[one["column"], _KINDS[one["kind"]], one["text"], one["mend"]] for one in found]
    told = Text(
        "Nothing was changed. A program can only suspect: whoever keeps the records knows. What mends a column goes "
        "into the config, and the study is then made anew."
    )
    header = ["column", "what", "why", "line of the config that mends it"]
    table = Table("Doubts", header, rows, words=True)
    shown = table if len(rows) <= _MANY else Fold(words.plural(len(rows), "doubt"), [table], printed=True)
    return Section("doubts", "What is probably wrong with the data", [told, shown])
