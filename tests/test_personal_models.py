"""FedPer, FedRep, Ditto and APFL: laws, then rounds worked by hand, on both runtimes; and what a new hospital gets."""

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_models
from tiny import Arrays, assert_close, assert_same

from fedmed.data.clients import Clients
from fedmed.data.examples import Examples
from fedmed.engine.checkpoints import Checkpoints, Saved
from fedmed.engine.federation import Federation, Position
from fedmed.engine.identity import Identity
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import places
from fedmed.learning.learner import anatomy
from fedmed.models.spec import Spec
from fedmed.settings import config
from fedmed.study import further
from fedmed.system import errors

RATE, EPOCHS = 0.05, 2
SIZES = {"a": 11, "b": 6, "c": 8}
ALL = list(SIZES)
HELD = tiny.clients(tuple(SIZES.values()))
BODY, HEAD = (0, 1), (2, 3)  # of `tiny_models:hidden`: dense, then dense_1
PERSONAL = {
    "fedper": {},
    "fedrep": {"head_epochs": 3},
    "ditto": {"strength": 0.4, "personal_epochs": 3},
    "apfl": {"alpha": 0.25, "adaptive": True},
}


def settings(name: str, model: str = "tiny_models:hidden", /, **changes: Any) -> config.RunConfig:
    """Returns settings of full batches, so that no order of rows has a part in what is worked by hand."""
    local = {"learning_rate": RATE, "batch_size": "full", "epochs": EPOCHS, **changes.pop("client", {})}
    args = changes.pop("args", PERSONAL.get(name, {}))
    return tiny.settings(model, client=local, algorithm={"name": name, "args": args}, **changes)


def trained(
    changes: config.RunConfig, cohorts: Sequence[Sequence[str]], worker: Worker | None = None, held: Clients = HELD
) -> tuple[Federation, list[Position]]:
    """Returns a federation, and its positions before and after each round of the given cohorts."""
    federation = tiny.federation(changes, held, worker)
    positions = [federation.start()]
    for cohort in cohorts:
        positions.append(federation.round(positions[-1], list(cohort)).position)
    return federation, positions


def gradient(rows: Examples, w: Sequence[Any]) -> Arrays:
    """Returns the gradient of `hidden` over all rows, by a tape and no fedmed code."""
    variables = [tf.Variable(tf.constant(a, tf.float32)) for a in w]
    with tf.GradientTape() as tape:
        loss = tiny.cross_entropy(rows.y, tiny.hidden_output(variables, np.asarray(rows.x)))
    taken: Any = tape.gradient(loss, variables)
    return [g.numpy() for g in taken]


def steps(
    rows: Examples, start: Sequence[Any], count: int, of: Sequence[int] = (0, 1, 2, 3), pull: Any = None
) -> Arrays:
    """Returns the weights after full-batch steps of some of them; `pull` is (strength, towards)."""
    w = [np.asarray(a) for a in start]
    for _ in range(count):
        along = gradient(rows, w)
        if pull is not None:
            along = [g + pull[0] * (a - to) for g, a, to in zip(along, w, pull[1], strict=True)]
        w = [a - RATE * g if place in of else a for place, (a, g) in enumerate(zip(w, along, strict=True))]
    return w


def mean(parts: dict[str, Arrays]) -> Arrays:
    """Returns the mean of clients' weights, by their rows."""
    total = sum(SIZES[name] for name in parts)
    return [sum(SIZES[n] / total * own[place] for n, own in parts.items()) for place in range(4)]  # type: ignore[misc]


def own(federation: Federation, position: Position, name: str) -> Arrays:
    return federation.own_weights(position, name).trainable


@pytest.fixture(scope="module", params=PERSONAL)
def name(request: pytest.FixtureRequest) -> str:
    """An algorithm; its tests follow each other, so that what one compiled serves the next."""
    return request.param


# Rounds by hand


