"""What is promised to whom: noise by size, rounds attended, budgets, and what a promise cannot be combined with."""

import dataclasses
import pathlib
from typing import Any

import pytest
import tiny

from fedmed.data import clients
from fedmed.engine import attendance, checks, promises, soundness, worth
from fedmed.engine.fates import Fates
from fedmed.privacy import accounting
from fedmed.privacy.accounting import Releases
from fedmed.settings import config
from fedmed.system import errors

PATIENTS = {"a": 200, "b": 40, "c": 40}


def settings(privacy: dict[str, Any] | None = None, **changes: Any) -> config.RunConfig:
    told = {"unit": "patient", "noise_multiplier": 2.0, **(privacy or {})}
    return tiny.settings(privacy=told, **{"rounds": 10, "client": {"batch_size": 20}, **changes})


def of(found: promises.Promises | None) -> promises.Promises:
    assert found is not None
    return found


def test_nothing_is_promised_without_being_asked_for() -> None:
    assert promises.made(tiny.settings(), PATIENTS) is None


def test_a_small_hospital_draws_each_patient_more_often_and_is_promised_less_by_the_same_noise() -> None:
    found = of(promises.made(settings(), PATIENTS)).by_client
    assert (found["a"].rate, found["a"].steps) == (0.1, 10)
    assert (found["b"].rate, found["b"].steps) == (0.5, 2)
    assert found["a"].delta == 200**-1.1
    assert found["b"].spent(10) > found["a"].spent(10)


def test_a_target_gives_each_hospital_the_noise_for_its_own_size_and_is_never_exceeded() -> None:
    found = of(promises.made(settings({"noise_multiplier": None, "target_epsilon": 3.0}), PATIENTS)).by_client
    assert found["b"].noise > found["a"].noise
    assert found["b"] == found["c"]
    for promise in found.values():
        assert 2.9 < promise.spent(10) <= 3.0


def test_only_rounds_that_a_hospital_attends_are_counted() -> None:
    own = settings(cohort={"size": 1}, scenario=[{"name": "absent", "chance": 0.3}])
    fates = Fates(own, PATIENTS)
    found = of(promises.made(own, PATIENTS)).by_client
    for number, client in enumerate(PATIENTS):
        there = [
            r
            for r in range(10)
            if client in attendance.cohort(0, r, list(PATIENTS), 1) and not fates.of(r, number).absent
        ]
        assert list(found[client].attended) == there
        assert found[client].releases(10)[0].steps == found[client].steps * len(there)


def test_hospitals_are_promised_something_together_by_one_release_a_round() -> None:
    own = settings({"unit": "hospital"}, cohort={"size": 1})
    found = of(promises.made(own, PATIENTS)).by_client
    assert list(found) == [promises.EVERYBODY]
    expected = accounting.epsilon([Releases(1 / 3, 2.0, 10)], 3**-1.1)
    assert found[promises.EVERYBODY].spent(10) == expected


def test_the_ledger_never_says_less_than_is_spent_and_ends_at_what_is() -> None:
    promise = of(promises.made(settings(rounds=50), {"a": 100})).by_client["a"]
    for done in (1, 4, 25, 49, 50):
        assert promise.spent(done) <= promise.ledger(done) + 1e-12
    assert promise.ledger(50) == promise.spent(50)


def test_a_budget_ends_a_run_before_the_round_that_would_exceed_it() -> None:
    whole = of(promises.made(settings(), PATIENTS)).by_client["b"]
    target = (whole.spent(6) + whole.spent(7)) / 2
    found = of(promises.made(settings({"target_epsilon": target}), PATIENTS))
    assert (found.rounds, found.planned) == (6, 10)
    assert all(promise.spent(found.rounds) <= target for promise in found.by_client.values())


def test_noise_that_spends_the_budget_at_once_is_refused() -> None:
    with pytest.raises(errors.ConfigError, match="in the first round"):
        promises.made(settings({"noise_multiplier": 0.3, "target_epsilon": 0.5}), PATIENTS)


