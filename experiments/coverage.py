"""Do a study's intervals hold the truth? Simulated studies whose truth is measured on 100,000 fresh patients.

    uv run python -m experiments.coverage --studies=20

Each study is `configs/diabetes_three_hospitals.toml` on hospitals with patients of their own. The estimand: for a
hospital, the mean over the study's seeds of what the federated model scores less what the hospital's own model scores
on 100,000 fresh patients of that hospital, as they would be recorded there. A null comparison takes the same arm twice
on the same splits with other training seeds. Studies that are done are kept in --work and not repeated.
"""

import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments import programs
from fedmed.settings import config
from fedmed.system import files, machine, quiet

quiet.silence()

METRICS = ("auroc", "brier", "loss")
FLAGS = flags.FLAGS
flags.DEFINE_integer("studies", 20, "how many simulated studies", lower_bound=1)
flags.DEFINE_integer("fresh", 100_000, "fresh patients of each hospital", lower_bound=1000)
flags.DEFINE_integer("processes", 0, "studies at a time; 0 is one a core", lower_bound=0)
flags.DEFINE_string("config", "configs/diabetes_three_hospitals.toml", "the study that is simulated")
flags.DEFINE_string("work", "runs/coverage", "where finished studies are kept")
flags.DEFINE_string("results", "experiments/results", "where the tables are written")


class Simulation(NamedTuple):
    """One simulated study and the file of its result."""

    number: int
    config: str
    fresh: int
    path: pathlib.Path


def simulate(one: Simulation) -> pathlib.Path:
    """Runs a simulated study, or finds it done, and returns its file."""
    if one.path.exists():
        return one.path
    from fedmed.study import plan
    from fedmed.study.outcomes import gather
    from fedmed.study.plan import ArmPlan, Scenario
    from fedmed.study.trainer import Trainer

    seeds = f"seed={1000 * (one.number + 1)}"
    overrides = [
        seeds,
        f"data.args.seed={one.number + 1}",
        "evaluation.every=100000",
        'study.arms=["federated","local"]',
    ]
    settings = config.load(one.config, overrides)
    arms = tuple(
        ArmPlan(f"{kind}{' again' if repeat else ''}", kind, settings, {}, repeat)
        for kind in ("federated", "local")
        for repeat in (0, 1)
    )
    hospitals = _with_fresh(settings, one.fresh)
    jobs = plan.jobs(Scenario("", settings, arms, {}), hospitals.hospitals, METRICS[0])
    trainer = Trainer(hospitals)
    outcomes = gather(hospitals, plan.seeds_of(settings), arms, [(job, trainer.run(job)) for job in jobs])
    files.write_atomically(one.path, json.dumps(_judged(outcomes, settings, one.number), indent=1, allow_nan=False))
    return one.path


def _with_fresh(settings: config.RunConfig, count: int) -> Any:
    """Returns the config's hospitals, whose models are also tested on fresh patients of each."""
    from fedmed.data import diabetes
    from fedmed.data.diabetes_records import FEATURES
    from fedmed.data.examples import Dataset, Examples
    from fedmed.data.harmonising import harmonised
    from fedmed.study.consortium import Consortium

    class WithFresh(Consortium):
        """After the test rows of each hospital come its fresh patients."""

        def tested(self, seed: int) -> dict[str, tuple[str, Examples]]:
            return {**super().tested(seed), **self.fresh}

        fresh: dict[str, tuple[str, Examples]]

    found = WithFresh(settings)
    names = list(dict.fromkeys(np.asarray(found.dataset.examples.site).tolist()))  # in order of hospital number
    seed = settings.data.args["seed"]
    cohorts = {name: diabetes.fresh(names.index(name), count, seed=seed) for name in found.hospitals}
    x, y = (np.concatenate([getattr(cohort, part) for cohort in cohorts.values()]) for part in ("x", "y"))
    recorded = Dataset("fresh", Examples(x, y, np.repeat(list(cohorts), count)), "binary", 2, features=FEATURES)
    examples = harmonised(recorded, settings.data.harmonise).examples
    found.fresh = {
        f"{name} fresh": (name, examples.take(np.arange(place * count, (place + 1) * count)))
        for place, name in enumerate(cohorts)
    }
    return found


def _judged(outcomes: Any, settings: config.RunConfig, number: int) -> dict[str, Any]:
    """Returns intervals, verdicts and truths of each hospital."""
    from fedmed.statistics import paired_difference, verdicts
    from fedmed.study import report

    rules, found = report.rules_of(settings), {}
    tests = {name: outcomes.pairs("federated", "local", name) for name in outcomes.hospitals}
    told = verdicts(outcomes.task, METRICS[0], tests, rng=rules.rng("verdict"), draws=rules.draws)
    null = {
        arm: verdicts(
            outcomes.task,
            METRICS[0],
            {name: outcomes.pairs(f"{arm} again", arm, name) for name in outcomes.hospitals},
            rng=rules.rng("null", arm),
            draws=rules.draws,
        )
        for arm in ("federated", "local")
    }
    for name in outcomes.hospitals:
        measures = {}
        for metric in METRICS:
            interval = paired_difference(
                outcomes.task, metric, tests[name], rng=rules.rng(metric, name), draws=rules.draws
            )
            truths = [_true_difference(outcomes, seed, name, metric) for seed in outcomes.seeds]
            ends = None if interval is None else [interval.low, interval.high]
            estimate = None if interval is None else interval.estimate
            measures[metric] = {"truth": float(np.mean(truths)), "interval": ends, "estimate": estimate}
        found[name] = {
            "outcome": told[name].outcome,
            "detectable": told[name].detectable,
            "null": {arm: one[name].outcome for arm, one in null.items()},
            "measures": measures,
        }
    return {"study": number, "seeds": len(outcomes.seeds), "hospitals": found}