def fedper_by_hand(rows: Examples, w: Arrays, kept: Any) -> tuple[Arrays, Any]:
    after = steps(rows, [*w[:2], *(w if kept is None else kept)[-2:]], EPOCHS)
    return [*after[:2], *w[2:]], after


def fedrep_by_hand(rows: Examples, w: Arrays, kept: Any) -> tuple[Arrays, Any]:
    fitted = steps(rows, [*w[:2], *(w if kept is None else kept)[-2:]], 3, HEAD)
    moved = steps(rows, fitted, EPOCHS, BODY)
    return [*moved[:2], *w[2:]], moved


def ditto_by_hand(rows: Examples, w: Arrays, kept: Any) -> tuple[Arrays, Any]:
    return steps(rows, w, EPOCHS), steps(rows, w if kept is None else kept, 3, pull=(0.4, w))


def apfl_by_hand(rows: Examples, w: Arrays, kept: Any) -> tuple[Arrays, Any]:
    """The own model is the last but one of what is kept, alpha the last: it is learned by equation 10."""
    v, alpha = (w, 0.25) if kept is None else kept
    for _ in range(EPOCHS):
        mixed = [alpha * a + (1 - alpha) * b for a, b in zip(v, w, strict=True)]
        along = gradient(rows, mixed)
        slope = sum(float(np.sum((a - b) * g)) for a, b, g in zip(v, w, along, strict=True))
        w, v = steps(rows, w, 1), [a - RATE * alpha * g for a, g in zip(v, along, strict=True)]
        alpha -= RATE * slope
    return w, (v, alpha)


BY_HAND = {"fedper": fedper_by_hand, "fedrep": fedrep_by_hand, "ditto": ditto_by_hand, "apfl": apfl_by_hand}


def used(name: str, w: Arrays, kept: Any) -> Arrays:
    """Returns the weights that a client is tested with."""
    if name == "apfl":
        v, alpha = kept
        return [alpha * a + (1 - alpha) * b for a, b in zip(v, w, strict=True)]
    return kept if name == "ditto" else [*w[:2], *kept[2:]]


@pytest.mark.parametrize("runtime", ["tff", "local"])  # local last: what it compiled serves the next test
def test_three_rounds_by_hand(name: str, runtime: str, worker: Worker) -> None:
    """b takes no part in the second round and keeps its part of the first."""
    cohorts = [ALL, ["a", "c"], ALL]
    federation, positions = trained(settings(name, runtime={"name": runtime}), cohorts, worker)
    w, kept = federation.weights(positions[0]).trainable, dict.fromkeys(ALL)
    for cohort, position in zip(cohorts, positions[1:], strict=True):
        sent = {}
        for client in cohort:
            sent[client], kept[client] = BY_HAND[name](HELD.train[client], w, kept[client])
        w = mean(sent)
        assert_close(federation.weights(position).trainable, w)
        for client in ALL:
            part: Any = kept[client]
            assert_close(own(federation, position, client), used(name, w, part))
    done = federation.round(positions[-1], ALL)
    size = 4 * sum(w[place].size for place in (BODY if name in ("fedper", "fedrep") else (*BODY, *HEAD)))
    assert (done.bytes_down, done.bytes_up) == (3 * size, 3 * size)  # only what is shared is sent
    federation.close()


def test_going_on_from_a_checkpoint_gives_the_same_bits(name: str, tmp_path: pathlib.Path) -> None:
    """Another federation goes on after the second of four rounds, from the checkpoint and what clients kept."""
    changes = settings(name, rounds=4, cohort={"size": 2})
    whole, stopped, resumed = (
        tiny.federation(changes, HELD, folder=tmp_path / folder) for folder in ("whole", "stopped", "stopped")
    )
    *_, last = whole.rounds(whole.start())
    identity, position = Identity({"of": "a test"}, {}, {}, {}), stopped.start()
    for _ in range(2):
        position = stopped.round(position).position
    Checkpoints(tmp_path / "checkpoint.bin", identity, stopped).save(Saved({"last": position}, {}))
    stopped.round(position)  # it was in the next round when it was stopped
    stopped.close()
    saved = next(iter(Checkpoints(tmp_path / "checkpoint.bin", identity, resumed).saved()))
    *_, end = resumed.rounds(saved.positions["last"])
    for client in ALL:
        assert_same(own(resumed, end.position, client), own(whole, last.position, client))
    assert_same(resumed.weights(end.position).trainable, whole.weights(last.position).trainable)
    for one in (whole, resumed):
        one.close()


