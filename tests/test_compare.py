"""Algorithms compared: tuned by one grid, told apart by Holm's words only, left out in a sentence, the same again."""

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest

from fedmed import cli
from fedmed.commands.study import COMMAND, _command, _overrides
from fedmed.reporting.display import verdicts
from fedmed.reporting.page import write_study
from fedmed.settings import config
from fedmed.statistics import difference_interval, mean_interval
from fedmed.statistics.resampling import Spread
from fedmed.study import conduct, contenders, contest_words, judging, measures, plan, presets
from fedmed.study.judged_words import Words
from fedmed.study.schema import Findings
from fedmed.study.schema.contested import Contrast, Judged
from fedmed.study.schema.shapes import TestedDifference
from fedmed.study.tuning.halving import SHORT, Candidate, Halving, Trial, budgets
from fedmed.system import errors, plain

ROOT = pathlib.Path(__file__).parent.parent

TREE: dict[str, Any] = {
    "name": "tiny",
    "rounds": 4,
    "data": {"name": "diabetes_ehr", "args": {"patients": 0.1}, "preprocessing": "by_site"},
    "model": {"name": "logistic_regression"},
    "client": {"learning_rate": 0.2, "batch_size": 16},
    "runtime": {"lanes": 1},
}
STUDY = {"seeds": 1, "draws": 100, "minimum_events": 5, "reference": False, "arms": ["federated", "pooled"]}


def settings(*compare: str, **changes: Any) -> config.RunConfig:
    study = {**STUDY, **changes.pop("study", {}), "compare": list(compare)}
    return config.parse({**TREE, **changes, "study": study})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, dict[str, Any]]:
    """A finished comparison of three algorithms, one of which is not for the model."""
    out = tmp_path_factory.mktemp("compare") / "out"
    return out, conduct.run(settings("fedavg", "fedprox", "fedbn", "fedavgm"), out, quiet=True, here=True)


# --- Who takes part


def test_names_are_the_registered_ones_and_the_fields_for_servers() -> None:
    own = settings("fedavg", "local", "fedadam", "fedprox")
    found = contenders.scenario(own)
    assert [arm.name for arm in found.arms] == ["fedavg", "fedadam", "fedprox", "local"]
    assert [arm.settings.server.optimizer for arm in found.arms] == ["average", "adam", "average", "average"]
    assert found.arms[0].settings == own
    assert found.arms[2].settings.algorithm.args == {"mu": 0.1}
    assert presets.grid(found.arms[1].settings) == {"server.learning_rate": [0.01, 0.032, 0.1]}


def test_the_configs_own_arguments_win() -> None:
    own = settings("fedavg", "fedprox", "fedadam", algorithm={"name": "fedprox", "args": {"mu": 3.0}},
                   server={"optimizer": "adam", "learning_rate": 0.5, "tau": 0.01})  # fmt: skip
    fedavg, fedprox, fedadam, _ = (arm.settings for arm in contenders.scenario(own).arms)
    assert fedprox.algorithm.args == {"mu": 3.0}
    assert (fedavg.server, fedprox.server) == (config.Server(), config.Server())
    assert (fedadam.algorithm.name, fedadam.server) == ("fedavg", own.server)


@pytest.mark.parametrize(
    ("compare", "changes", "said"),
    [
        (["fedavg", "fedporx"], {}, "study.compare: unknown algorithm 'fedporx' (did you mean 'fedprox'?)"),
        (["local"], {}, "study.compare: expected an algorithm besides 'local'"),
        (["fedavg", "fedavg"], {}, "study.compare: expected distinct algorithms"),
        (
            ["fedavg", "scaffold"],
            {"client": {"learning_rate": 0.1, "optimizer": "adam"}},
            "study.compare, 'scaffold': client.optimizer: scaffold is defined for 'sgd', got 'adam'",
        ),
        (["fedavg"], {"privacy": {"unit": "hospital", "noise_multiplier": 1.0}}, "study.compare: tunes each"),
    ],
)
def test_what_cannot_be_compared_is_one_line_before_training(
    compare: list[str], changes: dict[str, Any], said: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(errors.ConfigError) as told:
        conduct.run(settings(*compare, **changes), tmp_path / "out", quiet=True, here=True)
    assert str(told.value).startswith(said)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_the_command_is_recorded_as_it_was_given() -> None:
    values, _ = COMMAND.parse(["c.toml", "--compare=fedavg, fedadam"])
    assert _overrides(values) == ['study.compare=["fedavg", "fedadam"]']
    assert _command("c.toml", values) == "fedmed study c.toml --compare=fedavg,fedadam"


def readme_command() -> list[str]:
    """Returns the words of README's command that compares algorithms, after `fedmed study`."""
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if "--compare=" in line)
    return line.split("fedmed study ")[1].split()


