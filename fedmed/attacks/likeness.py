"""How like the true rows what an attack recovered is: pictures by what the eye sees, tables by distances alone."""

import dataclasses

import numpy as np

from fedmed.attacks.observation import Array

_BEST = 160.0  # dB, what float32 can tell


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Recovered pictures beside the true ones. It holds the rows: for public or made-up data only.

    Attributes:
        true: [m, height, width, channels] in [0, 1].
        recovered: [m, ...] the picture matched with each, by least squared difference in all.
        psnr: [m] dB, peak signal over mean squared error.
        ssim: [m] structural similarity, at most 1 (Wang et al. 2004), in windows of 7 pixels.
        missed: true pictures that nothing was left to match with.
    """

    true: Array
    recovered: Array
    psnr: Array
    ssim: Array
    missed: int


@dataclasses.dataclass(frozen=True)
class Distances:
    """How close an attack came to each true row. It holds distances only, for patients' rows must not leave.

    A distance is the root mean square over columns of differences in units of the column's standard deviation among
    the other rows: 0 is the row itself.

    Attributes:
        recovered: [n] from each true row to the nearest recovered one; infinite where none was recovered.
        other: [n] to the nearest of the real rows of other patients that it is held against: closer than that, and the
            patient is singled out.
        guess: [n] to the nearest of as many real rows of others, drawn at random, as were recovered.
        candidates: how many rows were recovered.
    """

    recovered: Array
    other: Array
    guess: Array
    candidates: int

    @property
    def singled_out(self) -> float:
        """Share of the true rows to which the attack came closer than any row of another patient that was given."""
        return float((self.recovered < self.other).mean())


def matched(true: Array, recovered: Array) -> tuple[Array, Array]:
    """Pairs true rows [n, ...] with recovered ones [k, ...], each used once, at the least summed squared distance.

    Returns:
        Positions of the min(n, k) true rows that were paired, and of their partners (Kuhn 1955).
    """
    from scipy.optimize import linear_sum_assignment

    flat, others = true.reshape(len(true), -1), recovered.reshape(len(recovered), -1)
    return linear_sum_assignment(_squared(flat, others))


def pictures(true: Array, recovered: Array) -> Pictures:
    """Compares pictures [n, ...] in [0, 1] with recovered ones [k, ...], which are cut to [0, 1]."""
    shown = np.clip(recovered, 0.0, 1.0)
    own, partner = matched(true, shown)
    a, b = true[own], shown[partner]
    return Pictures(a, b, psnr(a, b), ssim(a, b), len(true) - len(own))


def psnr(a: Array, b: Array) -> Array:
    """Returns the peak signal-to-noise ratio of each pair of pictures [n, ...] in [0, 1], in dB, at most 160."""
    error = np.square(a.astype(np.float64) - b).reshape(len(a), -1).mean(axis=1)
    return -10 * np.log10(np.maximum(error, 10 ** (-_BEST / 10)))


def ssim(a: Array, b: Array) -> Array:
    """Returns the structural similarity [n] of pictures [n, height, width, channels] of at least 7 by 7 pixels."""
    import tensorflow as tf

    return tf.image.ssim(tf.constant(a, tf.float32), tf.constant(b, tf.float32), 1.0, filter_size=7).numpy()


def distances(
    true: Array,
    recovered: Array,
    others: Array,
    rng: np.random.Generator,
    patients: tuple[Array, Array] | None = None,
) -> Distances:
    """Measures how close recovered rows [k, columns] come to the true ones [n, columns].

    Args:
        true: the rows behind the update.
        recovered: as an attack told them.
        others: [m, columns] real rows, at least 2; columns that are constant there are left out.
        rng: of the rows drawn to guess with.
        patients: whose rows are the true ones [n] and the others [m]: a row is not held against its own patient's.
            None: all others are of other patients.
    """
    own, whose = (np.zeros(len(true)), np.ones(len(others))) if patients is None else patients
    spread = np.std(others, axis=0, dtype=np.float64)
    used = spread > 0
    units = [np.asarray(rows, np.float64)[:, used] / spread[used] for rows in (true, recovered, others)]
    drawn = rng.choice(len(others), min(len(others), len(recovered)), replace=False)
    return Distances(
        recovered=_nearest(units[0], units[1]),
        other=_nearest(units[0], units[2], own, whose),
        guess=_nearest(units[0], units[2][drawn], own, whose[drawn]),
        candidates=len(recovered),
    )


def _nearest(rows: Array, candidates: Array, own: Array | None = None, whose: Array | None = None) -> Array:
    """Returns the distance [n] from each row to the nearest candidate, of another patient where patients are given."""
    found = np.full(len(rows), np.inf)
    for place, row in enumerate(rows):  # one by one: all at once take too much memory
        there = candidates if own is None else candidates[whose != own[place]]
        if len(there):
            found[place] = np.sqrt(np.square(there - row).sum(axis=1).min() / len(row))
    return found


def _squared(rows: Array, others: Array) -> Array:
    """Returns [n, k] squared distances, by differences: a product would lose the small ones, which matter here."""
    return np.stack([np.square(np.asarray(others, np.float64) - row).sum(axis=1) for row in rows])
