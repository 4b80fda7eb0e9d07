"""Which models a study trains: arms, seeds and hospitals become jobs, one model each."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fedmed.data.examples import Dataset
from fedmed.engine import identity
from fedmed.engine.identity import Identity
from fedmed.engine.scenarios import effects
from fedmed.learning import algorithms
from fedmed.settings import config
from fedmed.settings.study import DEFAULT, KINDS, REFERENCES, Kind, Reference, Study
from fedmed.statistics import recalibration
from fedmed.system import errors, seeds

MAIN = ""
_PER_HOSPITAL = ("local", "leave_one_out", "boosting_alone", "regression_alone")
_NOT_OF_A_REFERENCE = ("rounds", "model", "client", "algorithm", "server", "aggregation", "cohort", "evaluation",
                       "runtime")  # fmt: skip

LABELS: Mapping[Kind | Reference, str] = {
    "federated": "federated",
    "local": "each hospital alone",
    "pooled": "all rows in one place",
    "recalibrated": "federated, recalibrated",
    "leave_one_out": "the other hospitals only",
    "fine_tuned": "federated, then fine-tuned",
    "boosting_alone": "boosted trees, alone",
    "boosting_pooled": "boosted trees, all rows",
    "regression_alone": "regression, alone",
    "regression_pooled": "regression, all rows",
}
ABOUT: Mapping[Kind | Reference, str] = {
    "federated": "All hospitals train one model together; no row leaves a hospital.",
    "local": "Each hospital trains a model on its own training rows only, in as many rounds.",
    "pooled": "One model is trained on everybody's training rows in one place: what federation is measured by.",
    "recalibrated": "The federated model's predictions, moved to fit each hospital by the outcomes of its tested "
    "patients, each patient's by those of others; it takes labelled patients that no other arm uses.",
    "leave_one_out": "The federated model of all other hospitals, tested at the hospital that took no part.",
    "fine_tuned": "The federated model is trained a little further at each hospital on its own training rows.",
    "boosting_alone": "Gradient boosting of each hospital's own training rows, with missing values as they are.",
    "boosting_pooled": "Gradient boosting of everybody's training rows in one place.",
    "regression_alone": "A penalised regression of each hospital's own training rows, standardised.",
    "regression_pooled": "A penalised regression of everybody's training rows in one place.",
}


_OWN_PART = (
    " What the algorithm leaves to each hospital is trained there from the final global model, in {epochs} rounds of "
    "one epoch (study.fine_tune_epochs) on that hospital's own training rows; what is shared stays as it is."
)
_MORE_PASSES = (
    " That is more passes over its rows than federated training makes, whose rounds have only a part of the hospitals."
)


@dataclasses.dataclass(frozen=True)
class ArmPlan:
    """An arm as it is trained: its settings with the variant's changes made."""

    name: str
    kind: Kind | Reference
    settings: config.RunConfig
    changes: Mapping[str, Any]
    repeat: int = 0


def label(arm: ArmPlan) -> str:
    """Returns what an arm is called on a page."""
    return LABELS[arm.kind] if arm.name == arm.kind else arm.name


def about(arm: ArmPlan) -> str:
    """Returns what an arm is, in a sentence or two."""
    cohort = arm.settings.cohort
    away = any(effect.absent for effect in effects(arm.settings))
    if arm.kind == "leave_one_out" and algorithms.is_personal(arm.settings.algorithm.name):
        return ABOUT[arm.kind] + _OWN_PART.format(epochs=arm.settings.study.fine_tune_epochs)
    partial = cohort.size is not None or (cohort.fraction or 1.0) < 1 or away
    return ABOUT[arm.kind] + (_MORE_PASSES if arm.kind == "local" and partial else "")


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Arms on the same data, partition and splits, which alone can be compared; MAIN is the config's own."""

    name: str
    settings: config.RunConfig
    arms: tuple[ArmPlan, ...]
    changes: Mapping[str, Any]
    references: tuple[ArmPlan, ...] = ()


@dataclasses.dataclass(frozen=True)
class Job:
    """One model: what it is trained on and how.

    Attributes:
        name: of its file, without the ending.
        arm: the arm it belongs to.
        kind: of arm.
        settings: of the training; the seed is the split's and, with `repeat`, the training's.
        repeat: other training randomness on the same split.
        hospital: the one that trains alone or is left out.
        members: the hospitals there are; None for all.
        share: of everybody's training patients.
        fine_tune_epochs: for a fine-tuned arm, and for the hospital left out where it has a part of its own.
        metric: recorded after each round.
        shadow: of a membership attack, which of how many models it is; None for a model of the study.
        attack: what is tried on a model instead of testing it; "" for none. "fitting" only tries whether the algorithm
            is for the model.
    """

    name: str
    arm: str
    kind: Kind | Reference
    settings: config.RunConfig
    repeat: int = 0
    hospital: str | None = None
    members: tuple[str, ...] | None = None
    share: float = 1.0
    fine_tune_epochs: int = 0
    metric: str = ""
    shadow: tuple[int, int] | None = None
    attack: Literal["", "rebuilding", "auditing", "fitting"] = ""

    @property
    def training_seed(self) -> int:
        """The seed of initial weights, cohorts and shuffling."""
        if not self.repeat:
            return self.settings.seed
        return int(seeds.generator(self.settings.seed, "study.repeat", self.repeat).integers(2**31 - 1))

    def identity(self, checksums: Mapping[str, str], sources: Mapping[str, str]) -> Identity:
        """Returns everything that the job's result depends on: data by checksum, code by the source's."""
        tree = config.to_tree(dataclasses.replace(self, settings=None))  # pyright: ignore[reportArgumentType]
        own = {key: value for key, value in tree.items() if key not in ("name", "arm")}
        told = identity.settings_of(self.settings, identity.NOT_OF_A_MODEL, job=own)
        if self.kind in REFERENCES:  # how networks are trained is nothing to it
            out = (*identity.NOT_OF_A_MODEL, *_NOT_OF_A_REFERENCE)
            told = identity.settings_of(self.settings, out, job=own, task=self.settings.model.task)
        return identity.completed(told, checksums, sources)