def test_a_share_for_scaling_is_a_part_of_the_budget() -> None:
    told = {"noise_multiplier": None, "target_epsilon": 3.0, "preprocessing_share": 0.2}
    promise = of(promises.made(settings(told), PATIENTS)).by_client["b"]
    assert promise.releases(0) == promise.before
    assert accounting.epsilon(promise.before, promise.delta) <= 0.6
    assert promise.spent(10) <= 3.0


def test_a_budget_counts_what_scaling_has_spent_before_training() -> None:
    whole = of(promises.made(settings(), PATIENTS)).by_client["b"]
    target = (whole.spent(6) + whole.spent(7)) / 2
    found = of(promises.made(settings({"target_epsilon": target, "preprocessing_share": 0.5}), PATIENTS))
    assert found.rounds < 6
    for promise in found.by_client.values():
        assert promise.before
        assert promise.releases(found.rounds)[:1] == promise.before
        assert promise.spent(found.rounds) <= target
    told = found.told(found.rounds).promises["b"]
    assert (told.steps, told.preprocessing_noise) == (2 * found.rounds, found.by_client["b"].before[0].noise)


def test_without_noise_nothing_is_promised() -> None:
    found = of(promises.made(settings({"noise_multiplier": 0.0}), PATIENTS))
    assert found.ledger(10) == dict.fromkeys(PATIENTS)
    assert found.told(10).promises["a"].epsilon is None


def test_a_few_patients_cannot_be_promised_anything_and_are_not_counted_out_loud() -> None:
    with pytest.raises(errors.ConfigError, match="c has fewer than 5 patients"):
        promises.made(settings(), {**PATIENTS, "c": 3})


def test_promises_of_little_worth_are_named() -> None:
    good = of(promises.made(settings({"noise_multiplier": 8.0}), {"a": 200}))
    assert worth.doubts(good) == ()
    loose = worth.doubts(of(promises.made(settings({"noise_multiplier": 0.5}), {"a": 200, "b": 40})))
    assert "Little is promised at a, b: epsilon exceeds 10" in loose[0]
    assert "may fail at b: delta exceeds 0.01" in loose[1]
    nothing = worth.doubts(of(promises.made(settings({"noise_multiplier": 0.0}), {"a": 200})))
    assert nothing == ("No noise is added, so nothing is promised to anybody.",)


def test_a_delta_that_is_not_below_one_in_the_patients_is_warned_of_though_it_is_small() -> None:
    """At delta 1 / n a promise is kept by whoever publishes all rows of one of the n."""
    at = {
        delta: of(promises.made(settings({"noise_multiplier": 8.0, "delta": delta}), PATIENTS))
        for delta in (5e-3, 4e-3)
    }
    assert [one.startswith("The promise may fail for somebody at a: ") for one in worth.doubts(at[5e-3])] == [True]
    assert worth.doubts(at[4e-3]) == ()
    hospitals = {"unit": "hospital", "noise_multiplier": 8.0, "delta": 1 / 3}
    assert "one in their number of hospitals" in worth.doubts(of(promises.made(settings(hospitals), PATIENTS)))[-1]


