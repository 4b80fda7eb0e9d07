"""Looks for the rows at which a function of them is least, from random starts."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from fedmed.attacks.observation import Array

Slope: TypeAlias = Callable[[Array], tuple[float, Array]]
"""Rows, flat, to the value of a function of them and its gradient, both float64."""


@dataclasses.dataclass(frozen=True)
class Search:
    """How rows are looked for, from random starts of which the best is kept.

    Attributes:
        descent: "lbfgs" (Zhu et al. 2019), or "signs": Adam on the signs of the slope at a falling rate (Geiping et al.
            2020), which gets further through ReLU and max-pooling.
        distance: between updates; "squared" (Zhu et al. 2019, eq. 2) or "cosine" (Geiping et al. 2020, eq. 4).
        variation: weight of the pictures' total variation, added to the distance (Geiping et al. 2020); 0 for tables.
        starts: random starts.
        iterations: at most, of each start.
        bounds: what a value can be: 0 to 1 for pictures; None for tables, whose columns are standardised.
    """

    descent: Literal["lbfgs", "signs"] = "lbfgs"
    distance: Literal["squared", "cosine"] = "squared"
    variation: float = 0.0
    starts: int = 2
    iterations: int = 300
    bounds: tuple[float, float] | None = (0.0, 1.0)

    def drawn(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draws what rows could be, of any shape: even between the bounds, else standard normal."""
        return rng.normal(size=shape) if self.bounds is None else rng.uniform(*self.bounds, size=shape)

    def cut(self, values: Array) -> Array:
        """Brings values within the bounds."""
        return values if self.bounds is None else np.clip(values, *self.bounds)


def slope(function: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> Slope:
    """Returns a function of float32 rows of that shape, with its gradient, as the optimizers of SciPy take it."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32)])
    def graph(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        value = function(x)
        return value, tf.gradients(value, x)[0]

    concrete = graph.get_concrete_function()  # traced now, so that what cannot be differentiated shows

    def at(flat: Array) -> tuple[float, Array]:
        value, gradient = concrete(tf.constant(flat.reshape(shape), tf.float32))
        return float(value), gradient.numpy().ravel().astype(np.float64)

    return at


def least(at: Slope, shape: tuple[int, ...], search: Search, rng: np.random.Generator) -> tuple[Array, float]:
    """Returns the best rows [...shape] float32 of all starts, and the value there."""
    descend = _by_signs if search.descent == "signs" else _by_lbfgs
    tries = [descend(at, _start(shape, search, rng, number), search) for number in range(search.starts)]
    rows, value = min(tries, key=lambda one: one[1])
    return rows.reshape(shape).astype(np.float32), value


def _start(shape: tuple[int, ...], search: Search, rng: np.random.Generator, number: int) -> Array:
    """Draws a start. Every other one of pictures is dark, where fewer of the units after a ReLU are dead."""
    drawn = search.drawn((math.prod(shape),), rng)
    if search.bounds is None or number % 2 == 0:
        return drawn
    return search.bounds[0] + 0.1 * (drawn - search.bounds[0])


def _by_lbfgs(at: Slope, start: Array, search: Search) -> tuple[Array, float]:
    from scipy.optimize import minimize

    limits: Any = None if search.bounds is None else [search.bounds] * len(start)
    options = {"maxiter": search.iterations, "maxfun": 2 * search.iterations, "maxcor": 30, "ftol": 0.0, "gtol": 1e-10}
    ended = minimize(at, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return ended.x, float(ended.fun)


def _by_signs(at: Slope, start: Array, search: Search) -> tuple[Array, float]:
    """Steps of 0.1, a tenth of that from 3/8 of the way, a hundredth from 5/8, a thousandth from 7/8 (their code)."""
    now, first, second = start, np.zeros_like(start), np.zeros_like(start)
    best, least_value = start, np.inf
    for step in range(1, search.iterations + 1):
        value, gradient = at(now)
        if value < least_value:
            best, least_value = now, value
        sign = np.sign(gradient)
        first, second = 0.9 * first + 0.1 * sign, 0.999 * second + 0.001 * np.square(sign)
        passed = sum(8 * step > part * search.iterations for part in (3, 5, 7))
        moved = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        now = search.cut(now - 0.1 * 0.1**passed * moved)
    return best, float(least_value)
