"""MNIST from Keras's own file, found on disk or downloaded, and verified array by array."""

import hashlib
import http.client
import io
import os
import pathlib
import time
import urllib.request
import zipfile
import zlib
from typing import IO

import numpy as np

from fedmed.data import registries
from fedmed.data.examples import Array, Dataset, Examples
from fedmed.system import errors, files

FILE = "mnist.npz"
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"

ARRAYS = {
    "x_train": ((60_000, 28, 28), "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"),
    "y_train": ((60_000,), "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"),
    "x_test": ((10_000, 28, 28), "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"),
    "y_test": ((10_000,), "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"),
}
"""Shape and SHA-256 of the raw uint8 bytes of each array in the file."""

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)
_SILENCE_SECONDS = 20.0
_DOWNLOAD_SECONDS = 300.0
_CHUNK = 1 << 20
_LARGEST = 64 << 20


def cache() -> pathlib.Path:
    """Returns the folder where Keras keeps data sets: $KERAS_HOME/datasets, by default ~/.keras/datasets."""
    home = os.environ.get("KERAS_HOME")
    return (pathlib.Path(home).expanduser() if home else pathlib.Path.home() / ".keras") / "datasets"


def places() -> list[pathlib.Path]:
    """Returns the files that are tried, in order: in $FEDMED_DATA if it is set, then in Keras's cache."""
    own = os.environ.get("FEDMED_DATA")
    return ([pathlib.Path(own).expanduser() / FILE] if own else []) + [cache() / FILE]


def find() -> pathlib.Path | None:
    """Returns the first `mnist.npz` on this machine, or None; downloads nothing and does not read the file."""
    return next((place for place in places() if place.is_file()), None)


@registries.datasets.register("mnist")
def mnist(*, download: bool = True) -> Dataset:
    """MNIST's 60,000 training digits (LeCun et al. 1998), with its 10,000 test digits as the shared test set.

    x is uint8 [n, 28, 28, 1] in 0..255, y is int64 [n] in 0..9. The file is looked for in $FEDMED_DATA and in Keras's
    cache; failing both it is downloaded to that cache, unless `download` is false.

    Raises:
        DataError: the file is nowhere to be had, or is not the MNIST that Keras publishes.
    """
    path = find() or _downloaded(download)
    with path.open("rb") as file:
        arrays = _verified(file, str(path))
    return Dataset(
        "mnist",
        _examples(arrays["x_train"], arrays["y_train"]),
        task="multiclass",
        classes=10,
        class_names=tuple("0123456789"),
        test=_examples(arrays["x_test"], arrays["y_test"]),
    )


def _examples(x: Array, y: Array) -> Examples:
    return Examples(x=x[..., np.newaxis], y=y.astype(np.int64))


def _verified(file: IO[bytes], where: str) -> dict[str, Array]:
    """Reads the four arrays; DataError if one is missing or differs from what Keras publishes."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ARRAYS}
    except _UNREADABLE:
        # The reason is left out: for anything that is no archive NumPy blames a pickle.
        raise errors.DataError(f"{where}: not Keras's mnist.npz; fetch a new copy") from None
    for name, (shape, digest) in ARRAYS.items():
        array = arrays[name]
        if array.dtype != np.uint8 or array.shape != shape:
            got = f"{array.dtype} {list(array.shape)}"
            raise errors.DataError(f"{where}: {name}: expected uint8 {list(shape)}, got {got}; fetch a new copy")
        if hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() != digest:
            raise errors.DataError(f"{where}: {name} is damaged (checksum differs); fetch a new copy")
    return arrays


def _downloaded(allowed: bool) -> pathlib.Path:
    """Fetches the file into Keras's cache, verified before it gets its name; DataError if that is impossible."""
    why = "download = false"
    if allowed:
        try:
            content = _fetched(URL)
            _verified(io.BytesIO(content), f"download of {URL}")
            target = cache() / FILE
            target.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomically(target, content)
            return target
        except (OSError, http.client.HTTPException) as error:
            why = f"download of {URL} failed: {getattr(error, 'reason', None) or error}"
    looked = ", ".join(str(place) for place in places())
    raise errors.DataError(f"mnist: not found (looked for {looked}; {why}); put mnist.npz in the folder $FEDMED_DATA")


def _fetched(url: str) -> bytes:
    """Returns the bytes at `url`; OSError if it is silent, slow, or far larger than MNIST."""
    deadline = time.monotonic() + _DOWNLOAD_SECONDS
    content = bytearray()
    with urllib.request.urlopen(url, timeout=_SILENCE_SECONDS) as response:
        while chunk := response.read(_CHUNK):
            content += chunk
            if time.monotonic() > deadline or len(content) > _LARGEST:
                raise OSError(f"gave up after {len(content):,} bytes")
    return bytes(content)