@pytest.mark.parametrize(
    ("privacy", "said"),
    [
        ({"unit": "patient"}, "privacy: give target_epsilon, or noise_multiplier, or both"),
        ({"target_epsilon": 1.0}, "is given, but to nobody"),
        ({"unit": "patient", "target_epsilon": 1.0, "noise_multiplier": 0.0}, "keeps no promise"),
        ({"unit": "hospital", "target_epsilon": 1.0, "preprocessing_share": 0.1}, "privacy.preprocessing_share"),
        ({"unit": "patients", "target_epsilon": 1.0}, "did you mean 'patient'"),
        ({"unit": "patient", "target_epsilon": -1.0}, "privacy.target_epsilon: expected a number > 0.0"),
        ({"bounds": {"age": [90, 18]}}, r"privacy.bounds.age: expected \[low, high\]"),
        ({"bounds": {"age": ["x", 18]}}, r"privacy.bounds.age: expected \[low, high\]"),
    ],
)
def test_settings_that_promise_nothing_or_too_much_are_refused(privacy: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        tiny.settings(privacy=privacy)


TO_HOSPITALS = {"unit": "hospital"}


@pytest.mark.parametrize(
    ("privacy", "changes", "said"),
    [
        ({}, {"algorithm": {"name": "fedbn"}}, "algorithm.name"),
        (TO_HOSPITALS, {"algorithm": {"name": "scaffold"}}, "algorithm.name"),
        (TO_HOSPITALS, {"aggregation": {"rule": "median"}}, "aggregation.rule"),
        (TO_HOSPITALS, {"aggregation": {"clip_norm": 1.0}}, "aggregation.clip_norm"),
        (TO_HOSPITALS, {"aggregation": {"clip_norm": 1.0, "secure": True}}, "aggregation.secure"),
        (TO_HOSPITALS, {"compression": {"up": "quantise"}}, "compression.up"),
        ({}, {"stop": {"patience": 2}}, "stop.patience"),
        ({}, {"stop": {"target": 0.9}}, "stop.target"),
        ({}, {"data": {"preprocessing": "by_site"}}, "data.preprocessing"),
        ({}, {"data": {"preprocessing": "none"}}, "data.preprocessing"),
    ],
)
def test_what_a_promise_cannot_be_combined_with_is_refused(
    privacy: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        soundness.check(settings(privacy, **changes), "binary", is_table=True)


def test_amounts_are_not_standardised_under_a_promise() -> None:
    own = settings()
    with pytest.raises(errors.ConfigError, match=r"data\.standardise_label"):
        soundness.check(own, "regression", is_table=False)
    plain = dataclasses.replace(own, data=dataclasses.replace(own.data, standardise_label=False))
    soundness.check(plain, "regression", is_table=False)


@pytest.mark.parametrize(
    ("study", "said"), [({"tune": True}, "study.tune"), ({"arms": ["federated", "fine_tuned"]}, "study.arms")]
)
def test_a_study_does_not_spend_beyond_a_promise(study: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        soundness.check_study(settings(study=study))


def test_a_promise_is_not_tuned_for() -> None:
    with pytest.raises(errors.ConfigError, match="tuning looks at validation patients"):
        soundness.check_tuning(settings())


def test_of_many_promises_the_ledger_keeps_nothing() -> None:
    many = {f"client {number}": 40 for number in range(60)}
    assert of(promises.made(settings(), many)).ledger(3) == {}


def table(tmp_path: pathlib.Path, bounds: dict[str, Any]) -> config.RunConfig:
    lines = [f"{site},{20 + row},{row % 2}" for site in "ab" for row in range(40)]
    (tmp_path / "own.csv").write_text("\n".join(["site,age,ill", *lines]))
    args = {"path": str(tmp_path / "own.csv"), "site": "site", "label": "ill"}
    tree = config.to_tree(settings({"bounds": bounds})) | {"data": {"name": "table", "args": args}}
    return config.parse(tree | {"model": {"name": "logistic_regression"}})


def test_a_table_of_ones_own_needs_bounds_and_is_scaled_by_nothing_else(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.ConfigError, match=r"privacy.bounds = \{ age = \[low, high\]"):
        checks.check(table(tmp_path, {}))
    with pytest.raises(errors.ConfigError, match="did you mean 'age'"):
        checks.check(table(tmp_path, {"agee": [0, 100]}))
    found = clients.prepare(table(tmp_path, {"age": [0, 100]}))
    assert found.preprocessing is not None
    column = found.preprocessing.shared.columns[0]
    assert (column.mean, column.scale, column.missing) == (50.0, 25.0, True)
