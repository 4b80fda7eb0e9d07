"""Rules of aggregation: laws, each rule against NumPy, what corrupted clients can do, and rounds on both runtimes."""

import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
import tiny
from tiny import assert_close, assert_same

import fedmed
from fedmed.commands import listing
from fedmed.data.examples import Examples
from fedmed.engine import checks, identity
from fedmed.engine.checkpoints import Checkpoints, Saved
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning import aggregators, combinations, krum
from fedmed.learning.aggregator import Aggregator
from fedmed.learning.gathering import combined, gathering
from fedmed.learning.values import Payload, Weights
from fedmed.settings import config
from fedmed.settings.config import Aggregation
from fedmed.system import errors, machine

RULES: Mapping[str, Mapping[str, Any]] = {
    "mean": {},
    "median": {},
    "trimmed_mean": {"share": 0.3},
    "krum": {"corrupted": 2},
    "multi_krum": {"corrupted": 0.25},
    "geometric_median": {},
    "centred_clipping": {},
    "clipped_mean": {},
}
ROBUST = [rule for rule in RULES if rule != "mean"]
RUNTIMES = ("local", "tff")
N, F, D = 9, 2, 7
SHARES = np.array([5, 1, 2, 8, 3, 1, 1, 4, 2], np.float32)


def updates(seed: int = 0, n: int = N) -> np.ndarray:
    """Returns updates [n, 7] of clients that agree on a direction."""
    rng = np.random.default_rng(seed)
    return (0.5 + 0.3 * rng.normal(size=(n, D))).astype(np.float32)


def payload(update: np.ndarray) -> Payload:
    """Returns a vector as two trainable tensors [2, 2] and [], and as a moving one [2]."""
    return Payload(Weights([tf.constant(update[:4].reshape(2, 2)), tf.constant(update[4])], [tf.constant(update[5:])]))


def vector(found: Payload) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in tf.nest.flatten(found)])


LIKE = payload(np.zeros(D, np.float32))


def made(rule: str, **args: Any) -> Aggregator:
    return aggregators.checked(Aggregation(rule, args or RULES[rule]))()


def aggregate(
    one: Aggregator,
    sent: np.ndarray,
    shares: np.ndarray = SHARES,
    lanes: Sequence[Sequence[int]] | None = None,
    centre: np.ndarray | None = None,
) -> np.ndarray:
    """Returns a rule's aggregate of updates [n, 7] that come in lanes, by default one."""
    left = []
    for lane in [range(len(sent))] if lanes is None else lanes:
        grown = one.zero(LIKE)
        for client in lane:
            grown = one.accumulate(grown, payload(sent[client]), tf.constant(shares[client]))
        left.append(one.packed(grown, LIKE))
    sums = left[0]
    for other in left[1:]:
        sums = one.merge(sums, other)
    found = one.report(sums)
    if one.memory is not None:
        found, _ = one.memory.recall(
            found, one.memory.first(LIKE) if centre is None else payload(centre).update.trainable
        )
    return vector(found)


