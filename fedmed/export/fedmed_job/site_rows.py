"""A hospital's own CSV becomes rows: columns found, words told from numbers, units and codes brought into line.

It reads as `fedmed run` does. A message names the file but not its folder, and shows no value of a row; of few rows it
does not even tell how many.
"""

import difflib
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .job import Array, Change, Column, Job, JobError, Reading

_FEW = 5


class Rows(NamedTuple):
    """A hospital's rows.

    Attributes:
        x: float64 [n, columns]; NaN where a value is missing, the level's code for a category.
        y: [n], int64 classes, or float32 amounts and counts, in the file's units.
    """

    x: Array
    y: Array


def rows_of(job: Job, site: str, path: str | pathlib.Path) -> Rows:
    """Returns the rows of a hospital's file.

    Raises:
        JobError: the file or a column cannot be used; one line.
    """
    frame, name = _table(job, pathlib.Path(path), job.label.name), pathlib.Path(path).name
    y, here = _label(job, frame, name)
    return Rows(_columns(job, site, frame[here], name), y)


def columns_of(job: Job, site: str, path: str | pathlib.Path) -> Array:
    """Returns x, as in `Rows`, of a file that needs no label; JobError as of `rows_of`."""
    return _columns(job, site, _table(job, pathlib.Path(path)), pathlib.Path(path).name)


def _columns(job: Job, site: str, frame: Any, file: str) -> Array:
    x = np.empty((len(frame), len(job.columns)))
    for place, column in enumerate(job.columns):
        make = _codes if column.levels else _numbers
        x[:, place] = make(column, frame[column.name], job.reading, site, file)
    return x


def _table(job: Job, path: pathlib.Path, label: str | None = None) -> Any:
    import pandas as pd

    if not path.is_file():
        raise JobError(f"{path.name}: there is no such file")
    words = [column.name for column in job.columns if column.levels]
    words += [job.label.name] if job.label.classes else []
    layout: dict[str, Any] = {"sep": job.reading.separator, "encoding": "utf-8-sig", "skipinitialspace": True}
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **layout)
        names = [str(name).strip() for name in header.iloc[0]]
        kinds: Any = {place: str for place, name in enumerate(names) if name in words}
        frame = pd.read_csv(path, header=0, dtype=kinds, decimal=job.reading.decimal, low_memory=False, **layout)
    except (UnicodeDecodeError, pd.errors.EmptyDataError):
        raise JobError(f"{path.name}: it is no CSV in UTF-8 with column names in its first row") from None
    except pd.errors.ParserError:
        told = "a line has more fields than the first row has names, or a quotation mark is not closed"
        raise JobError(f"{path.name}: {told}; fields are separated by {job.reading.separator!r}") from None
    if not isinstance(frame.index, pd.RangeIndex) or len(frame.columns) != len(names):
        # pandas would take the first column for row names and shift all others
        raise JobError(f"{path.name}: it has more columns in its rows than names in its first row")
    frame.columns = pd.Index(names)
    wanted = [*(column.name for column in job.columns), *([label] if label else [])]
    if len(names) == 1 and len(wanted) > 1:
        told = f"its first row is a single name; names are separated by {job.reading.separator!r}"
        raise JobError(f"{path.name}: {told}")
    if missing := [name for name in wanted if names.count(name) != 1]:
        raise JobError(f"{path.name}: {_missing(missing, names)}")
    if len(frame) == 0:
        raise JobError(f"{path.name}: it has column names but no rows")
    return frame


def _missing(missing: Sequence[str], names: Sequence[str]) -> str:
    """Says which columns are not there once; names of the file are repeated only where they are near to those."""
    told = []
    for name in missing:
        close = difflib.get_close_matches(name, [other for other in names if other != name], n=1)
        why = " twice" if name in names else f" (is {close[0]!r} meant?)" if close else ""
        told.append(f"{name!r}{why}")
    return f"the file needs these columns once each: {', '.join(told)}"


