"""An exported job trains what fedmed trains, with code of its own; what cannot be exported is refused by name."""

import ast
import json
import os
import pathlib
import py_compile
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedmed import cli
from fedmed.export import exportable, exported, job_files, site_files, verification
from fedmed.export.exported import Exported
from fedmed.export.fedmed_job import (
    by_file,
    predict,
    rounds,
    server_step,
    shared_sums,
    site_part,
    site_rows,
    site_scores,
)
from fedmed.export.fedmed_job import job as jobs
from fedmed.export.fedmed_job.job import Column, Job, JobError, Label, Local, Reading, Server
from fedmed.learning import servers
from fedmed.learning.values import Weights
from fedmed.settings import config

ROOT = pathlib.Path(__file__).parent.parent
DIABETES = ("--set", "data.args.patients=0.05")
CONFIG = str(ROOT / "configs/diabetes_three_hospitals.toml")


def own_table(folder: pathlib.Path, label: str = "died") -> pathlib.Path:
    """Writes a table of three hospitals as hospitals keep them: units, codes and words that differ; and a config."""
    rng, lines = np.random.default_rng(0), ["hospital;patient;age;sex;stage;bp;died;days;grade"]
    for row in range(150):
        hospital = "abc"[row % 3]
        age = "" if row % 11 == 0 else f"{30 + row % 40},5"
        sex = rng.choice(["m", "f"]) if hospital == "a" else rng.choice(["male", "female"])
        bp = "-9" if row % 13 == 0 else f"{(120 + row % 30) / (10 if hospital == 'b' else 1):.1f}".replace(".", ",")
        outcome = f"{rng.choice(['yes', 'no'])};{rng.integers(1, 90)};{rng.choice(['I', 'II', 'III'])}"
        lines.append(f"{hospital};{row // 2};{age};{sex};{1 + row % 3};{bp};{outcome}")
    (folder / "own.csv").write_text("\n".join(lines))
    others = [name for name in ("died", "days", "grade") if name != label]
    (folder / "own.toml").write_text(
        f"""
        rounds = 3
        [data]
        name = "table"
        args = {{ path = "own.csv", label = "{label}", site = "hospital", group = "patient", separator = ";",
                  decimal = ",", missing = ["-9"], categories = ["stage"], ignore = {others} }}
        harmonise = [
          {{ column = "bp", sites = ["b"], times = 10.0 }},
          {{ column = "sex", sites = ["a"], recode = {{ m = "male", f = "female" }} }},
        ]
        [model]
        name = "mlp"
        args = {{ hidden = [6] }}
        [client]
        learning_rate = 0.1
        batch_size = 16
        [runtime]
        lanes = 1
        """.replace("\n                  ", " ")
    )
    return folder / "own.toml"


def by_export(made: Exported, folder: pathlib.Path, count: int) -> rounds.Outcome:
    """Returns what the job's own code makes of the hospitals' files."""
    path = site_files.write(made, folder)
    parts = {site: site_part.SitePart(made.job, made.weights, site, path) for site in made.job.sites}
    return rounds.run(made.job, made.weights, lambda m: {site: p.answer(m) for site, p in parts.items()}, count)


def assert_trains_the_same(settings: config.RunConfig, folder: pathlib.Path) -> rounds.Outcome:
    """Asserts that weights are fedmed's after all rounds."""
    made = exported.exported(settings)
    outcome = by_export(made, folder, settings.rounds)
    expected = verification.by_fedmed(settings, made, settings.rounds)
    assert max(float(np.abs(a - b).max()) for a, b in zip(made.weights.sent, expected, strict=True)) > 1e-3
    for own, theirs in zip(outcome.weights, expected, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=0, atol=verification.TOLERANCE)
    return outcome


SLOW = pytest.mark.slow
MOMENTUM = ['client.optimizer="momentum"', "client.epochs=2", 'algorithm.name="fedprox"', "algorithm.args.mu=0.5"]
ADAM = ['client.optimizer="adam"', "client.learning_rate=0.01", "model.args.dropout=0.3", 'server.optimizer="adam"']
STATISTICS = ['model.name="tiny_models:batch_norm"', "model.args={}", "client.steps=5", 'server.optimizer="momentum"']


