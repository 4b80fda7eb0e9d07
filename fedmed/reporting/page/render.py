"""A page's blocks as one HTML file and as Markdown."""

import functools
import html
import pathlib
import re
from typing import TYPE_CHECKING

from fedmed.reporting.page.blocks import Cell, Key, Page
from fedmed.system import files

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_SIGNS = {
    "o": '<circle cx="14" cy="6" r="3.6"/>',
    "s": '<rect x="10.7" y="2.7" width="6.6" height="6.6"/>',
    "D": '<path d="M14 1.4 18.6 6 14 10.6 9.4 6z"/>',
    "v": '<path d="M9.8 2.6h8.4L14 10.4z"/>',
    "^": '<path d="M9.8 9.6h8.4L14 1.8z"/>',
    "<": '<path d="M17.8 1.8v8.4L10 6z"/>',
    ">": '<path d="M10.2 1.8v8.4L18 6z"/>',
    "P": '<path d="M12.5 2h3v2.5H18v3h-2.5V10h-3V7.5H10v-3h2.5z"/>',
    "X": '<path d="M10 3.5 11.5 2 14 4.5 16.5 2 18 3.5 15.5 6 18 8.5 16.5 10 14 7.5 11.5 10 10 8.5 12.5 6z"/>',
}


_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def write(page: Page, folder: pathlib.Path) -> None:
    """Writes report.html and report.md to `folder`, each whole or not at all."""
    text = _visible(_environment(True).get_template("report.html.j2").render(page=page))
    files.write_atomically(folder / "report.html", text)
    text = _visible(_environment(False).get_template("report.md.j2").render(page=page))
    files.write_atomically(folder / "report.md", re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


def _visible(text: str) -> str:
    """Returns text without what moves a terminal's cursor or turns the direction of reading: a name may have it."""
    return _UNSEEN.sub("?", text)


@functools.cache
def _environment(escapes: bool) -> "Environment":
    import jinja2

    loader = jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates")
    made = jinja2.Environment(
        loader=loader, autoescape=escapes, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    made.filters.update(cell=_cell, breakable=breakable, plain=plain, fenced=_fenced, swatch=swatch)
    return made


def _cell(value: str | Cell) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)


def breakable(text: str) -> "Markup":
    """Returns escaped text that may be broken after an underscore, which browsers do not do by themselves."""
    from markupsafe import Markup, escape

    return Markup(str(escape(text)).replace("_", "_<wbr>"))


def plain(text: str) -> str:
    """Returns text that Markdown shows as it is, on one line: a name can start no tag, table, emphasis or link."""
    escaped = html.escape(" ".join(str(text).split()), quote=False)
    escaped = re.sub(r"([\\`*|\[\]])", r"\\\1", escaped)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)


def _fenced(text: str) -> str:
    """Returns text in a fence longer than any in it."""
    longest = max((len(found) for found in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"


def swatch(key: Key) -> str:
    """Returns SVG of a legend's line and marker."""
    dash = f' stroke-dasharray="{key.dash}"' if key.dash else ""
    colour = f"var(--{key.colour})"
    line = f'<line x1="0" x2="28" y1="6" y2="6" style="stroke:{colour}"{dash}/>' if key.line else ""
    sign = f'<g style="fill:{colour}">{_SIGNS[key.marker]}</g>' if key.marker else ""
    return f'<svg class="key" viewBox="0 0 28 12" width="28" height="12" aria-hidden="true">{line}{sign}</svg>'
