"""What do corrupted hospitals do to a federation, and which rule of aggregation withstands them?

    uv run python -m experiments.attacks

Scikit-learn's digits at ten clients, McMahan's network of two hidden layers, with one, two or three corrupted clients
in every round, by each rule. A rule that must be told how many are corrupted is told the truth. The learning rate is
what `fedmed tune` chooses for the mean with nobody corrupted; every rule and attack has that rate. Cells that the
results hold already are not run again.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from fedmed.system import quiet

quiet.silence()

import fedmed  # noqa: E402
from experiments import attack_tables, programs  # noqa: E402
from experiments.attack_tables import NOBODY, RULES, Cell, Results  # noqa: E402
from fedmed.data import corruptions  # noqa: E402
from fedmed.data.clients import Clients, prepare  # noqa: E402
from fedmed.data.examples import Array, joined  # noqa: E402
from fedmed.engine import fates  # noqa: E402
from fedmed.engine.federation import Federation  # noqa: E402
from fedmed.engine.programs import Beginnings  # noqa: E402
from fedmed.settings import config  # noqa: E402
from fedmed.system import errors, files, machine  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_list("splits", [], "which divisions of the rows, by name; default all")
flags.DEFINE_list("attacks", [], "which attacks, by name, beside nobody; default all")
flags.DEFINE_list("rules", [], "which rules, by name; default all")
flags.DEFINE_integer("seeds", 3, "how many seeds of data, corrupted clients and training", lower_bound=1)
flags.DEFINE_integer("rounds", 15, "rounds", lower_bound=1)
flags.DEFINE_float("rate", None, "the clients' learning rate; default is tuned", lower_bound=0.0)
flags.DEFINE_string("results", "experiments/results/attacks.json", "the results file; a .md lies beside it")

CLIENTS, TARGET, PATCH, TIMES = 10, 0, 3, 10.0
CONFIG: Mapping[str, Any] = {
    "name": "attacks",
    "data": {"name": "digits"},
    "model": {"name": "mcmahan_2nn"},
    "client": {"learning_rate": 0.1, "batch_size": 20, "epochs": 1},
    "runtime": {"lanes": 1},
}
SPLITS: Mapping[str, Mapping[str, Any]] = {
    "alike": {"name": "iid", "args": {"clients": CLIENTS}},
    "unlike": {"name": "dirichlet", "args": {"clients": CLIENTS, "alpha": 0.5, "minimum": 20}},
}
SHARES: Mapping[str, tuple[float, ...]] = {"alike": (0.1, 0.2, 0.3), "unlike": (0.2,)}

Entries = tuple[Mapping[str, Any], ...]
_BACKDOOR = {"name": "backdoor", "args": {"target": TARGET, "size": PATCH}}
_BOOST = {"name": "boost", "args": {"times": TIMES}}
ATTACKS: Mapping[str, Entries] = {
    "sign_flip": ({"name": "sign_flip"},),
    "sign_flip_10": ({"name": "sign_flip", "args": {"times": TIMES}},),
    "boost_10": (_BOOST,),
    "label_flip": ({"name": "label_flip"},),
    "backdoor": (_BACKDOOR,),
    "backdoor_boost_10": (_BACKDOOR, _BOOST),
}
"""Each is what befalls the corrupted clients in every round: the entries `[[scenario]]` of a config."""

TOLD: Mapping[str, str] = {"trimmed_mean": "share", "krum": "corrupted", "multi_krum": "corrupted"}
"""By rule, the argument that tells it how many are corrupted."""


def told() -> dict[str, Any]:
    """Returns what all results must have in common, as the results file keeps it."""
    given = {} if FLAGS.rate is None else {"rate": FLAGS.rate}
    return {
        **CONFIG,
        "rounds": FLAGS.rounds,
        "partitions": {name: dict(split) for name, split in SPLITS.items()},
        **given,
    }


def settings(split: str, seed: int, rate: float, rule: str = "mean", share: float = 0.0) -> config.RunConfig:
    """Returns the settings with nobody corrupted; `share` is what a rule is told, where it is told any."""
    args = {"share": {"share": share}, "corrupted": {"corrupted": round(CLIENTS * share)}}.get(TOLD.get(rule, ""), {})
    tree = {
        **CONFIG,
        "seed": seed,
        "rounds": FLAGS.rounds,
        "partition": SPLITS[split],
        "client": {**CONFIG["client"], "learning_rate": rate},
        "aggregation": {"rule": rule, "args": args},
    }
    return config.parse(tree)


@functools.cache
def held(split: str, seed: int) -> Clients:
    """Returns what the clients hold, which no attack and no rule changes."""
    return prepare(settings(split, seed, 0.1))


def corrupted(split: str, seed: int, share: float) -> list[str]:
    """Returns the clients that a scenario's `share` draws by the seed; those of a larger share are among them."""
    entry = config.parse({**CONFIG, "rounds": 1, "seed": seed, "scenario": [{"name": "absent", "share": share}]})
    train = held(split, seed).train
    drawn = fates.Fates(entry, {client: len(rows) for client, rows in train.items()})
    return [client for number, client in enumerate(train) if drawn.of(0, number).absent]


