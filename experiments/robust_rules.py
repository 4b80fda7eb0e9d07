"""How far does one small hospital with a boosted update move what ten hospitals make together, by each rule?

    uv run python -m experiments.robust_rules

Ten synthetic hospitals, of which one holds 0.6 % of the training rows, train one local epoch from the weights after a
round. That hospital's update is multiplied by 1000. The error is the distance of a rule's aggregate to the mean of the
ten honest updates, as a share of that mean's norm; what a rule costs when nobody is corrupted stands beside it.
"""

import contextlib
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from fedmed.system import quiet

quiet.silence()

import tensorflow as tf  # noqa: E402

from experiments import programs  # noqa: E402
from fedmed.data.clients import prepare  # noqa: E402
from fedmed.data.examples import Examples  # noqa: E402
from fedmed.engine.federation import Federation, Position  # noqa: E402
from fedmed.learning import aggregators, steps  # noqa: E402
from fedmed.learning.values import Payload, Weights  # noqa: E402
from fedmed.learning.weights import map_weights, norm, subtract, zeros_like  # noqa: E402
from fedmed.settings import config  # noqa: E402
from fedmed.system import files, machine  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_integer("seeds", 5, "how many seeds of data and model", lower_bound=1)
flags.DEFINE_string("results", "experiments/results/robust_rules.json", "the results file; a .md lies beside it")

HOSPITALS, SHARE, BOOST = 10, 0.006, 1000.0
CONFIG: Mapping[str, Any] = {
    "name": "robust_rules",
    "rounds": 2,
    "data": {"name": "diabetes_ehr", "preprocessing": "by_site"},
    "model": {"name": "mlp", "args": {"l2": 0.001}},
    "client": {"learning_rate": 0.05, "batch_size": 32},
    "runtime": {"lanes": 2},
}


class Rule(NamedTuple):
    """A row of the table: the rule, and clipping by an absolute norm before it, in norms of an honest update."""

    asked: config.Aggregation
    clip: float | None = None


RULES: Mapping[str, Rule] = {
    "mean": Rule(config.Aggregation()),
    "mean, clipped at 10 honest norms": Rule(config.Aggregation(), 10.0),
    "mean, clipped at 1 honest norm": Rule(config.Aggregation(), 1.0),
    "mean, clipped at 0.1 honest norms": Rule(config.Aggregation(), 0.1),
    "clipped_mean": Rule(config.Aggregation("clipped_mean")),
    "centred_clipping": Rule(config.Aggregation("centred_clipping")),
    "geometric_median": Rule(config.Aggregation("geometric_median")),
    "median": Rule(config.Aggregation("median")),
    "trimmed_mean, share 0.1": Rule(config.Aggregation("trimmed_mean", {"share": 0.1})),
    "krum, 1 corrupted": Rule(config.Aggregation("krum", {"corrupted": 1})),
    "multi_krum, 1 corrupted": Rule(config.Aggregation("multi_krum", {"corrupted": 1})),
}


class Sent(NamedTuple):
    """What the ten send, their shares, the place of the small one, and the mean of the round before."""

    updates: Sequence[Weights]
    shares: Sequence[float]
    small: int
    last: Weights


def hospitals(settings: config.RunConfig) -> tuple[Any, dict[str, Examples], str]:
    """Returns the data set, each hospital's training rows, and the one that is left with 0.6 % of all rows."""
    held = prepare(settings)
    small = min(held.train, key=lambda name: len(held.train[name]))
    others = sum(len(rows) for name, rows in held.train.items() if name != small)
    few = held.train[small].take(np.arange(round(SHARE / (1 - SHARE) * others)))
    return held.dataset, {**held.train, small: few}, small


