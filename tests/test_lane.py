"""What a lane does with each client: refuses, names and clips updates; and FedProx's pull, on whole rounds."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny
from tiny import assert_close, assert_same

from fedmed.data.clients import Clients
from fedmed.data.examples import Examples
from fedmed.learning import lane, steps
from fedmed.learning.algorithm import METRICS, ClientOutput
from fedmed.learning.values import Payload, Weights

NORM, ACCEPTED = tiny.REPORT.index("update_norm"), tiny.REPORT.index("accepted")
EXAMPLES = tiny.REPORT.index("examples")


def norm(parts: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.square(part.astype(np.float64)).sum() for part in parts)))


def broken(value: float) -> Examples:
    """Rows of which one holds a value that no scanner returns."""
    bad = tiny.rows(7, seed=9)
    np.asarray(bad.x)[3, 1] = value
    return bad


BAD = {"infinite": np.inf, "nan": np.nan, "huge": 1e30}


@pytest.fixture(scope="module")
def mixed() -> Iterator[Callable[..., tiny.Round]]:
    """Rounds of a linear model (its gradient grows with x, where tanh would hide a huge value), client by client."""
    held = {"a": tiny.rows(11, seed=0), **{name: broken(value) for name, value in BAD.items()}}
    linear = tiny.settings("tiny_models:flat_start", client={"optimizer": "momentum", "steps": 9})
    with tiny.set_up(linear, tiny.clients_of({**held, "b": tiny.rows(6, seed=1)})) as (_, next_round):
        yield lambda cohort: next_round(None, cohort)


@pytest.mark.parametrize(
    "cohort",
    [["a", "infinite", "b"], ["a", "nan", "b"], ["a", "huge", "b"], ["nan", "a", "b"], ["a", "b", "huge"]],
    ids="-".join,
)
def test_a_client_that_is_not_finite_is_refused_and_the_rest_is_a_round_without_it(
    cohort: list[str], mixed: Callable[..., tiny.Round]
) -> None:
    with_it, without = mixed(cohort), mixed(["a", "b"])
    assert with_it.reports[:, ACCEPTED].tolist() == [float(name not in BAD) for name in cohort]
    assert_close(with_it.after.trainable, without.after.trainable)
    assert all(np.isfinite(w).all() for w in with_it.after.trainable)
    assert np.abs(with_it.updates[0]).max() > 0.01


@pytest.mark.parametrize("server", ["average", "adam"])
def test_when_all_are_refused_the_weights_stay_and_the_round_counts(server: str) -> None:
    held = tiny.clients_of({"a": broken(np.inf), "b": broken(np.nan)})
    adaptive = tiny.settings("tiny_models:flat_start", server={"optimizer": server})
    done = tiny.one_round(adaptive, held)
    assert done.reports[:, ACCEPTED].tolist() == [0, 0]
    assert_same(done.after.trainable, done.before.trainable)
    assert done.position.round == 1


def test_a_refused_client_leaves_no_trace_in_the_next_one_of_its_lane() -> None:
    held = tiny.clients_of({"bad": broken(np.nan), "a": tiny.rows(6, seed=1)})
    single = tiny.settings("tiny_models:batch_norm", client={"optimizer": "adam"}, runtime={"lanes": 1})
    with tiny.set_up(single, held) as (_, next_round):
        both, alone = next_round(), next_round(None, ["a"])
    assert_same(both.after.trainable + both.after.moving, alone.after.trainable + alone.after.moving)


def alone(held: Clients) -> list[tiny.Round]:
    """Returns a round of each client by itself."""
    with tiny.set_up(tiny.settings(), held) as (_, next_round):
        return [next_round(None, [client]) for client in held.train]


def test_clipping_scales_each_update_to_the_bound_before_the_mean() -> None:
    held = tiny.clients([8, 6])
    plain = alone(held)
    norms = [norm(done.updates) for done in plain]
    bound = (norms[0] + norms[1]) / 2  # between the two, so that one of them is clipped and the other is not
    clipped = tiny.one_round(tiny.settings(aggregation={"clip_norm": bound}), held)
    scales = [min(1.0, bound / n) for n in norms]
    assert sorted(scale == 1 for scale in scales) == [False, True]
    expected = [
        (8 * scales[0] * u + 6 * scales[1] * v) / 14 for u, v in zip(plain[0].updates, plain[1].updates, strict=True)
    ]
    assert_close(clipped.updates, expected)
    np.testing.assert_allclose(clipped.reports[:, NORM], norms, rtol=1e-4)  # reported as they were before clipping


def arrived(update: Weights, norm: float) -> Weights:
    """Returns an update as it arrives after clipping."""
    payload = Payload(update)
    return steps.travel([steps.clipping(norm)], payload, tf.constant([0, 0])).payload.update


def test_clipping_by_hand_leaves_moving_statistics_alone() -> None:
    clipped = arrived(Weights([tf.constant([3.0, 0.0]), tf.constant([[4.0]])], [tf.constant([100.0])]), 1.0)
    np.testing.assert_allclose(clipped.trainable[0], [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(clipped.trainable[1], [[0.8]], rtol=1e-6)
    assert clipped.moving[0].numpy() == [100.0]


def test_an_update_of_zero_can_be_clipped() -> None:
    assert arrived(Weights([tf.zeros([2])], []), 1.0).trainable[0].numpy().tolist() == [0, 0]


def test_steps_are_encoded_in_order_and_decoded_in_reverse_and_the_last_form_is_what_is_sent() -> None:
    """A step that halves the numbers' size, after one that adds 1 and takes it off again."""
    shift = steps.Step(
        lambda message, seed: tf.nest.map_structure(lambda t: t + 1, message),
        lambda message: tf.nest.map_structure(lambda t: t - 1, message),
    )
    half = steps.Step(
        lambda message, seed: tf.nest.map_structure(lambda t: tf.cast(t, tf.float16), message),
        lambda message: tf.nest.map_structure(lambda t: tf.cast(t, tf.float32), message),
    )
    payload = Payload(Weights([tf.constant([1.0, 2.0, 0.5])], []))
    plain = steps.travel([], payload, tf.constant([0, 0]))
    both = steps.travel([shift, half], payload, tf.constant([0, 0]))
    assert (int(plain.sent), int(both.sent)) == (12, 6)
    assert both.payload.update.trainable[0].numpy().tolist() == [1.0, 2.0, 0.5]
    told = steps.travel([half._replace(size=lambda message: tf.constant(99, tf.int64))], payload, tf.constant([0, 0]))
    assert int(told.sent) == 99


