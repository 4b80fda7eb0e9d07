"""Stress: standard scenarios by rules of aggregation, told by Holm's words only, the same again, and on a page."""

import dataclasses
import itertools
import json
import math
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from fedmed import cli
from fedmed.commands.study import COMMAND, _command, _overrides
from fedmed.data.examples import Dataset, Examples, Feature
from fedmed.engine import fates
from fedmed.engine.scenarios import scenarios
from fedmed.reporting.display import verdicts
from fedmed.reporting.page import write_study
from fedmed.settings import config, registry
from fedmed.statistics import metrics
from fedmed.study import conduct, contenders, hardships, plan, results, stress, stress_words
from fedmed.study.consortium import Consortium
from fedmed.study.hardships import STANDARD, Circumstances, NotHereError
from fedmed.study.judged_words import Words
from fedmed.study.measures import measures
from fedmed.study.schema import Findings
from fedmed.study.schema.contested import Judged
from fedmed.study.schema.shapes import Estimate
from fedmed.study.schema.stressed import StressCell, StressRow
from fedmed.study.trainer import Trainer
from fedmed.system import errors, plain

ROOT = pathlib.Path(__file__).parent.parent

TREE: dict[str, Any] = {
    "name": "tiny",
    "rounds": 3,
    "data": {"name": "diabetes_ehr", "args": {"patients": 0.1}, "preprocessing": "by_site"},
    "model": {"name": "logistic_regression"},
    "client": {"learning_rate": 0.2, "batch_size": 32},
    "runtime": {"lanes": 1},
}
STUDY = {"seeds": 2, "draws": 100, "minimum_events": 5, "reference": False, "arms": ["federated"]}
LARGEST, MIDDLE = "urban_teaching", "safety_net"


def settings(stress: dict[str, Any], **changes: Any) -> config.RunConfig:
    study = {**STUDY, **changes.pop("study", {}), "stress": {"run": True, **stress}}
    return config.parse({**TREE, **changes, "study": study})


SMALL = {"rules": ["mean", "median"], "scenarios": ["boosted", "slow_line_deadline", "largest_leaves"], "seeds": 1}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, dict[str, Any]]:
    """A finished study with three scenarios and two rules."""
    out = tmp_path_factory.mktemp("stress") / "out"
    return out, conduct.run(settings(SMALL), out, quiet=True, here=True)


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    return Consortium(settings({}))


# --- What is trained


def test_all_standard_scenarios_are_made_from_rounds_and_data(consortium: Consortium) -> None:
    asked = settings({}, rounds=9)
    _, found, left_out = stress.standing(hardships.circumstances(asked, consortium, 0.4))
    assert list(found) == list(STANDARD)
    assert not left_out
    made = {name: [(one.name, one.clients, dict(one.args)) for one in own.mishaps] for name, own in found.items()}
    assert made["as_planned"] == []
    assert made["largest_leaves"] == [("absent", (LARGEST,), {})]
    assert found["largest_leaves"].mishaps[0].after == 3
    assert found["dropout"].mishaps[0].chance == 0.3
    assert made["largest_late"] == [("late", (LARGEST,), {"by": 2})]
    assert made["partial_work"] == [("partial_work", (), {"least": 0.1, "most": 1.0})]
    assert made["slow_line"] == [("slow", (LARGEST,), {"times": 10.0, "uplink": "1000000bit"})]
    assert made["slow_line_deadline"] == made["slow_line"]
    assert (found["slow_line"].clock, found["slow_line_deadline"].clock) == ({"deadline": None}, {"deadline": 0.8})
    assert made["wrong_units"] == [("wrong_units", (MIDDLE,), {"column": "fasting_glucose_mg_dl", "times": 18.0})]
    for name in ("labels_flipped", "sign_flipped", "boosted", "not_a_number"):
        assert found[name].mishaps[0].clients == (MIDDLE,)


