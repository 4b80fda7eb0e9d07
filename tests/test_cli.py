"""The command line as it is used: its commands, its one-line errors, and how a run is stopped."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from fedmed import cli
from fedmed.commands import doctor
from fedmed.system import interruption

CONFIG = """
rounds = 2
[data]
name = "diabetes_ehr"
args = { patients = 0.05, units = false, coding = false }
[model]
name = "logistic_regression"
[client]
learning_rate = 0.1
[runtime]
name = "local"
lanes = 1
"""

TABLE = "hospital,age,smokes,note,died\n" + "".join(
    f"h{row % 3},{40 + row % 30},{'yes' if row % 2 else 'no'},seen on day {row},{row * 7 % 5 % 2}\n"
    for row in range(60)
)
OWN = ("data.name=table", "data.args={path='own.csv', label='died', site='hospital', ignore=['note']}")

# what is given to `fedmed run`, and what the one line must say
WRONG = {
    "a misspelt setting": (
        ("client.learning_rat=0.1",),
        "client.learning_rat: unknown setting 'learning_rat' (did you",
    ),
    "a number out of range": (("client.learning_rate=-1",), "client.learning_rate: expected a number > 0.0, got -1"),
    "an endless number": (("client.learning_rate=inf",), "client.learning_rate: expected a finite number, got inf"),
    "no number": (("client.learning_rate=nan",), "client.learning_rate: expected a finite number, got nan"),
    "an endless target": (("stop.target=-inf",), "stop.target: expected a finite number, got -inf"),
    "an endless argument": (("model.args.l2=inf",), "model.args.l2: expected a finite number, got inf"),
    "a name that leads elsewhere": (("name=../../x",), "name: expected one line, not '', '.' or '..', without '/'"),
    "an empty name": (("name=",), "without '/' and '\\', got ''"),
    "no key": (("0.1",), "--set '0.1': expected key.path=value"),
    "an unknown data set": (("data.name=diabetes_eh",), "data.name: unknown data set 'diabetes_eh' (did you mean"),
    "an unknown argument": (
        ("data.args.patient=2",),
        "data.args: unknown argument 'patient' (did you mean 'patients'?)",
    ),
    "an unknown partition": (
        ("partition.name=dirichet",),
        "partition.name: unknown partition 'dirichet' (did you mean",
    ),
    "an unknown model": (("model.name=mpl",), "model.name: unknown model 'mpl' (did you mean 'mlp'?)"),
    "an unknown algorithm": (("algorithm.name=fedpro",), "algorithm.name: unknown algorithm 'fedpro' (did you mean"),
    "an unknown metric": (("stop.metric=auc",), "unknown metric of a binary task 'auc'"),
    "a model that is nowhere": (("model.name=nowhere.models:build",), "there is no module 'nowhere' here or installed"),
    "a missing plugin": (("plugins=['nowhere']",), "plugins[0]: cannot import 'nowhere'"),
    "a CSV without the label": ((*OWN, "data.args.label=dead"), "data.args.label: unknown column 'dead' (did you mean"),
    "text as label": (
        (*OWN, "data.args.label=note", "data.args.ignore=[]"),
        "data.args.label: column 'note' is text with 60 distinct values in 60 rows, no class",
    ),
    "a missing file": ((*OWN, "data.args.path=won.csv"), "won.csv' (did you mean 'own.csv'?)"),
    "more clients than rows": (
        (*OWN, "partition.name=iid", "partition.args.clients=61"),
        "partition.args.clients: 61 clients cannot share 60 rows; at most 60",
    ),
    "a larger cohort than clients": (("cohort.size=4",), "cohort.size: expected at most 3 (all clients), got 4"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "own.csv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(overrides: tuple[str, ...]) -> list[str]:
    return ["run", "config.toml", *(word for override in overrides for word in ("--set", override))]


@pytest.mark.parametrize(("overrides", "message"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_one_line_and_status_2(
    overrides: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command(overrides)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("fedmed: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_what_is_wrong_is_told_within_3_seconds_and_without_tensorflow() -> None:
    script = (
        "import json, sys, time\n"
        "from fedmed import cli\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    began = time.perf_counter()\n"
        "    assert cli.main(words) == 2, words\n"
        "    assert time.perf_counter() - began < 3, words\n"
        "print([name for name in sys.modules if name.startswith(('tensorflow', 'keras', 'jax'))])\n"
    )
    cases = [command(overrides) for overrides, _ in WRONG.values()] + [["run", "no.toml"], ["runn"], ["run", "--ot"]]
    done = subprocess.run([sys.executable, "-c", script, json.dumps(cases)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_study_is_planned_and_analysed_without_tensorflow_which_its_processes_load_meanwhile() -> None:
    code = "import sys, fedmed.study.conduct; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lst"], "unknown command 'lst' (did you mean 'list'?)"),
        (["--verbose"], "unknown flag '--verbose'; commands: run, "),
        (["help", "rum"], "unknown command 'rum' (did you mean 'run'?)"),
        (["run"], "run: CONFIG is missing"),
        (["run", "a.toml", "b.toml"], "run: unexpected argument 'b.toml'"),
        (["export"], "export: KIND is missing"),
        (["export", "flare"], "export: CONFIG is missing"),
        (["export", "flare", "config.toml"], "export: --out is missing"),
        (["export", "flar", "config.toml"], "export: unknown kind 'flar' (did you mean 'flare'?)"),
        (["check-exprt", "x"], "unknown command 'check-exprt' (did you mean 'check-export'?)"),
        (["check-export", "x"], "there is no folder 'x'"),
        (["run", "config.toml", "--resum"], "run: unknown flag '--resum' (did you mean '--resume'?)"),
        (["run", "config.toml", "--out"], "run: Missing value for flag --out"),
        (["run", "confg.toml"], "confg.toml: no such config (did you mean 'config.toml'?)"),
        (["list", "modls"], "list: unknown kind 'modls' (did you mean 'models'?)"),
        (["list", "--plugin", "nowhere"], "cannot import 'nowhere'"),
        (["data", "digit"], "data: 'digit' is neither a data set nor a config (did you mean 'digits'?)"),
        (["data", "own.csv"], "fedmed data table --set data.args.path=own.csv"),
        (["data", "digits", "--picture", "a.gif"], "--picture: 'a.gif' must end in .png or .svg"),
        (
            ["data", "heart_disease", "--picture", "gone/x.png"],
            "'gone/x.png' cannot be written: there is no folder 'go",
        ),
        (["run", "config.toml", "--out", "own.csv"], "own.csv: is not a directory; choose another --out"),
        (["run", "config.toml", "--out", "/dev/null/x"], "/dev/null/x: cannot be written: Not a directory; choose"),
        (["run", "config.toml", "--out", "o" * 300], "cannot be written: File name too long; choose another --out"),
        (["study", "config.toml", "--out", "own.csv"], "own.csv: is not a directory; choose another --out"),
        (["study", "config.toml", "--out", "/dev/null/x"], "/dev/null/x: cannot be written: Not a directory; choose"),
        (
            ["run", "config.toml", "--resume", "--overwrite"],
            "run: --resume goes on with the run that --overwrite would",
        ),
        (["study", "config.toml", "--seeds=abc"], "study: flag --seeds=abc: expected a whole number, such as 5; see"),
        (["data", "heart"], "data: 'heart' is neither a data set nor a config (did you mean 'heart_disease'?)"),
        (["data", "config"], "data: 'config' is neither a data set nor a config (did you mean 'config.toml'?)"),
        (["data", "digits", "--resume"], "data: unknown flag '--resume'"),
    ],
)
def test_a_wrong_command_line_is_told_with_the_nearest_match(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_help_shows_every_command_and_of_one_command_its_own_flags_only(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["help"], ["--help"]):
        assert cli.main(words) == 0
        assert all(f"fedmed {name}" in capsys.readouterr().out for name in cli.COMMANDS[:1])
    assert cli.main(["data", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--picture" in shown
    assert "--set" in shown
    assert "--resume" not in shown


def test_the_list_gives_names_arguments_types_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in ("heart_disease", "table", "dirichlet", "by_site", "mcmahan_cnn", "mlp", "fedavg", "fedprox"):
        assert f"\n  {name}\n" in shown
    assert "- alpha: a number, required" in shown
    assert "- hidden: a list in brackets, each a whole number, default [32, 16]" in shown
    assert cli.main(["list", "algorithms"]) == 0
    shown = capsys.readouterr().out
    assert "- mu: a number, required" in shown
    assert "heart_disease" not in shown


def test_versions_are_told_without_importing_what_they_are_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert "TensorFlow Federated 0.87" in capsys.readouterr().out


def test_a_data_set_is_shown_with_datasheet_facts_and_its_sites(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "heart_disease"]) == 0
    shown = capsys.readouterr().out
    assert "doi 10.24432/C52P4X" in shown
    assert "chol (mg/dL)" in shown
    assert "switzerland      46           1       45" in shown


def test_a_config_shows_who_holds_what_also_as_a_picture(
    folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "config.toml", "--picture", "who.svg", "--set", "partition.name=iid"]
    assert cli.main([*words, "--set", "partition.args.clients=4"]) == 0
    assert "client_0003" in capsys.readouterr().out
    assert "<svg" in (folder / "who.svg").read_text()


def test_data_of_ones_own_say_what_they_need_and_then_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "table"]) == 0
    assert "--set data.args.path=... --set data.args.label=..." in capsys.readouterr().out
    assert cli.main(["data", "table", "--set", "data.args={path='own.csv', label='died', site='hospital'}"]) == 2
    assert "'note' (text with 60 distinct values in 60 rows)" in capsys.readouterr().err
    assert cli.main(["data", "table", "--set", OWN[1]]) == 0
    assert "smokes (2 levels)" in capsys.readouterr().out


def test_what_is_odd_about_ones_own_data_is_noted(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(f"h{row % 3},{row % 30},{row % 5 % 2},{'dead' if row % 5 % 2 else 'alive'}\n" for row in range(60))
    (folder / "own.csv").write_text("hospital,age,died,outcome\n" + lines + "h1,50,,\n")
    own = "data.args={path='own.csv', label='died', site='hospital', drop_missing_label=true}"
    assert cli.main(["data", "table", "--set", own]) == 0
    shown = capsys.readouterr().out
    assert "60, 1 more left out: no label" in shown
    assert "outcome: outcome alone tells the outcome (AUROC 0.98 or more): a copy of it, or recorded after it?" in shown
    assert '    To mend it: data.args.ignore = ["outcome"]\n' in shown
    assert shown.count("To mend it") == 1


def test_mnist_is_not_fetched_to_be_described(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(folder))
    monkeypatch.delenv("FEDMED_DATA", raising=False)
    assert cli.main(["data", "mnist"]) == 0
    assert "Not at hand: mnist: not found" in capsys.readouterr().out


def test_a_reader_that_leaves_early_ends_the_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "fedmed", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 141)  # it may have written all of it before the reader left


def test_the_doctor_ends_with_1_when_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    found = [doctor.Finding("ok", "disk", "80 GB"), doctor.Finding("note", "MNIST", "absent", "fetch it")]
    assert doctor.report(lambda: iter(found)) == 0
    assert "-> fetch it" in capsys.readouterr().out
    assert doctor.report(lambda: iter([*found, doctor.Finding("wrong", "TFF", "absent", "install it")])) == 1
    assert "1 thing to mend" in capsys.readouterr().out


def test_the_doctor_finds_this_machine_fit_and_leaves_no_worker(capsys: pytest.CaptureFixture[str]) -> None:
    before = psutil.Process().children()
    assert cli.main(["doctor"]) == 0
    assert "TFF's worker          starts and answers" in capsys.readouterr().out
    assert set(psutil.Process().children()) <= set(before)


def test_a_run_prints_a_line_for_each_hospital_and_where_the_results_lie(
    folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "config.toml"]) == 0
    shown = capsys.readouterr()
    for hospital in ("urban_teaching", "safety_net", "small_rural", "all, pooled"):
        assert f"\n{hospital}" in shown.out
    assert shown.out.endswith(f"Results: {pathlib.Path('runs/config')}\n")
    assert shown.err == ""
    assert (folder / "runs" / "config" / "summary.json").is_file()
    assert cli.main(["run", "config.toml"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert cli.main(["run", "config.toml", "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_a_model_with_the_wrong_output_size_is_one_line(
    folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "models_of_test_cli.py").write_text(
        "import tensorflow as tf\n\ndef build(spec):\n    return tf.keras.Sequential([tf.keras.layers.Dense(3)])\n"
    )
    assert cli.main(command(("model.name=models_of_test_cli:build",))) == 2
    shown = capsys.readouterr().err
    assert "task 'binary' needs outputs [rows, 1], the model returns [rows, 3]" in shown
    assert shown.count("\n") == 1


def test_a_stopped_run_ends_soon_leaves_no_process_and_says_how_to_go_on(folder: pathlib.Path) -> None:
    words = [sys.executable, "-m", "fedmed", *command(("rounds=100000", "runtime.name=tff")), "--out", "my run"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        rounds, give_up = folder / "my run" / "rounds.jsonl", time.monotonic() + 120
        while not (rounds.is_file() and rounds.read_text().count("\n") > 2):
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=5)
    assert process.returncode == 143
    assert out == ""
    go_on = "--set rounds=100000 --set runtime.name=tff --out 'my run' --resume\n"
    told, *_, stopped = err.splitlines(keepends=True)  # a slow machine shows how far it is between them
    assert "TFF's worker listens on every network interface" in told
    assert stopped == f"stopped; go on with: fedmed run config.toml {go_on}"
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_a_stop_while_the_program_is_imported_is_quiet() -> None:
    script = (
        "import sys\n"
        "from fedmed import cli\n"
        "class Stops:\n"
        "    def find_spec(self, name, *others):\n"
        "        if name.startswith(('absl', 'numpy')):\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stops())\n"
        "sys.argv = ['fedmed', 'run', 'config.toml']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_stop_that_a_callback_has_lost_is_raised_again() -> None:
    class Loses:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)  # whatever __del__ raises, Python forgets

    def loses_a_stop() -> None:
        lost = Loses()
        del lost
        for _ in range(200):
            time.sleep(0.01)

    with interruption.watched() as asked, pytest.raises(KeyboardInterrupt):
        loses_a_stop()
    assert asked.status == 143


def test_a_stop_is_raised_at_the_end_of_a_round_at_the_latest() -> None:
    asked = interruption.Interruption()
    asked.start(2, 0)
    asked.round({"round": 1})
    asked.status = 130
    with pytest.raises(KeyboardInterrupt):
        asked.round({"round": 2})


def test_own_data_train_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    np.savez("own.npz", x=rng.normal(size=(90, 4)), y=np.arange(90) % 3, site=np.repeat(["a", "b", "c"], 30))
    own = ("data.name=arrays", f"data.args={{path='{os.getcwd()}/own.npz'}}", "model.name=mlp", "rounds=1")
    assert cli.main(command(own)) == 0
    assert "accuracy" in capsys.readouterr().out