def kinds(study: Study) -> tuple[Kind, ...]:
    """Returns the built-in arms of a study, in order."""
    chosen = {*study.arms, *(("leave_one_out",) if study.leave_one_out else ())}
    return tuple(kind for kind in KINDS if kind in chosen)


def scenarios(settings: config.RunConfig) -> list[Scenario]:
    """Returns the config's own scenario, then one for each arm that changes data, partition or split."""
    built_in = kinds(settings.study)
    main = [ArmPlan(kind, kind, settings, {}) for kind in built_in]
    others = []
    for arm in settings.arms:
        changed = config.variant(settings, arm)
        changed = dataclasses.replace(changed, study=settings.study)
        if _is_other_data(settings, changed):
            arms = tuple(ArmPlan(kind, kind, changed, {}, arm.repeat) for kind in built_in)
            others.append(Scenario(arm.name, changed, arms, arm.set))
        else:
            main.append(ArmPlan(arm.name, arm.train, changed, arm.set, arm.repeat))
    return [Scenario(MAIN, settings, tuple(main), {}), *others]


def fitting(scenario: Scenario, dataset: Dataset) -> Scenario:
    """Returns the scenario with the arms that its data allow, and for its own data with the reference arms.

    Raises:
        ConfigError: recalibration was asked for by name and there is none for the task.
    """
    study, arms = scenario.settings.study, scenario.arms
    if "recalibrated" in study.arms and dataset.task not in recalibration.TASKS:
        if study.arms != DEFAULT.arms:
            raise errors.ConfigError(
                f"study.arms: 'recalibrated' is for {', '.join(recalibration.TASKS)} tasks, and this one is "
                f"{dataset.task}"
            )
        arms = tuple(arm for arm in arms if arm.kind != "recalibrated")
    found = REFERENCES if study.reference and dataset.is_table and scenario.name == MAIN else ()
    references = tuple(ArmPlan(kind, kind, scenario.settings, {}) for kind in found)
    return dataclasses.replace(scenario, arms=arms, references=references)


def _is_other_data(a: config.RunConfig, b: config.RunConfig) -> bool:
    seen = {name: getattr(a.data, name) for name in ("preprocessing", "standardise_label")}  # by a model only
    same_rows = dataclasses.replace(b.data, **seen)
    return (a.data, a.partition, a.model.task) != (same_rows, b.partition, b.model.task)


def seeds_of(settings: config.RunConfig) -> list[int]:
    """Returns the study's seeds: the config's and those that follow it."""
    return [settings.seed + number for number in range(settings.study.seeds)]


def jobs(scenario: Scenario, hospitals: Sequence[str], metric: str) -> list[Job]:
    """Returns the jobs of a scenario, seed by seed."""
    found = []
    for seed in seeds_of(scenario.settings):
        for arm in (*scenario.arms, *scenario.references):
            if arm.kind == "recalibrated":  # made of another's predictions
                continue
            for hospital in hospitals if arm.kind in _PER_HOSPITAL else (None,):
                found.append(_job(scenario, arm, seed, hospital, metric))
    return found


def _job(scenario: Scenario, arm: ArmPlan, seed: int, hospital: str | None, metric: str) -> Job:
    settings = dataclasses.replace(arm.settings, seed=seed)
    own = arm.kind == "leave_one_out" and algorithms.is_personal(settings.algorithm.name)
    tune = scenario.settings.study.fine_tune_epochs if own or arm.kind == "fine_tuned" else 0
    name = job_name(scenario.name, arm.name, seed, hospital)
    return Job(name, arm.name, arm.kind, settings, arm.repeat, hospital, fine_tune_epochs=tune, metric=metric)


def job_name(scenario: str, arm: str, seed: int, hospital: str | None, point: str = "") -> str:
    """Returns ARM-SEED[-HOSPITAL], with the scenario's name or the point's before it where there is one."""
    words = [scenario, point, arm, str(seed), hospital or ""]
    return "-".join(safe(word) for word in words if word)


def safe(name: str) -> str:
    """Returns a name that every file system takes; another name never gives the same one."""
    plain = re.sub(r"[^A-Za-z0-9._+]", "_", name)[:60]
    return plain if plain == name else f"{plain}~{hashlib.sha256(name.encode()).hexdigest()[:6]}"