def sent(seed: int) -> Sent:
    """Returns the honest updates of the second round."""
    tree = {**CONFIG, "seed": seed, "data": {**CONFIG["data"], "args": {"hospitals": HOSPITALS, "seed": seed}}}
    settings = config.parse(tree)
    dataset, train, small = hospitals(settings)
    with contextlib.closing(Federation(settings, dataset, train)) as federation:
        start = federation.start()
        position = federation.round(start).position
        before = federation.weights(position)
        updates = [subtract(_after(federation, position, name), before) for name in train]
        last = subtract(before, federation.weights(start))
    return Sent(updates, [float(len(rows)) for rows in train.values()], list(train).index(small), last)


def _after(federation: Federation, position: Position, client: str) -> Weights:
    """Returns the weights after a round of one client."""
    return federation.weights(federation.round(position, [client]).position)


def aggregate(rule: Rule, updates: Sequence[Weights], shares: Sequence[float], last: Weights) -> Weights:
    """Returns a rule's aggregate; `last` is what centred clipping starts from."""
    one, like = aggregators.checked(rule.asked)(), Payload(zeros_like(last))
    grown = one.zero(like)
    for update, share in zip(updates, shares, strict=True):
        payload = Payload(map_weights(tf.constant, update))
        if rule.clip is not None:
            payload = steps.clipping(rule.clip).encode(payload, tf.constant([0, 0]))
        grown = one.accumulate(grown, payload, tf.constant(share))
    found = one.report(one.packed(grown, like))
    return (found if one.memory is None else one.memory.recall(found, last.trainable)[0]).update


def errors_of(seed: int) -> dict[str, dict[str, float]]:
    """Returns each rule's error with the boosted update, and with none."""
    honest = sent(seed)
    mean = aggregate(RULES["mean"], honest.updates, honest.shares, honest.last)
    typical = statistics.median(float(norm(update.trainable)) for update in honest.updates)
    boosted = list(honest.updates)
    boosted[honest.small] = map_weights(lambda u: BOOST * u, boosted[honest.small])
    found = {}
    for name, rule in RULES.items():
        own = rule if rule.clip is None else rule._replace(clip=rule.clip * typical)
        found[name] = {
            kind: _relative(aggregate(own, updates, honest.shares, honest.last), mean)
            for kind, updates in (("boosted", boosted), ("honest", honest.updates))
        }
    return found


def _relative(found: Weights, mean: Weights) -> float:
    return float(norm(subtract(found, mean).trainable) / norm(mean.trainable))


def page(results: Mapping[str, Any]) -> str:
    """Returns the results as Markdown."""
    seeds = results["seeds"]
    lines = [
        "# One small hospital with a boosted update",
        "",
        "`uv run python -m experiments.robust_rules`; every seed is in `robust_rules.json`.",
        f"diabetes_ehr with {HOSPITALS} hospitals, an mlp, the second round of one epoch: `CONFIG` in the program.",
        f"One hospital holds {SHARE:.1%} of the training rows; its update is multiplied by {BOOST:g}. An error is the",
        "distance of the aggregate to the mean of the honest updates, over that mean's norm: the median of",
        f"{len(seeds)} seeds, with the least and the largest. Clipping by an absolute norm is given in median norms of",
        "the honest updates, which a user would have to guess.",
        f"Machine: {results['machine']}.",
        "",
        "| rule | error, boosted | least to largest | error, nobody corrupted | least to largest |",
        "|---|---|---|---|---|",
    ]
    for name in RULES:
        cells = [name]
        for kind in ("boosted", "honest"):
            values = [seed[name][kind] for seed in seeds]
            cells += [f"{statistics.median(values):.3g}", f"{min(values):.3g} to {max(values):.3g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main(argv: Sequence[str]) -> None:
    """Writes the results and the table."""
    del argv
    path, here = pathlib.Path(FLAGS.results), machine.processor()
    programs.check_writable("--results", path.parent)
    found = [errors_of(seed) for seed in range(FLAGS.seeds)]
    results = {"machine": f"{here.cores} cores, {here.model}", "seeds": found}
    files.write_atomically(path, json.dumps(results, indent=1) + "\n")
    files.write_atomically(path.with_suffix(".md"), page(results))
    print(page(results))


if __name__ == "__main__":
    programs.run(main)