def test_the_command_of_the_readme_is_planned() -> None:
    values, (name,) = COMMAND.parse(readme_command())
    asked = config.load(ROOT / name, _overrides(values))
    found = contenders.scenario(asked)
    assert [arm.name for arm in found.arms] == ["fedavg", "fedprox", "scaffold", "fednova", "fedadam", "local"]


@pytest.mark.slow
def test_the_command_of_the_readme_runs(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With fewer rounds, patients and seeds, by training processes as a user has them."""
    name, *flags = readme_command()
    small = ("rounds=2", "study.seeds=2", "data.args={ patients = 0.2 }", "study.reference=false", "study.draws=100")
    words = ["study", str(ROOT / name), *flags, "--out", str(tmp_path / "out")]
    assert cli.main([*words, *(word for text in small for word in ("--set", text))]) == 0
    told = capsys.readouterr().out
    assert "In mean AUROC over" in told
    assert "scaffold: " in told
    assert (tmp_path / "out" / "report.html").is_file()


# --- Tuned alike


def test_a_short_search_chooses_after_half_of_the_rounds() -> None:
    known: dict[Trial, float] = {}
    halving = Halving(1, budgets(40, SHORT), SHORT)
    while trials := halving.next(known):
        known |= {trial: (trial.candidate.step - 1) ** 2 for trial in trials}
    by_rounds = {n: sorted(t.candidate.step for t in known if t.rounds == n) for n in (5, 20)}
    assert by_rounds == {5: [-2, -1, 0, 1, 2], 20: [0, 1]}
    assert halving.chosen(known) == Candidate(0, 1)


def test_all_arms_are_searched_by_one_grid(done: tuple[pathlib.Path, dict[str, Any]]) -> None:
    """Each begins with the five rates around the config's; beyond these a grid only grows at an end."""
    out, study = done
    names = [path.name for path in (out / "tuning").glob("*-round2.npz")]
    for arm in ("fedavg-0", "fedprox-0", "local-0-safety_net", "local-0-urban_teaching"):
        rates = {float(name.split("-rate")[1].split("-seed")[0]) for name in names if name.startswith(f"compare-{arm}")}
        assert rates >= {0.0431, 0.0928, 0.2, 0.431, 0.928}
        server = {float(name.split("-rate")[1].split("-seed")[0]) for name in names if "fedavgm" in name}
        assert server >= {0.0431, 0.0928, 0.2, 0.431, 0.928}
    told = {(own["arm"], own["hospital"]): own for own in study["contest"]["tuned"]}
    assert {arm for arm, _ in told} == {"fedavg", "fedprox", "fedavgm", "local"}
    assert told["fedavgm", None]["trials"][0] >= 3 * 5
    assert told["fedavgm", None]["set"][0]["server.learning_rate"] in (0.32, 1.0, 3.2)
    assert told["fedavg", None]["rounds"][0] == 2 * told["fedavg", None]["trials"][0]


# --- What is shown


def test_words_are_holms_worked_by_hand() -> None:
    """p of 0.01, 0.02, 0.03, and 0.9: times 4, 3, 2, 1, never falling: 0.04, 0.06, 0.06, 0.9."""
    auroc = measures.measures("binary", 0.9, "auroc")[0]
    loss = measures.measures("binary", 0.9, "loss")[0]
    ps = {"a": 0.02, "b": 0.01, "c": None, "d": 0.9, "e": 0.03}
    family = {
        name: TestedDifference(None if p is None else 0.1, 0.0, 0.2, "", "", p) for name, p in ps.items()
    }  # fmt: skip
    found = judging.judged(family, auroc, 0.95)
    adjusted = {name: own.p_adjusted for name, own in found.items()}
    assert adjusted["c"] is None
    np.testing.assert_allclose([adjusted[n] or math.nan for n in "abde"], [0.06, 0.04, 0.9, 0.06])
    words = {name: own.word for name, own in found.items()}
    assert words == {"a": "undecided", "b": "better", "c": "no figure", "d": "undecided", "e": "undecided"}
    assert judging.judged(family, loss, 0.95)["b"].word == "worse"


def test_an_interval_that_leaves_out_0_is_told_though_its_word_is_undecided() -> None:
    auroc = measures.measures("binary", 0.9, "auroc")[0]
    said = Words(auroc, 0.95, "fedavg", 3, 5)

    def contrast(arm: str, low: float, high: float) -> Contrast:
        mean = Judged((low + high) / 2, low, high, "", "", 0.03, 0.3, "undecided")
        return Contrast(arm, "fedavg", mean, {})

    above, over, below = contrast("a", 0.01, 0.05), contrast("b", -0.01, 0.05), contrast("c", -0.05, -0.01)
    told = contest_words.summary([above, over, below], [over], said, tuned=False)
    assert "In mean AUROC over 3 hospitals none of a, b and c is shown to be better or worse than fedavg." in told
    assert "The interval by itself has a better than fedavg and c worse than fedavg, which is not enough" in told
    assert "b is not shown to be better or worse than each hospital alone." in told
    loss = said._replace(metric=measures.measures("binary", 0.9, "loss")[0])
    turned = contest_words.summary([above, below], [over], loss, tuned=True)
    assert "has c better than fedavg and a worse than fedavg" in turned
    assert ("models, trained at the config's rates" in told, "at the config's rates" in turned) == (True, False)


def test_the_mean_over_hospitals_worked_by_hand() -> None:
    """Two hospitals, one seed: the variances add up, each with its own patients' degrees of freedom."""
    spreads = [Spread(np.array([0.3]), 0.04, 0.0), Spread(np.array([0.1]), 0.01, 0.0)]
    found = mean_interval(spreads, [11, 101], 0.95)
    assert found is not None
    assert found.error is not None
    assert found.df is not None
    one, two = 0.04 * 11 / 10 / 4, 0.01 * 101 / 100 / 4
    assert math.isclose(found.estimate, 0.2)
    assert math.isclose(found.error**2, one + two)
    assert math.isclose(found.df, (one + two) ** 2 / (one**2 / 10 + two**2 / 100))
    assert mean_interval([], [], 0.95) is None


def test_a_mean_of_one_hospital_is_that_hospitals_difference() -> None:
    spread = Spread(np.array([0.3, 0.1, 0.2]), 0.004, 0.001)
    alone, mean = difference_interval(spread, 40, 0.95), mean_interval([spread], [40], 0.95)
    assert alone is not None
    assert mean is not None
    np.testing.assert_allclose([mean.estimate, mean.low, mean.high], [alone.estimate, alone.low, alone.high])


def test_every_algorithm_is_set_against_the_first_and_against_each_hospital_alone(
    done: tuple[pathlib.Path, dict[str, Any]],
) -> None:
    found = done[1]["contest"]
    assert list(found["arms"]) == ["fedavg", "fedprox", "fedavgm", "local"]
    assert [(one["arm"], one["against"]) for one in found["to_first"]] == [("fedprox", "fedavg"), ("fedavgm", "fedavg")]
    assert [one["arm"] for one in found["to_local"]] == ["fedavg", "fedprox", "fedavgm"]
    means = {arm: own["mean"]["estimate"] for arm, own in found["arms"].items()}
    for one in (*found["to_first"], *found["to_local"]):
        assert math.isclose(one["mean"]["estimate"], means[one["arm"]] - means[one["against"]], abs_tol=1e-9)
        assert one["mean"]["word"] == "undecided" or one["mean"]["p_adjusted"] <= 0.05
    for arm in ("fedavg", "fedprox", "fedavgm"):
        own = found["arms"][arm]
        told = {name: one["estimate"] for name, one in own["hospitals"].items() if one["estimate"] is not None}
        assert own["worst"]["value"] == min(told.values())
        assert own["sent"]["bytes_per_hospital"] == 4 * own["sent"]["bytes_per_round"]


def test_what_is_not_for_the_model_is_left_out_and_said(done: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, study = done
    assert study["contest"]["left_out"] == {"fedbn": "fedbn keeps BatchNormalization at home, and the model has none"}
    assert not list((out / "tuning").glob("compare-fedbn*"))
    assert any(line.startswith("fedbn: left out") for line in verdicts(study))


def test_the_verdicts_arms_stay_as_they_are_and_alike_models_are_trained_once(
    done: tuple[pathlib.Path, dict[str, Any]],
) -> None:
    out, study = done
    assert [arm["name"] for arm in study["design"]["arms"]] == ["federated", "pooled"]
    rate = next(own for own in study["contest"]["tuned"] if own["arm"] == "fedavg")["learning_rates"][0]
    assert (out / "jobs" / "compare-fedavg-0.npz").exists() == (rate != 0.2)
    own = plan.jobs(contenders.scenario(settings("fedavg")), ("a", "b"), "auroc")[0]
    trained = dataclasses.replace(own, arm="federated", name="federated-0")
    assert [(job.name, job.arm) for job in contenders.shared([own], [trained])] == [("federated-0", "fedavg")]


def test_the_same_comparison_gives_the_same_study(done: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, study = done
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*.npz")}
    again = conduct.run(settings("fedavg", "fedprox", "fedbn", "fedavgm"), out, quiet=True, here=True)
    assert json.dumps(again) == json.dumps(study)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*.npz")} == before


def test_the_study_is_of_its_types_and_its_page_says_what_was_compared(
    done: tuple[pathlib.Path, dict[str, Any]],
) -> None:
    out, study = done
    plain.from_plain(Findings, study)
    write_study(study, out)
    page = (out / "report.md").read_text()
    for said in ("## Which algorithm", "Left out: fedbn keeps", "mean over hospitals", "no test row is looked at",
                 "not ranked", "worst hospital", "What was chosen", "were searched for each alike",
                 "searched for the algorithms compared", "those of the algorithms compared were"):  # fmt: skip
        assert said in page, said
    assert "all arms have the config's" not in page
    html = (out / "report.html").read_text()
    assert 'id="algorithms"' in html
