"""Judged differences as a page shows them: a mark in a chart, a cell with its word, true minus signs."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Cell
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Mark, Row
from fedmed.reporting.page.words import Notes

_LOOKS = {"better": Look("green", (), "^"), "worse": Look("vermillion", (), "v"), "undecided": Look("muted", (), "o")}
ALIKE = "alike"


def word(own: Mapping[str, Any]) -> str:
    """Returns a difference's word; of two models that do exactly alike there is nothing to decide."""
    return ALIKE if words.alike(own) else own["word"]


def row(name: str, own: Mapping[str, Any]) -> Row:
    """Returns a difference as a row of a chart."""
    if own["estimate"] is None:
        return Row(name, [], "no figure")
    return Row(name, [Mark(own["estimate"], own["low"], own["high"], _LOOKS[own["word"]])], word(own))


def cell(notes: Notes, own: Mapping[str, Any]) -> str | Cell:
    """Returns a difference as a cell, with its word and adjusted p-value below."""
    shown = str(notes.estimate(own, sign=True))
    if own["estimate"] is None:
        return shown
    p = own["p_adjusted"]
    return Cell(shown, word(own) if p is None or words.alike(own) else f"{own['word']}, p {_p(p)}")


def minus(text: str) -> str:
    """Returns a text of study.json with true minus signs."""
    return text.replace("(-", "(−").replace(" -0", " −0").replace("to -", "to −")


def _p(value: float) -> str:
    shown = words.p_value(value)
    return shown if shown.startswith("<") else f"= {shown}"