def distances(sent: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Returns how far updates are from a point in what they are judged by: all but the moving statistics."""
    return np.linalg.norm((sent - point)[:, :5].astype(np.float64), axis=1)


# Laws


@pytest.mark.parametrize("rule", RULES)
def test_neither_the_order_of_clients_nor_their_lanes_matter(rule: str) -> None:
    sent, one = updates(), made(rule)
    order = np.array([3, 8, 0, 1, 7, 2, 6, 5, 4])
    first = aggregate(one, sent)
    assert_close([aggregate(one, sent[order], SHARES[order])], [first], rtol=1e-5)
    assert_close([aggregate(one, sent, lanes=[[4, 0], [], [8, 7, 6, 1], [2, 3, 5]])], [first], rtol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_of_equal_updates_each_is_the_aggregate(rule: str) -> None:
    same = np.repeat(updates()[:1], N, axis=0)
    assert_close([aggregate(made(rule), same)], [same[0]], rtol=1e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_round_of_few_clients_has_an_aggregate_in_their_hull(rule: str, n: int) -> None:
    sent = updates()[:n]
    found = aggregate(made(rule), sent)
    if rule not in ("clipped_mean", "centred_clipping"):  # these pull to zero what is long
        assert (np.clip(found, sent.min(0) - 1e-6, sent.max(0) + 1e-6) == found).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "clipped_mean"])
def test_what_is_added_to_all_updates_is_added_to_the_aggregate(rule: str) -> None:
    """The centre of centred clipping moves along; a clipped mean measures from zero, so that it is none of these."""
    sent, shift, one = updates(), np.linspace(-2, 2, D, dtype=np.float32), made(rule)
    judged = slice(5 if rule == "centred_clipping" else D)  # it has no centre for moving statistics
    first = aggregate(one, sent, centre=np.full(D, 0.4, np.float32))
    moved = aggregate(one, sent + shift, centre=0.4 + shift)
    assert_close([moved[judged]], [(first + shift)[judged]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_a_longer_unit_of_all_updates_is_one_of_the_aggregate(rule: str) -> None:
    sent, one = updates(), made(rule)
    assert_close([aggregate(one, 16 * sent)], [16 * aggregate(one, sent)], rtol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_which_rules_count_sizes(rule: str) -> None:
    alike, by_size = (aggregate(made(rule), updates(), shares) for shares in (np.ones_like(SHARES), SHARES))
    counts = rule in ("mean", "geometric_median", "centred_clipping", "clipped_mean")
    assert np.allclose(alike, by_size, rtol=1e-6) != counts


# By hand


def test_the_mean_and_the_median() -> None:
    sent = updates()
    assert_close([aggregate(made("mean"), sent)], [SHARES @ sent / SHARES.sum()])
    assert_same([aggregate(made("median"), sent)], [np.median(sent, axis=0)])
    assert_close([aggregate(made("median"), sent[:4])], [np.median(sent[:4], axis=0)])


@pytest.mark.parametrize(("n", "share", "cut"), [(9, 0.3, 2), (9, 0.1, 0), (5, 0.2, 1), (3, 0.49, 1), (2, 0.49, 0)])
def test_a_trimmed_mean_cuts_a_share_from_each_end(n: int, share: float, cut: int) -> None:
    sent = updates(n=n)
    expected = np.sort(sent, axis=0)[cut : n - cut].mean(0)
    assert_close([aggregate(made("trimmed_mean", share=share), sent)], [expected])


def test_a_share_that_floating_point_makes_a_little_smaller_cuts_all_that_it_says() -> None:
    assert 0.29 * 100 < 29
    sent = np.repeat(np.arange(100, dtype=np.float32)[:, np.newaxis] ** 2, D, axis=1)
    found = aggregate(made("trimmed_mean", share=0.29), sent, np.ones(100, np.float32))
    assert_close([found], [sent[29:71].mean(0)])


def krums(sent: np.ndarray, f: int) -> np.ndarray:
    """Returns s(i) of the paper, by its definition."""
    n = len(sent)
    apart = np.array([distances(sent, one) ** 2 for one in sent])
    return np.array([sorted(np.delete(apart[i], i))[: n - f - 2] for i in range(n)]).sum(axis=1)


@pytest.mark.parametrize("f", [1, 2, 3])
def test_krum_and_multi_krum_take_what_has_near_neighbours(f: int) -> None:
    sent = updates(seed=f)
    order = np.argsort(krums(sent, f))
    assert_same([aggregate(made("krum", corrupted=f), sent)], [sent[order[0]]])
    assert_close([aggregate(made("multi_krum", corrupted=f), sent)], [sent[order[: N - f - 2]].mean(0)])
    stacked = [sent[:, :4].reshape(N, 2, 2), sent[:, 4]]
    assert_close([krum.scores([tf.constant(u) for u in stacked], tf.constant(N - f - 2))], [krums(sent, f)], rtol=1e-5)


def test_krum_takes_all_that_tie() -> None:
    sent = np.zeros((5, D), np.float32)
    sent[:, 0] = [0, 1, 10, 11, 30]  # with f = 1 two neighbours each; 1 and 10 tie, 1 + 81 = 82 each
    assert aggregate(made("krum", corrupted=1), sent, np.ones(5, np.float32))[0] == 5.5


def test_the_geometric_median_has_the_least_sum_of_distances() -> None:
    sent = updates()
    sent[2] *= 50
    weights = SHARES / SHARES.sum()

    def objective(point: np.ndarray) -> float:
        return float(weights @ np.linalg.norm(sent[:, :5].astype(np.float64) - point, axis=1))

    best = scipy.optimize.minimize(objective, np.median(sent[:, :5], axis=0), tol=1e-12)
    found = aggregate(made("geometric_median", iterations=500), sent)[:5]
    assert objective(found) <= best.fun * (1 + 1e-6)
    assert_close([found], [best.x], rtol=1e-2, atol=1e-3)
    assert objective(aggregate(made("geometric_median"), sent)[:5]) <= best.fun * (1 + 1e-4)


def test_the_geometric_median_begins_beside_the_update_that_is_nearest_to_all_by_shares() -> None:
    """Vardi and Zhang 2000: eta / r of that update and the rest of the others' mean by alpha / distance."""
    sent, alpha = updates(), SHARES / SHARES.sum()
    nearest = np.argmin([alpha @ distances(sent, one) for one in sent])
    eta, others = alpha[nearest], np.arange(N) != nearest
    by_distance = alpha[others] / distances(sent[others], sent[nearest])
    r = np.linalg.norm((by_distance @ (sent[others] - sent[nearest]))[:5])
    assert r > eta
    start = eta / r * sent[nearest] + (1 - eta / r) * by_distance @ sent[others] / by_distance.sum()
    beta = alpha / np.maximum(1.0, distances(sent, start))
    found = aggregate(made("geometric_median", iterations=1, smoothing=1.0), sent)
    assert_close([found], [beta @ sent / beta.sum()])


def test_a_geometric_median_of_more_than_half_is_theirs() -> None:
    sent, shares = updates(), np.ones(N, np.float32)
    shares[4] = 20
    assert_close([aggregate(made("geometric_median"), sent, shares)], [sent[4]], rtol=1e-3)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e8, 1e12, 1e18])
