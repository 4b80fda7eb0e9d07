"""A matplotlib figure as inline SVG: colours are CSS variables, text is text, and nothing points outside the page."""

import contextlib
import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from fedmed.system import pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 255.0
"""Width of a panel in points: 340 px, what a phone shows."""

NARROW = 187.5
"""Width of a panel in points where there are many."""

# Okabe and Ito's colours, which colour-blind readers can tell apart. The page's style sheet says what each becomes in
# light and in dark; here they only have to differ.
COLOURS = {
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "sky": "#56b4e9",
    "vermillion": "#d55e00",
    "ink": "#111112",
    "muted": "#666667",
    "rule": "#d0d0d1",
    "paper": "#fefefd",
}
_VARIABLES = {value: f"var(--{name})" for name, value in COLOURS.items()}
_RC: dict[Any, Any] = pictures.RC | {
    "svg.fonttype": "none",  # text stays text: small, can be found and read aloud, and takes the page's font
    "font.size": 8.5,
    "axes.linewidth": 0.7,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


class Look(NamedTuple):
    """How an arm is drawn: a colour's name, dashes in points (none: solid) and a marker."""

    colour: str
    dash: tuple[float, ...] = ()
    marker: str = "o"

    @property
    def hex(self) -> str:
        """The colour as matplotlib takes it."""
        return COLOURS[self.colour]

    @property
    def style(self) -> str | tuple[float, tuple[float, ...]]:
        """The line style as matplotlib takes it."""
        return (0, self.dash) if self.dash else "-"


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draws in the page's style; a name that the font cannot write is no reason to stop or to warn."""
    import matplotlib

    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def blank(width: float, height: float) -> "Figure":
    """Returns an empty figure, sizes in points."""
    from matplotlib.figure import Figure  # without pyplot there is no global state and no display

    return Figure(figsize=(width / 72, height / 72))


def svg(figure: "Figure", alt: str) -> str:
    """Returns the figure as an <svg> element that says `alt` to who cannot see it."""
    content = io.StringIO()
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    body = re.sub(r"(?s)^.*?<svg[^>]*>|</svg>\s*$|<metadata>.*?</metadata>|<style.*?</style>", "", content.getvalue())
    box = f"0 0 {72 * figure.get_figwidth():g} {72 * figure.get_figheight():g}"
    head = f'<svg class="plot" role="img" aria-label="{escape(alt)}" width="{width}" height="{height}" viewBox="{box}">'
    own = "s" + hashlib.sha256((alt + body).encode()).hexdigest()[:10] + "-"
    return head + _tidied(body, own) + "</svg>"


def _tidied(body: str, own: str) -> str:
    """Gives ids a beginning of this drawing's own, colours the page's variables, and drops digits nobody sees."""
    text_or_tag = re.split(r"(<[^>]*>)", body)
    tags = [_tag(part, own) if part.startswith("<") else part.strip("\n ") for part in text_or_tag]
    return "".join(tags)


def _tag(tag: str, own: str) -> str:
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)
    tag = re.sub(r'\bid="', f'id="{own}', tag)
    tag = re.sub(r'(?:xlink:)?href="#', f'href="#{own}', tag).replace("url(#", f"url(#{own}")
    tag = re.sub(r" ?font-family: [^;\"]*;?", "", tag)
    tag = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", tag)
    tag = re.sub(r"#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], "currentColor"), tag)
    return re.sub(r"-?\d+\.\d{2,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), tag)