@pytest.mark.parametrize("label", ["died", pytest.param("days", marks=SLOW), pytest.param("grade", marks=SLOW)])
@pytest.mark.parametrize(
    "changes",
    [
        [*MOMENTUM, 'data.preprocessing="by_site"'],
        pytest.param([*ADAM, "server.learning_rate=0.05"], marks=SLOW),
        pytest.param([*STATISTICS, 'aggregation.weighting="uniform"'], marks=SLOW),
    ],
    ids=["fedprox", "adam", "batch_norm"],
)
def test_mini_batches_end_at_fedmeds_weights(label: str, changes: list[str], tmp_path: pathlib.Path) -> None:
    assert_trains_the_same(config.load(own_table(tmp_path, label), changes), tmp_path)


def test_bounds_of_weights_are_kept_alike(tmp_path: pathlib.Path) -> None:
    changes = ['model.name="test_model_habits:bounded"', "model.args={}"]
    assert_trains_the_same(config.load(own_table(tmp_path, "died"), changes), tmp_path)


@pytest.mark.slow
def test_counts_are_trained_alike(tmp_path: pathlib.Path) -> None:
    changes = ['model.task="count"', "client.learning_rate=0.001", 'data.preprocessing="none"', "data.harmonise=[]"]
    assert_trains_the_same(config.load(own_table(tmp_path, "days"), changes), tmp_path)


def evil(folder: pathlib.Path) -> pathlib.Path:
    """Returns a module that fails wherever it is run."""
    (folder / "evil.py").write_text("raise SystemExit('it has run')\n")
    return folder / "evil.py"


