"""FedDyn, MimeLite, FedAvg with moments that go on, q-FFL: laws, and rounds worked by hand, on both runtimes."""

import dataclasses
import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny
from tiny import assert_close, assert_same
from tiny_linear import EPOCHS, HELD, RATE, RUNTIMES, SIZES, Arrays, gradient, quadratics, settings, trained

import fedmed
from fedmed.data.clients import Clients
from fedmed.engine import soundness
from fedmed.engine.federation import Federation
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import algorithms, combinations, full_batch
from fedmed.learning.algorithm import Rows
from fedmed.learning.learner import Learner
from fedmed.learning.objective import objective
from fedmed.learning.values import Turn, Weights
from fedmed.models import Spec, building
from fedmed.settings import config, registry
from fedmed.system import errors

COHORTS = [["a", "b", "c"], ["a", "c"], ["a", "b", "c"]]
ALL = list(SIZES)
Step = Callable[[Arrays, Arrays, int], tuple[Arrays, Arrays]]
"""(gradient, moments, number from 1) -> the step at rate 1, and the next moments."""


def added(start: Arrays, way: Arrays, factor: float = 1.0) -> Arrays:
    return [a + factor * b for a, b in zip(start, way, strict=True)]


def mean(cohort: list[str], parts: dict[str, Arrays]) -> Arrays:
    """Returns the mean of what clients have, weighted by the rows they hold."""
    held = sum(SIZES[name] for name in cohort)
    places = range(len(parts[cohort[0]]))
    return [np.sum([SIZES[n] / held * parts[n][place] for n in cohort], axis=0) for place in places]


def first_of(federation: Federation) -> Arrays:
    return [w.astype(np.float64) for w in federation.initial.trainable]


def moved(federation: Federation) -> Arrays:
    """Returns the weights after all rounds of the settings."""
    *_, last = federation.rounds(federation.start())
    federation.close()
    return federation.weights(last.position).trainable


def alone(name: str = "a") -> Clients:
    return tiny.clients_of({name: HELD.train[name]}, "regression", classes=0)


# FedDyn


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_three_rounds_of_feddyn_by_hand(runtime: str, worker: Worker) -> None:
    """Shares by rows; b takes no part in the second round and keeps its gradient."""
    alpha = 0.7
    changes = settings(algorithm={"name": "feddyn", "args": {"alpha": alpha}}, runtime={"name": runtime})
    federation, positions = trained(changes, HELD, COHORTS, worker)
    theta = first_of(federation)
    zero = [np.zeros_like(w) for w in theta]
    h, g_k = zero, dict.fromkeys(SIZES, zero)
    for cohort, position in zip(COHORTS, positions[1:], strict=True):
        change = {}
        for name in cohort:
            w = theta
            for _ in range(EPOCHS):
                bent = added(added(gradient(HELD.train[name], w), g_k[name], -1), added(w, theta, -1), alpha)
                w = added(w, bent, -RATE)
            change[name] = added(w, theta, -1)
            g_k[name] = added(g_k[name], change[name], -alpha)
        part = sum(SIZES[name] for name in cohort) / sum(SIZES.values())
        h = added(h, mean(cohort, change), -alpha * part)
        theta = added(added(theta, mean(cohort, change)), h, -1 / alpha)
        assert_close(federation.weights(position).trainable, theta)
        assert_close(position.state.h, h)
    assert_close(h, mean(ALL, g_k))  # the law behind it: h stays the mean of all g_k, whoever took part
    for number, name in enumerate(SIZES):
        assert_close(federation._kept.read(number, positions[-1].kept[number]).own, g_k[name])
    federation.close()


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adam", marks=pytest.mark.slow)])
def test_feddyn_reaches_the_optimum(optimizer: str) -> None:
    """With f_a(w) = (3w - 3)^2 and f_b(w) = (w - 5)^2 their mean is least at 7/5; FedAvg stays more than .5 away."""
    local = {"learning_rate": 0.02, "epochs": 20, "batch_size": "full", "optimizer": optimizer}
    asked, held = {"name": "feddyn", "args": {"alpha": 2.0}}, quadratics()
    changes = settings("tiny_models:slope", client=local, algorithm=asked, rounds=40 if optimizer == "sgd" else 120)
    (found,) = moved(tiny.federation(changes, held))
    assert found[0, 0] == pytest.approx(1.4, abs=1e-4 if optimizer == "sgd" else 0.02)


