"""MNIST is found, fetched and verified without ever leaving a bad file behind; digits fit uint8."""

import pathlib

import numpy as np
import pytest

from fedmed.data import mnist, registries
from fedmed.data.digits import digits
from fedmed.system import errors

needs_mnist = pytest.mark.skipif(mnist.find() is None, reason="mnist.npz is neither in $FEDMED_DATA nor Keras's cache")


@pytest.fixture
def empty(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A machine without MNIST: both folders exist in name only."""
    monkeypatch.setenv("FEDMED_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path


def test_digits_are_exact_multiples_of_the_source() -> None:
    data = digits()
    x, y = data.examples.x, data.examples.y
    assert isinstance(x, np.ndarray)
    assert (x.shape, x.dtype, x.max()) == ((1797, 8, 8, 1), np.uint8, 240)
    np.testing.assert_array_equal(x[0, 0, :, 0], np.array([0, 0, 5, 13, 9, 1, 0, 0]) * 15)
    assert y[:3].tolist() == [0, 1, 2]
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.test is None


@needs_mnist
def test_mnist_has_its_published_shape_and_counts() -> None:
    data = registries.datasets.make("mnist", {"download": False}, "data")
    assert data.test is not None
    assert data.examples.x.shape == (60_000, 28, 28, 1)
    assert data.examples.x.dtype == np.uint8
    assert data.examples.y.dtype == np.int64
    assert data.test.x.shape == (10_000, 28, 28, 1)
    assert data.examples.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(data.examples.y)[[0, 5]].tolist() == [5923, 5421]


def test_a_missing_mnist_says_where_it_was_looked_for_and_what_to_do(empty: pathlib.Path) -> None:
    assert mnist.find() is None
    with pytest.raises(errors.DataError) as caught:
        mnist.mnist(download=False)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(empty / "own" / "mnist.npz"), str(empty / "keras" / "datasets" / "mnist.npz"), "$FEDMED_DATA"):
        assert part in message


def test_a_failed_download_is_one_line_and_leaves_no_file(empty: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "URL", (empty / "nowhere.npz").as_uri())
    with pytest.raises(errors.DataError, match=r"^mnist: not found .*nowhere\.npz failed"):
        mnist.mnist()
    assert list(empty.rglob("*.npz")) == []


def test_a_download_that_is_not_mnist_is_not_kept(empty: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = empty / "login.html"
    page.write_text("<html>Please log in</html>")
    monkeypatch.setattr(mnist, "URL", page.as_uri())
    with pytest.raises(errors.DataError, match=r"not Keras's mnist\.npz"):
        mnist.mnist()
    assert mnist.find() is None


@pytest.mark.parametrize("pixels", [np.zeros((60_000, 28, 28), np.float32), np.zeros((5, 28, 28), np.uint8)])
def test_a_foreign_file_is_refused_by_name(empty: pathlib.Path, pixels: np.ndarray) -> None:
    (empty / "own").mkdir()
    labels = np.zeros(5, np.uint8)
    np.savez_compressed(empty / "own" / "mnist.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    with pytest.raises(errors.DataError, match=r"mnist\.npz: x_train: expected uint8 \[60000, 28, 28\]"):
        mnist.mnist()


def test_a_pickle_is_never_opened(empty: pathlib.Path) -> None:
    (empty / "own").mkdir()
    np.savez(empty / "own" / "mnist.npz", x_train=np.array([{"surprise": 1}], dtype=object))
    with pytest.raises(errors.DataError, match=r"not Keras's mnist\.npz"):
        mnist.mnist()


@needs_mnist
def test_a_download_lands_in_keras_cache_and_a_changed_pixel_is_noticed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mnist.find()
    assert source is not None
    monkeypatch.setattr(mnist, "URL", source.absolute().as_uri())
    monkeypatch.delenv("FEDMED_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert len(mnist.mnist().examples) == 60_000
    landed = tmp_path / "datasets" / "mnist.npz"
    assert landed.read_bytes() == source.read_bytes()
    with np.load(landed) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["x_test"][7, 14, 14] ^= 1
    np.savez(landed, **arrays)
    with pytest.raises(errors.DataError, match="x_test is damaged"):
        mnist.mnist()