def _true_difference(outcomes: Any, seed: int, name: str, metric: str) -> float:
    """Returns federated less local on fresh patients: of the models that this study's seed has trained."""
    from fedmed.statistics import score

    place = len(outcomes.hospitals) + outcomes.hospitals.index(name)
    y = outcomes.consortium.fresh[f"{name} fresh"][1].y
    ours = outcomes.results["federated", seed, None].predictions[place].astype(np.float64)
    own = outcomes.results["local", seed, name].predictions[place].astype(np.float64)
    return float(score("binary", metric, y, ours) - score("binary", metric, y, own))


def summary(studies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns coverage, null findings and verdicts over studies."""
    names = list(studies[0]["hospitals"])
    coverage: dict[str, Any] = {metric: {} for metric in METRICS}
    for metric in METRICS:
        for name in [*names, "all"]:
            chosen = names if name == "all" else [name]
            told = [study["hospitals"][one]["measures"][metric] for study in studies for one in chosen]
            coverage[metric][name] = _coverage([one for one in told if one["interval"] is not None])
    return {
        "studies": len(studies),
        "seeds": studies[0]["seeds"],
        "coverage": coverage,
        "verdicts": {name: _counts([study["hospitals"][name]["outcome"] for study in studies]) for name in names},
        "null": {arm: _counts([s["hospitals"][name]["null"][arm] for s in studies for name in names])
                 for arm in ("federated", "local")},
        "detectable": {name: _median([s["hospitals"][name]["detectable"] for s in studies]) for name in names},
    }  # fmt: skip


def _coverage(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    truths, ends = np.array([one["truth"] for one in told]), np.array([one["interval"] for one in told])
    low, high = ends[:, 0], ends[:, 1]
    expected = float(truths.mean())  # over training sets as well: the same law stands behind every study
    return {
        "intervals": len(told),
        "covered": int(((low <= truths) & (truths <= high)).sum()),
        "covered_expected": int(((low <= expected) & (expected <= high)).sum()),
        "mean_truth": expected,
        "mean_estimate": float(np.mean([one["estimate"] for one in told])),
        "mean_width": float((high - low).mean()),
    }


def _counts(outcomes: Sequence[str]) -> dict[str, int]:
    return {name: outcomes.count(name) for name in ("gains", "no evidence", "harmed", "too few events")}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def markdown(found: dict[str, Any], made_by: str) -> str:
    """Returns the summary as a page."""
    lines = [
        "# Do the intervals hold the truth?",
        "",
        f"{found['studies']} simulated studies of {found['seeds']} seeds each; {found['fresh']:,} fresh patients of "
        f"each hospital. Made by `{made_by}`.",
        "",
        "A truth is, for a hospital, the mean over a study's seeds of what the federated model scores less what the "
        "hospital's own scores on the fresh patients, as they would be recorded there. `expected` is its mean over the "
        "studies, and so over training sets; for `all` it is the mean over hospitals and not to be covered.",
        "",
        "| metric | hospital | 95 % intervals that hold the truth | that hold the expected | mean truth | mean estimate | mean width |",  # noqa: E501
        "|---|---|---|---|---|---|---|",
    ]
    for metric, hospitals in found["coverage"].items():
        for name, one in hospitals.items():
            share, rest = one["covered"] / one["intervals"], f"{one['covered_expected']}/{one['intervals']}"
            lines.append(
                f"| {metric} | {name} | {one['covered']}/{one['intervals']} ({100 * share:.0f} %) | "
                f"{'' if name == 'all' else rest} | {one['mean_truth']:+.4f} | {one['mean_estimate']:+.4f} | "
                f"{one['mean_width']:.4f} |"
            )
    lines += ["", "| verdict on AUROC | gains | no evidence | harmed | too few events | detectable (median) |", "|---|---|---|---|---|---|"]  # noqa: E501 # fmt: skip
    for name, counts in found["verdicts"].items():
        smallest = found["detectable"][name]
        lines.append(f"| {name} | {_row(counts)} | {'' if smallest is None else f'{smallest:.3f}'} |")
    for arm, counts in found["null"].items():
        lines.append(f"| {arm} against itself, all hospitals | {_row(counts)} | |")
    return "\n".join(lines) + "\n"


def _row(counts: dict[str, int]) -> str:
    return " | ".join(str(count) for count in counts.values())


def _key(path: str, fresh: int) -> str:
    """Returns a hash of what a simulated study depends on, so that another config's are not taken for this one's."""
    told = [config.to_tree(config.load(path)), fresh, machine.versions()]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def main(argv: Sequence[str]) -> None:
    """Runs the studies that are not done and writes the tables."""
    del argv
    work, results = pathlib.Path(FLAGS.work), pathlib.Path(FLAGS.results)
    programs.check_writable("--work", work)
    programs.check_writable("--results", results)
    key = _key(FLAGS.config, FLAGS.fresh)
    todo = [Simulation(n, FLAGS.config, FLAGS.fresh, work / f"study_{n:03d}_{key}.json") for n in range(FLAGS.studies)]
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(FLAGS.processes or os.cpu_count(), spawn) as processes:
        studies = [json.loads(path.read_text()) for path in processes.map(simulate, todo)]
    made_by = f"python -m experiments.coverage --studies={FLAGS.studies}"
    found = {**summary(studies), "fresh": FLAGS.fresh, "made_by": made_by, "versions": machine.versions()}
    files.write_atomically(results / "coverage.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    page = markdown(found, made_by)
    files.write_atomically(results / "coverage.md", page)
    print(page)


if __name__ == "__main__":
    programs.run(main)
