"""What a page is made of, before it is HTML or Markdown: both are written from the same blocks, so they agree."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, TypeAlias


@dataclasses.dataclass(frozen=True)
class Cell:
    """A table's cell.

    Attributes:
        text: what it says.
        below: a second, smaller line.
        shade: 0 to 1, how strongly its background is coloured; None for none.
    """

    text: str
    below: str = ""
    shade: float | None = None


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; `lead` are its first words, in bold."""

    kind: ClassVar[str] = "text"
    text: str
    lead: str = ""


@dataclasses.dataclass(frozen=True)
class Items:
    """A list of (term, text); the term may be empty."""

    kind: ClassVar[str] = "items"
    items: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first column names the rows.

    Attributes:
        caption: what it shows.
        header: of each column.
        rows: cells, as many a row as the header has.
        notes: (mark, text) below it, and ("", text) for what holds for all of it.
        words: whether cells hold sentences, which are set flush left and wrapped.
    """

    kind: ClassVar[str] = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    notes: Sequence[tuple[str, str]] = ()
    words: bool = False


@dataclasses.dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        label: what it stands for.
        colour: a CSS variable's name.
        dash: of its line, as SVG takes it; "" is solid.
        marker: as matplotlib calls it; "" for none.
        line: whether a line is shown.
    """

    label: str
    colour: str
    dash: str = ""
    marker: str = ""
    line: bool = True


@dataclasses.dataclass(frozen=True)
class Panel:
    """One drawing of a figure: a title above it and inline SVG, which carries its own description."""

    title: str
    svg: str


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture, the sentence that says how to read it, and its numbers as tables."""

    kind: ClassVar[str] = "figure"
    title: str
    read: str
    panels: Sequence[Panel]
    tables: Sequence[Table]
    keys: Sequence[Key] = ()


@dataclasses.dataclass(frozen=True)
class Code:
    """Text to be shown as it is."""

    kind: ClassVar[str] = "code"
    caption: str
    text: str


@dataclasses.dataclass(frozen=True)
class Fold:
    """Blocks that a reader opens; on paper only those are that a committee needs, and those opened before."""

    kind: ClassVar[str] = "fold"
    title: str
    blocks: "Sequence[Block]"
    printed: bool = False


Block: TypeAlias = Text | Items | Table | Figure | Code | Fold


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page; `id` is its anchor, and what checks others' work may be left off paper (`printed`)."""

    id: str
    title: str
    blocks: Sequence[Block]
    printed: bool = True


@dataclasses.dataclass(frozen=True)
class Reply:
    """The answer to one question at one hospital.

    Attributes:
        question: in words.
        mark: a sign that tells better, worse and open apart without colour.
        tone: chooses the colour.
        text: the figures, with their intervals.
        short: the figure for a table.
    """

    question: str
    mark: str
    tone: str
    text: str
    short: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """What the page says first of one hospital.

    Attributes:
        hospital: its name.
        outcome: the verdict's word, e.g. "gains"; "" where nothing was compared.
        mark: a sign that tells outcomes apart without colour.
        tone: gains, harmed, open or none: chooses the colour.
        plain: one sentence for who decides.
        numbers: one sentence for who checks; "" where the replies say it all.
        replies: the answer to each question.
    """

    hospital: str
    outcome: str
    mark: str
    tone: str
    plain: str
    numbers: str
    replies: Sequence[Reply] = ()


@dataclasses.dataclass(frozen=True)
class Group:
    """The hospitals of one outcome, named."""

    outcome: str
    mark: str
    tone: str
    names: str


@dataclasses.dataclass(frozen=True)
class Page:
    """A page: what it is, its question, what it found and all that stands behind it.

    Attributes:
        kind: what made it, shown above the title.
        name: of the study or run.
        question: the title.
        summary: one sentence that answers it.
        findings: one a hospital.
        groups: the hospitals by outcome, where there are many.
        together: sentences on all hospitals together, and on what one would do instead.
        overview: the findings as a table, where there are too many for a list.
        warnings: what makes its figures worthless or doubtful; stands above them.
        notes: how to read the findings.
        sections: in order.
    """

    kind: str
    name: str
    question: str
    summary: str
    findings: Sequence[Finding]
    notes: Sequence[str]
    sections: Sequence[Section]
    groups: Sequence[Group] = ()
    together: Sequence[str] = ()
    overview: Table | None = None
    warnings: Sequence[str] = ()
