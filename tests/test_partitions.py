"""Partitions: every row goes to exactly one client, patients stay whole, and what cannot be is said in one line."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedmed.data import partitions, registries
from fedmed.data.examples import Dataset, Examples, Partition
from fedmed.data.overview import label_counts, label_picture, label_table
from fedmed.data.partitions import clients_of
from fedmed.system import errors


def examples(y: np.ndarray, **more: Any) -> Examples:
    return Examples(x=np.zeros((len(y), 1)), y=y, **more)


def classes(rows: int = 600, there: int = 10, seed: int = 0) -> Examples:
    return examples(np.random.default_rng(seed).integers(0, there, rows))


def make(name: str, **args: Any) -> Partition:
    return registries.partitions.make(name, args, "partition")


SIMULATED = [
    ("iid", {}),
    ("shards", {}),
    ("dirichlet", {"alpha": 0.5}),
    ("quantity_skew", {"alpha": 0.3}),
    ("classes_per_client", {"classes": 3}),
]


@pytest.mark.parametrize(("name", "args"), SIMULATED)
@settings(deadline=None, max_examples=25)
@given(st.integers(1, 120), st.integers(1, 25), st.integers(0, 999), st.sampled_from(["rows", "groups", "amounts"]))
def test_every_row_goes_to_exactly_one_client(
    name: str, args: dict[str, Any], rows: int, clients: int, seed: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=rows).astype(np.float32) if kind == "amounts" else rng.integers(0, 4, rows)
    group = rng.integers(0, 30, rows) if kind == "groups" else None
    data = examples(y, group=group)
    try:
        held = clients_of(data, make(name, clients=clients, **args), seed)
    except errors.DataError:  # too many clients for so few rows or classes; the wording is tested below
        assume(False)
        return
    assert len(held) == clients
    assert np.array_equal(np.sort(np.concatenate(list(held.values()))), np.arange(rows))
    if group is not None:
        patients = [set(group[rows]) for rows in held.values()]
        assert sum(map(len, patients)) == len(set(group))
    again = clients_of(data, make(name, clients=clients, **args), seed)
    assert all(np.array_equal(held[client], again[client]) for client in held)


def test_sites_are_clients_by_name() -> None:
    data = examples(np.array([0, 1, 0]), site=np.array(["b", "a", "b"]))
    held = clients_of(data, make("by_site"), 0)
    assert {client: rows.tolist() for client, rows in held.items()} == {"a": [1], "b": [0, 2]}
    with pytest.raises(errors.DataError, match="these have none; use classes_per_client, dirichlet, iid"):
        clients_of(classes(), make("by_site"), 0)


def test_client_ids_sort_as_numbers() -> None:
    assert list(clients_of(classes(), make("iid", clients=3), 0)) == ["client_0000", "client_0001", "client_0002"]
    many = list(clients_of(examples(np.zeros(10001)), make("iid", clients=10001), 0))
    assert (many[0], many[-1]) == ("client_00000", "client_10000")


def test_iid_and_shards_are_even() -> None:
    for name, clients in (("iid", 7), ("shards", 7)):
        sizes = [len(rows) for rows in clients_of(classes(100), make(name, clients=clients), 1).values()]
        assert max(sizes) - min(sizes) <= (1 if name == "iid" else 2)


def test_two_shards_of_ten_equal_classes_hold_at_most_two() -> None:
    data = examples(np.repeat(np.arange(10), 60))
    held = clients_of(data, make("shards", clients=10), 3)
    assert all(len(rows) == 60 and len(np.unique(data.y[rows])) <= 2 for rows in held.values())


def test_dirichlet_skew_falls_with_alpha() -> None:
    data = classes(5000)

    def spread(alpha: float) -> float:
        held = clients_of(data, make("dirichlet", clients=10, alpha=alpha), 0)
        return float(np.std([np.bincount(data.y[rows], minlength=10) for rows in held.values()]))

    assert spread(0.1) > 2 * spread(1.0) > 4 * spread(100.0)


def test_dirichlet_by_the_numbers_it_draws() -> None:
    # one class of 100 rows: the sizes are the first draw's shares, rounded at their running sums
    data = examples(np.zeros(100, np.int64))
    held = clients_of(data, make("dirichlet", clients=4, alpha=5.0), 9)
    drawn = partitions.seeds.generator(9, "partition").dirichlet(np.full(4, 5.0), 1)[0]
    edges = np.rint(np.cumsum(drawn) * 100).astype(int)
    assert [len(rows) for rows in held.values()] == np.diff(edges, prepend=0).tolist()


def test_minimum_rows() -> None:
    for name in ("dirichlet", "quantity_skew"):
        held = clients_of(classes(300), make(name, clients=10, alpha=0.5, minimum=8), 2)
        assert min(map(len, held.values())) >= 8


def test_classes_per_client_gives_exactly_so_many_and_covers_all() -> None:
    data = classes(600)
    held = clients_of(data, make("classes_per_client", clients=20, classes=2), 0)
    assert {len(np.unique(data.y[rows])) for rows in held.values()} == {2}


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("iid", {"clients": 5000}, "partition.args.clients: 5000 clients cannot share 1797 rows; at most 1797"),
        ("iid", {"clients": 0}, "partition.args.clients: expected a whole number >= 1, got 0"),
        ("shards", {"clients": 900}, "900 clients cannot share 1797 rows of at least 2 each; at most 898"),
        ("dirichlet", {"clients": 9, "alpha": 0}, "partition.args.alpha: expected a number > 0, got 0"),
        ("dirichlet", {"clients": 900, "alpha": 0.01}, "partition.args.alpha: 1000 draws from Dir(0.01) each left"),
        ("quantity_skew", {"clients": 9, "alpha": 1.0, "minimum": 200}, "of at least 200 each; at most 8"),
        ("classes_per_client", {"clients": 3, "classes": 2}, "cannot hold all 10 classes; at least 4 each"),
        ("classes_per_client", {"clients": 30, "classes": 11}, "11 classes a client, but the data have 10"),
        ("dirichlt", {}, "(did you mean 'dirichlet'?)"),
        ("dirichlet", {"clients": 3}, "partition.args.alpha: required"),
    ],
)
def test_impossible_requests_end_in_one_line(name: str, args: dict[str, Any], expected: str) -> None:
    with pytest.raises(errors.UserError) as caught:
        clients_of(classes(1797), make(name, **args), 0)
    assert expected in str(caught.value)


def test_a_class_of_one_row_cannot_be_held_by_all() -> None:
    data = examples(np.array([0] * 50 + [1]))
    with pytest.raises(errors.DataError, match="rows suffice for 1"):
        clients_of(data, make("classes_per_client", clients=5, classes=2), 0)


@pytest.mark.parametrize(
    ("given_rows", "expected"),
    [
        ({"a": [0, 1], "b": [1, 2]}, "1 rows go to none and 1 to several"),
        ({"a": [0, 1, 2, 3], "b": []}, "client 'b' has no rows"),
        ({"a": [0, 1, 2, 4]}, "rows beyond 0 to 3"),
        ({"a": [0, -1]}, "rows beyond 0 to 3"),
        ({"a": [True, True, True, True]}, "must have row numbers"),
        ({}, "there are no clients"),
    ],
)
def test_a_users_own_partition_is_held_to_the_law(given_rows: Mapping[str, list], expected: str) -> None:
    with pytest.raises(errors.DataError, match=expected):
        clients_of(classes(4), lambda examples, rng: {c: np.array(r) for c, r in given_rows.items()}, 0)


def dataset(y: np.ndarray, names: tuple[str, ...]) -> Dataset:
    return Dataset("own", examples(y), "multiclass" if names else "regression", len(names), names)


def test_the_table_of_labels_by_hand() -> None:
    data = dataset(np.array([0, 0, 1, 1, 1, 1]), ("no", "yes"))
    lines = label_table({"north": np.arange(3), "s": np.arange(3, 6)}, data)
    assert lines == ["client  rows  no  yes", "north      3   2    1", "s          3   0    3", "all        6   2    4"]


def test_small_counts_are_hidden_with_what_gives_them_away() -> None:
    y = np.array([0] * 40 + [1] * 3 + [0] * 20 + [1] * 20)
    data = dataset(y, ("no", "yes"))
    lines = label_table({"a": np.arange(43), "b": np.arange(43, 83)}, data, suppress_below=5)
    assert lines[1].split() == ["a", "43", "*", "*"]
    assert lines[2].split() == ["b", "40", "20", "20"]
    assert lines[3].split() == ["all", "83", "*", "*"]
    lines = label_table({"a": np.arange(79), "b": np.arange(79, 83)}, data, suppress_below=5)
    assert lines[2].split() == ["b", "*", "0", "*"]
    assert lines[3].split() == ["all", "*", "*", "*"]


def test_many_clients_classes_and_amounts_fit() -> None:
    data = dataset(np.arange(2000) % 25, tuple(f"class {i}" for i in range(25)))
    held = clients_of(data.examples, make("iid", clients=100), 0)
    lines = label_table(held, data)
    assert len(lines) == 1 + 25 + 1 + 1
    assert lines[-2] == "... and 75 more clients with 20 to 20 rows each"
    assert label_counts(held, data).counts.shape == (100, 12)
    assert label_counts(held, data).counts.sum() == 2000
    amounts = dataset(np.linspace(0, 1, 100, dtype=np.float32), ())
    assert label_counts({"a": np.arange(100)}, amounts).counts.tolist() == [[20, 20, 20, 20, 20]]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_written_and_the_same_twice(tmp_path: pathlib.Path, ending: str) -> None:
    data = dataset(np.arange(2000) % 10, tuple("0123456789"))
    held = clients_of(data.examples, make("dirichlet", clients=20, alpha=0.5), 0)
    pictures = [tmp_path / f"{i}.{ending}" for i in range(2)]
    for picture in pictures:
        label_picture(held, data, picture, suppress_below=3)
    one, other = (picture.read_bytes() for picture in pictures)
    assert one == other
    assert one.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    with pytest.raises(errors.ConfigError, match="must end in"):
        label_picture(held, data, tmp_path / "x.bmp")


def test_a_hospitals_name_is_no_formula(tmp_path: pathlib.Path) -> None:
    data = dataset(np.arange(20) % 10, tuple("0123456789"))
    label_picture({r"St. $\no: the $ clinic": np.arange(20)}, data, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").exists()
