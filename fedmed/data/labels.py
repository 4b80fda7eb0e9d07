"""What a label is: one of two values, a class, an amount or a count."""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from fedmed.data import same_words
from fedmed.data.examples import Array, Task
from fedmed.system import errors

TaskChoice: TypeAlias = Literal["auto", "binary", "multiclass", "regression", "count"]
MOST_CLASSES = 20
_FEW_CLASSES = 5
RARE = 5
"""A class that fewer rows hold may be a typing error, and its name a patient's."""


class Labels(NamedTuple):
    """Labels as `Dataset` wants them: y is int64 codes for classes, float32 otherwise; classes is 0 for the latter."""

    y: Array
    task: Task
    classes: int
    class_names: tuple[str, ...]


def encode(values: Array, task: TaskChoice, where: str, positive: str | None = None) -> Labels:
    """Returns the labels of `values`, [n] numbers or strings (object) of which none is missing.

    Two distinct values are binary; text, or whole numbers of at most 20 distinct values, are classes; other numbers are
    an amount (regression). `positive` names the value that becomes class 1 of a binary label, else the last in order.

    Raises:
        DataError: the label is constant, does not fit the task, or names a class twice. No message shows a value of
            the data.
    """
    distinct = np.unique(values)
    if len(distinct) < 2:
        raise errors.DataError(f"{where}: every one of {len(values)} rows has the same label; nothing can be learned")
    if not is_text(values) and not np.isfinite(values.astype(np.float64)).all():
        raise errors.DataError(f"{where}: {int((~np.isfinite(values)).sum())} labels are infinite or not a number")
    if is_text(values) and task in ("auto", "binary"):
        _check_names(list(distinct), where)
    chosen = _guess(values, distinct, where) if task == "auto" else task
    _check(values, distinct, chosen, where)
    if positive is not None and chosen != "binary":
        raise errors.ConfigError(f"{where}: `positive` is for two values, but this label is of task {chosen!r}")
    if chosen in ("regression", "count"):
        with np.errstate(over="ignore"):
            y = values.astype(np.float32)
        if not np.isfinite(y).all():
            raise errors.DataError(f"{where}: {int((~np.isfinite(y)).sum())} labels are beyond 3e38; typing errors?")
        return Labels(y, chosen, 0, ())
    names = [plain(value) for value in distinct]
    y = np.searchsorted(distinct, values).astype(np.int64)
    if positive is not None:
        if positive not in names:
            raise errors.ConfigError(f"{where}: `positive` is {positive!r}, which is neither of the label's two values")
        if positive == names[0]:
            y, names = 1 - y, names[::-1]
    return Labels(y, chosen, len(names), tuple(names))


def stray_rows(values: Array, task: TaskChoice) -> int:
    """Returns how many rows hold values that fewer than 5 rows share beside two values that are common.

    One -9 or 10 in a label of 0 and 1 would make a third class of a patient's value. Where all values are few they may
    well be classes; amounts are told by their being many, or by the task.
    """
    distinct, counts = np.unique(values, return_counts=True)
    few = counts < RARE
    rows, common = int(counts[few].sum()), int((~few).sum())
    if task in ("regression", "count") or common < 2:
        return 0
    are_classes = task != "auto" or is_text(values) or (len(distinct) <= MOST_CLASSES and _whole(distinct))
    return rows if are_classes or (common == 2 and rows < RARE) else 0


def notes(
    values: Array, encoded: Labels, asked: TaskChoice, name: str, *, codes_are_usual: bool = False
) -> tuple[str, ...]:
    """Returns a sentence where whole numbers were taken one way and another may be meant, with the line that says so.

    Nothing is said of a task that was asked for, of up to 5 consecutive numbers (which are classes more often than
    not), nor of numbers from 0 without a gap where those are how classes are usually stored.

    Args:
        values: [n] as given to `encode`.
        encoded: what became of them.
        asked: for what task.
        name: of the label.
        codes_are_usual: whether labels are stored so, as in arrays.
    """
    if asked != "auto" or is_text(values) or len(distinct := np.unique(values)) < 3 or not _whole(distinct):
        return ()
    count, line = f"label {name} has {len(distinct)} whole-number values", "data.args.task ="
    if encoded.task == "regression":
        told = f'{count}: taken as an amount (regression); for counts: {line} "count"'
        return (told,) if distinct[0] >= 0 else ()
    is_run = distinct[-1] - distinct[0] == len(distinct) - 1
    if is_run and (len(distinct) <= _FEW_CLASSES or (codes_are_usual and distinct[0] == 0)):
        return ()
    counts = f', for counts: {line} "count"' if distinct[0] >= 0 else ""
    return (f'{count}: taken as {len(distinct)} classes; for an amount: {line} "regression"{counts}',)


def is_text(values: Array) -> bool:
    """Returns whether the values are strings."""
    return values.dtype.kind in "OUS"


def is_free_text(values: Array, task: TaskChoice) -> bool:
    """Returns whether these are strings too various for classes: over 20 distinct, or most of them different."""
    distinct = len(np.unique(values)) if is_text(values) else 0
    return distinct > 2 and (distinct > len(values) / 2 or (task == "auto" and distinct > MOST_CLASSES))


def plain(value: object) -> str:
    """Returns a value as text: "1" for 1.0, "" for not-a-number."""
    if not isinstance(value, float | np.floating):
        return str(value)
    if np.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _guess(values: Array, distinct: Array, where: str) -> Task:
    if len(distinct) == 2:
        return "binary"
    if is_text(values):
        if is_free_text(values, "auto"):
            raise errors.DataError(
                f"{where}: text with {len(distinct)} distinct values in {len(values)} rows; no class"
            )
        return "multiclass"
    return "multiclass" if len(distinct) <= MOST_CLASSES and _whole(distinct) else "regression"


def _check_names(names: list[str], where: str) -> None:
    if doubled := sum(map(len, same_words.alike(names))):
        raise errors.DataError(
            f"{where}: {doubled} of its {len(names)} values share their meaning with another, as Yes and yes or y do; "
            'give each class one name, or set task = "multiclass" if these are classes of their own'
        )


def _check(values: Array, distinct: Array, task: Task, where: str) -> None:
    if task == "binary" and len(distinct) != 2:
        raise errors.DataError(f"{where}: task 'binary' needs two distinct values, got {len(distinct)}")
    if task in ("regression", "count") and is_text(values):
        raise errors.DataError(f"{where}: task {task!r} needs numbers, got text")
    if task == "multiclass" and not is_text(values) and not _whole(distinct):
        raise errors.DataError(f"{where}: task 'multiclass' needs text or whole numbers, got fractions")
    if task == "count" and (not _whole(distinct) or distinct[0] < 0):
        bad = int(((values < 0) | (values != np.floor(values))).sum())
        raise errors.DataError(f"{where}: task 'count' needs whole numbers >= 0; {bad} rows have others")


def _whole(numbers: Array) -> bool:
    return bool((numbers == np.floor(numbers)).all())