def test_a_round_that_is_trained_again_after_damage_can_be_gone_on_with(tmp_path: pathlib.Path) -> None:
    """What a kept a second time is what later checkpoints count on, not the damaged file that was there."""
    changes, identity = settings("ditto", rounds=3), Identity({"of": "a test"}, {}, {}, {})

    def opened() -> tuple[Federation, Checkpoints]:
        federation = tiny.federation(changes, HELD, folder=tmp_path / "kept")
        return federation, Checkpoints(tmp_path / "checkpoint.bin", identity, federation)

    federation, checkpoints = opened()
    position = federation.start()
    for _ in range(2):
        position = federation.round(position, ["a"]).position
        checkpoints.save(Saved({"last": position}, {}))
    damaged = tmp_path / "kept" / "000000-000002.bin"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again, checkpoints = opened()
    position = next(checkpoints.saved()).positions["last"]
    assert position.round == 1
    for cohort in (["a"], ["b"]):
        position = again.round(position, cohort).position
        checkpoints.save(Saved({"last": position}, {}))
    assert damaged.read_bytes() == content
    last, checkpoints = opened()
    assert next(checkpoints.saved()).positions["last"].round == 3
    for one in (federation, again, last):
        one.close()


# Laws


def test_fedper_among_clients_that_are_alike_is_fedavg() -> None:
    held = tiny.clients_of(dict.fromkeys(ALL, HELD.train["a"]))
    found, (*_, last) = trained(settings("fedper"), [ALL] * 3, held=held)
    plain, (*_, end) = trained(settings("fedavg"), [ALL] * 3, held=held)
    for client in ALL:
        assert_close(own(found, last, client), plain.weights(end).trainable)
    for one in (found, plain):
        one.close()


@pytest.mark.parametrize(
    ("name", "args", "optimizer"),
    [
        ("ditto", {"strength": 0.0}, "adam"),
        pytest.param("apfl", {"alpha": 1.0}, "momentum", marks=pytest.mark.slow),
    ],
)
def test_the_global_model_is_fedavgs_and_ones_own_without_any_of_it_is_that_of_training_alone(
    name: str, args: dict[str, Any], optimizer: str
) -> None:
    """Also where an optimizer has moments: each of the two trainings has its own, which start anew."""
    local = {"optimizer": optimizer, "batch_size": 4}
    found, (*_, last) = trained(settings(name, args=args, client=local), [ALL] * 2)
    plain, (*_, end) = trained(settings("fedavg", client=local), [ALL] * 2)
    assert_same(found.weights(last).trainable, plain.weights(end).trainable)
    alone, (*_, apart) = trained(settings("fedavg", client=local), [["a"]] * 2)
    assert_close(own(found, last, "a"), alone.weights(apart).trainable)
    assert np.abs(own(found, last, "b")[0] - own(found, last, "a")[0]).max() > 1e-3
    for one in (found, plain, alone):
        one.close()


def test_a_mix_of_nothing_of_ones_own_is_the_global_model() -> None:
    federation, (*_, last) = trained(settings("apfl", args={"alpha": 0.0}), [ALL] * 2)
    assert_same(own(federation, last, "b"), federation.weights(last).trainable)
    federation.close()