def test_scenarios_come_after_the_configs_own_and_keep_its_clock(consortium: Consortium) -> None:
    own = {"name": "late", "clients": [LARGEST]}
    asked = settings({"scenarios": ["boosted"]}, scenario=[own], clock={"deadline": 99.0})
    found = stress.scenario(asked, consortium)
    by = {arm.name: arm.settings for arm in found.arms}
    assert [one.name for one in by["boosted+mean"].scenario] == ["late", "boost"]
    assert by["boosted+mean"].clock == asked.clock
    assert by["as_planned+mean"] == asked
    assert by["as_planned+median"].aggregation.rule == "median"


def test_the_configs_own_rule_keeps_its_arguments_and_others_get_what_they_require(consortium: Consortium) -> None:
    asked = settings({"rules": ["trimmed_mean", "mean"]}, aggregation={"rule": "trimmed_mean", "args": {"share": 0.4}})
    rules = {arm.settings.aggregation.rule: arm.settings.aggregation for arm in stress.scenario(asked, consortium).arms}
    assert rules["trimmed_mean"].args == {"share": 0.4}
    assert rules["mean"].args == {}
    own = stress.aggregation(config.Aggregation(weighting="uniform"), "krum")
    assert (own.args, own.weighting) == ({"corrupted": 1}, "uniform")


def test_fewer_seeds_are_trained_and_jobs_of_one_recording_come_together(consortium: Consortium) -> None:
    found = stress.scenario(settings({"seeds": 2}, study={"seeds": 5}), consortium)
    jobs = stress.jobs(found, consortium, "auroc")
    assert {job.settings.seed for job in jobs} == {0, 1}
    assert len(jobs) == 12 * 3 * 2
    groups = [stress.recording(job.settings) for job in jobs]
    assert len(set(groups)) == 3 * 4
    assert sum(a != b for a, b in itertools.pairwise(groups)) == 3 * 4 - 1


def test_a_searched_rate_of_the_federated_arm_is_every_scenarios(consortium: Consortium) -> None:
    jobs = stress.jobs(stress.scenario(settings(SMALL), consortium), consortium, "auroc")
    client = dataclasses.replace(jobs[0].settings.client, learning_rate=0.7)
    trained = plan.Job("federated-0", "federated", "federated", dataclasses.replace(jobs[0].settings, client=client))
    found = stress.at_rates(jobs, [trained])
    assert {job.settings.client.learning_rate for job in found} == {0.7}
    shared = {job.arm: job.name for job in contenders.shared(found, [dataclasses.replace(trained, metric="auroc")])}
    assert shared["as_planned+mean"] == "federated-0"
    assert shared["boosted+mean"] == "stress-boosted+mean-0"


