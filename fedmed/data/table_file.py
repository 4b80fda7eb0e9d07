"""Reading a table from a CSV or Parquet file, with every way such a file can be wrong told in one line."""

import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.data import columns
from fedmed.system import errors

if TYPE_CHECKING:
    import pandas as pd

_WHERE = "data.args.path"


def found(path: str, where: str = _WHERE) -> pathlib.Path:
    """Returns the path of an existing file; DataError names the nearest file in the folder."""
    file = pathlib.Path(path).expanduser()
    if file.is_file():
        return file
    if file.is_dir():
        raise errors.DataError(f"{where}: {path!r} is a folder, not a file")
    if not file.parent.is_dir():
        raise errors.DataError(f"{where}: no file {path!r}: its folder does not exist")
    near = errors.nearest(file.name, [other.name for other in file.parent.iterdir() if other.is_file()])
    raise errors.DataError(f"{where}: no file {path!r}{near}")


def read(path: str, separator: str, decimal: str, text: Sequence[str]) -> "pd.DataFrame":
    """Returns the file's table; the columns `text` are read as text, so that a site "01" stays "01".

    Raises:
        DataError: the file is missing, empty, or neither CSV nor Parquet.
    """
    file = found(path)
    try:
        with file.open("rb") as opened:
            start = opened.read(4096)
    except OSError as error:
        raise errors.DataError(f"{_WHERE}: {path!r} cannot be read: {error.strerror}") from None
    if not start.strip():
        raise errors.DataError(f"{_WHERE}: {path!r} is empty")
    if start.startswith(b"PAR1"):
        frame = _read_parquet(file)
    elif b"\0" in start or start.startswith(b"PK"):
        raise errors.DataError(f"{_WHERE}: {path!r} is neither CSV nor Parquet; save it as one of them")
    else:
        frame = _read_csv(file, separator, decimal, text)
    if len(frame) == 0:
        raise errors.DataError(f"{_WHERE}: {path!r} has column names but no rows")
    if twice := sorted(frame.columns[frame.columns.duplicated()]):
        raise errors.DataError(f"{_WHERE}: {path!r} has two columns called {twice[0]!r}")
    return frame


def _read_parquet(file: pathlib.Path) -> "pd.DataFrame":
    import pyarrow
    import pyarrow.parquet

    try:
        frame = pyarrow.parquet.ParquetFile(file).read().to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError):
        raise errors.DataError(f"{_WHERE}: {str(file)!r} is a damaged Parquet file") from None
    return frame.drop(columns=[name for name in frame.columns if str(name).startswith("__index_level_")])


def _read_csv(file: pathlib.Path, separator: str, decimal: str, text: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd

    where = f"{_WHERE}: {str(file)!r}"
    layout: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig", "skipinitialspace": True}
    try:
        header = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False, **layout)
        names = [str(name).strip() for name in header.iloc[0]]
        _check_header(names, where, separator)
        kinds: Any = {place: str for place, name in enumerate(names) if name in text}
        frame = pd.read_csv(file, header=0, dtype=kinds, decimal=decimal, low_memory=False, **layout)
    except UnicodeDecodeError:
        raise errors.DataError(f"{where} is not UTF-8 text; save it as CSV in UTF-8") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        line = re.search(r"line (\d+)", str(error))
        place = f" (line {line[1]})" if line else ""
        raise errors.DataError(f"{where} is no CSV whose rows all have the same columns{place}") from None
    if not isinstance(frame.index, pd.RangeIndex) or len(frame.columns) != len(names):
        # pandas would take the first column for row names and shift all others
        raise errors.DataError(f"{where} has more columns in its rows than names in its first row")
    frame.columns = pd.Index(names)
    return frame


def _check_header(names: Sequence[str], where: str, separator: str) -> None:
    if len(names) == 1 and (other := next((mark for mark in ",;\t|" if mark in names[0] and mark != separator), None)):
        raise errors.DataError(f"{where} has one column when cut at {separator!r}; set separator = {other!r}?")
    numbers = sum(not np.isnan(columns.parsed(np.array([name], dtype=object))[0]) for name in names)
    if 2 * numbers >= len(names):
        # A file without a header shows a patient's values here, so they are not repeated.
        raise errors.DataError(
            f"{where} must have column names in its first row; {numbers} of {len(names)} are numbers"
        )
    if "" in names:
        raise errors.DataError(f"{where}: column {names.index('') + 1} has no name; give it one (`ignore` can drop it)")
