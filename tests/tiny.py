"""Clients of a few rows, settings for them, and one round of the real thing: model, files, lanes and runtime."""

import collections
import contextlib
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedmed.data.clients import Clients
from fedmed.data.examples import Dataset, Examples, Task
from fedmed.data.splits import ClientRows
from fedmed.engine.federation import Done, Federation, Position
from fedmed.engine.programs import Beginnings, Programs
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import batches
from fedmed.learning.algorithm import METRICS
from fedmed.learning.lane import OWN_SUMS
from fedmed.learning.values import Weights
from fedmed.settings import config
from fedmed.system import seeds

Arrays = list[np.ndarray]
REPORT = (*METRICS, *OWN_SUMS)

# Many tests ask the same settings for a round. To build a model seeds TensorFlow, which then compiles all anew.
_PROGRAMS = Programs(most=32)
_BEGINNINGS: Beginnings = collections.OrderedDict()

# A float32 has 24 bits. A weight here comes of some hundred additions of numbers near 1, whose order and fusing differ
# between two right ways of computing it, so two such ways agree to about 1e-6 and hardly ever to the bit.
RTOL, ATOL = 2e-5, 2e-6


def settings(model: str = "tiny_models:hidden", /, **changes: Any) -> config.RunConfig:
    """Returns settings in which a table of `changes` is added to the defaults' table of that name."""
    tree: dict[str, Any] = {
        "name": "tiny",
        "data": {"name": "arrays"},
        "model": {"name": model},
        "client": {"learning_rate": 0.2, "batch_size": 4},
        "rounds": 2,
        "runtime": {"name": "local", "lanes": 2},
    }
    for key, value in changes.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) and key in tree else value
    return config.parse(tree)


def rows(count: int, seed: int, features: int = 3) -> Examples:
    """Returns rows of two classes that a model can tell apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features)).astype(np.float32)
    y = (x.sum(1) + 0.5 * rng.normal(size=count) > 0).astype(np.int64)
    y[0] = 1 - y[-1]
    return Examples(x, y)


def clients(sizes: Sequence[int] = (11, 6, 8), task: Task = "binary", classes: int = 2) -> Clients:
    """Returns clients "a", "b", ... of the given numbers of rows."""
    return clients_of({"abcdefghij"[i]: rows(size, seed=i) for i, size in enumerate(sizes)}, task, classes)


def clients_of(parts: Mapping[str, Examples], task: Task = "binary", classes: int = 2) -> Clients:
    """Returns clients that are tested on the rows they train on."""
    dataset = Dataset("tiny", next(iter(parts.values())), task, classes)
    whole = {name: ClientRows(np.arange(len(part)), np.arange(0)) for name, part in parts.items()}
    return Clients(dataset, dict(parts), dict(parts), None, whole, None)


class Round(NamedTuple):
    """Weights before and after a round, the senders' reports [clients, len(REPORT)], and all that was done."""

    before: Weights
    after: Weights
    reports: np.ndarray
    done: Done

    @property
    def position(self) -> Position:
        """Where the federation stands after the round."""
        return self.done.position

    @property
    def updates(self) -> Arrays:
        """What the round added to each trainable tensor."""
        return [a - b for a, b in zip(self.after.trainable, self.before.trainable, strict=True)]


def federation(changes: config.RunConfig, held: Clients, worker: Worker | None = None, **more: Any) -> Federation:
    """Returns a federation that shares its recorded program and its model's first weights with those made before.

    `more` are Federation's own arguments. A test of how one is made makes its own.
    """
    shared: Any = {"programs": _PROGRAMS, "beginnings": _BEGINNINGS}
    return Federation(changes, held.dataset, held.train, worker=worker, **shared, **more)


