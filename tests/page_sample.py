"""A study.json and a run's summary made by hand, of any number of hospitals, without data or training."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmed.statistics import METRICS, worst_served

ARMS = ("federated", "local", "pooled", "leave_one_out")
LABELS = {
    "local": "each hospital alone",
    "pooled": "all rows in one place",
    "leave_one_out": "the other hospitals only",
}
WITHHELD = "AUROC: too few events among those tested"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def estimate(value: float | None, half: float = 0.03, reason: str = WITHHELD) -> dict[str, Any]:
    if value is None:
        return {"estimate": None, "low": None, "high": None, "method": "", "reason": reason}
    ends = {"low": round(value - half, 4), "high": round(value + half, 4)}
    return {"estimate": round(value, 4), **ends, "method": "bootstrap", "reason": ""}


def figure(value: float | None) -> dict[str, Any]:
    """Returns an estimate with its value at each seed."""
    return {**estimate(value), "by_seed": [value]}


def tested(value: float | None) -> dict[str, Any]:
    """Returns the estimate of a difference."""
    return {**estimate(value), "p_value": None if value is None else 0.2}


def difference(value: float | None) -> dict[str, Any]:
    """Returns the estimate of a difference with its value at each seed."""
    return {**tested(value), "by_seed": [value], "error": None if value is None else 0.015}


def study(
    names: Sequence[str] = ("north", "south", "east"), column: str = "age_years", **changes: Any
) -> dict[str, Any]:
    """Returns a whole study.json; the last hospital has too few events for any figure."""
    maker = _Maker(names, column)
    return maker.study() | changes


class _Maker:
    def __init__(self, names: Sequence[str], column: str) -> None:
        self.names, self.column, self.rng = list(names), column, np.random.default_rng(3)
        self.outcomes = {n: ("gains", "undecided", "harmed")[i % 3] for i, n in enumerate(self.names)}
        self.outcomes[self.names[-1]] = "too few events"

    def by(self, make: Any) -> dict[str, Any]:
        return {"hospitals": {name: make(name) for name in self.names}, "all": make(None)}

    def value(self, name: str | None, middle: float, spread: float = 0.05) -> float | None:
        few = name is not None and self.outcomes[name] == "too few events"
        return None if few else float(middle + spread * self.rng.normal())

    def study(self) -> dict[str, Any]:
        compared = [self.comparison("federated", "local", True), self.comparison("federated", "pooled", False)]
        arms = [{"name": a, "kind": a, "label": LABELS.get(a, a), "about": f"About {a}.", "set": {}} for a in ARMS]
        sentences = dict.fromkeys(
            ("estimand", "splits", "verdict_rule", "interval_method", "suppression"), "As it is done."
        )
        return {
            "schema": 1, "name": "sample", "question": "", "task": "binary",
            "metric": {"name": "auroc", "label": "AUROC", "better": "higher"},
            "level": 0.95, "specificity": 0.9, "minimum_events": 10, "minimum_cell": 5, "seeds": [0, 1, 2],
            "measures": [
                {"name": "auroc", "label": "AUROC", "better": "higher", "target": None},
                {"name": "brier", "label": "Brier score", "better": "lower", "target": None},
                {"name": "net_benefit", "label": "net benefit at 10 %", "better": "higher", "target": None},
                {"name": "slope", "label": "calibration slope", "better": "target", "target": 1.0},
            ],
            "data": {"name": "made up", "rows": 5000, "patients": 4000, "classes": 2, "class_names": ["no", "stroke"],
                     "features": [{"name": self.column, "unit": "years", "levels": []}], "synthetic": True,
                     "test": "each hospital's own patients", "preprocessing": "federated", "roles": None, "faults": []},
            "design": {"arms": arms, "comparisons": [c["id"] for c in compared], **sentences,
                       "subgroups_asked": False, "not_done": ["No tuning."], "tuning": "", "tuned": []},
            "hospitals": [self.hospital(name) for name in self.names],
            "refused": {}, "contributions": {}, "warnings": [],
            "answer": self.answer(compared[0]), "table1": self.table_one(), "shift": self.shift(),
            "performance": {arm: {**self.by(self.measures), **self.over_hospitals()} for arm in ARMS},
            "comparisons": compared,
            "curves": {"metric": "auroc", "arms": {arm: self.curve() for arm in ARMS}},
            "calibration": {"about": "Bins.", "arms": {arm: self.by(self.bins) for arm in ARMS}},
            "risk_spread": self.risk_spread(),
            "decision": self.decision(), "subgroups": [self.subgroup()], "truth": self.truth(),
            "transfer": {"metric": "auroc", "trained_at": self.names, "tested_at": self.names,
                         "values": [[self.value(to, 0.7) for to in self.names] for _ in self.names]},
            "communication": self.communication(), "seed_sensitivity": self.seed_sensitivity(),
            "scenarios": [{"name": "mild", "label": "mild", "set": {"data.args.severity": 0},
                           "hospitals": [], "performance": {"federated": self.by(self.measures)},
                           "comparisons": [self.comparison("federated", "local", True)]}],
            "grow": self.grow(),
            "reproduce": {"config_toml": 'name = "sample"\n', "command": "fedmed study sample.toml", "seeds": [0, 1, 2],
                          "versions": {"fedmed": "0.1.0"}, "checksums": {"x": "0" * 64}, "weights": None},
            "sample_size": self.sample_size(), "explained": self.explained(), "notes": [],
            "privacy": self.privacy(), "leakage": self.leakage(),
            "recalibration": self.recalibration(), "references": self.references(), "contest": self.contest(),
            "stress": self.stress(),
        }  # fmt: skip

    def judged(self, name: str | None, value: float, word: str) -> dict[str, Any]:
        few = name is not None and self.outcomes[name] == "too few events"
        p = None if few else 0.6 if word == "undecided" else 0.004
        told = {**tested(None if few else value), "p_value": p, "p_adjusted": p}
        return {**told, "word": "no figure" if few else word}

    def stress(self) -> dict[str, Any]:
        over = [name for name in self.names if self.outcomes[name] != "too few events"]
        missed = f"{self.names[0]}, 64% of the training weight, was to contribute in 40 rounds and did in 13."

        def cell(word: str, value: float, missed: str = "") -> dict[str, Any]:
            lost = word == "diverged"
            at = {name: figure(0.8 if name in over and not lost else None) for name in self.names}
            none = {**tested(None), "p_adjusted": None, "word": "no figure"}
            return {
                "hospitals": at, "mean": estimate(None if lost else 0.8),
                "worst": None if lost else {"hospital": over[0], "value": 0.7, "decile": None},
                "difference": none if lost else None if word == "first" else self.judged(None, value, word),
                "diverged": [1] if lost else [], "missed": [missed] if missed else [], "clock_seconds": 4000.0,
                "reached": {"rounds": None if lost else 7, "bytes_per_hospital": 6000, "seconds": 0.1},
            }  # fmt: skip

        def row(label: str, hospital: str | None, **rules: Any) -> dict[str, Any]:
            return {"label": label, "about": f"About {label}.", "hospital": hospital,
                    "set": {"scenario": [{"name": "absent"}]}, "rules": rules}  # fmt: skip

        planned = row("as planned", None, mean=cell("first", 0.0), median=cell("undecided", -0.01))
        leaves = row(f"{self.names[0]} leaves", self.names[0], mean=cell("worse", -0.1, missed),
                     median=cell("better", 0.1, missed))  # fmt: skip
        boosted = row("boosted", self.names[0], mean=cell("diverged", 0.0), median=cell("undecided", 0.0))
        return {
            "metric": "auroc", "first": "mean", "rules": {"mean": "The mean.", "median": "The median."}, "over": over,
            "seeds": [0, 1], "scenarios": {"as_planned": planned, "largest_leaves": leaves, "boosted": boosted},
            "left_out": {"wrong_units": "other units are a table's, and these data are none"},
            "target": {"value": 0.79, "why": "the config's study.target"}, "summary": "By mean, it is worse.",
            "whom": "The largest.", "estimand": "The difference.", "method": "By Holm.",
        }  # fmt: skip

    def contest(self) -> dict[str, Any]:
        judged = self.judged

        def contrast(arm: str, against: str, value: float, word: str) -> dict[str, Any]:
            at = {name: judged(name, value, word) for name in self.names}
            return {"arm": arm, "against": against, "mean": judged(None, value, word), "hospitals": at}

        over = [name for name in self.names if self.outcomes[name] != "too few events"]
        reached = {"fedavg": 3, "scaffold": None}
        arms = {
            arm: {
                "label": LABELS.get(arm, arm), "about": f"About {arm}.", "set": {"algorithm.args": {"mu": 0.1}},
                "hospitals": {name: figure(0.8 if name in over else None) for name in self.names},
                "mean": estimate(0.8),
                "worst": {"hospital": over[0], "value": 0.7, "decile": 0.71 if len(over) > 9 else None},
                "sent": None if arm == "local" else {
                    "bytes_per_round": 2000, "bytes_per_hospital": 80_000,
                    "reached": {"rounds": reached[arm], "bytes_per_hospital": 6000, "seconds": 0.1},
                },
                "sentence": "" if arm == "local" else "Mean AUROC over hospitals against another -0.010, undecided.",
            }
            for arm in ("fedavg", "scaffold", "local")
        }  # fmt: skip
        given = {"learning_rates": [0.05, 0.108, 0.05], "notes": ["at seed 0 it is at an end"], "trials": [7, 7, 9],
                 "rounds": [55, 55, 65]}  # fmt: skip
        tuned = [{"arm": arm, "hospital": None, **given, "set": [{"server.learning_rate": 0.1}] * 3}
                 for arm in ("fedavg", "scaffold")]  # fmt: skip
        return {
            "metric": "auroc", "first": "fedavg", "over": over, "arms": arms,
            "to_first": [contrast("scaffold", "fedavg", -0.01, "worse")],
            "to_local": [contrast("fedavg", "local", 0.02, "better"), contrast("scaffold", "local", 0.0, "undecided")],
            "left_out": {"fedbn": "fedbn keeps BatchNormalization at home, and the model has none"},
            "target": {"value": 0.79, "why": "the config's study.target"},
            "tuned": [*tuned, {"arm": "local", "hospital": self.names[0], **given, "set": [{}] * 3}],
            "summary": "Scaffold is shown to be worse than fedavg.", "estimand": "The difference.",
            "tuning": "All alike.", "method": "By Holm.",
        }  # fmt: skip

    def privacy(self) -> dict[str, Any]:
        def point(epsilon: float | None) -> dict[str, Any]:
            def by(make: Any) -> dict[str, Any]:
                return {name: make(self.value(name, 0.8)) for name in self.names}

            costs = by(lambda value: difference(None if value is None else -0.02)) if epsilon else {}
            return {
                "epsilon": epsilon, "federated": by(figure), "local": by(figure),
                "difference": by(lambda value: difference(None if value is None else 0.01)),
                "outcome": dict.fromkeys(self.names, "undecided"), "cost_federated": costs, "cost_local": costs,
            }  # fmt: skip

        told = {
            "units": 120, "delta": 0.005, "sampling_rate": 0.25, "noise_multiplier": 2.5, "steps": 40, "epsilon": 2.987,
            "epsilon_rdp": 3.4, "preprocessing_noise": None,
        }  # fmt: skip
        promises = {
            "unit": "patient", "clip_norm": 1.0, "target_epsilon": 3.0, "promises": dict.fromkeys(self.names, told),
        }  # fmt: skip
        price = {
            "metric": "auroc", "points": [point(None), point(8.0), point(1.0)],
            "sentences": dict.fromkeys(self.names, "undecided at epsilon 8 and at epsilon 1"), "about": "Trained so.",
            "promises": {"federated at 8": promises, "local at 8": promises},
        }  # fmt: skip
        return {"arms": {"federated": promises, "local": promises}, "price": price, "secure": False}

    def leakage(self) -> dict[str, Any]:
        def exposed(value: float) -> dict[str, Any]:
            caught = {"0.01": estimate(0.02), "0.001": estimate(None, reason="184 scores, and 1,000 are needed")}
            return {"patients": 120, "auc": estimate(value), "caught": caught}

        def attack(training: str, control: bool, value: float) -> dict[str, Any]:
            return {
                "training": training, "control": control, "models": 16, "all": exposed(value),
                "hospitals": dict.fromkeys(self.names, exposed(value)), "loss_auc": estimate(0.52),
            }  # fmt: skip

        scene = {
            "scene": "one row, one step", "way": "dense layer", "rows": 1, "reason": "", "distance": 0.0, "other": 0.9,
            "guess": 1.4, "singled_out": 1.0, "psnr": None, "pictures": [],
        }  # fmt: skip
        skipped = scene | {"reason": "a layer draws at random", "distance": None, "other": None, "guess": None}
        seen = scene | {"psnr": 71.0, "pictures": [[PNG], [PNG]], "distance": None, "other": None, "guess": None}
        audit = {
            "promise": "epsilon 8", "control": False, "claim": 9.1, "bound": 1.2, "ceiling": 4.1, "canaries": 400,
            "sentence": "The promise of epsilon 9.10 is not refuted.",
        }  # fmt: skip
        return {
            "membership": [attack("this study", False, 0.55), attack("overfitted", True, 0.7)],
            "rebuilt": {self.names[0]: [scene, skipped | {"singled_out": None}], self.names[1]: [seen]},
            "audits": [audit, audit | {"control": True, "claim": 1.0, "bound": 4.0}],
        }

    def recalibration(self) -> dict[str, Any]:
        def one(name: str) -> dict[str, Any]:
            few = self.outcomes[name] == "too few events"
            sides = {f"agreement_{side}": figure(self.value(name, 1.0)) for side in ("before", "after")}
            benefit = {"benefit_before": None if few else 0.11, "benefit_after": None if few else 0.12}
            return {**sides, **benefit, "benefit_difference": None if few else estimate(0.01),
                    "labelled": None if few else 100, "left": 0, "sentence": f"{name}: as it is."}  # fmt: skip

        return {"how": "intercept", "agreement": "observed over expected", "threshold": 0.15,
                "hospitals": {name: one(name) for name in self.names}, "about": "An intercept."}  # fmt: skip

    def references(self) -> dict[str, Any]:
        names = ("boosting_alone", "boosting_pooled", "regression_alone", "regression_pooled", "federated", "local")
        arms = [{"name": name, "label": name.replace("_", ", "), "about": f"About {name}.",
                 "reference": "_" in name} for name in names]  # fmt: skip

        def figures(name: str | None) -> dict[str, Any]:
            middles = {"auroc": 0.79, "loss": 0.3, "agreement": 1.02}
            return {arm: {m: figure(self.value(name, x)) for m, x in middles.items()} for arm in names}

        def one(name: str) -> dict[str, Any]:
            few = self.outcomes[name] == "too few events"
            choices = {at: {"arm": f"boosting_{at}", "difference": difference(None if few else -0.06),
                            "outcome": "no figure" if few else "reference better"}
                       for at in ("alone", "pooled")}  # fmt: skip
            return {"figures": figures(name), **choices, "sentence": f"{name}: the federated model does worse."}

        labels = {"auroc": "AUROC", "loss": "log loss", "agreement": "observed over expected"}
        return {"arms": arms, "measures": labels, "hospitals": {name: one(name) for name in self.names},
                "all": figures(None), "about": "Without federation."}  # fmt: skip

    def hospital(self, name: str) -> dict[str, Any]:
        few = self.outcomes[name] == "too few events"
        return {"id": name, "rows": 400, "patients": 350, "train_rows": 300, "test_rows": 100, "tested_patients": 200,
                "events": None if few else 61, "event_rate": None if few else 0.174, "informative": None if few else 61,
                "enough": not few, "reason": "too few events" if few else ""}  # fmt: skip

    def measures(self, name: str | None) -> dict[str, Any]:
        middles = {"auroc": 0.78, "brier": 0.12, "net_benefit": 0.03, "slope": 0.95}
        return {measure: figure(self.value(name, middle)) for measure, middle in middles.items()}

    def over_hospitals(self) -> dict[str, Any]:
        mean = {measure: estimate(None, reason=f"no figure at {self.names[-1]}") for measure in ("auroc", "brier")}
        decile = 0.62 if len(self.names) > 10 else None
        worst = {**estimate(0.61), "hospital": self.names[0], "without": 1, "decile": decile}
        return {"mean": mean, "worst": {"auroc": worst, "brier": {**worst, "hospital": self.names[1]}}}

    def comparison(self, of: str, against: str, primary: bool) -> dict[str, Any]:
        def told(name: str | None) -> dict[str, Any]:
            middle = {"gains": 0.05, "harmed": -0.05}.get(self.outcomes.get(name or "", ""), 0.002)
            return {m: difference(self.value(name, middle, 0.004)) for m in ("auroc", "brier", "net_benefit")}

        hospitals = {}
        for name, outcome in self.outcomes.items():
            few = outcome == "too few events"
            hospitals[name] = {"outcome": outcome, "reason": WITHHELD if few else "",
                               "questions": {} if few else self.questions(outcome), "needed": 150,
                               "p_no_worse": None if few else 0.04,
                               "detectable": None if few else 0.061, "measures": told(name)}  # fmt: skip
        return {"id": f"{of}-{against}", "of": of, "against": against, "primary": primary, "hospitals": hospitals,
                "all": {"measures": told(None)}}  # fmt: skip

    def answer(self, comparison: dict[str, Any]) -> dict[str, Any]:
        hospitals = {
            name: {"outcome": own["outcome"], "sentence": f"{name}: as it is.", "difference": own["measures"]["auroc"],
                   **{key: own[key] for key in ("questions", "p_no_worse", "detectable", "needed")},
                   "of": figure(self.value(name, 0.8)), "against": figure(self.value(name, 0.75))}
            for name, own in comparison["hospitals"].items()
        }  # fmt: skip
        return {"comparison": comparison["id"], "summary": "It helps some.", "hospitals": hospitals,
                "margin": 0.02, "threshold": 0.1, "consortium": self.consortium()}  # fmt: skip

    def questions(self, outcome: str) -> dict[str, Any]:
        claim = {"gains": "better", "harmed": "worse"}.get(outcome, "open")
        asked = {"claim": claim, "p_value": 0.01, "p_adjusted": 0.03, "side": "better" if claim == "open" else claim}
        return {"ranking": {"measure": "auroc", **asked}, "calibration": {"measure": "slope", **asked},
                "usefulness": {"measure": "net_benefit", **asked}}  # fmt: skip

    def consortium(self) -> dict[str, Any]:
        sizes = [20.0, 50.0, 100.0]
        line = {"events": sizes, "gain": [0.06, 0.03, 0.01], "low": [0.03, 0.01, -0.01], "high": [0.09, 0.05, 0.03],
                "per_doubling": estimate(-0.01), "gains_below": 50.0,
                "hospitals": dict.fromkeys(self.names[:-1], 40.0)}  # fmt: skip
        return {"mean": tested(0.02), "hospitals": len(self.names) - 1, "tau": 0.01, "i_squared": 0.3,
                "prediction": (-0.01, 0.05), "by_size": line, "about": "How it is made."}  # fmt: skip

    def table_one(self) -> dict[str, Any]:
        def row(name: str, statistic: str, text: str) -> dict[str, Any]:
            cells = {n: {"text": "< 5" if n == self.names[-1] else text, "missing": 3.1} for n in self.names}
            return {"name": name, "level": "", "unit": "years", "statistic": statistic, "cells": cells,
                    "all": {"text": text, "missing": None}}  # fmt: skip

        rows = [row("stroke", "n (%)", "61 (17.4 %)"), row(self.column, "mean (SD)", "61.2 (9.8)")]
        return {"hospitals": self.names, "rows": rows, "note": "All rows."}

    def shift(self) -> dict[str, Any]:
        label = {
            n: {
                "shares": [estimate(0.8), estimate(0.2 * self.rng.random())],
                "mean": None,
                "distance": 0.1,
                "reason": "",
            }
            for n in self.names
        }
        features = {n: {"difference": [float(self.rng.normal()), None], "reason": ["", "few"], "missing": [0.02, 0.0],
                        "kind": ["number", "category"]}
                    for n in self.names}  # fmt: skip
        return {"label": label, "features": {"columns": [self.column, "sex"], "hospitals": features}}

    def curve(self) -> dict[str, Any]:
        def one(name: str | None) -> dict[str, Any]:
            values = [self.value(name, 0.8 - 0.3 / (1 + k), 0.01) for k in range(9)]
            return {"mean": values, "low": [v and v - 0.02 for v in values], "high": [v and v + 0.02 for v in values]}

        return {"rounds": list(range(0, 45, 5)), **self.by(one)}

    def bins(self, name: str | None) -> dict[str, Any]:
        if name == self.names[-1]:
            return {"bins": [], "smooth": {"predicted": [], "observed": []}}
        bins = [
            {"predicted": p, "observed": p * 1.1, "low": p * 0.9, "high": p * 1.4, "patients": 50}
            for p in (0.1, 0.2, 0.4)
        ]
        return {"bins": bins, "smooth": {"predicted": [0.05, 0.5], "observed": [0.06, 0.52]}}

    def risk_spread(self) -> dict[str, Any]:
        def own(name: str | None) -> dict[str, Any] | None:
            few = name == self.names[-1]
            return None if few else {"event": [None, 0.2, 0.3, 0.4, None], "no_event": [0.02, 0.05, 0.1, 0.2, 0.3]}

        return {"levels": [0.05, 0.25, 0.5, 0.75, 0.95], "about": "Quantiles.",
                "arms": {arm: {"hospitals": {n: own(n) for n in self.names[:-1]}, "all": own(None)}
                         for arm in ARMS}}  # fmt: skip

    def sample_size(self) -> dict[str, Any]:
        needed: dict[str, dict[str, Any]] = {n: {"needed": 250, "reached": True} for n in self.names}
        needed[self.names[0]] = {"needed": 420, "reached": False}
        needed[self.names[-1]] = {"needed": None, "reached": None}
        return {"parameters": 12, "hospitals": needed, "all": {"needed": 260, "reached": True}, "about": "Rows."}

    def decision(self) -> dict[str, Any]:
        thresholds = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
        curve = {"net_benefit": [0.15, 0.12, 0.1, 0.08, 0.07, 0.06], "low": [0.05] * 6, "high": [0.2] * 6}
        by = {"hospitals": dict.fromkeys(self.names[:-1], curve), "all": curve}
        everybody = {"hospitals": {n: [0.15, 0.1, 0.05, 0.0, -0.1, -0.2] for n in self.names[:-1]}, "all": [0.1] * 6}
        return {"thresholds": thresholds, "arms": dict.fromkeys(ARMS, by), "treat_all": everybody,
                "differences": {"federated-local": by}, "about": "Net benefit."}  # fmt: skip

    def subgroup(self) -> dict[str, Any]:
        def group(name: str, hidden: bool) -> dict[str, Any]:
            performance = {} if hidden else {arm: estimate(0.75) for arm in ARMS}
            return {"name": name, "patients": None if hidden else 120, "events": None if hidden else 30,
                    "suppressed": hidden, "reason": "fewer than 5 patients" if hidden else "",
                    "performance": performance,
                    "differences": {} if hidden else {"federated-local": tested(0.02)}}  # fmt: skip

        gap = {
            "worst": "under 45",
            "best": "45 to 65",
            "estimate": 0.06,
            "low": 0.01,
            "high": 0.12,
            "p_value": 0.3,
            "method": "",
        }
        groups = [group("under 45", False), group("45 to 65", False), group("over 65", True)]
        return {"column": self.column, "label": self.column, "unit": "years", "groups": groups,
                "gap": {"federated": gap, "local": None}}  # fmt: skip

    def truth(self) -> dict[str, Any]:
        own = {
            "mean_absolute": 0.04,
            "root_mean_square": 0.07,
            "loss_regret": 0.02,
            "brier_regret": 0.005,
            "auroc_regret": 0.03,
        }
        return {"about": "Synthetic.", "arms": {arm: self.by(lambda _: own) for arm in ARMS}}

    def communication(self) -> dict[str, Any]:
        arm = {"rounds": 12, "bytes_per_hospital": 96000, "seconds": 0.5}
        never = dict.fromkeys(arm)
        return {"weights_bytes": 4000, "rounds": 40, "bytes_per_round": 8000, "bytes_per_hospital": 320000,
                "bytes_all": 320000 * len(self.names), "uplink_bits": 1e7, "uplink": "10Mbit",
                "seconds_per_round": 0.0032, "seconds_all": 0.128, "clock_seconds": 1.4,
                "target": {"value": 0.77, "why": "nearly pooled",
                "arms": {"federated": arm, "pooled": never}}, "pooled_data_bytes": 640000,
                "about": "Sending alone."}  # fmt: skip

    def seed_sensitivity(self) -> dict[str, Any]:
        own = {"by_seed": [0.01, -0.01, 0.02], "sd": 0.015, "least": -0.01, "greatest": 0.02, "signs_agree": False}
        return {"comparison": "federated-local", "hospitals": dict.fromkeys(self.names[:-1], own), "about": "Seeds."}

    def explained(self) -> dict[str, Any]:
        def performance(name: str, value: float) -> dict[str, Any]:
            return {
                **self.by(lambda n: {name: figure(self.value(n, value))}),
                "mean": {name: estimate(None)},
                "worst": {name: {**estimate(value), "hospital": self.names[0], "without": 1, "decile": None}},
            }

        return {"about": "predicts the prevalence for every row", "null": performance("brier", 0.2),
                "measures": [{"name": "d2", "label": "D² (log loss)", "better": "higher", "target": None}],
                "skill": {arm: performance("d2", 0.1) for arm in ARMS}}  # fmt: skip

    def grow(self) -> dict[str, Any]:
        def point(axis: str, hospitals: int, share: float) -> dict[str, Any]:
            performance = {"federated": figure(0.7 + 0.02 * hospitals * share), "local": figure(0.7)}
            return {"name": f"{hospitals}", "axis": axis, "hospitals": hospitals, "share": share,
                    "train_rows": 300 * hospitals,
                    "performance": performance, "difference": difference(0.02)}  # fmt: skip

        points = [point("hospitals", n, 1.0) for n in (1, 2, 3)] + [point("patients", 3, s) for s in (0.25, 0.5, 1.0)]
        return {"hospital": self.names[0], "metric": "auroc", "points": points, "about": "Watched."}


def over_clients(clients: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns each metric of a binary task over these clients of a summary."""
    told = {name: own if own["test_rows"] >= 5 else {} for name, own in clients.items()}
    found = {m.name: worst_served({n: own.get(m.name) for n, own in told.items()}, m.better) for m in METRICS["binary"]}
    return {name: dataclasses.asdict(own) for name, own in found.items() if own}


