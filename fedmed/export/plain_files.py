"""What any other tool can begin from: weights, who holds which rows, and scales, as plain .npz and JSON."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from fedmed.data import label_scale
from fedmed.engine import checks
from fedmed.settings import config
from fedmed.settings.config import RunConfig
from fedmed.system import errors


def write(settings: RunConfig, folder: pathlib.Path) -> list[str]:
    """Fills an empty folder with the beginning of a run; rows by their numbers, never by their values.

    Returns:
        What could not be written, in words.

    Raises:
        UserError: the settings could not be run.
    """
    clients = checks.check(settings)
    from fedmed.export import exportable, exported_model  # they import TensorFlow, so only now
    from fedmed.learning.learner import moving_variables

    own = exported_model.opened(settings, clients)
    model = own.model
    variables = [*model.trainable_variables, *moving_variables(model)]
    np.savez(folder / "initial_weights.npz", **{f"{n:03d} {v.name}": v.numpy() for n, v in enumerate(variables)})
    held = {client: {"train": rows.train, "test": rows.test} for client, rows in clients.rows.items()}
    _write_json(folder / "partition.json", held)
    standardised = settings.data.standardise_label and own.any_value
    label = label_scale.fit(clients.train) if standardised else label_scale.LabelScale()
    table = {} if clients.preprocessing is None else clients.preprocessing.to_json()
    _write_json(folder / "preprocessing.json", {**table, "label": dataclasses.asdict(label)})
    (folder / "config.toml").write_text(config.dumps(settings), encoding="utf-8")
    try:
        (folder / "model.json").write_text(exportable.architecture(model), encoding="utf-8")
    except errors.ModelError as error:
        return [f"model.json is not written: {error}"]
    return []


def _write_json(path: pathlib.Path, tree: Any) -> None:
    path.write_text(json.dumps(tree, indent=1, default=lambda array: array.tolist()), encoding="utf-8")