# MimeLite


def heavy_ball(beta: float) -> tuple[int, Step]:
    """Returns how many moments of each weight there are, and a step."""

    def step(g: Arrays, s: Arrays, t: int) -> tuple[Arrays, Arrays]:
        after = [beta * m + one for m, one in zip(s, g, strict=True)]
        return after, after

    return 1, step


def adam(beta: float, beta_2: float) -> tuple[int, Step]:
    def step(g: Arrays, s: Arrays, t: int) -> tuple[Arrays, Arrays]:
        m = [beta * old + (1 - beta) * one for old, one in zip(s[: len(g)], g, strict=True)]
        v = [beta_2 * old + (1 - beta_2) * one**2 for old, one in zip(s[len(g) :], g, strict=True)]
        unbiased = np.sqrt(1 - beta_2**t) / (1 - beta**t)
        return [unbiased * a / (np.sqrt(b) + 1e-7) for a, b in zip(m, v, strict=True)], [*m, *v]

    return 2, step


BASES = {
    "momentum": ({"beta": 0.8}, heavy_ball(0.8)),
    "adam": ({"beta": 0.8, "beta_2": 0.95}, adam(0.8, 0.95)),
}


@pytest.mark.parametrize(("runtime", "base"), [
    ("local", "momentum"), ("tff", "adam"),
    pytest.param("tff", "momentum", marks=pytest.mark.slow), pytest.param("local", "adam", marks=pytest.mark.slow),
])  # fmt: skip
def test_three_rounds_of_mimelite_by_hand(runtime: str, base: str, worker: Worker) -> None:
    """Clients step by the server's moments, which change by the gradients at x of those who took part."""
    args, (slots, step) = BASES[base]
    changes = settings(algorithm={"name": "mimelite", "args": {"base": base, **args}}, runtime={"name": runtime})
    federation, positions = trained(changes, HELD, COHORTS, worker)
    x = first_of(federation)
    s = [np.zeros_like(w) for w in x] * slots
    for t, (cohort, position) in enumerate(zip(COHORTS, positions[1:], strict=True), start=1):
        y, at_x = dict.fromkeys(cohort, x), {name: gradient(HELD.train[name], x) for name in cohort}
        for name in cohort:
            for _ in range(EPOCHS):
                y[name] = added(y[name], step(gradient(HELD.train[name], y[name]), s, t)[0], -RATE)
        x, s = mean(cohort, y), step(mean(cohort, at_x), s, t)[1]
        assert_close(federation.weights(position).trainable, x)
        assert_close(position.state.s.slots, s)
        assert position.state.s.steps == t
    federation.close()


@pytest.mark.slow
def test_mimelite_without_memory_is_fedavg() -> None:
    local = {"learning_rate": RATE, "batch_size": 4, "epochs": 2}
    mime = settings(client=local, algorithm={"name": "mimelite", "args": {"beta": 0.0}}, rounds=2)
    first, second = (moved(tiny.federation(changes, HELD)) for changes in (mime, settings(client=local, rounds=2)))
    assert_close(first, second)


# The whole objective of a client


def whole(model: str, batch: int | str, seed: int = 0) -> tuple[Learner, Weights, Any, list[Any]]:
    """Returns a learner, weights, and F_k with its gradient at them, found in batches of a size."""
    own = HELD.train["a"]
    with building.seeded(3):
        built = building.builder(model, {}, Spec((3,), "regression"))()
    learner = Learner(built, objective("regression", "link"))
    at = learner.weights()
    rows, turn = (
        Rows(tf.constant(np.asarray(own.x)), tf.constant(own.y)),
        Turn(tf.constant([seed, 1]), tf.constant(RATE)),
    )
    local = config.Client(learning_rate=RATE, batch_size=batch, epochs=3)  # pyright: ignore

    @tf.function(autograph=False)
    def both() -> tuple[Any, Any]:
        return (
            full_batch.full_loss(local, learner, at, rows, turn),
            full_batch.full_gradient(local, learner, at, rows, turn),
        )

    loss, gradients = both()
    return learner, at, loss.numpy(), [g.numpy() for g in gradients]