@pytest.mark.parametrize(
    ("asked", "changes", "said"),
    [
        ({"scenarios": ["boostd"]}, {}, "study.stress.scenarios: unknown standard scenario 'boostd' (did you mean"),
        ({"rules": ["mean", "medain"]}, {}, "study.stress.rules: unknown rule of aggregation 'medain' (did you mean"),
        ({"rules": ["mean", "mean"]}, {}, "study.stress.rules: expected distinct rules"),
        ({"rules": []}, {}, "study.stress.rules: expected distinct rules, at least one"),
        ({"rules": ["mean", "krum"]}, {}, "study.stress, 'krum': aggregation.args.corrupted: 'krum' needs 2 x 1 + 3"),
        (
            {"rules": ["mean", "median"]},
            {"algorithm": {"name": "scaffold"}},
            "study.stress, 'median': aggregation.rule",
        ),
        ({}, {"compression": {"down": "quantise"}}, "study.stress, 'largest_late': compression.down"),
    ],
)
def test_what_cannot_be_is_one_line_before_training(
    asked: dict[str, Any], changes: dict[str, Any], said: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(errors.ConfigError) as told:
        conduct.run(settings(asked, **changes), tmp_path / "out", quiet=True, here=True)
    assert str(told.value).startswith(said), told.value
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_what_the_config_has_already_is_left_out(consortium: Consortium) -> None:
    """urban_teaching leaves after round 1 by the config, so that leaving after a third of the rounds adds nothing."""
    gone = settings({}, rounds=9, scenario=[{"name": "absent", "clients": [LARGEST], "after": 1}])
    _, found, left_out = stress.standing(hardships.circumstances(gone, consortium, 0.4))
    assert list(left_out) == ["largest_leaves"]
    assert left_out["largest_leaves"].startswith("the config's own scenario has it already")
    assert "largest_late" in found


@pytest.mark.parametrize(
    ("own", "left_out", "why"),
    [
        ({"name": "label_flip", "clients": [MIDDLE]}, ["labels_flipped"], "has label_flip there already, and the two"),
        ({"name": "label_flip", "args": {"share": 0.5}}, ["labels_flipped"], "has label_flip there already, and the"),
        ({"name": "label_flip", "clients": [LARGEST]}, [], ""),
        ({"name": "boost", "clients": [MIDDLE]}, ["sign_flipped", "boosted"], "has boost there already, and the two"),
        (
            {"name": "not_a_number", "clients": [MIDDLE]},
            ["sign_flipped", "boosted", "not_a_number"],
            "own scenario has",
        ),
        ({"name": "not_a_number", "clients": [LARGEST]}, [], ""),
        (
            {"name": "wrong_units", "clients": [MIDDLE], "args": {"column": "fasting_glucose_mg_dl", "times": 2.0}},
            ["wrong_units"],
            "has wrong_units there already",
        ),
        ({"name": "wrong_units", "clients": [MIDDLE], "args": {"column": "age", "times": 2.0}}, [], ""),
    ],
    ids=str,
)
def test_what_would_mix_with_the_configs_own_is_left_out(
    own: dict[str, Any], left_out: list[str], why: str, consortium: Consortium
) -> None:
    found = stress.standing(hardships.circumstances(settings({}, rounds=9, scenario=[own]), consortium, 0.4))
    assert list(found.left_out) == left_out
    assert all(why in told for told in found.left_out.values())


def test_nobody_leaves_after_the_only_round(consortium: Consortium) -> None:
    assert (
        "largest_leaves" in stress.standing(hardships.circumstances(settings({}, rounds=1), consortium, 0.4)).left_out
    )


@pytest.mark.parametrize(
    ("own", "times"),
    [
        ([], 1),
        ([{"name": "absent", "clients": ["largest"], "until": 2}, {"name": "late", "clients": ["largest"]}], 1),
        ([{"name": "absent", "chance": 0.99}, {"name": "partial_work"}, {"name": "boost"}], 1),
        ([{"name": "slow", "args": {"times": 2.0}}, {"name": "slow", "args": {"times": 5.0}, "chance": 0.9}], 2),
    ],
    ids=["none", "away or late", "at random", "slow"],
)
def test_a_round_as_planned_is_one_without_the_configs_own_trouble(
    own: list[dict[str, Any]], times: int, consortium: Consortium
) -> None:
    clock = {"uplink": "1Gbit", "downlink": "1Gbit", "rows_per_second": 1.0}  # what is sent takes next to no time
    found = stress.scenario(settings({}, scenario=own, clock=clock), consortium)
    trainer = Trainer(consortium)

    def train(jobs: list[plan.Job]) -> dict[str, results.Result]:
        return {job.name: trainer.run(job) for job in jobs}

    seconds = stress.round_seconds(found, stress.jobs(found, consortium, "auroc"), train)
    largest = max(len(rows.train) for rows in consortium.rows(0).values())
    assert seconds == pytest.approx(times * largest, abs=0.1)


def test_training_that_diverged_as_planned_has_no_figure_and_sets_no_target(tmp_path: pathlib.Path) -> None:
    """Updates that are not finite are refused, so that predictions stay numbers whatever training does."""
    asked = {"rules": ["mean"], "scenarios": ["boosted", "slow_line"], "seeds": 1}
    own = settings(asked, client={"learning_rate": 1e3, "batch_size": 32}, study={"arms": ["federated", "pooled"]})
    found = conduct.run(own, tmp_path / "out", quiet=True, here=True)
    told = found["stress"]
    assert told["summary"].startswith("As planned by mean, training diverged, so nothing is said")
    planned = told["scenarios"]["as_planned"]["rules"]["mean"]
    assert planned["diverged"] == [0]
    assert planned["mean"]["estimate"] is None
    slow = told["scenarios"]["slow_line"]["rules"]["mean"]  # the same models
    assert (slow["diverged"], slow["mean"]) == ([0], planned["mean"])
    assert told["target"] is None
    assert found["communication"]["target"] is None


def test_wrong_units_are_a_tables_of_the_column_that_is_most_like_glucose() -> None:
    def place(*features: Feature) -> Circumstances:
        dataset = Dataset("own", Examples(np.zeros((2, 2)), np.array([0, 1])), "binary", 2, features=features)
        return Circumstances(settings({}), dataset, {"a": 1, "b": 1})

    sex = Feature("sex", levels=("f", "m"))
    columns = {
        "sugar": place(sex, Feature("age"), Feature("sugar", "mg/dL")),
        "Glucose": place(Feature("hdl", "mg/dL"), Feature("Glucose", "mmol/L")),
        "age": place(sex, Feature("age"), Feature("bmi")),
    }
    for column, at in columns.items():
        assert STANDARD["wrong_units"](at).mishaps[0].args["column"] == column
    for nowhere in (place(), place(sex)):
        with pytest.raises(NotHereError):
            STANDARD["wrong_units"](nowhere)
        assert list(stress.standing(nowhere).left_out) == ["wrong_units"]


def test_the_command_is_recorded_as_it_was_given() -> None:
    values, _ = COMMAND.parse(["c.toml", "--stress"])
    assert _overrides(values) == ["study.stress.run=true"]
    assert _command("c.toml", values) == "fedmed study c.toml --stress"


def readme_command() -> list[str]:
    """Returns the words of README's command, after `fedmed study`."""
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.endswith("--stress"))
    return line.split("fedmed study ")[1].split()