@pytest.mark.parametrize("few_clients", [True, False], ids=["nearly half of all shares", "most clients, few shares"])
def test_a_geometric_median_stays_near_the_honest_whatever_is_sent_to_it(few_clients: bool, size: float) -> None:
    honest = updates()
    if few_clients:
        sent, shares, q = np.vstack([honest, -size * honest[:1]]), [*[0.52 / N] * N, 0.48], 0.48
    else:
        wrong = size * updates(seed=1, n=3 * N)
        sent, shares, q = np.vstack([wrong, honest]), [*[0.3 / (3 * N)] * 3 * N, *[0.7 / N] * N], 0.3
    found = aggregate(made("geometric_median"), sent.astype(np.float32), np.array(shares, np.float32))
    middle = honest.mean(0)
    bound = 2 * (1 - q) / (1 - 2 * q) * distances(honest, middle).max()  # Pillutla et al. 2022, section 4
    assert distances(found[np.newaxis], middle)[0] <= bound
    assert distances(found[np.newaxis], middle)[0] <= 5.0


@pytest.mark.parametrize("args", [{}, {"times": 0.7}, {"radius": 0.5}, {"radius": 0.5, "iterations": 3}], ids=str)
def test_centred_clipping_moves_the_centre_by_clipped_ways(args: Mapping[str, Any]) -> None:
    sent, v, p = updates(), np.linspace(0, 1, D), SHARES / SHARES.sum()
    found = aggregate(made("centred_clipping", **(args or {"times": 2.0})), sent, centre=v.astype(np.float32))
    weights = p
    for _ in range(args.get("iterations", 1)):
        apart = distances(sent, v)
        tau = args.get("radius") or args.get("times", 2.0) * np.median(apart)
        weights = p * np.minimum(1, tau / apart)
        v = v + weights @ (sent - v)
    assert_close([found[:5]], [v[:5]], rtol=1e-4)
    assert_close([found[5:]], [weights @ sent[:, 5:]], rtol=1e-4)  # of moving statistics nothing is remembered


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0])
def test_a_clipped_mean(times: float) -> None:
    sent = updates()
    sent[3] *= 7
    norms, p = distances(sent, np.zeros(D)), SHARES / SHARES.sum()
    scales = np.minimum(1, times * np.median(norms) / norms)
    assert (scales < 1).any()
    assert_close([aggregate(made("clipped_mean", times=times), sent)], [(p * scales) @ sent])


