"""Scikit-learn's 1,797 handwritten digits: ships with the library, so it needs no download."""

import numpy as np

from fedmed.data import registries
from fedmed.data.examples import Dataset, Examples

STEP = 15
"""Storage value of one of the source's 16 grey steps: 0..16 becomes 0..240, exact and within uint8."""


@registries.datasets.register("digits")
def digits() -> Dataset:
    """Scikit-learn's handwritten digits (Alpaydin and Kaynak 1998), the quick stand-in for MNIST.

    x is uint8 [1797, 8, 8, 1] in 0..240 (the source's 0..16 times 15), so that the graph's "uint8 / 255" holds for
    it as for MNIST; y is int64 [1797] in 0..9. There is no test set of its own: each client splits its rows.
    """
    from sklearn.datasets import load_digits  # slow to import, and only this data set needs it

    pixels, labels = load_digits(return_X_y=True)
    x = (np.asarray(pixels) * STEP).astype(np.uint8).reshape(-1, 8, 8, 1)
    examples = Examples(x=x, y=np.asarray(labels, np.int64))
    return Dataset("digits", examples, task="multiclass", classes=10, class_names=tuple("0123456789"))