@pytest.mark.parametrize("batch", [4, pytest.param("full", marks=pytest.mark.slow)])
def test_the_whole_objective_counts_a_penalty_once(batch: int | str) -> None:
    _, at, loss, gradients = whole("tiny_models:penalised", batch)
    w = [a.numpy().astype(np.float64) for a in at.trainable]
    own = HELD.train["a"]
    residual = np.asarray(own.x, np.float64) @ w[0][:, 0] + w[1][0] - own.y
    assert_close([loss], [np.mean(residual**2) + 0.1 * np.sum(w[0] ** 2)])
    slope, shift = gradient(own, w)
    assert_close(gradients, [slope + 0.2 * w[0], shift])


@pytest.mark.parametrize("model", ["tiny_models:batch_norm", "tiny_models:dropout"])
def test_the_whole_objective_moves_nothing_and_draws_nothing(model: str) -> None:
    learner, at, loss, gradients = whole(model, "full")
    assert_same(tf.nest.flatten(learner.weights()), tf.nest.flatten(at))
    _, _, other, again = whole(model, "full", seed=8)
    assert_close([loss, *gradients], [other, *again])  # rows in another order, and no other draws


# FedAvg whose clients' moments go on


@pytest.mark.parametrize(("runtime", "optimizer"), [
    ("local", "momentum"), ("tff", "adam"),
    pytest.param("tff", "momentum", marks=pytest.mark.slow), pytest.param("local", "adam", marks=pytest.mark.slow),
])  # fmt: skip
def test_three_rounds_with_moments_by_hand(runtime: str, optimizer: str, worker: Worker) -> None:
    slots, step = heavy_ball(0.8) if optimizer == "momentum" else adam(0.9, 0.999)
    own = {"optimizer": optimizer, **({"momentum": 0.8} if optimizer == "momentum" else {})}
    local = {"learning_rate": RATE, "batch_size": "full", "epochs": EPOCHS, **own}
    changes = settings(client=local, algorithm={"name": "fedavg_moments"}, runtime={"name": runtime})
    federation, positions = trained(changes, HELD, COHORTS, worker)
    w = first_of(federation)
    s = [np.zeros_like(a) for a in w] * slots
    for done, (cohort, position) in enumerate(zip(COHORTS, positions[1:], strict=True)):
        ends, moments = dict.fromkeys(cohort, w), dict.fromkeys(cohort, s)
        for name in cohort:
            for t in range(1, EPOCHS + 1):
                way, moments[name] = step(gradient(HELD.train[name], ends[name]), moments[name], EPOCHS * done + t)
                ends[name] = added(ends[name], way, -RATE)
        w, s = mean(cohort, ends), mean(cohort, moments)
        assert_close(federation.weights(position).trainable, w)
        assert_close(position.state.moments.slots, s)
        assert position.state.moments.steps == EPOCHS * (done + 1)
    federation.close()


@pytest.mark.parametrize("optimizer", ["adam", pytest.param("momentum", marks=pytest.mark.slow)])
def test_rounds_of_one_client_are_one_training_with_the_optimizer(optimizer: str) -> None:
    """MimeLite takes one step a round by all rows, moments go on over any number; both are FedAvg's one long round."""
    local, held = {"learning_rate": RATE, "batch_size": "full"}, alone()
    own = {**local, "optimizer": optimizer}
    mime, moments = {"name": "mimelite", "args": {"base": optimizer}}, {"name": "fedavg_moments"}
    whole, one, other = (
        moved(tiny.federation(changes, held))
        for changes in (
            settings(client={**own, "epochs": 6}, rounds=1),
            settings(client=local, algorithm=mime, rounds=6),
            settings(client={**own, "epochs": 2}, algorithm=moments, rounds=3),
        )
    )
    assert_close(one, whole)
    assert_close(other, whole)