def run(names: Sequence[str] = ("north", "south", "east")) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns a run's summary and its rounds; the last client has too few events, the one before too few test rows."""
    good = {"accuracy": 0.91, "loss": 0.31, "auroc": 0.78, "auprc": 0.41, "brier": 0.07}
    few = {**good, "auroc": None, "auprc": None}
    reasons = {"auroc": f"{WITHHELD}", "auprc": "AUPRC: too few events among those tested"}
    clients = {n: {"train_rows": 300, "test_rows": 100, **good, "undefined": {}} for n in names}
    clients[names[-1]] = {"train_rows": 30, "test_rows": 10, **few, "undefined": reasons}
    clients[names[-2]] = {"train_rows": 30, "test_rows": 3, **good, "undefined": {}}
    result = {"round": 4, "pooled": good, "over_clients": over_clients(clients), "clients": clients}

    def scores(told: dict[str, float]) -> dict[str, Any]:
        return {"pooled": told, "clients": dict.fromkeys(names, told)}

    shown = {name: {key: own.get(key) for key in good} for name, own in clients.items()}
    records = [
        {"round": k, "learning_rate": 0.1 if k else None, "cohort": list(names) if k else [], "absent": {},
         "late": {}, "partial": {}, "clock_seconds": 60.0,
         "examples": 360 if k else 0, "train": {"loss": 0.3, "accuracy": 0.9} if k else None, "refused": [],
         "test": {"pooled": {**good, "auroc": 0.7 + 0.02 * k}, "over_clients": over_clients(clients), "clients": shown},
         "bytes_down": 12000 if k else 0, "bytes_up": 12000 if k else 0, "seconds": 0.1,
         "evaluation_seconds": 0.1, "privacy": None,
         "memory_mb": 500.0}
        for k in range(5)
    ]  # fmt: skip
    contributed = {"used": 4, "last": 4, "absent": {}, "refused": 0, "late": 0, "partial": 0}
    share = {"planned_share": 1 / len(names), "real_share": 1 / len(names)}
    contributions = {name: {"asked": 4, **contributed, **share} for name in names}
    contributions[names[0]] |= {"used": 2, "last": 3, "absent": {"dropped out": 2}}
    summary = {
        "schema": 1, "name": "sample", "missed": [], "task": "binary", "metric": "auroc", "rounds": 4,
        "stopped": "rounds", "seconds": 1.0, "clock_hours": 0.07, "contributions": contributions,
        "final": result, "best": {**result, "round": 3}, "test": "each client's own test rows",
        "traffic": {"bytes_down": 48000, "bytes_up": 48000}, "refused": {names[0]: 2},
        "nothing_learned": False, "warnings": [], "parameters": 1000,
        "weights_bytes": 4000, "weights_sha256": "f" * 64, "seed": 0,
        "data": {"name": "made up", "checksums": {"x": "0" * 64}},
        "versions": {"fedmed": "0.1.0"}, "model_file": "model.keras",
        "null": {**scores({"accuracy": 0.9, "loss": 0.35, "brier": 0.09}), "few": [names[-1]]},
        "skill": scores({"d2": 0.11, "scaled_brier": 0.2}), "notes": [], "privacy": None, "secure": True,
        "secure_error": 4.4e-07,
    }  # fmt: skip
    return summary, records