def _label(job: Job, frame: Any, file: str) -> tuple[Array, Array]:
    """Returns the labels of the rows that have one, and which rows those are."""
    label, column = job.label, frame[job.label.name]
    if label.classes:
        words = _words(column, job.reading.missing)
        here = words != ""
        codes = _matched(words[here], label.classes)
        _refuse(np.isnan(codes), f"{file}: column {label.name!r}: {{}} hold none of {_listed(label.classes)}")
        y = codes.astype(np.int64)
    else:
        numbers, wrong = _parsed(column, job.reading)
        _refuse(wrong, f"{file}: column {label.name!r}: {{}} hold no number{_numeral(job.reading)}")
        here = ~np.isnan(numbers)
        y = numbers[here].astype(np.float32)
    if not label.may_be_missing:
        _refuse(~here, f"{file}: column {label.name!r}: {{}} have no label; leave such rows out")
    if not here.any():
        raise JobError(f"{file}: column {label.name!r} has no label at all")
    return y, here


def _numbers(column: Column, values: Any, reading: Reading, site: str, file: str) -> Array:
    numbers, wrong = _parsed(values, reading)
    told = f"{file}: column {column.name!r}: {{}} hold no number{_numeral(reading)}, or leave unknown ones empty"
    _refuse(wrong | np.isinf(numbers), told)
    for change in column.changes:
        if change.sites and site not in change.sites:
            continue
        before = np.where(np.isin(numbers, change.missing), np.nan, numbers)
        numbers = _replaced(before, before.copy(), change)
        meant = (numbers > change.above) & (numbers < change.below)
        numbers = np.where(meant, numbers * change.times + change.plus, numbers)
    return numbers


def _codes(column: Column, values: Any, reading: Reading, site: str, file: str) -> Array:
    words = _words(values, reading.missing)
    known = {*column.levels, *(word for change in column.changes for word in (*change.old, *change.missing))}
    words = np.array([_spelled(word, known) for word in words], dtype=object)
    for change in column.changes:
        if change.sites and site not in change.sites:
            continue
        after = _replaced(words, words.copy(), change)
        after[np.isin(words, change.missing)] = ""
        words = after
    codes = _matched(words, column.levels)
    wrong = np.isnan(codes) & (words != "")
    told = f"{{}} hold none of {_listed(column.levels)}; use these words, or leave unknown ones empty"
    _refuse(wrong, f"{file}: column {column.name!r}: {told}")
    return codes


def _replaced(before: Array, after: Array, change: Change) -> Array:
    for old, new in zip(change.old, change.new, strict=True):
        after[before == old] = new
    return after


def _words(series: Any, missing: Sequence[str]) -> Array:
    """Returns [n] stripped strings, "" where missing."""
    absent = series.isna().to_numpy()
    words = series.astype(str).str.strip().to_numpy(dtype=object, copy=True)
    words[absent | np.isin(words.astype(str), list(missing))] = ""
    return words


def _spelled(word: str, known: set[str]) -> str:
    """Returns a word as the job spells it: 1.0 may stand for 1, TRUE for True."""
    if word in known:
        return word
    try:
        plain = str(int(float(word))) if float(word).is_integer() else word
    except (ValueError, OverflowError):
        plain = word.capitalize()
    return plain if plain in known else word


def _matched(words: Array, levels: Sequence[str]) -> Array:
    """Returns [n] float64 codes, NaN for a word that is no level."""
    codes = {level: float(code) for code, level in enumerate(levels)}
    return np.array([codes.get(_spelled(word, set(codes)), np.nan) for word in words], dtype=np.float64)


def _parsed(series: Any, reading: Reading) -> tuple[Array, Array]:
    """Returns [n] numbers, NaN where missing, and bool [n] where there is a word that is no number."""
    import pandas as pd

    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iuf":
        numbers, wrong = series.to_numpy(dtype=np.float64, copy=True), np.zeros(len(series), bool)
        codes = np.asarray(pd.to_numeric(pd.Series(list(reading.missing), dtype=object), errors="coerce"), np.float64)
        numbers[np.isin(numbers, codes[~np.isnan(codes)])] = np.nan
        return numbers, wrong
    words = _words(series, reading.missing)
    text = pd.Series(words, dtype=object).str.replace(reading.decimal, ".", regex=False)
    numbers = np.asarray(pd.to_numeric(text, errors="coerce"), dtype=np.float64)
    return numbers, np.isnan(numbers) & (words != "")


def _numeral(reading: Reading) -> str:
    return f"; write them as 1{reading.decimal}5"


def _refuse(wrong: Array, told: str) -> None:
    """Raises a JobError where any row is wrong; `told` has a place for how many."""
    count = int(wrong.sum())
    if count:
        raise JobError(told.format(f"{count} rows" if count >= _FEW else f"fewer than {_FEW} rows"))


def _listed(words: Sequence[str], most: int = 12) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(map(repr, words[:most])) + more
