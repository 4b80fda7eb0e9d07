"""Are promises to patients refuted by an audit? Ten of them, and three without the noise that they claim.

    uv run python -m experiments.audits

Each is one run of a hospital's own DP-SGD on canaries (Steinke et al. 2023), at the clip, rate, noise and number of
steps of the promise.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags

from fedmed.system import quiet

quiet.silence()

from experiments import programs  # noqa: E402
from fedmed.privacy.accounting import Releases  # noqa: E402
from fedmed.settings import config  # noqa: E402
from fedmed.study import attacking  # noqa: E402
from fedmed.study.schema.leaked import Audited  # noqa: E402
from fedmed.system import files, machine  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_integer("canaries", 2000, "how many canaries", lower_bound=100)
flags.DEFINE_string("results", "experiments/results/audits.json", "the results file; a .md lies beside it")


class Promise(NamedTuple):
    """Noise over the clip, sampling rate and steps; `kept` is whether the noise is really added."""

    noise: float
    rate: float
    steps: int
    kept: bool = True

    def __str__(self) -> str:
        off = "" if self.kept else ", noise off"
        return f"noise {self.noise:g}, {100 * self.rate:g} % a step, {self.steps} steps{off}"


PROMISES = (
    Promise(1.0, 1.0, 1), Promise(2.0, 1.0, 1), Promise(0.5, 1.0, 1), Promise(2.0, 1.0, 10), Promise(4.0, 1.0, 10),
    Promise(8.0, 1.0, 30), Promise(1.0, 0.3, 30), Promise(1.5, 0.2, 60), Promise(2.75, 0.1, 100), Promise(0.8, 0.1, 40),
    Promise(1.0, 1.0, 1, kept=False), Promise(2.0, 1.0, 10, kept=False), Promise(1.0, 0.3, 30, kept=False),
)  # fmt: skip


def audited(promise: Promise) -> Audited:
    """Returns what an audit says of a promise; a control's claim is a small one."""
    tree = {
        "name": "audit",
        "rounds": 1,
        "data": {"name": "none"},
        "model": {"name": "none"},
        "client": {"learning_rate": 0.1},
        "study": {"leakage": {"canaries": FLAGS.canaries}},
    }
    releases = Releases(promise.rate, promise.noise if promise.kept else 0.0, promise.steps)
    return attacking.audited(str(promise), config.parse(tree), releases, control=not promise.kept)


def page(found: Sequence[dict[str, Any]], where: str) -> str:
    """Returns the table."""
    refuted = sum(one["bound"] > one["claim"] for one in found if not one["control"])
    controls = [one for one in found if one["control"]]
    lines = [
        "# Audits of promises",
        "",
        f"`uv run python -m experiments.audits --canaries={found[0]['canaries']}`; every audit is in `audits.json`.",
        f"Machine: {where}. Claims are at delta 1e-5, for adding or removing one canary; bounds are at 95 %",
        f"confidence. Of {len(found) - len(controls)} promises kept {refuted} are refuted; of {len(controls)}",
        f"whose noise was off, {sum(one['bound'] > one['claim'] for one in controls)} are, by a claim of epsilon "
        f"{controls[0]['claim']:g}. A claim above the ceiling cannot be.",
        "",
        "| promise | claimed epsilon | at least | ceiling |",
        "|---|---|---|---|",
    ]
    lines += [f"| {o['promise']} | {o['claim']:.2f} | {o['bound']:.2f} | {o['ceiling']:.2f} |" for o in found]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str]) -> None:
    """Runs all audits and writes the table."""
    del argv
    path = pathlib.Path(FLAGS.results)
    programs.check_writable("--results", path.parent)
    here, found = machine.processor(), []
    for promise in PROMISES:
        found.append(dataclasses.asdict(audited(promise)))
        print(found[-1]["sentence"], flush=True)
    where = f"{here.cores} cores, {here.model}"
    files.write_atomically(path, json.dumps({"machine": where, "audits": found}, indent=1) + "\n")
    files.write_atomically(path.with_suffix(".md"), page(found, where))


if __name__ == "__main__":
    programs.run(main)
