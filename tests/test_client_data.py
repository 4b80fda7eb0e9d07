"""TFF's own kind of data set: every row of every client, with the client as its site, and a run on it."""

import pathlib
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

import fedmed
from fedmed.data.partitions import clients_of

from_slices = tff.simulation.datasets.TestClientData


def images(rows: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (rows, 4, 4, 1), dtype=np.uint8)
    return OrderedDict(label=np.arange(rows, dtype=np.int32) % 3, pixels=pixels)


HOSPITALS = {"north": images(12, 1), "south": images(7, 2)}


def test_every_row_is_there_once_and_its_client_is_its_site() -> None:
    dataset = fedmed.from_client_data(from_slices(HOSPITALS), name="two")
    examples = dataset.examples
    assert (dataset.name, dataset.task, dataset.classes, dataset.features) == ("two", "multiclass", 3, ())
    assert examples.site is not None
    for name, own in HOSPITALS.items():
        at = examples.site == name
        np.testing.assert_array_equal(np.asarray(examples.x)[at], own["pixels"])
        np.testing.assert_array_equal(examples.y[at], own["label"])
    assert isinstance(examples.x, np.ndarray)
    assert examples.x.dtype == np.uint8
    held = clients_of(examples, fedmed.partitions.make("by_site", {}, "partition"), 0)
    assert {client: len(rows) for client, rows in held.items()} == {"north": 12, "south": 7}


def test_more_rows_than_are_read_at_a_time_stay_in_order() -> None:
    x = np.arange(10_000, dtype=np.float32)[:, None]
    dataset = fedmed.from_client_data(from_slices({"a": (x, x[:, 0] % 2)}))
    np.testing.assert_array_equal(np.asarray(dataset.examples.x), x)


def test_tffs_emnist_is_ten_digits_of_each_client() -> None:
    examples = fedmed.from_client_data(tff.simulation.datasets.emnist.get_synthetic()).examples
    assert np.asarray(examples.x).shape == (20, 28, 28)
    assert np.asarray(examples.x).dtype == np.float32
    np.testing.assert_array_equal(np.bincount(examples.y), [2] * 10)
    assert examples.site is not None
    np.testing.assert_array_equal(np.unique(examples.site), ["synthetic1", "synthetic2"])


def test_the_first_clients_can_be_chosen_and_those_without_a_row_are_left_out() -> None:
    data = from_slices({"a": images(6, 1), "b": images(6, 2), "c": images(6, 3)})
    without_b = data.preprocess(lambda rows: rows.filter(lambda row: row["label"] < 3)).from_clients_and_tf_fn(
        ["a", "b", "c"],
        lambda client: data.serializable_dataset_fn(client).take(tf.where(client == "b", np.int64(0), np.int64(9))),
    )
    for limit, sites in ((1, {"a"}), (2, {"a"}), (3, {"a", "c"}), (None, {"a", "c"})):
        found = fedmed.from_client_data(without_b, limit=limit).examples.site
        assert found is not None
        assert set(found) == sites


def test_single_numbers_are_the_columns_of_a_table() -> None:
    rows = OrderedDict(age=[61.0, np.nan, 40.0, 52.0], died=[0, 1, 1, 0], smokes=[True, False, True, True])
    dataset = fedmed.from_client_data(from_slices({"a": rows}), label="died")
    assert [feature.name for feature in dataset.features] == ["age", "smokes"]
    np.testing.assert_array_equal(np.asarray(dataset.examples.x), [[61, 1], [np.nan, 0], [40, 1], [52, 1]])
    assert np.asarray(dataset.examples.x).dtype == np.float64
    assert (dataset.task, dataset.class_names) == ("binary", ("0", "1"))


def test_several_inputs_keep_their_names_and_dtypes() -> None:
    x = OrderedDict(age=np.array([61, 50, 40], np.float32), scan=np.zeros((3, 2, 2), np.uint8))
    y = np.array(["ill", "well", "ill"])
    for rows, where in (((x, y), None), ((y, x), 0), (OrderedDict(**x, label=y), None), (OrderedDict(d=y, x=x), "d")):
        dataset = fedmed.from_client_data(from_slices({"a": rows}), label=where)
        assert dataset.class_names == ("ill", "well")
        np.testing.assert_array_equal(dataset.examples.y, [0, 1, 0])
        assert isinstance(dataset.examples.x, dict)
        shapes = {name: (str(array.dtype), array.shape) for name, array in dataset.examples.x.items()}
        assert shapes == {"age": ("float32", (3, 1)), "scan": ("uint8", (3, 2, 2))}


def test_the_task_can_be_chosen() -> None:
    counts = from_slices({"a": (np.zeros((4, 2), np.float32), np.array([0, 3, 1, 9]))})
    dataset = fedmed.from_client_data(counts, task="count")
    assert (dataset.task, dataset.classes, dataset.examples.y.dtype) == ("count", 0, np.float32)


class Ragged:
    """A client whose rows have different shapes, as TFF's own kinds cannot."""

    client_ids = ("a",)

    def create_tf_dataset_for_client(self, client_id: str) -> Any:
        del client_id
        spec = (tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int64))
        return tf.data.Dataset.from_generator(lambda: (([0.0] * n, n % 2) for n in range(1, 5)), output_signature=spec)


BATCHES = from_slices({"a": images(6, 1)}).preprocess(lambda rows: rows.batch(3))
WRONG = {
    "ragged rows": (Ragged(), {}, "InvalidArgumentError while the rows of client 'a' were read; they must be of one"),
    "batches": (BATCHES, {}, r"label must be one label a row .*, got \(2, 3\)"),
    "no such key": (from_slices(HOSPITALS), {"label": "lable"}, r"unknown key 'lable' \(did you mean 'label'\?\)"),
    "no such place": (from_slices({"a": (np.zeros((2, 1)), [0, 1])}), {"label": 2}, "label: expected 0 or 1"),
    "no limit": (from_slices(HOSPITALS), {"limit": 0}, "limit: expected a whole number >= 1, got 0"),
    "three parts": (from_slices({"a": ([0.0, 1.0], [0, 1], [1, 1])}), {}, r"expected rows \(x, y\).*got 3 parts"),
    "no input": (from_slices({"a": OrderedDict(label=[0, 1])}), {}, "has a label and no input"),
    "text": (from_slices({"a": (["x", "y"], [0, 1])}), {}, "x must be finite numbers"),
    "one label": (from_slices({"a": ([0.0, 1.0], [1, 1])}), {}, "every one of 2 rows has the same label"),
}


@pytest.mark.parametrize(("data", "arguments", "message"), WRONG.values(), ids=list(WRONG))
def test_what_cannot_be_used_is_told(data: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(fedmed.UserError, match=message):
        fedmed.from_client_data(data, **arguments)


def test_a_registered_data_set_of_tffs_is_trained_on(tmp_path: pathlib.Path) -> None:
    @fedmed.datasets.register("hospitals_of_tff")
    def hospitals_of_tff(*, limit: int | None = None) -> fedmed.Dataset:
        return fedmed.from_client_data(from_slices(HOSPITALS), limit=limit)

    settings = {
        "name": "tff",
        "rounds": 1,
        "data": {"name": "hospitals_of_tff", "args": {"limit": 2}},
        "model": {"name": "mcmahan_2nn"},
        "client": {"learning_rate": 0.1},
        "runtime": {"lanes": 1},
    }
    result = fedmed.run(settings, tmp_path / "run", quiet=True)
    assert set(result["final"]["clients"]) == {"north", "south"}