def test_a_clipped_mean_is_the_mean_where_norms_are_alike() -> None:
    sent = updates()
    assert_close([aggregate(made("clipped_mean"), sent)], [aggregate(made("mean"), sent)])


# What corrupted clients can do

ATTACKS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "boosted": lambda honest: 1e3 * honest,
    "turned": lambda honest: -1e9 * honest,
    "beyond what a square can be": lambda honest: np.full_like(honest, 5e18),
    "together": lambda honest: np.repeat(1e4 * honest[:1], len(honest), axis=0),
    "zero": np.zeros_like,
}


def corrupted(attack: str, f: int = F) -> tuple[np.ndarray, np.ndarray]:
    """Returns the updates of the honest, and of all, of whom the first f are corrupted."""
    sent = updates()
    return sent[f:], np.concatenate([ATTACKS[attack](sent[:f]), sent[f:]])


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "krum", "multi_krum"])
def test_few_corrupted_clients_of_any_size_leave_the_aggregate_where_the_honest_are(rule: str, attack: str) -> None:
    honest, all_ = corrupted(attack)
    found = aggregate(made(rule), all_)
    if rule in ("median", "trimmed_mean"):
        assert (np.clip(found, honest.min(0), honest.max(0)) == found).all()
    else:  # one taken has n - f - 2 neighbours, of whom n - 2 f - 2 are honest, as near as honest ones are
        widest = max(distances(honest, one).max() for one in honest)
        assert distances(honest, found).min() <= (1 + np.sqrt(N - F - 2)) * widest


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_geometric_median_is_bounded_by_the_honest(attack: str) -> None:
    """Pillutla et al. 2022, section 4: within 2 (1 - q) / (1 - 2 q) of the furthest honest one, q being corrupted."""
    honest, all_ = corrupted(attack)
    q = SHARES[:F].sum() / SHARES.sum()
    middle = honest.mean(0)
    found = aggregate(made("geometric_median"), all_)
    assert distances(found[np.newaxis], middle)[0] <= 2 * (1 - q) / (1 - 2 * q) * distances(honest, middle).max()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("rule", ["clipped_mean", "centred_clipping"])
def test_a_clipped_client_moves_the_aggregate_by_its_share_of_the_radius(rule: str, attack: str) -> None:
    honest, all_ = corrupted(attack)
    longest = distances(honest, np.zeros(D)).max()  # fewer than half are corrupted, so that the median is not above
    q = SHARES[:F].sum() / SHARES.sum()
    kept = SHARES[F:] / SHARES[F:].sum()
    found = aggregate(made(rule), all_)
    scales = np.minimum(1, 2 * np.median(distances(all_, np.zeros(D))) / distances(honest, np.zeros(D)))
    of_the_honest = (1 - q) * ((kept * scales) @ honest)
    assert distances(found[np.newaxis], of_the_honest)[0] <= q * 2 * longest * (1 + 1e-5)


def test_the_mean_is_wherever_one_client_wants() -> None:
    honest, all_ = corrupted("turned", f=1)
    assert distances(aggregate(made("mean"), all_)[np.newaxis], honest.mean(0))[0] > 1e7


def test_moving_statistics_go_with_the_update_that_they_come_with() -> None:
    sent = updates()
    sent[0, :5] *= 1e6  # only its judged part
    chosen = aggregate(made("multi_krum", corrupted=2), sent)
    order = np.argsort(krums(sent, 2))[: N - 4]
    assert 0 not in order
    assert_close([chosen[5:]], [sent[order, 5:].mean(0)])
    clipped = aggregate(made("clipped_mean"), sent)
    assert_close([clipped[5:]], [(SHARES[1:] / SHARES.sum()) @ sent[1:, 5:]], rtol=1e-3)


# Rounds

SIZES = (11, 6, 8, 9, 7)


def wild() -> dict[str, Examples]:
    """Returns the rows of five clients and of a sixth whose updates are not finite."""
    held = {name: tiny.rows(size, seed=i) for i, (name, size) in enumerate(zip("abcde", SIZES, strict=True))}
    bad = tiny.rows(7, seed=9)
    np.asarray(bad.x)[3, 1] = np.nan
    return {**held, "bad": bad}