@pytest.mark.slow
def test_steps_are_averaged_as_the_moments_are() -> None:
    """Batches of 4 give 11, 6 and 8 rows 3, 2 and 2 steps."""
    local = {"learning_rate": RATE, "batch_size": 4, "optimizer": "adam"}
    done = tiny.one_round(settings(client=local, algorithm={"name": "fedavg_moments"}), HELD)
    assert done.position.state.moments.steps == pytest.approx((11 * 3 + 6 * 2 + 8 * 2) / 25)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "optimizer"),
    [({"name": "fedavg_moments"}, "adam"), ({"name": "feddyn", "args": {"alpha": 1}}, "sgd")],
)
def test_what_is_trained_privately_runs_with_a_promise_to_patients(algorithm: dict[str, Any], optimizer: str) -> None:
    local = {"learning_rate": RATE, "batch_size": 4, "optimizer": optimizer}
    promise = {"unit": "patient", "noise_multiplier": 1.0, "clip_norm": 1.0}
    changes = tiny.settings(client=local, algorithm=algorithm, privacy=promise)
    done = tiny.one_round(changes, tiny.clients())
    assert np.isfinite(np.concatenate([u.ravel() for u in done.updates])).all()
    if optimizer == "adam":
        assert done.position.state.moments.steps > 0
        assert max(np.abs(m).max() for m in done.position.state.moments.slots) > 0


# q-FFL


@pytest.mark.parametrize(("runtime", "q"), [
    ("local", 0.5), ("tff", 2.0),
    pytest.param("tff", 0.5, marks=pytest.mark.slow), pytest.param("local", 2.0, marks=pytest.mark.slow),
])  # fmt: skip
def test_two_rounds_of_qffl_by_hand(runtime: str, q: float, worker: Worker) -> None:
    changes = settings(algorithm={"name": "qffl", "args": {"q": q}}, runtime={"name": runtime})
    federation, positions = trained(changes, HELD, COHORTS[:2], worker)
    w, big_l = first_of(federation), 1 / RATE
    for cohort, position in zip(COHORTS[:2], positions[1:], strict=True):
        delta, h = {}, {}
        for name in cohort:
            own, end = HELD.train[name], w
            for _ in range(EPOCHS):
                end = added(end, gradient(own, end), -RATE)
            loss = np.mean((np.asarray(own.x, np.float64) @ w[0][:, 0] + w[1][0] - own.y) ** 2)
            way = [big_l * (a - b) for a, b in zip(w, end, strict=True)]
            delta[name] = [loss**q * a for a in way]
            h[name] = [q * loss ** (q - 1) * sum(np.sum(a**2) for a in way) + big_l * loss**q]
        w = added(w, mean(cohort, delta), -1 / float(mean(cohort, h)[0]))
        assert_close(federation.weights(position).trainable, w)
    federation.close()


@pytest.mark.parametrize(("model", "weighting"), [
    ("tiny_models:hidden", "uniform"),
    pytest.param("tiny_models:batch_norm", "examples", marks=pytest.mark.slow),
    pytest.param("tiny_models:dropout", "uniform", marks=pytest.mark.slow),
])  # fmt: skip
def test_qffl_is_fedavg_where_q_is_0(model: str, weighting: str) -> None:
    plain, fair = (
        tiny.one_round(tiny.settings(model, algorithm=algorithm, aggregation={"weighting": weighting}), tiny.clients())
        for algorithm in ({"name": "fedavg"}, {"name": "qffl", "args": {"q": 0}})
    )
    assert_same(tf.nest.flatten(fair.after), tf.nest.flatten(plain.after))


def test_qffl_ends_where_the_sum_of_the_losses_powers_is_least() -> None:
    """With F_a(w) = (3w - 3)^2, F_b(w) = (w - 5)^2 and q = 1, F_a F_a' + F_b F_b' = 0 is 81 (w - 1)^3 = (5 - w)^3."""
    held = quadratics()
    local = {"learning_rate": 0.05, "batch_size": "full"}
    changes = settings("tiny_models:slope", client=local, algorithm={"name": "qffl", "args": {"q": 1}}, rounds=40)
    (found,) = moved(tiny.federation(changes, held))
    root = 81 ** (1 / 3)
    assert found[0, 0] == pytest.approx((5 + root) / (1 + root), abs=1e-4)


