"""Data that are TFF's: a `tff.simulation.datasets.ClientData` as a data set whose sites are its clients.

TFF itself is not needed: whatever has client ids and a `tf.data.Dataset` for each of them will do.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fedmed.data import arrays, labels
from fedmed.data.examples import Array, Dataset, Examples, Feature
from fedmed.system import errors

_WHERE = "client data"
_ROWS_AT_ONCE = 4096


class ClientData(Protocol):
    """What is used of TFF's class of this name."""

    @property
    def client_ids(self) -> Sequence[str]: ...

    def create_tf_dataset_for_client(self, client_id: str) -> Any: ...


class _Rows(NamedTuple):
    """Rows of one client: each input by name, and the label."""

    inputs: dict[str, Array]
    y: Array


def from_client_data(
    client_data: ClientData,
    *,
    label: str | int | None = None,
    task: labels.TaskChoice = "auto",
    name: str = "client_data",
    limit: int | None = None,
) -> Dataset:
    """Returns the rows of all clients, each with its client as site; partition "by_site" deals them out again.

    A row is (x, y), or a mapping in which one key is the label; rows come one by one, not in batches. x is an array or
    a mapping of arrays, for a model with several inputs. Where every input is a single number, they are the columns of
    a table, and NaN is a missing value. dtypes stay as `fedmed.data.arrays` keeps them: pixels uint8, real numbers
    float32. All rows are held in memory.

    Args:
        client_data: such as tff.simulation.datasets.emnist.load_data() gives, for training or for testing.
        label: key of the label in a mapping, default "label"; or its place in a pair, default 1.
        task: what the label is; "auto" decides by its values (see labels.encode).
        name: of the data set.
        limit: how many clients, the first ones, are used; default all. A client without a row is left out.

    Raises:
        ConfigError: there is no such label, or `limit` is less than 1.
        DataError: rows are of different shapes, or cannot be read, or their values are of no use for the task.
    """
    if limit is not None and limit < 1:
        raise errors.ConfigError(f"limit: expected a whole number >= 1, got {limit!r}")
    parts: list[_Rows] = []
    sites: list[str] = []
    for client in list(client_data.client_ids)[:limit]:
        for element in _elements(client_data, client):
            parts.append(_rows(element, label))
            sites += [str(client)] * len(parts[-1].y)
    if not parts:
        raise errors.DataError(f"{_WHERE}: no client has a row")
    inputs, y = _joined(parts)
    encoded = labels.encode(arrays.label(y, f"{_WHERE}: label"), task, f"{_WHERE}: label")
    site = arrays.names(np.array(sites), f"{_WHERE}: client id", len(y))
    if all(x.ndim == 1 for x in inputs.values()):
        examples = Examples(_table(inputs), encoded.y, site)
        features = tuple(Feature(column) for column in inputs)
        return Dataset(name, examples, encoded.task, encoded.classes, encoded.class_names, features)
    kept = {key: _kept(x, key) for key, x in inputs.items()}
    examples = Examples(kept if len(kept) > 1 else next(iter(kept.values())), encoded.y, site)
    return Dataset(name, examples, encoded.task, encoded.classes, encoded.class_names)


def _elements(client_data: ClientData, client: str) -> Iterator[Any]:
    """Yields a client's rows, many at a time."""
    try:
        yield from client_data.create_tf_dataset_for_client(client).batch(_ROWS_AT_ONCE).as_numpy_iterator()
    except Exception as error:  # whatever a stranger's pipeline raises, it is theirs to mend, but may show a value
        raise errors.DataError(
            f"{_WHERE}: {type(error).__name__} while the rows of client {str(client)!r} were read; "
            "they must be of one shape and come one by one, not in batches"
        ) from error


def _rows(element: Any, label: str | int | None) -> _Rows:
    """Tells inputs and label apart; one input alone is called "x" where it has no name."""
    if isinstance(element, Mapping):
        key = "label" if label is None else label
        if key not in element:
            raise errors.ConfigError(errors.unknown("label", "key", key, map(str, element)))
        y, rest = element[key], {other: value for other, value in element.items() if other != key}
        x = next(iter(rest.values())) if len(rest) == 1 and isinstance(next(iter(rest.values())), Mapping) else rest
    elif isinstance(element, tuple) and len(element) == 2:
        place = 1 if label is None else label
        if place not in (0, 1):
            raise errors.ConfigError(f"label: expected 0 or 1, its place in a pair, got {label!r}")
        y, x = element[int(place)], element[1 - int(place)]
    else:
        kind = f"{len(element)} parts" if isinstance(element, tuple) else type(element).__name__
        raise errors.DataError(f"{_WHERE}: expected rows (x, y), or mappings with a label, got {kind}")
    inputs = {str(name): value for name, value in x.items()} if isinstance(x, Mapping) else {"x": x}
    if not inputs:
        raise errors.DataError(f"{_WHERE}: a row has a label and no input")
    for name, value in {**inputs, "label": y}.items():
        if not isinstance(value, np.ndarray):
            raise errors.DataError(f"{_WHERE}: {name} is of type {type(value).__name__}; expected a dense array")
    return _Rows(inputs, y)


def _joined(parts: Sequence[_Rows]) -> tuple[dict[str, Array], Array]:
    """Puts the clients' rows one after the other."""
    first = _shapes(parts[0])
    for part in parts:
        if (own := _shapes(part)) != first:
            raise errors.DataError(f"{_WHERE}: rows differ among clients: {first} and {own}; bring them to one shape")
    y = np.concatenate([part.y for part in parts])
    if y.dtype.kind == "O":  # TensorFlow's text
        y = np.char.decode(y.astype(np.bytes_), "utf-8", "replace")
    return {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs}, y


def _shapes(rows: _Rows) -> dict[str, str]:
    return {name: f"{x.dtype} {list(x.shape[1:])}" for name, x in {**rows.inputs, "label": rows.y}.items()}


def _table(inputs: Mapping[str, Array]) -> Array:
    """Returns single numbers as columns, [n, columns] float64."""
    for name, x in inputs.items():
        if x.dtype.kind not in "biuf" or np.isinf(x).any():
            raise errors.DataError(f"{_WHERE}: {name} must be finite numbers, NaN where one is missing, got {x.dtype}")
    return np.stack([x.astype(np.float64) for x in inputs.values()], axis=1)


def _kept(x: Array, name: str) -> Array:
    return arrays.one_input(x[:, None] if x.ndim == 1 else x, f"{_WHERE}: {name}", len(x))