@pytest.mark.slow
def test_the_command_of_the_readme_runs(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With fewer rounds, patients and seeds, by training processes as a user has them."""
    name, flag = readme_command()
    small = ("rounds=2", "study.seeds=1", "data.args={ patients = 0.2 }", "study.reference=false", "study.draws=100")
    words = ["study", str(ROOT / name), flag, "--out", str(tmp_path / "out")]
    assert cli.main([*words, *(word for text in small for word in ("--set", text))]) == 0
    told = capsys.readouterr().out
    assert "By mean, " in told
    assert "\nurban_teaching leaves: mean 0." in told
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_command_of_the_readme_is_planned() -> None:
    values, (name,) = COMMAND.parse(readme_command())
    asked = config.load(ROOT / name, _overrides(values))
    assert len(stress.scenario(asked, Consortium(asked)).arms) == 12 * 3


# --- What is found


def test_a_cell_is_worked_by_hand_from_the_jobs_results(done: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, study = done
    found, own = study["stress"], settings(SMALL)
    consortium = Consortium(own)
    assert set(found["over"]) == {LARGEST, MIDDLE}

    def scores(name: str) -> dict[str, float]:
        with np.load(results.path_of(out / "jobs", name)) as job:
            p = [job[f"p{place:05d}"] for place in range(len(consortium.hospitals))]
        rows = consortium.rows(0)
        y = [consortium.dataset.examples.y[rows[name].test] for name in consortium.hospitals]
        told = zip(consortium.hospitals, y, p, strict=True)
        return {name: float(metrics.score("binary", "auroc", a, b)) for name, a, b in told if name in found["over"]}

    planned, boosted = scores("federated-0"), scores("stress-boosted+mean-0")
    cell = found["scenarios"]["boosted"]["rules"]["mean"]
    for name, value in boosted.items():
        assert math.isclose(cell["hospitals"][name]["estimate"], value, abs_tol=1e-9)
    assert math.isclose(cell["mean"]["estimate"], np.mean(list(boosted.values())), abs_tol=1e-9)
    difference = np.mean([boosted[name] - planned[name] for name in boosted])
    assert math.isclose(cell["difference"]["estimate"], difference, abs_tol=1e-9)
    assert cell["worst"]["hospital"] == min(boosted, key=lambda name: boosted[name])
    withheld = next(name for name in consortium.hospitals if name not in found["over"])
    assert cell["hospitals"][withheld]["estimate"] is None


def test_as_planned_by_the_configs_rule_is_the_studys_own_model(done: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, study = done
    names = {path.stem for path in (out / "jobs").glob("*.npz")}
    assert "stress-as_planned+mean-0" not in names
    assert {"federated-0", "federated-1", "stress-as_planned+median-0", "stress-boosted+median-0"} <= names
    assert study["stress"]["seeds"] == [0]
    assert study["stress"]["scenarios"]["as_planned"]["rules"]["mean"]["difference"] is None


def test_words_are_of_one_family(done: tuple[pathlib.Path, dict[str, Any]]) -> None:
    cells = [own["difference"] for row in done[1]["stress"]["scenarios"].values() for own in row["rules"].values()]
    tested = sorted((own for own in cells if own is not None), key=lambda own: own["p_value"])
    assert len(tested) == 2 * 4 - 1
    assert "over all 7 differences" in done[1]["stress"]["method"]
    running = 0.0
    for place, own in enumerate(tested):
        running = max(running, min(1.0, own["p_value"] * (len(tested) - place)))
        assert math.isclose(own["p_adjusted"], running)
        assert (own["word"] in ("better", "worse")) == (running <= 0.05 and own["estimate"] != 0)


def test_the_slow_one_misses_a_deadline_that_all_others_keep(done: tuple[pathlib.Path, dict[str, Any]]) -> None:
    rows = done[1]["stress"]["scenarios"]
    planned, late = rows["as_planned"]["rules"]["mean"], rows["slow_line_deadline"]["rules"]["mean"]
    deadline = rows["slow_line_deadline"]["set"]["clock.deadline"]
    assert math.isclose(deadline, 2 * planned["clock_seconds"] / TREE["rounds"], rel_tol=0.01)
    assert math.isclose(late["clock_seconds"], deadline * TREE["rounds"])
    (missed,) = late["missed"]
    assert missed.startswith(f"{LARGEST}, ")
    assert "did in 0: missed the deadline (3 rounds)" in missed
    (left,) = rows["largest_leaves"]["rules"]["median"]["missed"]
    assert "left after round 1 (2 rounds)" in left


def test_the_same_stress_gives_the_same_study(done: tuple[pathlib.Path, dict[str, Any]]) -> None:
    out, study = done
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*.npz")}
    again = conduct.run(settings(SMALL), out, quiet=True, here=True)
    assert json.dumps(again) == json.dumps(study)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*.npz")} == before


def test_the_study_is_of_its_types_and_page_and_console_say_what_happened(
    done: tuple[pathlib.Path, dict[str, Any]],
) -> None:
    out, study = done
    plain.from_plain(Findings, study)
    write_study(study, out)
    page = (out / "report.md").read_text()
    wanted = ("## When things go wrong", "When things go wrong: By mean,", f"boosted at {MIDDLE}", "Baruch et al. 2019")
    for said in (*wanted, "no proof that a rule holds", "missed the deadline", "the study's first seed"):
        assert said in page, said
    told = verdicts(study)
    assert any(re.fullmatch(rf"boosted at {MIDDLE}: mean 0\.\d+.*, median 0\.\d+.*", line) for line in told)


# --- What is said


def cell(word: str, value: float, p: float, half: float = 0.01) -> StressCell:
    none = Estimate(None, None, None, "", "")
    told = Judged(value, value - half, value + half, "", "", p, p, word)  # type: ignore[arg-type]
    seeds = (1,) if word == "no figure" else ()
    return StressCell({}, none, None, told, seeds, None, 1.0, ())


def row(label: str, **rules: StressCell) -> StressRow:
    return StressRow(label, "", None, {}, rules)


WORDS = Words(measures("binary", 0.9, "auroc")[0], 0.95, "mean", 2, 5)


def test_the_summary_says_harm_by_adjusted_evidence_only() -> None:
    rows = {
        "as_planned": row("as planned", mean=cell("undecided", 0.0, 1.0), median=cell("worse", -0.04, 0.01)),
        "a": row("A happens", mean=cell("worse", -0.2, 0.001), median=cell("undecided", -0.02, 0.9)),
        "b": row("B happens", mean=cell("undecided", -0.3, 0.06), median=cell("undecided", 0.0, 1.0)),
        "c": row("C happens", mean=cell("worse", -0.1, 0.001), median=cell("worse", -0.1, 0.001)),
        "d": row("D happens", mean=cell("no figure", 0.0, 1.0), median=cell("undecided", 0.0, 1.0)),
    }
    said = stress_words.summary(rows, WORDS)
    assert "worse than as planned in “A happens” (-0.200 (-0.210 to -0.190), worse) and “C happens” (-0.100" in said
    before, harm = said.split("The interval by itself has harm ")
    assert "B happens" not in before
    assert harm.startswith("by mean in “B happens” (-0.300 (-0.310 to -0.290), undecided) and by median in “A happens”")
    assert "By mean, training diverged in “D happens” (at 1 of 5 seeds)" in said
    assert "By median, as planned it is shown to be worse than mean, -0.040 (-0.050 to -0.030), worse" in said
    assert "not shown to be worse in “A happens” (-0.020 (-0.030 to -0.010), undecided) and “D happens” (0.000" in said
    assert "; it is worse too, or diverged, in “C happens” (-0.100 (-0.110 to -0.090), worse)." in said
    assert "robust" not in said
    assert said.endswith("it is no proof that a rule holds.")


def test_noise_alone_names_no_scenario() -> None:
    noise = {"mean": cell("undecided", -0.1, 0.2, 0.15), "median": cell("undecided", 0.1, 0.2, 0.15)}
    said = stress_words.summary({"as_planned": row("as planned", **noise), "a": row("A happens", **noise)}, WORDS)
    assert "in none of 1 scenario" in said
    assert "A happens" not in said


# --- The page docs/hard.md


def page() -> str:
    return (ROOT / "docs" / "hard.md").read_text()


def test_the_configs_of_the_page_are_read_and_fit(tmp_path: pathlib.Path) -> None:
    found = dict(re.findall(r'^```toml title="([^"]+)"\n(.*?)^```$', page(), re.MULTILINE | re.DOTALL))
    asked = {}
    for name, text in found.items():
        (tmp_path / name).write_text(text)
        asked[name] = config.load(tmp_path / name, ["data.args={ patients = 0.1 }"])
    consortium = Consortium(asked["hard.toml"])
    fates.check(asked["hard.toml"], consortium.dataset, consortium.patients_held())
    assert len(stress.scenario(asked["stress.toml"], consortium).arms) == 4 * 3


def test_the_page_has_every_registered_scenario_with_its_arguments_and_every_standard_one() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\| [^|]* \|$", page(), re.MULTILINE))
    assert set(scenarios.names()) <= set(table)
    for name in scenarios.names():
        told = re.findall(r"`(\w+)`(?: \(([^)]*)\))?", table[name])
        own = registry.settable(scenarios.get(name))
        assert [argument for argument, _ in told] == list(own), name
        for argument, default in told:
            if default:
                assert float(default) == own[argument].default, (name, argument)
    assert re.findall(r"^\| `(\w+)` \| [^|]* \|$", page().split("What trouble does")[1], re.MULTILINE) == list(STANDARD)


def test_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "scenarios"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("scenarios: [[scenario]] name = ..., arguments in args = { ... }\n")
    assert all(f"\n  {name}\n" in shown for name in scenarios.names())
    assert "- by: a whole number, default 1" in shown