ON = [("local", rule) for rule in ("trimmed_mean", "multi_krum", "geometric_median", "centred_clipping")] + [
    ("tff", rule) for rule in ("multi_krum", "geometric_median", "clipped_mean")
]
SMALL = {"krum": {"corrupted": 1}, "multi_krum": {"corrupted": 1}, "trimmed_mean": {"share": 0.2}}


def settings(rule: str, **changes: Any) -> config.RunConfig:
    asked = {"rule": rule, "args": dict(SMALL.get(rule, {}))}
    return tiny.settings("tiny_models:flat_start", aggregation=asked, **changes)


@pytest.fixture(scope="module")
def alone() -> Iterator[dict[str, list[np.ndarray]]]:
    """Each client's update."""
    held = tiny.clients_of(wild())
    with tiny.set_up(tiny.settings("tiny_models:flat_start"), held) as (_, next_round):
        yield {name: next_round(None, [name]).updates for name in "abcde"}


@pytest.mark.parametrize(("runtime", "rule"), ON)
def test_a_round_is_the_rule_of_what_clients_send_and_a_refused_one_never_reaches_it(
    rule: str, runtime: str, alone: dict[str, list[np.ndarray]], worker: Worker
) -> None:
    held = tiny.clients_of(wild())
    with tiny.set_up(settings(rule, runtime={"name": runtime}), held, worker) as (_, next_round):
        done, few, none = next_round(), next_round(None, ["b"]), next_round(None, ["bad"])
    assert done.done.refused == ("bad",)
    one = aggregators.checked(Aggregation(rule, SMALL.get(rule, {})))()
    like = Payload(Weights([tf.zeros(u.shape) for u in alone["a"]], []))
    for found, names in ((done, "abcde"), (few, "b")):
        grown = one.zero(like)
        for name in names:
            share = tf.constant(float(SIZES["abcde".index(name)]))
            grown = one.accumulate(grown, Payload(Weights([tf.constant(u) for u in alone[name]], [])), share)
        expected = one.report(one.packed(grown, like))
        if one.memory is not None:
            expected, _ = one.memory.recall(expected, one.memory.first(like))
        assert_close(found.updates, expected.update.trainable)
    assert_same(none.after.trainable, none.before.trainable)


@pytest.mark.parametrize("runtime", ["local", pytest.param("tff", marks=pytest.mark.slow)])
def test_centred_clipping_goes_on_to_the_same_bits_from_a_checkpoint(
    runtime: str, worker: Worker, tmp_path: pathlib.Path
) -> None:
    held = tiny.clients_of({name: rows for name, rows in wild().items() if name != "bad"})
    asked = settings("centred_clipping", rounds=4, runtime={"name": runtime})
    asked = config.changed(asked, {"aggregation.args": {"times": 0.5}})  # so that the centre matters
    told = identity.settings_of(asked)
    federation = tiny.federation(asked, held, worker)
    try:
        positions = [done.position for done in federation.rounds(federation.start())]
        file = Checkpoints(tmp_path / "checkpoint", told, federation)
        file.save(Saved({"last": positions[1]}, {}))
        back = next(file.saved()).positions["last"]
        assert max(np.abs(part).max() for part in back.state.remembered) > 0
        again = [done.position for done in federation.rounds(back)]
        assert_same(federation.weights(again[-1]).trainable, federation.weights(positions[-1]).trainable)
        forgot = back._replace(state=back.state._replace(remembered=federation.start().state.remembered))
        other = [done.position for done in federation.rounds(forgot)][-1]
        assert any((a != b).any() for a, b in zip(federation.weights(other).trainable,
                                                  federation.weights(again[-1]).trainable, strict=True))  # fmt: skip
    finally:
        federation.close()


