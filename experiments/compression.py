"""What do compression and secure sums cost in accuracy, and what do they save in bytes?

    uv run python -m experiments.compression

MNIST at ten clients of equal mixes, the 2NN of McMahan et al. 2017, ten rounds of 40 steps. Each setting is run at
three seeds; what the results hold already is not run again.
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
from fedmed.learning import fixed_point
from fedmed.settings.overrides import set_value
from fedmed.system import files, machine

FLAGS = flags.FLAGS
flags.DEFINE_integer("seeds", 3, "how many seeds", lower_bound=1)
flags.DEFINE_list("only", [], "which settings, by name; default all")
flags.DEFINE_string("out", "runs/compression", "where unfinished runs are kept")
flags.DEFINE_string("results", "experiments/results/compression.json", "the results file; a .md lies beside it")

CLIENTS, ROUNDS, CLIP, VALUES = 10, 10, 2.0, 199_210
CONFIG: Mapping[str, Any] = {
    "rounds": ROUNDS,
    "data": {"name": "mnist"},
    "partition": {"name": "iid", "args": {"clients": CLIENTS}},
    "model": {"name": "mcmahan_2nn"},
    "client": {"learning_rate": 0.1, "batch_size": 20, "steps": 40},
    "evaluation": {"every": ROUNDS},
    "checkpoint": {"every": ROUNDS},
}
_UP, _SHARE = "compression.up", "compression.share"
_SECURE = {"aggregation.clip_norm": CLIP, "aggregation.secure": True}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "float32": {},
    "8 bits": {_UP: "quantise", "compression.bits": 8},
    "4 bits": {_UP: "quantise", "compression.bits": 4},
    "2 bits": {_UP: "quantise", "compression.bits": 2},
    "top 10 %": {_UP: "top_k", _SHARE: 0.1},
    "top 1 %": {_UP: "top_k", _SHARE: 0.01},
    "top 1 % without feedback": {_UP: "top_k", _SHARE: 0.01, "compression.error_feedback": False},
    "random 10 %": {_UP: "random_mask", _SHARE: 0.1},
    "8 bits down": {"compression.down": "quantise"},
    "8 bits both ways": {_UP: "quantise", "compression.down": "quantise"},
    "clipped": {"aggregation.clip_norm": CLIP},
    "secure, 32 bits": _SECURE,
    "secure, 16 bits": {**_SECURE, "aggregation.secure_bits": 16},
}

Results = dict[str, Any]


def trained(name: str, seed: int) -> dict[str, Any]:
    """Runs, or resumes, one run; returns its accuracy and the bytes of a client and round."""
    tree = {**json.loads(json.dumps(CONFIG)), "name": f"{name} seed {seed}".replace(" %", ""), "seed": seed}
    for path, value in SETTINGS[name].items():
        set_value(tree, path, value, "experiment")
    out = pathlib.Path(FLAGS.out) / tree["name"].replace(" ", "_").replace(",", "")
    summary = fedmed.run(tree, out, resume=(out / "config.toml").exists(), quiet=True)
    shutil.rmtree(out)
    each = CLIENTS * ROUNDS
    return {
        "setting": name,
        "seed": seed,
        "accuracy": round(summary["final"]["pooled"]["accuracy"], 4),
        "up": summary["traffic"]["bytes_up"] / each,
        "down": summary["traffic"]["bytes_down"] / each,
        "seconds": round(summary["seconds"], 1),
    }


def page(results: Results) -> str:
    """Returns the table."""
    runs = collections.defaultdict(list)
    for run in results["runs"]:
        runs[run["setting"]].append(run)
    whole = 4 * VALUES
    lines = [
        "# What compression and secure sums cost",
        "",
        "`uv run python -m experiments.compression`; every run is in `compression.json`.",
        f"MNIST, {CLIENTS} clients IID, mcmahan_2nn ({VALUES:,} values), {ROUNDS} rounds of 40 steps of 20 rows at",
        "rate 0.1: `CONFIG` and `SETTINGS` in the program. Clipping, also before secure sums, is at an L2 norm of",
        f"{CLIP:g}. Seeds {', '.join(map(str, sorted({run['seed'] for run in results['runs']})))}.",
        f"Machine: {results['machine']}. Accuracy is the mean over seeds, with the least and the largest;",
        "bytes are of a client and round, beside how many times fewer they are than float32.",
        "",
        "| setting | accuracy | least to largest | bytes up | times fewer | bytes down | times fewer |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(name, runs[name], whole) for name in SETTINGS if runs[name]]
    return "\n".join([*lines, "", *_bounds(), ""])


def _row(name: str, runs: Sequence[Mapping[str, Any]], whole: int) -> str:
    accuracy = [run["accuracy"] for run in runs]
    up, down = (statistics.fmean(run[way] for run in runs) for way in ("up", "down"))
    cells = (
        name, f"{statistics.fmean(accuracy):.4f}", f"{min(accuracy):.4f} to {max(accuracy):.4f}",
        f"{up:,.0f}", f"{whole / up:.1f}", f"{down:,.0f}", f"{whole / down:.1f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _bounds() -> list[str]:
    """Returns how exact secure sums are, in sentences."""
    found = {bits: fixed_point.resolution(bits, CLIENTS, CLIP, VALUES) for bits in (32, 16, 8)}
    return [
        "The error of a secure mean is, as a share of the clipping norm (root mean square over roundings), at most",
        ", ".join(f"{one.relative:.1e} at {bits} bits" for bits, one in found.items())
        + ". Bytes up of secure sums hold the shares of seeds.",
    ]


def main(argv: Sequence[str]) -> None:
    """Runs what is not done yet and writes the results after each run, the table at the end."""
    del argv
    path = pathlib.Path(FLAGS.results)
    programs.check_names("--only", "setting", FLAGS.only, SETTINGS)
    programs.check_writable("--results", path.parent)
    here = machine.processor()
    results: Results = {"machine": f"{here.cores} cores, {here.model}", "runs": []}
    if path.exists():
        results = json.loads(path.read_text())
    for seed in range(FLAGS.seeds):
        for name in FLAGS.only or SETTINGS:
            if not any(run["setting"] == name and run["seed"] == seed for run in results["runs"]):
                results["runs"].append(trained(name, seed))
                files.write_atomically(path, json.dumps(results).replace('{"setting"', '\n{"setting"') + "\n")
    files.write_atomically(path.with_suffix(".md"), page(results))
    print(page(results))


if __name__ == "__main__":
    programs.run(main)