@pytest.mark.parametrize(
    ("model", "layers", "moving"),
    [
        ("batch_norm", ["batch_normalization", "batch_normalization_1"], 4),
        ("nested_norms", ["times", "normalised", "block"], 6),  # inside of other layers
    ],
)
def test_where_batch_norm_is_named_as_what_stays_at_home_fedper_is_fedbn(
    model: str, layers: list[str], moving: int
) -> None:
    per, (*_, last) = trained(settings("fedper", f"tiny_models:{model}", args={"home": layers}), [ALL] * 2)
    bn, (*_, end) = trained(settings("fedbn", f"tiny_models:{model}"), [ALL] * 2)
    assert len(per.start().state.weights.moving) == moving
    for client in ALL:
        a, b = per.own_weights(last, client), bn.own_weights(end, client)
        assert_same([*a.trainable, *a.moving], [*b.trainable, *b.moving])
    for one in (per, bn):
        one.close()


def test_a_layer_stays_at_home_by_its_name_or_by_that_of_one_around_it() -> None:
    made = anatomy(tiny_models.nested_norms(Spec((3,), "binary", 2)))
    homes = [places.of_layers(made, [name]) for name in ("times", "wrapped")]
    assert homes[0] == homes[1]
    assert sum(homes[0].trainable) == sum(homes[0].moving) == 2
    assert sum(places.of_layers(made, ["block", "normalised"]).trainable) == 4
    several = "algorithm.args.home: 'inner' is the name of several layers (normalised/inner, block/inner); name the"
    with pytest.raises(errors.ConfigError, match=f"^{re.escape(several)}"):
        places.of_layers(made, ["inner"])
    assert places.of_layers(made, None) == places.of_layers(made, ["head"])


@pytest.mark.slow
def test_moving_statistics_are_those_of_the_training_that_they_are_of() -> None:
    """FedRep's shared body stays as it came while the head is fitted, its moving statistics as well."""
    model = "tiny_models:batch_norm"
    rep, (*_, last) = trained(settings("fedrep", model), [["a"]])
    mix, (*_, at) = trained(settings("apfl", model, args={"alpha": 0.0}), [["a"]])
    avg, (*_, end) = trained(settings("fedavg", model), [["a"]])
    expected = avg.weights(end).moving
    assert_close(rep.weights(last).moving[:2], expected[:2])  # of the inputs, so that weights have no part in them
    assert_close(mix.own_weights(at, "a").moving, expected)
    assert_close(mix.weights(at).moving, expected)
    for one in (rep, mix, avg):
        one.close()


# What travels, and what is kept


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("ditto", {"aggregation": {"secure": True, "clip_norm": 10.0}}),
        pytest.param("fedrep", {"compression": {"up": "quantise"}}, marks=pytest.mark.slow),
    ],
)
def test_secure_sums_and_compression_change_what_is_sent_alone(name: str, table: dict[str, Any]) -> None:
    """The global model moves by no more than masks' rounding or 8 bits allow, and no client's own part does."""
    plain, (*_, end) = trained(settings(name), [ALL])
    found, (*_, last) = trained(settings(name, **table), [ALL])
    for a, b in zip(found.weights(last).trainable, plain.weights(end).trainable, strict=True):
        np.testing.assert_allclose(a, b, atol=5e-3)
    for number in range(3):
        assert_close(*(tf.nest.flatten(one._kept.read(number, 1).own) for one in (found, plain)))
    for one in (found, plain):
        one.close()


# What a new hospital gets


def joined_by_c(name: str) -> tuple[Federation, Position, Callable[..., Federation], list[config.RunConfig]]:
    """Returns a federation of a and b after two rounds, and how c's is made that goes on from there."""
    held = tiny.clients_of({"a": HELD.train["a"], "b": HELD.train["b"]})
    federation, (*_, last) = trained(settings(name), [["a", "b"]] * 2, held=held)
    asked: list[config.RunConfig] = []

    def make(own: config.RunConfig, train: dict[str, Examples]) -> Federation:
        asked.append(own)
        start, label = federation.weights(last), federation.label
        return tiny.federation(own, tiny.clients_of(train), initial=start, label=label)

    return federation, last, make, asked