# What is refused


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"rule": "krumm"},
            "aggregation.rule: unknown rule of aggregation 'krumm' (did you mean 'krum'?); allowed: ce",
        ),
        ({"rule": "mean", "args": {"share": 0.1}}, "aggregation.args: unknown argument 'share'; allowed: none"),
        ({"rule": "trimmed_mean"}, "aggregation.args.share: required, but not given"),
        (
            {"rule": "trimmed_mean", "args": {"shares": 0.1}},
            "aggregation.args: unknown argument 'shares' (did you mean",
        ),
        (
            {"rule": "trimmed_mean", "args": {"share": 0.5}},
            "aggregation.args.share: expected a share > 0 and < 0.5 of ",
        ),
        (
            {"rule": "krum", "args": {"corrupted": 0}},
            "aggregation.args.corrupted: expected a whole number >= 1 of clie",
        ),
        (
            {"rule": "multi_krum", "args": {"corrupted": 0.6}},
            "aggregation.args.corrupted: expected a whole number >= 1",
        ),
        (
            {"rule": "geometric_median", "args": {"smoothing": 0}},
            "aggregation.args.smoothing: expected a number > 0, g",
        ),
        (
            {"rule": "centred_clipping", "args": {"radius": -1.0}},
            "aggregation.args.radius: expected a number > 0, got ",
        ),
        (
            {"rule": "centred_clipping", "args": {"radius": 1.0, "times": 3.0}},
            "aggregation.args.times: stands in for the radius, which is given",
        ),
        (
            {"rule": "clipped_mean", "args": {"times": "2"}},
            "aggregation.args.times: expected a number, got '2' (did you",
        ),
    ],
)
def test_a_rule_that_cannot_be_is_told_in_one_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=f"^{re.escape(message)}"):
        checks.check_names(tiny.settings("logistic_regression", aggregation=asked))


@pytest.mark.parametrize(
    ("rule", "args", "cohort", "message"),
    [
        ("krum", {"corrupted": 2}, 6, "aggregation.args.corrupted: 'krum' needs 2 x 2 + 3 = 7 clients in a round, and "
         "the cohort has 6; at most 1 of them may be corrupted"),
        ("multi_krum", {"corrupted": 1}, 4, "aggregation.args.corrupted: 'multi_krum' needs 2 x 1 + 3 = 5 clients in a "
         "round, and the cohort has 4; use another rule"),
        ("krum", {"corrupted": 0.1}, 9, "aggregation.args.corrupted: 0.1 of a cohort of 9 is less than one client, and "
         "'krum' would withstand none; give at least 0.1112"),
        ("trimmed_mean", {"share": 0.05}, 10, "aggregation.args.share: 0.05 of a cohort of 10 is less than one client, "
         "and 'trimmed_mean' would withstand none; give at least 0.1"),
        ("trimmed_mean", {"share": 0.3333}, 3, "aggregation.args.share: 0.3333 of a cohort of 3 is less than one "
         "client, and 'trimmed_mean' would withstand none; give at least 0.3334"),
        ("trimmed_mean", {"share": 0.34}, 2, "aggregation.args.share: 0.34 of a cohort of 2 is less than one client, "
         "and 'trimmed_mean' would withstand none; use another rule"),
        ("multi_krum", {"corrupted": 0.2}, 4, "aggregation.args.corrupted: 0.2 of a cohort of 4 is less than one "
         "client, and 'multi_krum' would withstand none; use another rule"),
    ],
)  # fmt: skip
def test_a_cohort_that_is_too_small_for_a_rule_is_refused(
    rule: str, args: dict[str, Any], cohort: int, message: str
) -> None:
    with pytest.raises(errors.ConfigError, match=f"^{re.escape(message)}$"):
        aggregators.check_cohort(Aggregation(rule, args), cohort)


def test_rules_that_go_by_a_median_say_that_they_withstand_none_of_two() -> None:
    for rule in ("median", "clipped_mean", "centred_clipping"):
        assert aggregators.doubts(Aggregation(rule), 3) == ()
        assert aggregators.doubts(Aggregation(rule), 2) == (
            f"Rounds have two clients: {rule} withstands nobody there, since a median of two follows either.",
        )
    assert aggregators.doubts(Aggregation("centred_clipping", {"radius": 1.0}), 2) == ()
    assert aggregators.doubts(Aggregation("mean"), 2) == ()