@pytest.mark.slow
def test_qffl_stands_still_where_all_losses_vanish() -> None:
    zeros = {name: dataclasses.replace(own, y=np.zeros(len(own), np.float32)) for name, own in HELD.train.items()}
    flat = tiny.clients_of(zeros, "regression", classes=0)
    changes = settings("tiny_models:flat_start", algorithm={"name": "qffl", "args": {"q": 5}})
    done = tiny.one_round(changes, flat)
    assert_same(done.after.trainable, done.before.trainable)


# What they are defined for


def table() -> dict[str, list[str]]:
    """Returns the rows of docs/algorithms.md's table, by name: what is under the other columns."""
    text = (pathlib.Path(fedmed.__file__).parents[1] / "docs" / "algorithms.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in rows if len(cells) == 7 and cells[0] != "`algorithm.name`"}


def allowed(check: Callable[[config.RunConfig], None], changes: config.RunConfig) -> bool:
    try:
        check(changes)
    except errors.ConfigError:
        return False
    return True


@pytest.mark.parametrize("name", table())
def test_the_table_of_algorithms_says_what_is_allowed(name: str) -> None:
    args, _, optimizers, server, secure, promised = table()[name]
    factory, local = algorithms.algorithms.get(name), {"any": ["sgd", "momentum", "adam"]}.get(optimizers)
    local = optimizers.split(", ") if local is None else local
    assert re.findall(r"`(\w+)`", args) == list(registry.settable(factory, 1))

    def asked(**changes: Any) -> config.RunConfig:
        return tiny.settings(**{"algorithm": {"name": name}, "client": {"optimizer": local[0]}, **changes})

    check, promise = algorithms.check_settings, {"noise_multiplier": 1.0}
    assert [o for o in ("sgd", "momentum", "adam") if allowed(check, asked(client={"optimizer": o}))] == local
    assert [o for o in ("average", "adam") if allowed(check, asked(server={"optimizer": o}))] == {
        "any": ["average", "adam"], "average": ["average"]}[server]  # fmt: skip
    assert allowed(combinations.check, asked(aggregation=SECURE)) == (secure == "yes")
    told = [
        u for u in ("patient", "hospital") if allowed(soundness.check_training, asked(privacy={"unit": u, **promise}))
    ]
    assert [f"{unit}s" for unit in told] == ([] if promised == "nobody" else promised.split(", "))
    assert allowed(check, asked(aggregation={"rule": "median"})) == (name in ("fedavg", "fedprox", "fedbn"))


def test_the_table_of_algorithms_has_the_new_ones() -> None:
    assert {"fedavg", "feddyn", "mimelite", "fedavg_moments", "qffl"} <= set(table())


FEDDYN = {"name": "feddyn", "args": {"alpha": 1}}
MIME = {"name": "mimelite"}
MOMENTS = {"name": "fedavg_moments"}
QFFL = {"name": "qffl", "args": {"q": 1}}


@pytest.mark.parametrize(
    ("algorithm", "changes", "message"),
    [
        (FEDDYN, {"server": {"optimizer": "adam"}}, "server.optimizer: feddyn makes the next weights by itself and ne"),
        (FEDDYN, {"server": {"learning_rate": 0.5}}, "server.optimizer: .* at learning_rate 1, got 'average' at 0.5"),
        (FEDDYN, {"aggregation": {"rule": "median"}}, "aggregation.rule: feddyn needs 'mean' of all that its clients"),
        (MIME, {"server": {"optimizer": "yogi"}}, "server.optimizer: mimelite makes the next weights by itself"),
        (MIME, {"client": {"optimizer": "adam"}}, "client.optimizer: mimelite is defined for 'sgd', got 'adam'"),
        (MIME, {"aggregation": {"rule": "median"}}, "aggregation.rule: mimelite needs 'mean'"),
        (MOMENTS, {}, "client.optimizer: fedavg_moments is defined for 'momentum', 'adam', got 'sgd'"),
        (QFFL, {"client": {"optimizer": "momentum"}}, "client.optimizer: qffl is defined for 'sgd', got 'momentum'"),
        (QFFL, {"aggregation": {"rule": "median"}}, "aggregation.rule: qffl needs 'mean'"),
    ],
)
def test_what_an_algorithm_is_not_defined_for_is_told(
    algorithm: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.ConfigError, match=f"^{message}"):
        algorithms.check_settings(tiny.settings(algorithm=algorithm, **changes))


SECURE = {"secure": True, "clip_norm": 1.0}


@pytest.mark.parametrize(
    ("algorithm", "changes", "message"),
    [
        (FEDDYN, {"aggregation": SECURE}, "aggregation.secure: changes updates on their way, and feddyn needs clients"),
        (FEDDYN, {"aggregation": {"clip_norm": 1.0}}, "aggregation.clip_norm: changes updates on their way, and fedd"),
        (FEDDYN, {"compression": {"up": "quantise"}}, "compression.up: changes updates on their way, and feddyn"),
        (MIME, {"aggregation": SECURE}, "aggregation.secure: mimelite sends more than a clipped update"),
        (MOMENTS, {"aggregation": SECURE}, "aggregation.secure: fedavg_moments sends more than a clipped update"),
        (QFFL, {"aggregation": SECURE}, "aggregation.secure: qffl sends more than a clipped update"),
        (QFFL, {"aggregation": {"clip_norm": 1.0}}, "aggregation.clip_norm: qffl weighs updates by their clients' l"),
        ({"name": "fednova"}, {"aggregation": {"clip_norm": 1.0}}, "aggregation.clip_norm: fednova sends updates a s"),
    ],
)
def test_what_does_not_go_with_an_algorithm_is_told(
    algorithm: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.ConfigError, match=f"^{message}"):
        combinations.check(tiny.settings(algorithm=algorithm, **changes))


@pytest.mark.parametrize("algorithm", [MIME, QFFL])
def test_no_promise_is_made_where_rows_are_touched_outside_of_private_training(algorithm: dict[str, Any]) -> None:
    asked = tiny.settings(algorithm=algorithm, privacy={"unit": "patient", "noise_multiplier": 1.0})
    with pytest.raises(errors.ConfigError, match=r"^algorithm.name: privacy.unit = 'patient' holds for"):
        soundness.check_training(asked)


@pytest.mark.parametrize("algorithm", [FEDDYN, MIME, MOMENTS, QFFL])
def test_hospitals_are_promised_nothing_where_more_than_an_update_is_sent_or_kept(algorithm: dict[str, Any]) -> None:
    asked = tiny.settings(algorithm=algorithm, privacy={"unit": "hospital", "noise_multiplier": 1.0})
    with pytest.raises(errors.ConfigError, match=r"^algorithm.name: privacy.unit = 'hospital' holds for"):
        soundness.check_training(asked)


def test_losses_below_zero_have_no_power() -> None:
    held = tiny.clients(task="count", classes=0)
    with pytest.raises(
        errors.ConfigError, match=r"^algorithm.name: qffl takes powers of clients' losses, and the loss"
    ):
        tiny.one_round(tiny.settings("tiny_models:linear", algorithm=QFFL), held)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("feddyn", {"alpha": 0.0}, "algorithm.args.alpha: expected a number > 0, got 0.0"),
        ("mimelite", {"beta": 1.0}, "algorithm.args.beta: expected a number >= 0 and < 1, got 1.0"),
        ("mimelite", {"base": "sgd"}, "algorithm.args.base: expected one of 'momentum', 'adam', got 'sgd'"),
        ("qffl", {"q": -1.0}, "algorithm.args.q: expected a number >= 0, got -1.0"),
    ],
)
def test_wrong_arguments_are_told(name: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=f"^{message}"):
        algorithms.checked(name, args)(None)  # pyright: ignore[reportArgumentType]  (refused before it is looked at)
