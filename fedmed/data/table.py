"""The user's own table: a CSV or Parquet file of one row per example, described by its column names."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from fedmed.data import columns, labels, registries, table_file
from fedmed.data.examples import Array, Dataset, Examples, Feature
from fedmed.system import errors

if TYPE_CHECKING:
    import pandas as pd

_WHERE = "data.args"
_listed = functools.partial(errors.first_few, most=12)


@registries.datasets.register("table")
def table(
    *,
    path: str,
    label: str,
    site: str,
    group: str | None = None,
    features: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    missing: Sequence[str] | None = None,
    task: labels.TaskChoice = "auto",
    positive: str | None = None,
    drop_missing_label: bool = False,
    separator: Literal[",", ";", "\t", "|"] = ",",
    decimal: Literal[".", ","] = ".",
) -> Dataset:
    """Your own CSV or Parquet file: one row per example, with a label, a site and features (see datasheets/table.md).

    Args:
        path: the file; a CSV is UTF-8 with column names in its first row.
        label: column to predict.
        site: column that names the hospital; no row may lack it.
        group: column that names the patient, the same wherever the patient is; no row may lack it.
        features: columns to learn from, in this order; all that have no other role when left out.
        categories: features to take as categories though they are numbers or text of many values.
        ignore: columns to leave out.
        missing: words or codes that mean missing (besides empty, NA, NaN, null), e.g. ["?", "-9"].
        task: what the label is; "auto" decides by its values (see labels.encode).
        positive: the label's value that becomes class 1, when the label has two.
        drop_missing_label: leave out rows without a label instead of refusing them.
        separator: what separates the columns of a CSV.
        decimal: the decimal point of a CSV's numbers.

    Raises:
        DataError: the file or a column cannot be used; messages give names and counts, never a value of a row.
    """
    roles = {"label": label, "site": site} | ({"group": group} if group is not None else {})
    lists = {"features": features or (), "categories": categories or (), "ignore": ignore or ()}
    frame = table_file.read(path, separator, decimal, text=[name for role, name in roles.items() if role != "label"])
    _check_names(list(map(str, frame.columns)), roles, lists)
    words = tuple(missing or ())
    all_rows = len(frame)
    frame, y = _labelled(frame, label, words, decimal, drop_missing_label)
    if labels.is_free_text(y, task):
        raise errors.DataError(_not_a_label(frame, label, y, list(roles.values()), words, decimal))
    _check_no_class_is_rare(y, label, task)
    encoded = labels.encode(y, task, f"{_WHERE}.label: column {label!r}", positive)
    unused = {*roles.values(), *lists["ignore"]}
    names = lists["features"] or [name for name in frame.columns if name not in unused]
    if not names:
        raise errors.DataError(f"{_WHERE}.features: no column is left to learn from")
    known, x = _features(frame, names, lists["categories"], words, decimal, chosen=features is not None)
    examples = Examples(
        x=x,
        y=encoded.y,
        site=_names(frame, "site", site, words),
        group=None if group is None else _names(frame, "group", group, words),
    )
    unlabelled = all_rows - len(frame)
    return Dataset(
        "table", examples, encoded.task, encoded.classes, encoded.class_names, known, rows_left_out=unlabelled,
        notes=labels.notes(y, encoded, task, label),
    )  # fmt: skip


def _check_names(known: list[str], roles: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> None:
    taken: dict[str, str] = {}
    named = [(role, name) for role in ("features", "ignore") for name in lists[role]]
    for role, name in [*roles.items(), *named]:
        if name not in known:
            # Where no role is found the first row may be a patient's, so it is not repeated.
            listed = _listed(known) if set(roles.values()) & set(known) else "the names in the file's first row"
            raise errors.DataError(
                f"{_WHERE}.{role}: unknown column {name!r}{errors.nearest(name, known)}; allowed: {listed}"
            )
        if name in taken:
            raise errors.DataError(f"{_WHERE}.{role}: column {name!r} is already listed as {taken[name]}")
        taken[name] = role
    usable = lists["features"] or [name for name in known if name not in taken]
    for name in lists["categories"]:
        if name not in usable:
            raise errors.DataError(
                f"{_WHERE}.categories: {name!r} is not one of the features{errors.nearest(name, usable)}"
            )


def _labelled(
    frame: "pd.DataFrame", label: str, missing: Sequence[str], decimal: str, drop: bool
) -> tuple["pd.DataFrame", Array]:
    y = columns.as_values(_column(frame, label), missing, decimal)
    if columns.has_decimal_commas(y):
        raise errors.DataError(_decimal_commas("label", [label]))
    absent = y == "" if labels.is_text(y) else np.isnan(y)
    if absent.all():
        raise errors.DataError(f"{_WHERE}.label: column {label!r} has no values at all")
    if not absent.any():
        return frame, y
    if not drop:
        raise errors.DataError(
            f"{_WHERE}.label: column {label!r} is missing in {int(absent.sum())} of {len(y)} rows; "
            "set drop_missing_label = true to leave them out"
        )
    return frame.loc[~absent].reset_index(drop=True), y[~absent]


def _decimal_commas(role: str, names: Sequence[str]) -> str:
    listed = _listed([repr(name) for name in names])
    return f'{_WHERE}.{role}: numbers with a decimal comma in {listed}; set {_WHERE}.decimal = ","'


def _check_no_class_is_rare(y: Array, label: str, task: labels.TaskChoice) -> None:
    rare, counts = labels.stray_rows(y, task), np.unique(y, return_counts=True)[1]
    if labels.is_text(y) and task not in ("regression", "count") and len(counts) > 2:
        rare = int(counts[counts < labels.RARE].sum())
    if rare:
        amounts = "" if labels.is_text(y) else '; for amounts set task = "regression" or "count"'
        raise errors.DataError(
            f"{_WHERE}.label: column {label!r}: {rare} of {len(y)} rows hold values that fewer than {labels.RARE} rows "
            "share; a typing error? Correct them, or name them in `missing` and set drop_missing_label = true"
            f"{amounts}"
        )


def _not_a_label(
    frame: "pd.DataFrame", label: str, y: Array, taken: Sequence[str], missing: Sequence[str], decimal: str
) -> str:
    fit = []
    for name in frame.columns:
        values = columns.as_values(_column(frame, name), missing, decimal)
        present = values[values != ""] if labels.is_text(values) else values[~np.isnan(values)]
        if name not in taken and 2 <= len(np.unique(present)) <= labels.MOST_CLASSES:
            fit.append(name)
    could = f"columns that could be a label: {_listed(fit)}" if fit else "no other column has 2 to 20 distinct values"
    count = len(np.unique(y))
    return f"{_WHERE}.label: column {label!r} is text with {count} distinct values in {len(y)} rows, no class; {could}"


def _names(frame: "pd.DataFrame", role: str, name: str, missing: Sequence[str]) -> Array:
    words = columns.as_text(_column(frame, name), missing)
    if absent := int((words == "").sum()):
        raise errors.DataError(f"{_WHERE}.{role}: column {name!r} is missing in {absent} of {len(words)} rows")
    return words.astype(str)


def _features(
    frame: "pd.DataFrame",
    names: Sequence[str],
    categories: Sequence[str],
    missing: Sequence[str],
    decimal: str,
    chosen: bool,
) -> tuple[tuple[Feature, ...], Array]:
    complaints, commas, known, x = [], [], [], np.empty((len(frame), len(names)))
    for place, name in enumerate(names):
        forced = name in categories
        values = (
            columns.as_text(_column(frame, name), missing)
            if forced
            else columns.as_values(_column(frame, name), missing, decimal)
        )
        if not forced and columns.has_decimal_commas(values):
            commas.append(name)
        elif why := columns.complaint(values, as_category=forced, chosen=chosen, decimal=decimal):
            complaints.append(f"{name!r} ({why})")
        else:
            feature, x[:, place] = columns.encoded(name, values)
            known.append(feature)
    if commas:
        raise errors.DataError(_decimal_commas("features", commas))
    if complaints:
        raise errors.DataError(
            f"{_WHERE}.features: neither a number nor a category: {_listed(complaints)}; "
            "put such columns in `ignore`, or in `categories` to keep each distinct value as a level"
        )
    return tuple(known), x


def _column(frame: "pd.DataFrame", name: str) -> "pd.Series":
    return cast("pd.Series", frame[name])