@pytest.mark.parametrize("kind", ["flare", "flower"])
def test_an_exported_job_trains_what_fedmed_trains_and_another_is_found(
    kind: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "job"
    source = [str(own_table(tmp_path))] if kind == "flare" else [CONFIG, *DIABETES]
    assert cli.main(["export", kind, *source, "--set", 'client.batch_size="full"', "--out", str(out)]) == 0
    assert cli.main(["check-export", str(out), "--rows", str(tmp_path / "rows")]) == 0
    assert "After 2 rounds the largest difference" in capsys.readouterr().out
    assert not list(out.rglob("__pycache__"))
    assert (tmp_path / "rows").stat().st_mode & 0o077 == 0
    assert len(list((tmp_path / "rows").glob("*_train.csv"))) == len(list((tmp_path / "rows").glob("*.json"))) > 1
    assert cli.main(["check-export", str(out), "--rows", str(tmp_path / "rows")]) == 2
    assert "cannot be made: File exists" in capsys.readouterr().err
    package = out / job_files.PACKAGES["flare" if kind == "flare" else "flower"]
    compiled, code = package / "__pycache__", package / "core.py"
    code.write_text(code.read_text() + "\n# more\n")
    compiled.mkdir()
    py_compile.compile(str(evil(tmp_path)), str(compiled / f"core.{sys.implementation.cache_tag}.pyc"),
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)  # fmt: skip
    changed = [code, compiled, out / "requirements_hospital.txt"]
    changed[2].unlink()
    if kind == "flower":
        (package.parent / ".flwr").mkdir()
        (package.parent / ".flwr" / ".gitignore").touch()  # Flower leaves it
    else:
        filled = (out / "project.yml").read_text().replace("<SERVER>", "fl.example.org").replace("<ADMIN>", "a@b.org")
        (out / "project.yml").write_text(filled)
    assert cli.main(["check-export", str(out), "--rounds=1"]) == 1
    told = capsys.readouterr().out
    listed = ", ".join(sorted(file.relative_to(out).as_posix() for file in changed))
    assert f"Not as fedmed exports them: {listed}." in told
    if kind == "flower":
        settings = out / job_files.PACKAGES["flower"] / jobs.SETTINGS
        settings.write_text(settings.read_text().replace("learning_rate = 0.05\n", "learning_rate = 0.051\n"))
        assert cli.main(["check-export", str(out), "--rounds=1"]) == 1
        assert "something else" in capsys.readouterr().out


REFUSED = {
    'algorithm.name="scaffold"': "algorithm.name: 'scaffold' cannot be exported; what can: 'fedavg', 'fedprox'",
    'aggregation.rule="median"': "aggregation.rule: 'median' cannot be exported; what can: 'mean'",
    'algorithm.name="fedavgg"': "algorithm.name: unknown algorithm 'fedavgg' (did you mean 'fedavg'?)",
    "aggregation.clip_norm=1": "aggregation.clip_norm: cannot be exported (updates are not clipped)",
    "aggregation={secure=true, clip_norm=1.0}": "aggregation.clip_norm: cannot be exported",
    'compression.up="top_k"': "compression.up: 'top_k' cannot be exported",
    "privacy={unit='hospital', noise_multiplier=1.0}": "privacy.unit: 'hospital' cannot be exported",
    "scenario=[{name='absent', chance=0.5}]": "scenario: cannot be exported (what goes wrong is simulated only)",
    "clock.deadline=10": "clock.deadline: cannot be exported",
    "cohort.size=2": "cohort: cannot be exported (every hospital takes part in every round)",
    "stop.patience=3": "stop.patience: cannot be exported",
    "partition={name='iid', args={clients=3}}": "partition.name: 'iid' cannot be exported",
    "data={name='digits'}": "data",
    'model.name="tiny_models:own_layer"': "is a Doubled, code of its own",
    'model.name="tiny_models:own_activation"': "model: '_steep' is code of its own and cannot be exported",
    'model.name="tiny_models:own_class"': "model: Whole is a class of its own and cannot be exported",
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_cannot_be_exported_is_refused_by_name_and_leaves_nothing(
    change: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["--set", change, "--set", "data.harmonise=[]", "--set", "model.args={}"]
    if "data" not in change:
        changes += DIABETES
    assert cli.main(["export", "flare", CONFIG, *changes, "--out", str(tmp_path / "job")]) == 2
    told = capsys.readouterr().err
    assert REFUSED[change] in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "flare", CONFIG, "--out", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert cli.main(["check-export", str(tmp_path)]) == 2
    assert cli.main(["export", "flares", CONFIG, "--out", "x"]) == 2
    assert "did you mean 'flare'?" in capsys.readouterr().err


def test_a_hospital_whose_name_no_framework_takes_is_refused(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_table(tmp_path)
    (tmp_path / "own.csv").write_text((tmp_path / "own.csv").read_text().replace("\nc;", "\nSt. Mary's;"))
    assert cli.main(["export", "flower", str(path), "--out", str(tmp_path / "job")]) == 2
    assert 'the hospital "St. Mary\'s" cannot be exported by that name' in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


@pytest.fixture(scope="module", params=list(job_files.PACKAGES))
def job_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An export of each kind."""
    folder = tmp_path_factory.mktemp(request.param)
    assert cli.main(["export", request.param, str(own_table(folder)), "--out", str(folder / "job")]) == 0
    return folder / "job"


def test_what_a_hospital_runs_knows_nothing_of_fedmed(job_folder: pathlib.Path) -> None:
    files = sorted(job_folder.rglob("*.py"))
    assert len(files) == 15
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not [name for name in names if name.split(".")[0] == "fedmed"], file.name


def test_what_stays_with_the_exporter_is_missed_by_name(
    job_folder: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handed = tmp_path / "handed"
    shutil.copytree(job_folder, handed, ignore=lambda _, names: [name for name in names if name == "config.toml"])
    for folder, told in ((handed, "has no config.toml"), (tmp_path, "holds no job"), (tmp_path / "no", "no folder")):
        assert cli.main(["check-export", str(folder)]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"train_csv": "<TRAIN_CSV>", "test_csv": ""}, "'site.json': fill in 'train_csv'"),
        ({"train_csv": "a.csv", "test_csv": "./a.csv"}, "are the same file"),
        ({"train_csv": "rows.csv", "test_csv": "again.csv"}, "hold the same rows"),
        ({"train_csv": "", "test_csv": ""}, 'must hold "train_csv"'),
        ({"train_csv": "a.csv", "test_csv": 7}, "paths in quotes"),
    ],
)
def test_a_site_file_that_is_not_filled_in_is_refused(held: dict[str, Any], told: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "site.json").write_text(json.dumps(held), encoding="utf-8-sig")
    for name in ("rows.csv", "again.csv"):
        (tmp_path / name).write_text("bp,sex,y\n1,f,0\n")
    start = jobs.Weights([np.zeros(1, np.float32)], [], [])
    with pytest.raises(JobError, match=told):
        site_part.SitePart(job_of(COLUMNS), start, "a", tmp_path / "site.json")


def test_a_hospital_predicts_with_what_the_job_has_left(tmp_path: pathlib.Path) -> None:
    made = exported.exported(config.load(own_table(tmp_path)))
    (tmp_path / "files").mkdir()
    path = site_files.write(made, tmp_path / "files")
    parts = {site: site_part.SitePart(made.job, made.weights, site, path) for site in made.job.sites}
    outcome = rounds.run(made.job, made.weights, lambda m: {site: p.answer(m) for site, p in parts.items()}, 2)
    rounds.write(made.job, made.weights, outcome, tmp_path / "results")
    weights, recipe = predict.left_in(tmp_path / "results")
    new = tmp_path / "new.csv"
    new.write_text("age;sex;stage;bp\n50,5;male;1;12,5\n;;2;-9\n")
    predicted = parts["b"].predictions(weights, recipe, site_rows.columns_of(made.job, "b", new))
    assert predicted.shape == (2,)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert predict.written(made.job, predicted).splitlines()[0] == "probability_of_yes"
    test = parts["b"].test_rows
    assert test is not None
    assert site_scores.scores(made.job, test.y, parts["b"].predictions(weights, recipe, test.x)) == outcome.scores["b"]
    for there in (new, tmp_path / "results" / "weights.npz"):
        with pytest.raises(JobError, match=rf"{there.name}: it is there already; name a new file"):
            predict._predict("b", path, str(tmp_path / "results"), str(new), str(there))
    with pytest.raises(JobError, match=r"it has no weights\.npz"):
        predict.left_in(tmp_path / "nowhere")
    for spoil in ("[]", "{}", '{"recipe": 1}'):
        (tmp_path / "results" / "results.json").write_text(spoil)
        (tmp_path / "results" / "weights.npz").write_bytes(b"PK\x03\x04 no archive")
        with pytest.raises(JobError, match=r"it has no weights\.npz"):
            predict.left_in(tmp_path / "results")


def test_of_an_error_that_may_quote_a_row_only_the_kind_is_told() -> None:
    def fails() -> Any:
        raise KeyError("77.25")

    told = site_part.answered(fails, site_part.Message("train")).trouble
    assert told.startswith("KeyError at 'train'")
    assert "77.25" not in told


def test_messages_travel_as_files(tmp_path: pathlib.Path) -> None:
    asked = site_part.Message("train", 3, '{"a": 1}', (np.ones((2, 3), np.float32), np.zeros(1, np.float32)))
    by_file.write_message(tmp_path / "asked.npz", asked)
    again = by_file.read_message(tmp_path / "asked.npz")
    assert again[:3] == asked[:3]
    for a, b in zip(again.weights, asked.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    by_file.write_reply(tmp_path / "reply.npz", site_part.Reply({"rows": np.arange(3)}, {"loss": 0.5}, "none"))
    reply = by_file.read_reply(tmp_path / "reply.npz")
    assert (reply.arrays["rows"].tolist(), reply.numbers, reply.trouble) == ([0, 1, 2], {"loss": 0.5}, "none")


def test_the_readme_names_every_placeholder_and_column(job_folder: pathlib.Path) -> None:
    readme = (job_folder / "README.md").read_text()
    named = "".join(line for line in readme.splitlines() if line.startswith("| `<"))
    texts = [file.read_text() for file in job_folder.rglob("*") if file.suffix in (".md", ".json", ".yml", ".toml")]
    found = {name for text in texts for name in re.findall(r"<[A-Z][A-Z_]+>", text)}
    assert found >= {"<SERVER>", "<SITE>", "<TRAIN_CSV>"}
    assert {name for name in found if name not in named} == set()
    for column in ("age", "sex", "stage", "bp", "died"):
        assert f"| `{column}` |" in readme
    assert str(job_folder.parent) not in readme


def test_nothing_of_a_patient_is_in_an_export(job_folder: pathlib.Path) -> None:
    """What goes to others holds names, levels and no row; where the data are is in config.toml alone."""
    files = [file for file in job_folder.rglob("*") if file.is_file() and file.name != "config.toml"]
    assert not [file for file in files if b"own.csv" in file.read_bytes()]
    tree = tomllib.loads(next(job_folder.rglob(jobs.SETTINGS)).read_text())
    assert [column["name"] for column in tree["columns"]] == ["age", "sex", "stage", "bp"]


def test_files_give_row_numbers_and_scales_and_no_row(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "plain"
    assert cli.main(["export", "files", str(own_table(tmp_path)), "--out", str(out)]) == 0
    held = {path.name for path in out.iterdir()}
    assert held == {"initial_weights.npz", "partition.json", "preprocessing.json", "model.json", "config.toml"}
    parts = json.loads((out / "partition.json").read_text())
    assert sorted(row for own in parts.values() for part in own.values() for row in part) == list(range(150))
    again = tf.keras.models.model_from_json((out / "model.json").read_text())
    with np.load(out / "initial_weights.npz") as weights:
        assert [weights[name].shape for name in weights.files] == [v.shape for v in again.trainable_variables]


def job_of(columns: tuple[Column, ...], **changes: Any) -> Job:
    """Returns a job of two hospitals with a label of two classes."""
    local = Local(0.1, 1.0, "sgd", 0.9, 1, 0, 0, 0.0)
    fields: dict[str, Any] = {
        "name": "x", "made_by": "", "seed": 0, "rounds": 1, "sites": ("a", "b"), "task": "binary", "scale": "mean",
        "preprocessing": "federated", "minimum": 5, "reading": Reading(), "label": Label("y", ("0", "1")),
        "columns": columns, "local": local, "server": Server("average", 1.0, 0.9, 0.99, 1e-3, "examples"),
        "architecture": "",
    }  # fmt: skip
    return Job(**{**fields, **changes})


@pytest.mark.parametrize("mode", ["federated", "by_site", "none"])
def test_the_first_round_gives_fedmeds_scales(mode: str, tmp_path: pathlib.Path) -> None:
    settings = config.load(own_table(tmp_path), [f'data.preprocessing="{mode}"'])
    made = exported.exported(settings)
    theirs = made.clients.preprocessing
    assert theirs is not None
    path = site_files.write(made, tmp_path)
    parts = {site: site_part.SitePart(made.job, made.weights, site, path) for site in made.job.sites}
    told = {site: part.answer(site_part.Message("sums")).arrays for site, part in parts.items()}
    recipe, differences = shared_sums.fitted(made.job, list(told.values()))
    assert differences == []
    for site, part in parts.items():
        own = shared_sums.own_scale(made.job, shared_sums.Recipe.from_json(recipe.to_json()), told[site])
        x = shared_sums.applied(made.job, own, part.train_rows.x)
        np.testing.assert_allclose(x, np.asarray(made.clients.train[site].x), rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(part.train_rows.y, made.clients.train[site].y)


def test_numbers_of_any_size_and_sign_are_no_codes() -> None:
    job = job_of((Column("bp"), Column("sex", ("f", "m"), ("f", "m"))))
    x = np.array([[-9.0, 0.0], [1e12, 1.0]] * 5)
    told = shared_sums.site_sums(job, site_rows.Rows(x, np.arange(10) % 2))
    assert told["levels"].tolist() == [5, 5]
    assert told["total"][0] == 5 * (1e12 - 9)


def test_the_inputs_are_named_in_their_order() -> None:
    columns = (Column("bp", missing=True), Column("sex", ("f", "m", "x"), ("m",)), Column("age"))
    job = job_of(columns)
    names = shared_sums.input_names(job)
    assert names == ["bp", "bp is missing", "sex = m", "sex = another", "age"]
    told = shared_sums.site_sums(job, site_rows.Rows(np.zeros((6, 3)), np.arange(6) % 2))
    recipe, _ = shared_sums.fitted(job, [told])
    assert shared_sums.applied(job, recipe, np.array([[np.nan, 2.0, 3.0]])).tolist() == [[0.0, 1.0, 0.0, 1.0, 3.0]]


def test_sums_of_fewer_than_five_rows_are_not_told() -> None:
    job = job_of((Column("bp"), Column("hb"), Column("sex", ("f", "m"), ("f", "m"))))
    x = np.array([[1.0, np.nan, 0.0]] * 6 + [[2.0, 7.0, 1.0]] * 4)
    told = shared_sums.site_sums(job, site_rows.Rows(x, np.arange(10) % 2))
    assert told["present"].tolist() == [10, 0, 10, 10]
    assert told["total"].tolist() == [14.0, 0.0, 0.0, 0.0]
    assert told["squares"].round(6).tolist() == [2.4, 0.0, 0.0, 0.0]
    assert told["levels"].tolist() == [6, 0]
    _, lines = shared_sums.fitted(job, [told])
    assert len(lines) == 2
    assert "'hb' has missing values" in lines[0]
    assert "'sex': 1 of its levels" in lines[1]


COLUMNS = (Column("bp"), Column("sex", ("f", "m")))
BAD = {
    "bp,sexe,y\n1,f,0\n": "the file needs these columns once each: 'sex' (is 'sexe' meant?)",
    "bp,sex,sex,y\n1,f,m,0\n": "'sex' twice",
    "bp,sex,y\n": "it has column names but no rows",
    "bp,sex,y\n1;2,f,0\n2,m,1\n": "column 'bp': fewer than 5 rows hold no number; write them as 1.5, or leave",
    "bp,sex,y\n" + "77.25,x,0\n" * 6: "column 'sex': 6 rows hold none of 'f', 'm'; use these words, or leave unknown",
    "bp,sex,y\n1,f,\n2,m,1\n": "column 'y': fewer than 5 rows have no label; leave such rows out",
    "bp;sex;y\n1;f;1\n": "its first row is a single name; names are separated by ','",
    "bp,sex,y\n1,f,1\n77.25,f,1,7\n": "a line has more fields than the first row has names",
    "bp,sex,y\n77.25,f,1,\n2,m,0,\n": "it has more columns in its rows than names in its first row",
    "bp,sex,y\n1,f,2\n2,m,1\n": "column 'y': fewer than 5 rows hold none of '0', '1'",
}


@pytest.mark.parametrize("text", BAD)
def test_a_hospitals_file_that_cannot_be_used_is_told_in_a_line_without_a_value(
    text: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(JobError) as told:
        site_rows.rows_of(job_of(COLUMNS), "a", tmp_path / "rows.csv")
    assert BAD[text] in str(told.value)
    assert "\n" not in str(told.value)
    assert not {"77.25", "1;2", "'x'"} & set(str(told.value).split())


def test_a_hospitals_file_may_spell_a_level_as_a_number_and_leave_values_out(tmp_path: pathlib.Path) -> None:
    (tmp_path / "rows.csv").write_text("y,stage,bp,more\n1,1.0,,z\n0, 2 ,3.5,z\n1,,NA,z\n")
    job = job_of((Column("bp"), Column("stage", ("1", "2"))))
    rows = site_rows.rows_of(job, "a", tmp_path / "rows.csv")
    np.testing.assert_array_equal(rows.x, [[np.nan, 0.0], [3.5, 1.0], [np.nan, np.nan]])
    assert rows.y.tolist() == [1, 0, 1]


def test_a_hospital_that_is_not_there_or_cannot_ends_the_job() -> None:
    job = job_of(COLUMNS)
    start = jobs.Weights([np.zeros(1, np.float32)], [], [])
    answers: Mapping[str, site_part.Reply] = {"a": site_part.Reply({}, {})}
    with pytest.raises(JobError, match="the sums: no answer came: the job was stopped, or a hospital has failed"):
        rounds.run(job, start, lambda message: {})
    with pytest.raises(JobError, match="the sums: b has not answered"):
        rounds.run(job, start, lambda message: answers)
    with pytest.raises(JobError, match="the sums: b: no file"):
        rounds.run(job, start, lambda message: {**answers, "b": site_part.Reply({}, {}, "no file")})


@pytest.mark.parametrize("optimizer", ["average", "momentum", "adam", "yogi", "adagrad"])
def test_the_servers_step_is_fedmeds(optimizer: Any) -> None:
    rng = np.random.default_rng(0)
    ours = config.Server(optimizer, learning_rate=0.3)
    own = Server(optimizer, 0.3, ours.momentum, ours.beta_2, ours.tau, "examples")
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 2), (2,), (2,))]
    expected = servers.initial(ours, Weights(arrays[:2], arrays[2:]))
    state = server_step.started(own, arrays, 2)
    for _ in range(3):
        updates = [[rng.normal(size=a.shape).astype(np.float32) for a in arrays] for _ in range(2)]
        mean = server_step.mean(updates, [3.0, 1.0])
        np.testing.assert_allclose(mean[0], 0.75 * updates[0][0] + 0.25 * updates[1][0], rtol=1e-5)
        expected = servers.moved(ours, expected, Weights(mean[:2], mean[2:]))
        state = server_step.moved(own, state, mean)
    for a, b in zip(state.weights, [*expected.weights.trainable, *expected.weights.moving], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_can_be_exported_is_on_the_list_of_algorithms() -> None:
    from fedmed.learning.algorithms import algorithms

    assert all(name in algorithms for name in exportable.ALGORITHMS)


@pytest.mark.slow
@pytest.mark.skipif("FEDMED_EXPORT_WORK" not in os.environ, reason="FEDMED_EXPORT_WORK names no folder to work in")
@pytest.mark.parametrize("name", ["simulator", "poc", "flare", "flower"])
def test_a_readme_followed_to_the_letter_ends_at_fedmeds_weights(name: str) -> None:
    from experiments import exports

    found = exports.measured(name, "full", pathlib.Path(os.environ["FEDMED_EXPORT_WORK"]).resolve())
    assert found["largest"] <= verification.TOLERANCE
