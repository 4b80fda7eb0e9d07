"""SCAFFOLD, FedNova, the median, FedBN and drop-out: each equal to a case worked by hand, on both runtimes."""

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny
from tiny import assert_close, assert_same
from tiny_linear import EPOCHS, HELD, RATE, RUNTIMES, SIZES, quadratics, settings, steps, trained

from fedmed.data.examples import Examples
from fedmed.engine.evaluation import Evaluator
from fedmed.engine.fates import Fates
from fedmed.engine.federation import Federation
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import algorithms
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import METRICS
from fedmed.learning.values import Payload
from fedmed.system import errors


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_three_rounds_of_scaffold_by_hand(runtime: str, worker: Worker) -> None:
    """Option II with shares by rows; b takes no part in the second round and keeps its control variate."""
    cohorts = [["a", "b", "c"], ["a", "c"], ["a", "b", "c"]]
    changes = settings(algorithm={"name": "scaffold"}, runtime={"name": runtime})
    federation, positions = trained(changes, HELD, cohorts, worker)
    x = [w.astype(np.float64) for w in federation.weights(positions[0]).trainable]
    zero = [np.zeros_like(w) for w in x]
    c, c_i = zero, dict.fromkeys(SIZES, zero)
    for cohort, position in zip(cohorts, positions[1:], strict=True):
        share = {name: SIZES[name] / sum(SIZES[n] for n in cohort) for name in cohort}
        moved, changed = zero, zero
        for name in cohort:
            y = steps(HELD.train[name], x, [m - o for m, o in zip(c, c_i[name], strict=True)])
            new = [o - m + (a - b) / (EPOCHS * RATE) for o, m, a, b in zip(c_i[name], c, x, y, strict=True)]
            moved = [t + share[name] * (b - a) for t, a, b in zip(moved, x, y, strict=True)]
            changed = [t + share[name] * (n - o) for t, n, o in zip(changed, new, c_i[name], strict=True)]
            c_i[name] = new
        part = sum(SIZES[name] for name in cohort) / sum(SIZES.values())
        x = [a + b for a, b in zip(x, moved, strict=True)]
        c = [a + part * b for a, b in zip(c, changed, strict=True)]
        assert_close(federation.weights(position).trainable, x)
        assert_close(position.state.c, c)
    mean = [sum(SIZES[n] * c_i[n][place] for n in SIZES) / sum(SIZES.values()) for place in range(2)]
    assert_close(c, mean)  # the law behind it: c stays the mean of all control variates, whoever took part
    for number, name in enumerate(SIZES):
        kept = federation._kept.read(number, positions[-1].kept[number]).own
        assert_close(kept, c_i[name])
    federation.close()


def test_scaffold_reaches_the_optimum_where_fedavg_stays_biased() -> None:
    """With f_a(w) = (3w - 3)^2 and f_b(w) = (w - 5)^2 their mean is least at w = 7/5."""
    held, found = quadratics(), {}
    for name in ("fedavg", "scaffold"):
        local = {"learning_rate": 0.02, "epochs": 20, "batch_size": "full"}
        changes = settings("tiny_models:slope", client=local, algorithm={"name": name}, rounds=40)
        federation = tiny.federation(changes, held)
        *_, last = federation.rounds(federation.start())
        found[name] = float(federation.weights(last.position).trainable[0][0, 0])
        federation.close()
    assert found["scaffold"] == pytest.approx(1.4, abs=1e-4)
    # A client contracts its distance to its own optimum, so FedAvg ends where the contractions balance.
    steep, flat = 1 - (1 - 0.02 * 18) ** 20, 1 - (1 - 0.02 * 2) ** 20
    assert found["fedavg"] == pytest.approx((steep * 1 + flat * 5) / (steep + flat), abs=1e-4)
    assert abs(found["fedavg"] - 1.4) > 0.5