def test_the_cohort_of_a_federation_counts() -> None:
    aggregators.check_cohort(Aggregation("krum", {"corrupted": 2}), 7)
    aggregators.check_cohort(Aggregation("trimmed_mean", {"share": 0.1}), 10)
    with pytest.raises(errors.ConfigError, match="the cohort has 3; use another rule"):
        tiny.one_round(settings("krum", cohort={"size": 3}), tiny.clients(SIZES))


def test_what_does_not_go_with_a_rule_that_needs_each_update() -> None:
    for rule in ROBUST:
        asked = {"rule": rule, "args": dict(RULES[rule]), "secure": True, "clip_norm": 1.0}
        with pytest.raises(errors.ConfigError, match=f"^aggregation.secure: gives the server a sum only, and '{rule}'"):
            combinations.check(tiny.settings(aggregation=asked))


def test_compressed_updates_are_judged_as_they_arrive() -> None:
    """The largest of four values is left of each update, and the median of the others is 0."""
    done = tiny.one_round(settings("median", compression={"up": "top_k", "share": 0.25}), tiny.clients(SIZES))
    assert 0 < sum(np.count_nonzero(update) for update in done.updates) < 4


def test_updates_that_do_not_fit_into_memory_are_refused_before_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """The update of `tiny_models:flat_start` has 4 float32."""
    held, asked = tiny.clients(SIZES), settings("median")
    assert all(made(rule).copies > 2 for rule in ROBUST)
    copies = made("median").copies
    needed = copies * 5 * 16
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(1e9, needed))
    tiny.federation(asked, held).close()
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(1e9, needed - 1))
    message = f"aggregation.rule: 'median' holds all updates of a round at once, 5 x 0.0 MB, and takes up to {copies:g}"
    with pytest.raises(errors.ConfigError, match=f"^{re.escape(message)} .* are free; ask fewer clients "):
        tiny.federation(asked, held)
    tiny.federation(tiny.settings("tiny_models:flat_start"), held).close()


def test_the_memory_of_a_container_counts(tmp_path: pathlib.Path) -> None:
    whole = machine.memory(tmp_path)
    assert whole.total > whole.free > 0
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 9\ninactive_file 700\n")
    assert machine.memory(tmp_path) == (5000, 2700)
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory(tmp_path).total == whole.total


# A rule of one's own


@fedmed.aggregators.register("first_half")
def first_half(*, share: float = 0.5) -> Aggregator:
    """The mean of the clients that come first."""

    def report(all_: Any) -> Payload:
        k = tf.cast(tf.shape(all_.shares)[0], tf.float32)
        some = tf.cast(tf.range(k) < share * k, tf.float32)
        return combined(all_.payloads, some / tf.reduce_sum(some))

    return gathering(report, copies=3.0)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_rule_of_ones_own_is_named_like_fedmeds(
    runtime: str, alone: dict[str, list[np.ndarray]], worker: Worker
) -> None:
    held = tiny.clients_of({name: rows for name, rows in wild().items() if name in "abcd"})
    asked = tiny.settings(
        "tiny_models:flat_start", aggregation={"rule": "first_half"}, runtime={"name": runtime, "lanes": 1}
    )
    found = tiny.one_round(asked, held, worker)
    assert_close(found.updates, [(a + b) / 2 for a, b in zip(alone["a"], alone["b"], strict=True)])


def test_the_code_of_a_rule_of_ones_own_is_a_part_of_what_a_result_depends_on() -> None:
    own = identity.code_of(tiny.settings(aggregation={"rule": "first_half"}))
    assert __name__ in set(own) - set(identity.code_of(tiny.settings()))


def test_what_is_no_rule_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(aggregators.aggregators._factories, "nothing", lambda: None)  # type: ignore[arg-type]
    with pytest.raises(errors.AlgorithmError, match=r"^aggregation.rule: expected a fedmed.learning.Aggregator, got"):
        tiny.one_round(tiny.settings(aggregation={"rule": "nothing"}), tiny.clients())


def test_rules_are_listed_with_their_arguments() -> None:
    shown = listing.lines("aggregators")
    assert shown[0] == "rules of aggregation: [aggregation] rule = ..., arguments in [aggregation.args]"
    assert {"  mean", "  krum", "      - share: a number, required"} <= set(shown)
    assert "      - corrupted: a whole number or a number, required" in shown
