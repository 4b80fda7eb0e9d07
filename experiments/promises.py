"""What do promises cost? A promise to hospitals on MNIST, and one to patients against FLamby's published figures.

    uv run python -m experiments.promises

Each setting is run at its seeds; what the results hold already is not run again.
"""

import collections
import json
import pathlib
import shutil
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

import fedmed
from experiments import programs
from fedmed.settings.overrides import set_value
from fedmed.system import files, machine

FLAGS = flags.FLAGS
flags.DEFINE_list("only", [], "which settings, by name; default all")
flags.DEFINE_string("out", "runs/promises", "where unfinished runs are kept")
flags.DEFINE_string("results", "experiments/results/promises.json", "the results file; a .md lies beside it")

HOSPITALS: Mapping[str, Any] = {
    "rounds": 40,
    "data": {"name": "mnist"},
    "partition": {"name": "iid", "args": {"clients": 1000}},
    "model": {"name": "mcmahan_2nn"},
    "client": {"learning_rate": 0.05, "batch_size": 10},
    "cohort": {"size": 50},
    "privacy": {"unit": "hospital", "clip_norm": 0.5},
    "evaluation": {"every": 40},
    "checkpoint": {"every": 40},
}
NOISES = (0.0, 0.5, 0.75, 1.0)
PATIENTS: Mapping[str, Any] = {
    "rounds": 20,
    "data": {"name": "heart_disease"},
    "model": {"name": "logistic_regression"},
    "client": {"learning_rate": 0.1, "batch_size": "full"},
    "evaluation": {"every": 20},
    "checkpoint": {"every": 20},
}
EPSILONS = (None, 50.0, 10.0, 5.0, 1.0, 0.1)
FLAMBY = {None: 0.789, 50.0: 0.775, 10.0: 0.777, 5.0: 0.774, 1.0: 0.781, 0.1: 0.664}
"""FLamby's mean accuracy over hospitals at delta 1e-4, mean over its five seeds (flamby/dp_example)."""

Results = dict[str, Any]


def settings() -> dict[str, tuple[Mapping[str, Any], Mapping[str, Any], int]]:
    """Returns by name the config, what is changed in it, and how many seeds there are."""
    found: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], int]] = {}
    found |= {f"hospitals, noise {noise:g}": (HOSPITALS, {"privacy.noise_multiplier": noise}, 3) for noise in NOISES}
    for epsilon in EPSILONS:
        promise = {"privacy.unit": "patient", "privacy.target_epsilon": epsilon, "privacy.delta": 1e-4}
        name = "patients, no promise" if epsilon is None else f"patients, epsilon {epsilon:g}"
        found[name] = (PATIENTS, {} if epsilon is None else promise, 5)
    return found


def trained(name: str, seed: int) -> dict[str, Any]:
    """Runs, or resumes, one run; returns its accuracy over all test rows and as the mean over clients, and epsilon."""
    base, changes, _ = settings()[name]
    tree = {**json.loads(json.dumps(base)), "name": f"{name} seed {seed}", "seed": seed}
    for path, value in changes.items():
        set_value(tree, path, value, "experiment")
    out = pathlib.Path(FLAGS.out) / tree["name"].replace(" ", "_").replace(",", "")
    summary = fedmed.run(tree, out, resume=(out / "config.toml").exists(), quiet=True)
    shutil.rmtree(out)
    told = (summary["privacy"] or {"promises": {}})["promises"].values()
    spent = [one["epsilon"] for one in told if one["epsilon"] is not None]
    own = [client["accuracy"] for client in summary["final"]["clients"].values()]
    return {
        "setting": name,
        "seed": seed,
        "pooled": round(summary["final"]["pooled"]["accuracy"], 4),
        "mean": round(statistics.fmean(own), 4),
        "epsilon": round(max(spent), 3) if spent else None,
    }


def page(results: Results) -> str:
    """Returns the tables."""
    runs = collections.defaultdict(list)
    for run in results["runs"]:
        runs[run["setting"]].append(run)
    lines = [
        "# What promises cost",
        "",
        "`uv run python -m experiments.promises`; every run is in `promises.json`.",
        f"Machine: {results['machine']}. Accuracy is the mean over seeds, with the least and the largest.",
        "",
        "## To hospitals: MNIST, 1,000 clients",
        "",
        "IID, mcmahan_2nn, 50 clients a round on average (Poisson), 40 rounds, clip 0.5, delta 1000^-1.1; three seeds:",
        "`HOSPITALS` in the program. Noise is its SD over the clip.",
        "",
        "| noise | epsilon | accuracy | least to largest |",
        "|---|---|---|---|",
    ]
    lines += [_row(f"{n:g}", runs[f"hospitals, noise {n:g}"], "pooled", None) for n in NOISES]
    lines += [
        "",
        "## To patients: heart disease, against FLamby",
        "",
        "The cohort and split sizes of FLamby's Fed-Heart-Disease, logistic regression, delta 1e-4 at each hospital,",
        "five seeds: `PATIENTS` in the program. Accuracy is the mean over the four hospitals. FLamby's figures are",
        "those of its repository (flamby/dp_example); its splits, seeds, training and way of counting differ: only the",
        "cohort is the same. Its columns are scaled by means and SDs that its promise does not cover; ours by bounds.",
        "The rate is the best of 0.1, 0.2, 0.5 and 1 by these very figures.",
        "",
        "| promise | epsilon | accuracy | least to largest | FLamby |",
        "|---|---|---|---|---|",
    ]
    for epsilon in EPSILONS:
        name = "no promise" if epsilon is None else f"epsilon {epsilon:g}"
        lines.append(_row(name, runs[f"patients, {name}"], "mean", FLAMBY[epsilon]))
    return "\n".join([*lines, ""])


def _row(name: str, runs: Sequence[Mapping[str, Any]], key: str, published: float | None) -> str:
    if not runs:
        return f"| {name} | not run | | |{' |' if published else ''}"
    values = [run[key] for run in runs]
    spent = [run["epsilon"] for run in runs if run["epsilon"] is not None]
    cells = [name, f"{max(spent):.2f}" if spent else "none", f"{statistics.fmean(values):.3f}"]
    cells += [f"{min(values):.3f} to {max(values):.3f}", *([f"{published:.3f}"] if published else [])]
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str]) -> None:
    """Runs what is not done yet and writes the results after each run, the tables at the end."""
    del argv
    path, known = pathlib.Path(FLAGS.results), settings()
    programs.check_names("--only", "setting", FLAGS.only, known)
    programs.check_writable("--results", path.parent)
    here = machine.processor()
    results: Results = {"machine": f"{here.cores} cores, {here.model}", "runs": []}
    if path.exists():
        results = json.loads(path.read_text())
    for name in FLAGS.only or known:
        for seed in range(known[name][2]):
            if not any(run["setting"] == name and run["seed"] == seed for run in results["runs"]):
                results["runs"].append(trained(name, seed))
                files.write_atomically(path, json.dumps(results).replace('{"setting"', '\n{"setting"') + "\n")
    files.write_atomically(path.with_suffix(".md"), page(results))
    print(page(results))


if __name__ == "__main__":
    programs.run(main)