@pytest.mark.parametrize(("runtime", "rho"), [
    ("local", 0.9), ("tff", 0.0),
    pytest.param("tff", 0.9, marks=pytest.mark.slow), pytest.param("local", 0.0, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_round_of_fednova_by_hand(runtime: str, rho: float, worker: Worker) -> None:
    """Batches of 4 give clients of 11, 6 and 8 rows unlike numbers of steps: 3, 2 and 2 an epoch."""
    optimizer = {"optimizer": "momentum", "momentum": rho} if rho else {}
    local = {"learning_rate": RATE, "batch_size": 4, "epochs": 2, **optimizer}
    plain, nova = (
        tiny.settings("tiny_models:linear", client=local, algorithm={"name": name}, runtime={"name": runtime})
        for name in ("fedavg", "fednova")
    )
    updates = {name: tiny.one_round(plain, HELD, worker, [name]).updates for name in SIZES}
    tau = {"a": 6, "b": 4, "c": 4}
    # ||a_i||_1: the k-th last gradient is met 1 + rho + ... + rho^(k-1) times
    length = {name: sum(sum(rho**j for j in range(k)) for k in range(1, t + 1)) for name, t in tau.items()}
    p = {name: size / sum(SIZES.values()) for name, size in SIZES.items()}
    effective = sum(p[name] * length[name] for name in SIZES)
    expected = [effective * sum(p[n] * updates[n][place] / length[n] for n in SIZES) for place in range(2)]
    assert_close(tiny.one_round(nova, HELD, worker).updates, expected)


def test_fednova_is_fedavg_where_all_take_as_many_steps() -> None:
    local = {"learning_rate": RATE, "batch_size": 4, "steps": 5}
    avg, nova = (tiny.one_round(tiny.settings("tiny_models:linear", client=local, algorithm={"name": name}), HELD)
                 for name in ("fedavg", "fednova"))  # fmt: skip
    assert_close(nova.updates, avg.updates)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_median_of_each_coordinate(runtime: str, worker: Worker) -> None:
    alone = {name: tiny.one_round(settings(), HELD, worker, [name]).updates for name in SIZES}
    with tiny.set_up(settings(aggregation={"rule": "median"}, runtime={"name": runtime}), HELD, worker) as (_, robust):
        for cohort in (["a", "b", "c"], ["a", "c"], ["b"]):
            expected = [np.median([alone[name][place] for name in cohort], axis=0) for place in range(2)]
            assert_close(robust(None, cohort).updates, expected)


def test_the_median_withstands_a_client_that_a_mean_does_not() -> None:
    wild = Examples(np.asarray(HELD.train["c"].x) * 30, np.asarray(HELD.train["c"].y) * 30)
    held = tiny.clients_of({**HELD.train, "c": wild}, "regression", classes=0)
    norms = {
        rule: max(np.abs(u).max() for u in tiny.one_round(settings(aggregation={"rule": rule}), held).updates)
        for rule in ("mean", "median")
    }
    assert norms["mean"] > 20 * norms["median"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_two_rounds_of_fedbn_by_hand(runtime: str, worker: Worker) -> None:
    """The second round starts, at each client, from its own BatchNormalization and the mean of the rest."""
    changes = tiny.settings("tiny_models:batch_norm", algorithm={"name": "fedbn"}, runtime={"name": runtime})
    held = tiny.clients()
    federation, (first, second, third) = trained(changes, held, [list(held.train)] * 2, worker)
    start = federation.weights(first)
    own = {name: federation.own_weights(second, name) for name in held.train}
    home = [0, 1, 4, 5]  # gamma and beta of the two layers; 2, 3 and 6, 7 are dense
    for name, weights in own.items():
        alone = tiny.one_round(tiny.settings("tiny_models:batch_norm"), held, cohort=[name]).after
        assert_close([weights.trainable[place] for place in home], [alone.trainable[place] for place in home])
        assert_close(weights.moving, alone.moving)
    shared = federation.weights(second)
    assert_same([shared.trainable[place] for place in home], [start.trainable[place] for place in home])
    mean = tiny.one_round(tiny.settings("tiny_models:batch_norm"), held).after
    assert_close([shared.trainable[place] for place in (2, 3, 6, 7)], [mean.trainable[place] for place in (2, 3, 6, 7)])
    for name in held.train:
        assert any((a != b).any() for a, b in zip(federation.own_weights(third, name).moving, own[name].moving,
                                                  strict=True))  # fmt: skip
    federation.close()


def test_fedbn_is_tested_with_each_clients_own_weights_and_sends_none_of_them() -> None:
    held = tiny.clients()
    changes = tiny.settings("tiny_models:batch_norm", algorithm={"name": "fedbn"})
    federation = tiny.federation(changes, held)
    done = federation.round(federation.start())
    found = Evaluator(federation, held).predictions(done.position)
    for name, rows in held.test.items():
        assert_same([found.clients[name]], [federation.predict(federation.own_weights(done.position, name), rows.x)])
    assert_same([found.pooled], [np.concatenate(list(found.clients.values()))])
    assert done.bytes_up == done.bytes_down == 3 * 4 * (3 * 6 + 6 + 6 + 1)  # the dense layers alone
    federation.close()


def test_a_stranger_is_predicted_by_the_global_model() -> None:
    held = tiny.clients()
    changes = tiny.settings("tiny_models:batch_norm", algorithm={"name": "fedbn"})
    federation = tiny.federation(changes, held)
    position = federation.round(federation.start()).position
    assert federation.own_weights(position, "stranger") == federation.weights(position)
    federation.close()


def test_fedbn_needs_something_to_keep_at_home() -> None:
    with pytest.raises(errors.ConfigError, match=r"^algorithm.name: fedbn keeps BatchNormalization at home, and the"):
        tiny.one_round(tiny.settings(algorithm={"name": "fedbn"}), tiny.clients())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("scaffold", {"client": {"optimizer": "adam"}}, "client.optimizer: scaffold is defined for 'sgd', got 'adam'"),
        ("scaffold", {"aggregation": {"rule": "median"}}, "aggregation.rule: scaffold needs 'mean' of all that its"),
        ("fednova", {"client": {"optimizer": "adam"}}, "client.optimizer: fednova is defined for 'sgd', 'momentum'"),
    ],
)
def test_what_an_algorithm_is_not_defined_for_is_told(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        algorithms.check_settings(tiny.settings(algorithm={"name": name}, **changes))


# Drop-out


def test_drop_out_is_a_function_of_seed_round_and_client() -> None:
    flaky = settings(scenario=[{"name": "absent", "chance": 0.3}], seed=3)
    sizes = {f"client {number}": 5 for number in range(40)}

    def drawn() -> list[list[bool]]:
        fates = Fates(flaky, sizes)
        return [[bool(fates.of(round_, client).absent) for client in range(40)] for round_ in range(50)]

    assert drawn() == drawn()
    assert np.mean(drawn()) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("runtime", "name"), [
    ("local", "fedavg"), ("tff", "scaffold"),
    pytest.param("tff", "fedavg", marks=pytest.mark.slow), pytest.param("local", "scaffold", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_round_with_drop_outs_is_the_round_of_those_who_stayed(runtime: str, name: str, worker: Worker) -> None:
    gone = [{"name": "absent", "chance": 0.5}]
    flaky = settings(scenario=gone, algorithm={"name": name}, runtime={"name": runtime}, seed=4)
    with tiny.set_up(flaky, HELD, worker) as (_, next_round):
        done = next_round()
    assert 0 < len(done.done.absent) < 3
    there = [client for client in SIZES if client not in done.done.absent]
    reliable = settings(algorithm={"name": name}, runtime={"name": runtime}, seed=4)
    assert_same(done.after.trainable, tiny.one_round(reliable, HELD, worker, there).after.trainable)
    size = done.done.bytes_down // 3
    assert done.done.bytes_up == size * len(there)  # the absent have received, and sent nothing


def test_a_round_of_nobody_is_a_round_without_an_update() -> None:
    with tiny.set_up(settings(scenario=[{"name": "absent", "chance": 1.0}]), HELD) as (_, next_round):
        done = next_round()
    assert done.done.absent == dict.fromkeys("abc", "never joined")
    assert_same(done.after.trainable, done.before.trainable)
    assert done.position.round == 1
    assert (done.done.bytes_up, done.done.refused) == (0, ())


def test_what_a_client_kept_is_read_as_it_was_whatever_was_written_since(tmp_path: pathlib.Path) -> None:
    """A round that is repeated gives the same bits, also after later rounds; what no position needs is removed."""
    changes = settings(algorithm={"name": "scaffold"})
    federation = tiny.federation(changes, HELD, folder=tmp_path / "kept")
    first = federation.round(federation.start()).position
    second = federation.round(first).position
    federation.round(second)
    again = federation.round(first).position
    assert_same(again.state.server.weights.trainable, second.state.server.weights.trainable)
    assert_same(again.state.c, second.state.c)
    federation.forget_others([second])
    names = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert names == ["000000-000002.bin", "000001-000002.bin", "000002-000002.bin", "first.bin"]
    federation.close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_refused_client_keeps_what_it_had(runtime: str, worker: Worker) -> None:
    bad = np.asarray(HELD.train["b"].x).copy()
    bad[2, 1] = 1e30
    held = tiny.clients_of({**HELD.train, "b": Examples(bad, HELD.train["b"].y)}, "regression", classes=0)
    changes = settings(algorithm={"name": "scaffold"}, runtime={"name": runtime})
    federation = tiny.federation(changes, held, worker)
    done = federation.round(federation.start())
    assert done.refused == ("b",)
    assert done.position.kept == {0: 1, 2: 1}
    federation.close()


# An algorithm of the user's own that does not do what it must


def _wrong(**parts: Any) -> Any:
    from fedmed.learning import fedavg

    return lambda training: fedavg.fedavg(training)._replace(**parts)


WRONG = {
    "init": (
        _wrong(init=lambda w: 1 / 0),
        "algorithm: it failed in what it does before the first round: ZeroDivisionE",
    ),
    "client": (
        _wrong(client=lambda learner: lambda *_: None),
        "algorithm: its client gives NoneType, expected a Client",
    ),
    "sums": (_wrong(sums=(*METRICS, "gap")), "algorithm: sums: unknown sum of its client 'gap'; allowed: examples"),
    "apply": (
        _wrong(apply=lambda s, *_: s.weights),
        r"algorithm: apply\(state, ...\) gives Weights of 4 tensors, and must",
    ),
    "payload": (
        _wrong(payload=lambda w: Payload(weight_ops.zeros_like(w), tf.constant(0.0))),
        r"algorithm: its client's payload gives Payload of 4 tensors, and must be structured like payload\(weights\)",
    ),
    "weights": (_wrong(weights=lambda s: s), r"algorithm: weights\(state\) gives Server of 4 tensors, and must be"),
    "nothing": (lambda training: None, "algorithm: expected a fedmed.learning.Algorithm, got NoneType"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_an_algorithm_is_told_before_a_round(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    factory, message = WRONG[what]
    monkeypatch.setitem(algorithms.algorithms._factories, "wrong", factory)
    with pytest.raises(errors.AlgorithmError, match=f"^{message}"):
        Federation(tiny.settings(algorithm={"name": "wrong"}), tiny.clients().dataset, tiny.clients().train)
