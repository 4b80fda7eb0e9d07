"""The user's own arrays: images, signals or several inputs in one NumPy .npz file."""

import tokenize
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from fedmed.data import labels, registries
from fedmed.data.examples import Array, Dataset, Examples, Inputs
from fedmed.data.table_file import found
from fedmed.system import errors

_WHERE = "data.args.path"
_KEYS = ("x", "x_NAME", "y", "site", "group", "x_test", "x_test_NAME", "y_test")
_INT32 = np.iinfo(np.int32)


@registries.datasets.register("arrays")
def arrays(*, path: str, task: labels.TaskChoice = "auto") -> Dataset:
    """Your own .npz file with x (or x_image, x_table, ...) and y, and as you like site, group, x_test and y_test.

    Keys "x_NAME" make x a mapping from NAME to an array, for models with several inputs; their test rows are
    "x_test_NAME". Pixels (uint8) stay uint8, other whole numbers become int32, real numbers float32. Nothing is
    standardised or filled in (see datasheets/arrays.md).

    Args:
        path: the file, written by numpy.savez.
        task: what y is; "auto" decides by its values (see labels.encode).

    Raises:
        DataError: the file is no .npz, holds Python objects, lacks x or y, or its arrays do not fit each other.
    """
    stored = _load(path)
    _check_keys(stored)
    y = label(stored["y"], f"{_WHERE}: y")
    y_test = label(stored["y_test"], f"{_WHERE}: y_test") if "y_test" in stored else y[:0]
    values = np.concatenate([y, y_test])
    if rare := labels.stray_rows(values, task):
        raise errors.DataError(
            f"{_WHERE}: {rare} of {len(values)} labels are values that fewer than {labels.RARE} rows share; a typing "
            'error? Correct or leave out these rows; for amounts set task = "regression" or "count"'
        )
    encoded = labels.encode(values, task, f"{_WHERE}: y")
    site, group = (
        names(stored[key], f"{_WHERE}: {key}", len(y)) if key in stored else None for key in ("site", "group")
    )
    train = Examples(_inputs(stored, "x", len(y)), encoded.y[: len(y)], site, group)
    test = Examples(_inputs(stored, "x_test", len(y_test)), encoded.y[len(y) :]) if "y_test" in stored else None
    if test is not None and _shapes(train.x) != _shapes(test.x):
        raise errors.DataError(f"{_WHERE}: x and x_test differ in kind or shape: {_shapes(train.x)}, {_shapes(test.x)}")
    notes = labels.notes(values, encoded, task, "y", codes_are_usual=True)
    return Dataset("arrays", train, encoded.task, encoded.classes, encoded.class_names, test=test, notes=notes)


def _load(path: str) -> dict[str, Array]:
    file = found(path, _WHERE)
    try:
        with np.load(file, allow_pickle=False) as opened:
            stored = {key: opened[key] for key in opened.files}
    except ValueError:
        # Unpickling would run code that a stranger may have put there.
        raise errors.DataError(f"{_WHERE}: {path!r} holds Python objects or is no .npz; save plain arrays") from None
    except (TypeError, AttributeError):
        raise errors.DataError(f"{_WHERE}: {path!r} is one array; save it with numpy.savez(x=..., y=...)") from None
    except MemoryError:
        raise errors.DataError(f"{_WHERE}: {path!r} has, or claims to have, more values than memory holds") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, OverflowError, tokenize.TokenError, SyntaxError):
        raise errors.DataError(f"{_WHERE}: {path!r} is no .npz file, or a damaged one") from None
    for key, array in stored.items():
        if not isinstance(array, np.ndarray):  # NumPy returns the bytes of what is no .npy
            raise errors.DataError(f"{_WHERE}: {errors.shown(key)} in {path!r} is no array; save it with numpy.savez")
    return stored


