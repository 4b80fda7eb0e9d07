"""The rows that a config has here, as the files that hospitals would have: to rehearse and to check an export."""

import csv
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from fedmed.data.examples import Array, Feature
from fedmed.export.exported import Exported, held_rows
from fedmed.system.files import PRIVATE


def write(made: Exported, folder: pathlib.Path) -> str:
    """Writes SITE.json, SITE_train.csv and SITE_test.csv of each client into a folder that is there.

    They hold patients' rows, so only who made them may read them.

    Returns:
        The path of the site files, in which {site} stands for a client's name.
    """
    for site in made.job.sites:
        held = {part: rows for part, rows in held_rows(made, site).items() if len(rows)}
        for part, rows in held.items():
            with _private(folder / f"{site}_{part}.csv") as file:
                csv.writer(file, delimiter=made.job.reading.separator).writerows(_lines(made, rows))
        with _private(folder / f"{site}.json") as file:
            json.dump({f"{part}_csv": f"{site}_{part}.csv" for part in held}, file)
    return str(folder / "{site}.json")


def _private(path: pathlib.Path):  # noqa: ANN202
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w", encoding="utf-8", newline="")


def _lines(made: Exported, rows: Array) -> Iterator[list[str]]:
    features, label, examples = made.raw.features, made.job.label, made.clients.dataset.examples
    yield [*(feature.name for feature in features), label.name]
    table = np.asarray(made.raw.examples.x)
    for row in rows:
        y = examples.y[row]
        outcome = label.classes[int(y)] if label.classes else _number(float(y), made.job.reading.decimal)
        yield [*(_word(f, v, made.job.reading.decimal) for f, v in zip(features, table[row], strict=True)), outcome]


def _word(feature: Feature, value: float, decimal: str) -> str:
    if np.isnan(value):
        return ""
    return feature.levels[int(value)] if feature.is_category else _number(float(value), decimal)


def _number(value: float, decimal: str) -> str:
    return repr(value).replace(".", decimal)