def attacked(cell: Cell, rate: float) -> config.RunConfig:
    """Returns a cell's settings. Clients are named, so that both entries of an attack befall the same ones."""
    own = settings(cell.split, cell.seed, rate, cell.rule, cell.share)
    if cell.attack == NOBODY:
        return own
    names = corrupted(cell.split, cell.seed, cell.share)
    entries = [{**entry, "clients": names} for entry in ATTACKS[cell.attack]]
    return config.parse({**config.to_tree(own), "scenario": entries})


def trained(cell: Cell, rate: float, beginnings: Beginnings) -> dict[str, Any]:
    """Trains a cell; returns its test accuracy by rounds, and how often a trigger has the backdoor's class said."""
    own, data = attacked(cell, rate), held(cell.split, cell.seed)
    test = joined(list(data.test.values()))
    curve: list[float] = []
    with contextlib.closing(
        Federation(own, data.dataset, data.train, beginnings=beginnings, changed=data.changed)
    ) as federation:
        position = federation.start()
        for done in federation.rounds(position):
            position = done.position
            if position.round % attack_tables.STEP == 0 or position.round == own.rounds:
                curve.append(_share(federation.predict(federation.weights(position), test.x), test.y))
        marked = corruptions.patch(data.dataset, PATCH, "the attack")(test.take(np.flatnonzero(test.y != TARGET)).x)
        said = federation.predict(federation.weights(position), marked)
        shares = federation.shares
    bad = [] if cell.attack == NOBODY else corrupted(cell.split, cell.seed, cell.share)
    return {
        "accuracy": curve[-1],
        "backdoor": _share(said, np.full(len(said), TARGET)),
        "curve": curve,
        "rows": round(sum(shares[client] for client in bad) / sum(shares.values()), 4),
    }


def _share(predictions: Array, y: Array) -> float:
    """Returns the % of rows whose class is said; a model of NaN says none."""
    hits = (predictions.argmax(axis=1) == y) & np.isfinite(predictions).all(axis=1)
    return round(100 * float(hits.mean()), 2)


def cells() -> Iterator[Cell]:
    """Yields the cells that the flags ask for, those of one recorded program one after another."""
    splits, rules = FLAGS.splits or SPLITS, FLAGS.rules or RULES
    shares = sorted({share for split in splits for share in SHARES[split]})
    for rule in rules:
        for share in shares:
            for attacks in _by_program():
                for split in (split for split in splits if share in SHARES[split]):
                    for attack in attacks:
                        for seed in range(FLAGS.seeds):
                            yield Cell(split, attack, share, rule, seed)


def _by_program() -> list[list[str]]:
    """Returns the attacks, first those that multiply no update: a program is recorded for either kind."""
    asked = [NOBODY, *(FLAGS.attacks or ATTACKS)]
    multiplied = [name for name in asked if any("times" in e.get("args", {}) for e in ATTACKS.get(name, ()))]
    multiplied += [name for name in asked if name == "sign_flip"]
    return [[name for name in asked if name not in multiplied], multiplied]


def tuned(split: str) -> float:
    """Returns the rate that is best for the mean with nobody corrupted, on validation rows of the training rows."""
    with tempfile.TemporaryDirectory() as folder:
        found = fedmed.tune(settings(split, 0, 0.1), pathlib.Path(folder) / "tuning", quiet=True)
    if found["chosen"] is None:
        raise errors.UserError(f"tuning chose no rate: {found['warnings'][0]}")
    return float(found["chosen"]["learning_rate"])


def opened(path: pathlib.Path) -> Results:
    """Returns the results so far; a UserError where they are of other settings."""
    if not path.exists():
        here = machine.processor()
        return {"config": told(), "machine": f"{here.cores} cores, {here.model}", "rates": {}, "cells": {}}
    results = json.loads(path.read_text())
    if results["config"] != json.loads(json.dumps(told())):
        raise errors.UserError(f"--results: {str(path)!r} holds cells of other settings; choose another file")
    return results


def main(argv: Sequence[str]) -> None:
    """Runs what is left, keeping each cell as it is done, and writes the tables."""
    del argv
    path = pathlib.Path(FLAGS.results)
    programs.check_names("--splits", "division", FLAGS.splits, SPLITS)
    programs.check_names("--attacks", "attack", FLAGS.attacks, ATTACKS)
    programs.check_names("--rules", "rule", FLAGS.rules, RULES)
    programs.check_writable("--results", path.parent)
    results, beginnings = opened(path), collections.OrderedDict()
    for split in FLAGS.splits or SPLITS:
        if split not in results["rates"]:
            results["rates"][split] = FLAGS.rate or tuned(split)
    for cell in cells():
        if cell.attack == NOBODY and cell.rule not in TOLD:
            cell = dataclasses.replace(cell, share=0.0)  # the same model, whatever the share
        if cell.key not in results["cells"]:
            results["cells"][cell.key] = trained(cell, results["rates"][cell.split], beginnings)
            files.write_atomically(path, json.dumps(results, indent=1) + "\n")
    files.write_atomically(path.with_suffix(".md"), attack_tables.page(results))
    print(attack_tables.page(results))


if __name__ == "__main__":
    programs.run(main)
