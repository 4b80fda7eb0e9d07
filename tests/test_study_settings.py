"""The tables [study] and [[arms]]: what is read, what is refused in one line, and what a run makes of them."""

import pathlib
from typing import Any

import pytest

from fedmed import cli
from fedmed.settings import config
from fedmed.settings.clock import bits_per_second
from fedmed.study import plan, privacy_price
from fedmed.system import errors

TREE: dict[str, Any] = {
    "name": "x",
    "rounds": 2,
    "data": {"name": "diabetes_ehr"},
    "model": {"name": "logistic_regression"},
    "client": {"learning_rate": 0.1},
}
PROX = {"name": "prox", "set": {"algorithm.name": "fedprox", "algorithm.args.mu": 0.1}}


def parsed(**changes: Any) -> config.RunConfig:
    return config.parse({**TREE, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"study": {"sedes": 3}}, "did you mean 'seeds'"),
        ({"study": {"seeds": 0}}, "study.seeds: expected a number >= 1"),
        ({"study": {"arms": ["fed"]}}, "study.arms: expected a list"),
        ({"study": {"arms": []}}, "study.arms: expected distinct entries"),
        ({"study": {"thresholds": [0.1, 1]}}, "study.thresholds: expected a number > 0.0 and < 1.0, got 1.0"),
        ({"clock": {"uplink": "fast"}}, "clock.uplink"),
        ({"study": {"bands": {"age": [60, 50]}}}, "study.bands.age: expected increasing numbers"),
        ({"study": {"arms": ["local", "recalibrated"]}}, "'recalibrated' is made of the arm 'federated', which is not"),
        (
            {"study": {"recalibration": "slope"}},
            "study.recalibration: expected one of 'intercept', 'intercept and slope'",
        ),
        ({"arms": [{"name": "a", "train": "recalibrated"}]}, r"arms\[0\].train: 'recalibrated' trains no model"),
        ({"arms": [{"name": "boosting_alone"}]}, "'boosting_alone' is taken already"),
        ({"arms": {"name": "x"}}, r"arms: expected tables, \[\[arms\]\]"),
        ({"arms": [{"name": "a/b"}]}, r"arms\[0\].name"),
        ({"arms": [{"name": "local"}]}, "'local' is taken already"),
        ({"arms": [{"name": "compare"}]}, "'compare' is taken already"),
        ({"arms": [PROX, PROX]}, "'prox' is taken already"),
        ({"arms": [{"name": "a", "set": {"seed": 1}}]}, "'seed' is the same for all arms"),
        ({"arms": [{"name": "a", "set": {" seed": 1}}]}, "' seed' is the same for all arms"),
        ({"arms": [{"name": "a", "set": {"client.rate": 1}}]}, "arms, 'a': client.rate: unknown setting"),
        ({"arms": [{"name": "a", "set": {"rounds": 0}}]}, "arms, 'a': rounds: expected a number >= 1"),
        ({"arms": [{"name": "a", "set": {"rounds.x": 0}}]}, "arms, 'a': set: rounds is a value"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.ConfigError, match=words) as raised:
        parsed(**changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "key",
    [
        *("privacy.target_epsilon", "privacy.unit", "privacy. unit", "privacy.noise_multiplier", "privacy", "name"),
        *("data.name", "data", "data.preprocessing", "data.test_fraction", "partition.name", "plugins", "seed"),
        *("arms", "study.seeds", "runtime.lanes", "checkpoint.every", "stop.patience", "model.task"),
    ],
)
def test_the_training_at_a_promise_is_changed_and_neither_the_promise_nor_the_study(key: str) -> None:
    with pytest.raises(errors.ConfigError, match=r"study\.privacy\.set: .* is the study's or the promise's own"):
        parsed(study={"privacy": {"epsilons": [1.0], "set": {key: 1}}})


def test_a_promise_is_trained_with_what_is_set_for_it() -> None:
    told = {"client.learning_rate": 0.5, "privacy.preprocessing_share": 0.1, "privacy.delta": 1e-3, "model.args.l2": 1}
    own = parsed(study={"privacy": {"epsilons": [1.0], "set": told}})
    promised, quiet = privacy_price.promised(own, 1.0), privacy_price.without_noise(own)
    assert (promised.client.learning_rate, quiet.client.learning_rate) == (0.5, 0.5)
    assert (promised.privacy.target_epsilon, promised.privacy.preprocessing_share) == (1.0, 0.1)
    # What is trained without noise has no budget that scaling could have a share of.
    assert (quiet.privacy.noise_multiplier, quiet.privacy.preprocessing_share) == (0.0, 0.0)


def test_a_study_survives_being_written_and_read(tmp_path: pathlib.Path) -> None:
    shaped = parsed(study={"seeds": 2, "bands": {"age_years": [50]}, "thresholds": [0.1]}, arms=[PROX])
    path = tmp_path / "x.toml"
    path.write_text(config.dumps(shaped))
    assert config.load(path) == shaped


def test_an_arm_on_other_data_is_a_study_of_its_own() -> None:
    mild = {"name": "mild", "set": {"data.args.severity": 0.0}}
    scaled = {"name": "scaled", "set": {"data.preprocessing": "by_site"}}
    main, other = plan.scenarios(parsed(arms=[PROX, mild, scaled], study={"leave_one_out": True}))
    built_in = ["federated", "local", "pooled", "recalibrated", "leave_one_out"]
    assert [arm.name for arm in main.arms] == [*built_in, "prox", "scaled"]
    assert main.arms[5].settings.algorithm.name == "fedprox"
    assert main.arms[0].settings.algorithm.name == "fedavg"
    assert other.name == "mild"
    assert {arm.settings.data.args["severity"] for arm in other.arms} == {0.0}
    assert [arm.name for arm in other.arms] == built_in


def test_a_run_takes_no_notice_of_a_study() -> None:
    assert plan.seeds_of(parsed(seed=7, study={"seeds": 3})) == [7, 8, 9]
    assert parsed(study={"seeds": 3}).seed == parsed().seed


def test_an_uplink_is_bits_a_second() -> None:
    assert bits_per_second("10Mbit", "clock.uplink") == 10_000_000
    assert bits_per_second("1.5 Gbit/s", "clock.uplink") == 1_500_000_000
    assert bits_per_second("500kbit", "clock.uplink") == 500_000


@pytest.mark.parametrize("name", ["diabetes_three_hospitals", "diabetes_severity", "twenty_unequal_hospitals", "heart_disease_four_hospitals"])  # fmt: skip  # noqa: E501
def test_the_studies_that_ship_can_be_planned(name: str) -> None:
    settings = config.load(pathlib.Path(__file__).parents[1] / "configs" / f"{name}.toml")
    assert settings.study.question
    assert len(plan.scenarios(settings)) == (3 if name == "diabetes_severity" else 1)


def test_wrong_use_ends_with_one_line(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(config.dumps(parsed()))
    for words in (["--uplink", "slow"], ["--seeds", "0"], ["--sedes", "3"], ["--set", "model.name=mpl"]):
        assert cli.main(["study", str(path), "--out", str(tmp_path / "out"), *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()