def _check_keys(stored: Mapping[str, Array]) -> None:
    inputs = [key for key in stored if key == "x" or key.startswith("x_")]
    train = [key for key in inputs if not key.startswith("x_test")]
    for key in stored:
        if key not in inputs and key not in ("y", "site", "group", "y_test"):
            raise errors.DataError(errors.unknown(_WHERE, "array", key, _KEYS))
    if not train or "y" not in stored:
        raise errors.DataError(f"{_WHERE}: needs arrays x (or x_NAME, ...) and y, got {', '.join(stored) or 'none'}")
    if "x" in train and len(train) > 1:
        raise errors.DataError(f"{_WHERE}: has both x and {train[train[0] == 'x']}; name one input x, or all x_NAME")
    expected = {"x_test" + key[1:] for key in train} if "y_test" in stored else set()
    if expected != set(inputs) - set(train):
        raise errors.DataError(f"{_WHERE}: test rows need y_test and an x_test (or x_test_NAME) for each x (or x_NAME)")


def label(values: Array, where: str) -> Array:
    """Returns labels, one a row, as `labels.encode` wants them; DataError names `where` if they cannot be that."""
    y = values
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or len(y) == 0:
        raise errors.DataError(f"{where} must be one label a row (class codes, not one-hot), got {y.shape}")
    if y.dtype.kind in "US":
        y = y.astype(str).astype(object)
        absent = int((y == "").sum())
    elif y.dtype.kind in "biuf":
        y = y.astype(np.float64)
        absent = int(np.isnan(y).sum())
    else:
        raise errors.DataError(f"{where} must be numbers or text, got {y.dtype}")
    if absent:
        raise errors.DataError(f"{where} is missing in {absent} of {len(y)} rows")
    return y


def names(values: Array, where: str, rows: int) -> Array:
    """Returns sites or groups as text, one a row; DataError names `where` if they cannot be that."""
    if values.shape != (rows,) or values.dtype.kind not in "USiu":
        raise errors.DataError(
            f"{where} must be {rows} texts or whole numbers, one a row, got {values.dtype} {values.shape}"
        )
    texts = values.astype(str)
    if absent := int((np.char.strip(texts) == "").sum()):
        raise errors.DataError(f"{where} is missing in {absent} of {rows} rows")
    return texts


def _inputs(stored: Mapping[str, Array], key: str, rows: int) -> Inputs:
    if key in stored:
        return one_input(stored[key], f"{_WHERE}: {key}", rows)
    start = f"{key}_"
    keys = [name for name in stored if name.startswith(start) and (key == "x_test" or not name.startswith("x_test"))]
    return {name.removeprefix(start): one_input(stored[name], f"{_WHERE}: {name}", rows) for name in keys}


def one_input(x: Array, where: str, rows: int) -> Array:
    """Returns an input, one element a row, in the dtype it is stored in; DataError names `where` if it cannot be one.

    Pixels (uint8) stay uint8 and truth values become such, other whole numbers become int32, real numbers float32.
    """
    if x.ndim < 2 or len(x) != rows:
        raise errors.DataError(f"{where} must have shape ({rows}, ...) to go with its labels, got {x.shape}")
    if x.dtype.kind == "b" or x.dtype == np.uint8:
        return x.astype(np.uint8)
    if x.dtype.kind in "iu":
        if x.size and (x.min() < _INT32.min or x.max() > _INT32.max):
            raise errors.DataError(f"{where} has whole numbers beyond 32 bits; save real numbers as float32")
        return x.astype(np.int32)
    if x.dtype.kind != "f":
        raise errors.DataError(f"{where} must be numbers, got {x.dtype}")
    with np.errstate(over="ignore"):
        real = x.astype(np.float32)
    if bad := int((~np.isfinite(real)).sum()):
        raise errors.DataError(f"{where} has {bad} values that are infinite or not numbers; fill them in first")
    return real


def _shapes(x: Inputs) -> dict[str, tuple[str, tuple[int, ...]]]:
    inputs = x if isinstance(x, Mapping) else {"x": x}
    return {name: (str(array.dtype), array.shape[1:]) for name, array in sorted(inputs.items())}