@pytest.mark.parametrize("name", ["fedper", "ditto"])
def test_a_new_hospitals_own_part_by_hand(name: str) -> None:
    """It starts from the global model, in rounds of one epoch; the shared weights stay as they are."""
    federation, last, make, asked = joined_by_c(name)
    w, rows = federation.weights(last).trainable, HELD.train["c"]
    parts = {"c": rows, "a": HELD.train["a"]}
    found, refused = further.newcomers(federation, last, {"c": rows}, parts, epochs=3, make=make)
    assert not refused
    assert asked[0].client.epochs == 1
    if name == "ditto":  # three rounds of three personal epochs
        expected = steps(rows, w, 9, pull=(0.4, w))
    else:
        expected = w
        for _ in range(3):
            expected = [*w[:2], *steps(rows, expected, 1)[2:]]
    p = tiny.hidden_output(expected, np.asarray(rows.x))
    assert list(found) == ["c"]
    np.testing.assert_allclose(found["c"], np.asarray(p)[:, 0], atol=1e-5)
    assert_same(federation.weights(last).trainable, w)
    federation.close()


def test_a_new_hospital_with_few_rows_trains_on_them_and_one_without_any_uses_the_global_model() -> None:
    federation, last, make, asked = joined_by_c("ditto")
    rows = HELD.train["c"]
    few, none = (rows.take(np.arange(count)) for count in (1, 0))
    plain = federation.predict(federation.weights(last), rows.x)
    without = further.newcomers(federation, last, {"c": none}, {"c": rows}, epochs=2, make=make)
    assert_same(without.predictions.values(), [plain])
    assert not asked
    (found,) = further.newcomers(federation, last, {"c": few}, {"c": rows}, epochs=2, make=make).predictions.values()
    assert np.isfinite(found).all()
    assert np.abs(found - plain).max() > 1e-4
    federation.close()


# What cannot be


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("fedper", {"home": ["dense_11"]}, r"algorithm.args.home: unknown layer with weights 'dense_11' \(did you mean "
         r"'dense_1'\?\); allowed: dense, dense_1$"),
        ("fedrep", {"home": ["dense", "dense_1"]}, "algorithm.args.home: nothing is shared when dense, dense_1 stays"),
        ("fedper", {"home": []}, "algorithm.args.home: names no layer; there are dense, dense_1$"),
        ("fedrep", {"head_epochs": 0}, "algorithm.args.head_epochs: expected a whole number >= 1, got 0"),
        ("ditto", {"strength": -1.0}, "algorithm.args.strength: expected a number >= 0, got -1.0"),
        ("ditto", {"strength": 1.0, "personal_epochs": 0}, "algorithm.args.personal_epochs: expected a whole number"),
        ("apfl", {"alpha": 1.5}, "algorithm.args.alpha: expected a number from 0 to 1, got 1.5"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(name: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=f"^{message}"):
        tiny.one_round(settings(name, args=args), HELD)


def test_a_model_of_one_layer_has_none_to_share() -> None:
    with pytest.raises(errors.ConfigError, match=r"^algorithm.args.home: nothing is shared when dense stays at home"):
        tiny.one_round(settings("fedper", "tiny_models:linear"), HELD)


@pytest.mark.parametrize("unit", ["patient", "hospital"])
@pytest.mark.parametrize("name", PERSONAL)
def test_nothing_is_promised_for_what_trains_otherwise(name: str, unit: str) -> None:
    private = settings(name, privacy={"unit": unit, "noise_multiplier": 1.0})
    with pytest.raises(
        errors.ConfigError, match=rf"^algorithm.name: privacy.unit = '{unit}' holds for .*, got '{name}"
    ):
        Federation(private, HELD.dataset, HELD.train)