@contextlib.contextmanager
def set_up(
    changes: config.RunConfig, held: Clients, worker: Worker | None = None
) -> Iterator[tuple[Federation, Callable[..., Round]]]:
    """Yields a federation, and a function (position=None, cohort=None) -> Round."""
    made = federation(changes, held, worker)

    def next_round(position: Position | None = None, cohort: Sequence[str] | None = None) -> Round:
        position = made.start() if position is None else position
        done = made.round(position, list(held.train) if cohort is None else cohort)
        reports = np.stack([done.sums[name] for name in REPORT], axis=1) if done.sums else np.zeros((0, len(REPORT)))
        return Round(made.weights(position), made.weights(done.position), reports, done)

    try:
        yield made, next_round
    finally:
        made.close()


def one_round(
    changes: config.RunConfig, held: Clients, worker: Worker | None = None, cohort: Sequence[str] | None = None
) -> Round:
    """Runs the first round and returns it."""
    with set_up(changes, held, worker) as (_, next_round):
        return next_round(None, cohort)


def row_order(seed: int, round_: int, client: int, epoch: int, count: int) -> np.ndarray:
    """Returns the order in which a client visits its rows in an epoch of a round."""
    pair = tf.constant(seeds.pair(seed, "client", round_, client))
    return batches.epoch_order(pair, tf.constant(epoch), tf.constant(count)).numpy()


def batches_of(examples: Examples, local: config.Client, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the (x, y) batches of client `number` in round 0 of seed 0: the rows' order cut into pieces, by hand."""
    count = len(examples)
    size = count if local.batch_size == "full" else local.batch_size
    x, cut = np.asarray(examples.x), []
    for epoch in range(local.epochs):
        order = row_order(0, 0, number, epoch, count)
        cut += [(x[order[i : i + size]], examples.y[order[i : i + size]]) for i in range(0, count, size)]
    return cut


def hidden_output(weights: Sequence[Any], x: Any) -> Any:
    """Computes the model `tiny_models:hidden` without Keras: probabilities [b, 1]."""
    w1, b1, w2, b2 = weights
    return tf.sigmoid(tf.matmul(tf.tanh(tf.matmul(x, w1) + b1), w2) + b2)


def cross_entropy(y: Any, probability: Any) -> Any:
    """Returns the mean binary cross-entropy of a batch, [] float32."""
    p, target = probability[:, 0], tf.cast(y, tf.float32)
    return -tf.reduce_mean(target * tf.math.log(p) + (1 - target) * tf.math.log(1 - p))


def trained_eagerly(start: Sequence[np.ndarray], cut: Sequence[tuple[np.ndarray, np.ndarray]], rate: float) -> Arrays:
    """Trains `hidden_output` by plain SGD over the batches, with a GradientTape and no fedmed code."""
    variables = [tf.Variable(tf.constant(w)) for w in start]
    for x, y in cut:
        with tf.GradientTape() as tape:
            loss = cross_entropy(y, hidden_output(variables, x))
        gradients: Any = tape.gradient(loss, variables)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(rate * gradient)
    return [v.numpy() for v in variables]


def assert_close(actual: Iterable[Any], expected: Iterable[Any], rtol: float = RTOL, atol: float = ATOL) -> None:
    """Compares tensors one by one, by default to float32 rounding."""
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def assert_same(actual: Iterable[Any], expected: Iterable[Any]) -> None:
    """Compares tensors one by one, to the bit."""
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def site_rows() -> Examples:
    """Returns 100 rows of four features at sites "a" to "d", which hold 40, 30, 20 and 10 of them."""
    sizes = (40, 30, 20, 10)
    parts = [rows(size, seed=i, features=4) for i, size in enumerate(sizes)]
    x, y = np.concatenate([np.asarray(part.x) for part in parts]), np.concatenate([part.y for part in parts])
    return Examples(x, y, site=np.repeat(list("abcd"), sizes))


def save_sites(path: pathlib.Path, inputs: Mapping[str, np.ndarray] | None = None) -> str:
    """Writes `site_rows` as .npz and returns its path; `inputs` replace x."""
    whole = site_rows()
    arrays: dict[str, Any] = {"y": whole.y, "site": whole.site, **(inputs or {"x": whole.x})}
    np.savez(path, **arrays)
    return str(path)
