"""The bar that shows how far something is: a widget in a notebook, characters on a terminal, elsewhere none."""

import importlib.util
import os
import sys
import warnings
from typing import Any, TextIO

from tqdm import tqdm

_WIDTH = 80
_FORMAT = "{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed} gone, {remaining} left{postfix}"


def bar(what: str, total: int, done: int, stream: TextIO | None = None) -> tqdm | None:
    """Returns a bar at `done` of `total`, or None where there is nothing to draw one on.

    Args:
        what: is counted, e.g. "rounds".
        total: of them there will be.
        done: of them there are.
        stream: where to draw; default standard error, or the notebook that the program runs in.
    """
    file = sys.stderr if stream is None else stream
    notebook = stream is None and in_notebook()
    if not notebook and not file.isatty():
        return None
    kind = _widget() if notebook else tqdm
    fits = kind is not tqdm or _knows_width(file)  # a widget is as wide as the notebook
    return kind(
        total=total,
        initial=done,
        desc=what,
        file=file,
        dynamic_ncols=fits,
        ncols=None if fits else _WIDTH,
        bar_format=_FORMAT,
    )


def in_notebook() -> bool:
    """Tells whether this runs in a kernel of Jupyter's (a notebook, Colab, VS Code), not in IPython on a terminal."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it, so fedmed need not
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _widget() -> Any:
    """Returns tqdm's bar for notebooks, or the one of characters where there are no widgets to make it of."""
    if importlib.util.find_spec("ipywidgets") is None:
        return tqdm  # tqdm.auto would do the same, and warn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.notebook import tqdm as widget
    return widget


def _knows_width(stream: TextIO) -> bool:
    """Tells whether the terminal knows its width; on one that says 0, tqdm would show nothing."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except OSError:
        return False
