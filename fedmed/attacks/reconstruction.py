"""Which of a hospital's rows can the server rebuild from its update? Attacks whose answer is a measure.

Two kinds of result leave here: pictures, for public and made-up data, and distances, for patients' rows.
"""

from typing import Literal

import numpy as np
import tensorflow as tf

from fedmed.attacks import dense_layer, inversion, label_inference, likeness
from fedmed.attacks.descent import Search
from fedmed.attacks.inversion import NotAttempted, Target
from fedmed.attacks.likeness import Distances, Pictures
from fedmed.attacks.observation import Array, Seen

Way = Literal["dense layer", "inversion"]
PICTURES = Search()
TABLES = Search(bounds=None)
_PROBES = 64  # made-up rows whose predictions stand for those of the rows behind an update


def rebuilt_pictures(
    target: Target,
    seen: Seen,
    true: Array,
    way: Way,
    rng: np.random.Generator,
    labels: Array | None = None,
    search: Search = PICTURES,
) -> Pictures | NotAttempted:
    """Attacks an update of public or made-up pictures and shows what it recovers.

    Args:
        target: whose update it is.
        seen: the update.
        true: [clients x rows, height, width, channels] in [0, 1], the rows behind it, to compare with.
        way: "dense layer" reads rows off the first dense layer; "inversion" looks for rows of the same update.
        rng: of starts.
        labels: [clients x rows] of the rows, where they are known to the server; None: inferred (inversion only).
        search: how rows are looked for.
    """
    rows = _rows(target, seen, way, rng, labels, search)
    return rows if isinstance(rows, NotAttempted) else likeness.pictures(true, rows)


def rebuilt_distances(
    target: Target,
    seen: Seen,
    true: Array,
    others: Array,
    way: Way,
    rng: np.random.Generator,
    labels: Array | None = None,
    search: Search = TABLES,
    patients: tuple[Array, Array] | None = None,
) -> Distances | NotAttempted:
    """Attacks an update of patients' rows and tells only how close it comes to each.

    Args:
        target: whose update it is.
        seen: the update.
        true: [clients x rows, ...] the rows behind it.
        others: [m, ...] real rows that they are held against.
        way: "dense layer" or "inversion".
        rng: of starts and of the rows drawn to guess with.
        labels: [clients x rows] where they are known to the server; None: inferred (inversion only).
        search: how rows are looked for.
        patients: whose rows the true ones and the others are; see `likeness.distances`.
    """
    rows = _rows(target, seen, way, rng, labels, search)
    if isinstance(rows, NotAttempted):
        return rows
    own, told, real = (part.reshape(len(part), true[0].size) for part in (true, rows, others))
    return likeness.distances(own, told, real, rng, patients)


def _rows(
    target: Target, seen: Seen, way: Way, rng: np.random.Generator, labels: Array | None, search: Search
) -> Array | NotAttempted:
    if way == "dense layer":
        return dense_layer.read(target, seen, search, rng)
    reason = inversion.obstacle(target.model, seen.work)
    if reason:
        return NotAttempted(reason)
    known = _inferred(target, seen, rng, search) if labels is None else labels
    if isinstance(known, NotAttempted):
        return known
    found = inversion.invert(target, seen, known, search, rng)
    return found if isinstance(found, NotAttempted) else found.rows


def _inferred(target: Target, seen: Seen, rng: np.random.Generator, search: Search) -> Array | NotAttempted:
    """Infers the labels, with predictions of made-up rows as the server has no others."""
    target.restore()
    probes = search.drawn((_PROBES, *target.model.input_shape[1:]), rng)
    predicted = target.objective.predict(target.model(tf.constant(probes, tf.float32), training=False)).numpy()
    return label_inference.labels(target, seen, np.atleast_1d(predicted.mean(axis=0)))
