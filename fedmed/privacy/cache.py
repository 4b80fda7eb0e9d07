"""Answers that take seconds to work out, kept on disk: one JSON file for all of the user's runs.

The file is $FEDMED_CACHE/privacy.json, or else lies in $XDG_CACHE_HOME/fedmed or ~/.cache/fedmed; an empty
FEDMED_CACHE turns it off. It is a convenience only: what cannot be read is worked out again, what cannot be written is
not kept. Processes that write at once replace each other's file as a whole, so an answer may be lost, never damaged.
"""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from fedmed.system import files

FILE = "privacy.json"
MOST = 10_000
"""Answers kept; beyond, the oldest go."""


def remembered(question: Sequence[Any], answer: Callable[[], float]) -> float:
    """Returns the answer to a question, from the file where it is there, else worked out and kept.

    Args:
        question: what the answer depends on, versions of libraries included: strings, numbers and sequences of them.
        answer: gives a number >= 0; one that is not finite is not kept.
    """
    place = folder()
    if place is None:
        return answer()
    key = json.dumps(question)
    known = _read(place / FILE)
    if key not in known:
        value = answer()
        if math.isfinite(value):
            _keep(place / FILE, key, value)
        return value
    return known[key]


def folder() -> pathlib.Path | None:
    """Returns where answers are kept, None where nowhere."""
    own = os.environ.get("FEDMED_CACHE")
    if own is not None:
        return pathlib.Path(own) if own else None
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():  # the XDG specification has others ignored
        return base / "fedmed"
    try:
        return pathlib.Path.home() / ".cache" / "fedmed"
    except RuntimeError:  # a user without a home
        return None


def _read(path: pathlib.Path) -> dict[str, float]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: value for key, value in stored.items() if _is_answer(value)} if isinstance(stored, dict) else {}


def _is_answer(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _keep(path: pathlib.Path, key: str, value: float) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        answers = {**_read(path), key: value}  # read anew: others may have written meanwhile
        newest = dict(list(answers.items())[-MOST:])
        # Sampling rates tell how many patients hospitals have, so nobody else may read them.
        files.write_atomically(path, json.dumps(newest, indent=0), files.PRIVATE)
