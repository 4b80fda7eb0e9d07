"""FedPer (Arivazhagan et al. 2019, Algorithms 1 and 2): base layers are averaged, personalization layers stay at home.

In the paper's symbols: W_B are the base layers, which the server averages; W_P_j the personalization layers of client
j, which it keeps, is tested with, and never sends. Both are trained together, as one model.
"""

import functools
from collections.abc import Sequence

from fedmed.learning import places
from fedmed.learning.algorithm import Algorithm, Training


def fedper(training: Training, home: Sequence[str] | None) -> Algorithm:
    """Makes the algorithm.

    Args:
        training: of the clients.
        home: names of the personalization layers; None for the last layer that has weights.

    Raises:
        ConfigError: a layer is unknown, or all of them are to stay at home, or none.
    """
    w_p = places.of_layers(training.anatomy, home)
    return places.rest_averaged(training, w_p, functools.partial(places.trained_as_one, training, w_p))
