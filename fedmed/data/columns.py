"""Columns of a user's table: numbers, categories and missing values told apart, with no value ever in a message."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedmed.data import missing_words
from fedmed.data.examples import Array, Feature
from fedmed.data.labels import is_text, plain

if TYPE_CHECKING:
    import pandas as pd

MOST_LEVELS = 50
_FEW_LEVELS = 10  # up to here a short table's column may well differ in most rows and still be a category
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})([ T].*)?")

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,(\d{1,2}|\d{4,})")  # 1,234 may as well be over a thousand


def as_text(series: "pd.Series", missing: Sequence[str] = ()) -> Array:
    """Returns [n] strings (object), stripped, "" where missing or one of the words `missing`; 1.0 becomes "1"."""
    import pandas as pd

    absent = series.isna().to_numpy()
    if isinstance(series.dtype, np.dtype) and series.dtype.kind == "f":
        words = np.array([plain(value) for value in series.to_numpy()], dtype=object)
    else:
        words = series.astype(str).str.strip().to_numpy(dtype=object, copy=True)
    words[absent | pd.Series(words).isin(list(missing)).to_numpy()] = ""
    return words


def as_values(series: "pd.Series", missing: Sequence[str] = (), decimal: str = ".") -> Array:
    """Returns [n] float64 numbers (NaN where missing) where every present value is one, else strings as `as_text`.

    True and false are text: they are a category of two levels.
    """
    import pandas as pd

    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iuf":
        numbers = series.to_numpy(dtype=np.float64, copy=True)
        numbers[np.isin(numbers, parsed(np.array(missing, dtype=object), decimal))] = np.nan
        return numbers
    words = as_text(series, missing)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return words
    numbers = parsed(words, decimal)
    return words if np.isnan(numbers[words != ""]).any() else numbers


def parsed(words: Array, decimal: str = ".") -> Array:
    """Returns the words as float64, NaN where one is no number."""
    import pandas as pd

    text = pd.Series(words, dtype=object)
    text = text.str.replace(decimal, ".", regex=False) if decimal != "." else text
    return np.asarray(pd.to_numeric(text, errors="coerce"), dtype=np.float64)


def has_decimal_commas(values: Array) -> bool:
    """Returns whether most of the present values are text such as 64,1."""
    present = values[values != ""] if is_text(values) else values[:0]
    return 2 * sum(_DECIMAL_COMMA.fullmatch(word) is not None for word in present) > len(present)


def encoded(name: str, values: Array) -> tuple[Feature, Array]:
    """Returns the feature and its [n] float64 column: numbers as they are, codes of string-sorted levels for text."""
    if not is_text(values):
        return Feature(name), values
    levels, codes = np.unique(values, return_inverse=True)
    absent = int(len(levels) > 0 and levels[0] == "")  # "" sorts first
    column = np.where(codes < absent, np.nan, codes - absent)
    return Feature(name, levels=tuple(map(str, levels[absent:]))), column


def complaint(values: Array, *, as_category: bool, chosen: bool, decimal: str = ".") -> str:
    """Returns why a column cannot be a feature as it is, or "".

    Args:
        values: [n] numbers or strings, as `as_values` returns them.
        as_category: the user asked for a category, so text is taken however various.
        chosen: the user named the column as a feature, so that it may number the rows.
        decimal: the decimal point of numbers in text.
    """
    if not is_text(values):
        return _complaint_on_numbers(values, chosen)
    present = values[values != ""]
    if len(present) == 0:
        return "no values at all"
    if as_category:
        return ""
    if all(_DATE.fullmatch(word) for word in present):
        return "dates: give years or days between two events as a number instead"
    numbers = int((~np.isnan(parsed(present, decimal))).sum())
    if 2 * numbers >= len(present):
        known = [word for word in np.unique(present).tolist() if missing_words.means_missing(word)]
        line = f", as in {', '.join(map(repr, known))}" if known else ""
        words = len(present) - numbers
        return f"{numbers} numbers and {words} words: name the words that mean missing in `missing`{line}"
    levels = len(np.unique(present))
    if levels > MOST_LEVELS or (levels > _FEW_LEVELS and 2 * levels > len(present)):
        return f"text with {levels} distinct values in {len(present)} rows"
    return ""


def _complaint_on_numbers(numbers: Array, chosen: bool) -> str:
    present = numbers[~np.isnan(numbers)]
    if len(present) == 0:
        return "no values at all"
    infinite = int(np.isinf(present).sum())
    if infinite:
        return f"{infinite} infinite numbers"
    # A row number or patient number tells the order of entry, which often tells the label.
    steps = np.diff(np.sort(present))
    if not chosen and len(numbers) >= 20 and len(present) == len(numbers) and (steps == 1).all():
        return "numbers the rows"
    return ""
