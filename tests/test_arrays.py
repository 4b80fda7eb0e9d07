"""The user's own .npz: storage types, several inputs, and one line for each way it can be wrong."""

import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest

from fedmed.data.arrays import arrays
from fedmed.system import errors

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


def saved(folder: pathlib.Path, **stored: Any) -> str:
    np.savez(folder / "own.npz", **stored)
    return str(folder / "own.npz")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.uint8, np.uint8),
        (np.bool_, np.uint8),
        (np.int64, np.int32),
        (np.uint16, np.int32),
        (np.float64, np.float32),
        (np.float16, np.float32),
    ],
)
def test_storage_types(tmp_path: pathlib.Path, given: type, kept: type) -> None:
    x = arrays(path=saved(tmp_path, x=X.astype(given), y=Y)).examples.x
    assert isinstance(x, np.ndarray)
    assert x.dtype == kept
    np.testing.assert_array_equal(x, X.astype(given).astype(kept))


def test_several_inputs_sites_groups_and_test_rows(tmp_path: pathlib.Path) -> None:
    image = np.zeros((6, 4, 4, 1), np.uint8)
    path = saved(
        tmp_path,
        x_image=image,
        x_table=X,
        y=np.array(["b", "a", "c", "b", "a", "c"]),
        site=np.array([1, 1, 1, 2, 2, 2]),
        group=np.array(list("uuvvww")),
        x_test_image=image[:2],
        x_test_table=X[:2],
        y_test=np.array(["c", "b"]),
    )
    data = arrays(path=path)
    assert isinstance(data.examples.x, dict)
    assert sorted(data.examples.x) == ["image", "table"]
    assert data.examples.site is not None
    assert data.examples.site.tolist() == ["1", "1", "1", "2", "2", "2"]
    assert (data.task, data.classes, data.class_names) == ("multiclass", 3, ("a", "b", "c"))
    assert data.examples.y.tolist() == [1, 0, 2, 1, 0, 2]
    assert data.test is not None
    assert data.test.y.tolist() == [2, 1]  # numbered with the training labels
    assert len(data.examples.take(np.array([0, 5])).x["table"]) == 2  # type: ignore[index]


def test_labels_of_shape_n_by_1_and_amounts(tmp_path: pathlib.Path) -> None:
    data = arrays(path=saved(tmp_path, x=X, y=np.linspace(0, 1, 6)[:, None]))
    assert data.task == "regression"
    assert data.examples.y.shape == (6,)
    assert arrays(path=saved(tmp_path, x=X, y=Y), task="count").examples.y.dtype == np.float32


@pytest.mark.parametrize("value", [-9, 10, 1e30])
def test_a_stray_label_makes_no_class_and_is_not_shown(tmp_path: pathlib.Path, value: float) -> None:
    y = np.append(np.arange(20) % 2, [value])
    path = saved(tmp_path, x=np.zeros((21, 2)), y=y)
    with pytest.raises(
        errors.DataError, match=r"^data\.args\.path: 1 of 21 labels are values that fewer than 5"
    ) as caught:
        arrays(path=path)
    assert str(value) not in str(caught.value)
    assert arrays(path=path, task="regression").task == "regression"


@pytest.mark.parametrize(
    ("counts", "task"),
    [((2, 2, 2), "multiclass"), ((9, 4, 4), "multiclass"), ((9, 9, 5), "multiclass"), ((2, 3), "binary")],
)
def test_few_rows_of_every_class_are_classes_all_the_same(
    tmp_path: pathlib.Path, counts: tuple[int, ...], task: str
) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    assert arrays(path=saved(tmp_path, x=np.zeros((len(y), 2)), y=y)).task == task


OBJECTS = np.array([[1], [1, 2], [3], [4], [5], [6]], dtype=object)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"x": OBJECTS, "y": Y}, "holds Python objects"),
        ({"x": X}, "needs arrays x (or x_NAME, ...) and y, got x"),
        ({"X": X, "y": Y}, "unknown array 'X'; allowed: group, site, x, x_NAME"),
        ({"x": X, "x_more": X, "y": Y}, "has both x and x_more"),
        ({"x": X[:5], "y": Y}, "x must have shape (6, ...) to go with its labels, got (5, 2)"),
        ({"x": X[:, 0], "y": Y}, "x must have shape (6, ...)"),
        ({"x": np.where(X > 9, np.nan, X), "y": Y}, "x has 2 values that are infinite or not numb"),
        ({"x": X * 1e300, "y": Y}, "infinite"),
        ({"x": (X * 1e12).astype(np.int64), "y": Y}, "beyond 32 bits"),
        ({"x": X.astype(str), "y": Y}, "x must be numbers"),
        ({"x": X, "y": np.eye(6)}, "one label a row (class codes, not one-hot)"),
        ({"x": X, "y": np.array([0, 1, np.nan, 0, 1, 1])}, "y is missing in 1 of 6 rows"),
        ({"x": X, "y": np.zeros(6)}, "has the same label"),
        ({"x": X, "y": Y, "site": np.array(["a"] * 5)}, "site must be 6 texts or whole numbers"),
        ({"x": X, "y": Y, "group": np.array(["a"] * 5 + [" "])}, "group is missing in 1 of 6 rows"),
        ({"x": X, "y": Y, "x_test": X}, "test rows need y_test"),
        ({"x": X, "y": Y, "y_test": Y}, "test rows need y_test"),
        ({"x": X, "y": Y, "y_test": Y, "x_test": X[:, :1]}, "x and x_test differ"),
    ],
)
def test_wrong_arrays_end_in_one_line(tmp_path: pathlib.Path, stored: dict[str, Any], expected: str) -> None:
    with pytest.raises(errors.DataError) as caught:
        arrays(path=saved(tmp_path, **stored))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def npy(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    """Returns the header of an .npy file that claims a shape, with no value behind it."""
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.npy", npy((10**12, 2)), "data.args.path: '"),
        ("x.npy", npy((10**30,)), "is no .npz file, or a damaged one"),
        ("x.npy", npy((2,), "|S1000000000000"), "data.args.path: '"),
        ("x.npy", b"\x93NUMPY\x01\x00\x14\x00" + b"{" * 20, "is no .npz file, or a damaged one"),
        ("x.npy", npy((6, 2)), "is no .npz; save plain arrays"),
        ("x.npy", b"hello", "'x' in "),
        ("x.txt", b"hello", "is no array; save it with numpy.savez"),
    ],
)
def test_members_that_are_no_arrays_end_in_one_line(
    tmp_path: pathlib.Path, name: str, content: bytes, expected: str
) -> None:
    path = saved(tmp_path, y=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)
    with pytest.raises(errors.DataError) as caught:
        arrays(path=path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"x": 1}))
    (tmp_path / "text.npz").write_text("x,y\n1,2\n")
    (tmp_path / "empty.npz").write_bytes(b"")
    whole = pathlib.Path(saved(tmp_path, x=X, y=Y)).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("one.npy", "pickle.npz", "text.npz", "empty.npz", "cut.npz", "nowhere.npz"):
        with pytest.raises(errors.DataError, match=r"^data\.args\.path: "):
            arrays(path=str(tmp_path / name))