NO_SUMS = {name: tf.constant(0.0) for name in METRICS}


def output(trainable: list[float], moving: list[float], **sums: float) -> ClientOutput:
    """Returns what a client of two tensors sends."""
    update = Weights([tf.constant(trainable)], [tf.constant(moving)] if moving else [])
    return ClientOutput(Payload(update), NO_SUMS | {name: tf.constant(value) for name, value in sums.items()})


def test_a_report_by_hand() -> None:
    sent = output([3.0, 4.0], [100.0], examples=7.0, loss=1.0, hits=2.0)
    assert lane.checked(METRICS, sent).numpy().tolist() == [7.0, 1.0, 2.0, 5.0, 1.0]


@pytest.mark.parametrize(
    "sent",
    [
        output([np.nan], []),
        output([1e30], []),
        output([1.0], [np.inf]),
        output([1.0], [], loss=np.inf),
        output([1.0], [])._replace(payload=Payload(Weights([tf.constant([1.0])], []), [tf.constant([np.nan])])),
        output([1.0], [])._replace(kept=[tf.constant([np.nan]), tf.constant([3])]),
    ],
    ids=["a weight", "a norm beyond float32", "a moving statistic", "the loss", "an extra", "what it keeps"],
)
def test_what_makes_an_update_refused(sent: ClientOutput) -> None:
    assert lane.checked(METRICS, sent).numpy()[ACCEPTED] == 0


def test_uniform_weighting_is_the_plain_mean() -> None:
    held = tiny.clients([8, 3])
    first, second = (done.updates for done in alone(held))
    both = tiny.one_round(tiny.settings(aggregation={"weighting": "uniform"}), held)
    assert_close(both.updates, [(u + v) / 2 for u, v in zip(first, second, strict=True)])


def fedprox(mu: float, **changes: Any) -> tiny.Round:
    local = {"epochs": 3}
    return tiny.one_round(
        tiny.settings(client=local, algorithm={"name": "fedprox", "args": {"mu": mu}}, **changes), tiny.clients()
    )


def test_fedprox_without_pull_is_fedavg() -> None:
    plain = tiny.one_round(tiny.settings(client={"epochs": 3}), tiny.clients())
    assert_same(fedprox(0.0).after.trainable, plain.after.trainable)


def test_the_stronger_the_pull_the_nearer_the_received_weights() -> None:
    norms = [norm(fedprox(mu).updates) for mu in (0.0, 2.0, 4.5)]  # above 2 / 0.2 the pull itself would diverge
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.3 * norms[0]


def test_two_steps_of_fedprox_by_hand() -> None:
    """Two full batches of a logistic regression from zero: the pull is 0 at first and mu * (w - 0) then."""
    x = np.array([[1.0, 2.0], [-1.0, 0.5]], np.float32)
    held = tiny.clients_of({"a": Examples(x, np.array([1, 0]))})
    done = tiny.one_round(
        tiny.settings(
            "tiny_models:flat_start",
            client={"learning_rate": 0.5, "batch_size": "full", "epochs": 2},
            algorithm={"name": "fedprox", "args": {"mu": 0.7}},
        ),
        held,
    )
    residual = np.array([0.5 - 1, 0.5 - 0])  # probability minus label, at zero weights
    first_w, first_b = -0.5 * x.T @ residual / 2, -0.5 * residual.mean()
    residual = 1 / (1 + np.exp(-(x @ first_w + first_b))) - [1, 0]
    second_w = first_w - 0.5 * (x.T @ residual / 2 + 0.7 * first_w)
    second_b = first_b - 0.5 * (residual.mean() + 0.7 * first_b)
    assert_close(done.after.trainable, [second_w[:, np.newaxis], [second_b]])


def test_each_client_reports_its_own_sums() -> None:
    done = tiny.one_round(tiny.settings(client={"epochs": 2}), tiny.clients([11, 6, 8]))
    assert done.reports[:, EXAMPLES].tolist() == [22, 12, 16]
