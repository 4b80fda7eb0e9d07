"""What a study compares and reports: the tables `[study]` and `[[arms]]` of a config."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from fedmed.settings.ranges import setting
from fedmed.system import errors

Kind: TypeAlias = Literal["federated", "local", "pooled", "recalibrated", "leave_one_out", "fine_tuned"]

KINDS: tuple[Kind, ...] = ("federated", "local", "pooled", "recalibrated", "leave_one_out", "fine_tuned")

Reference: TypeAlias = Literal["boosting_alone", "boosting_pooled", "regression_alone", "regression_pooled"]
"""What a hospital could do without federated training, with models of scikit-learn; a section of the page has them."""

REFERENCES: tuple[Reference, ...] = get_args(Reference)

Recalibration: TypeAlias = Literal["intercept", "intercept and slope"]


def _table() -> Any:
    return dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Price:
    """What a promise to patients costs each hospital, federated and alone.

    Attributes:
        epsilons: promises, each of which both are trained with; none leaves the section out.
        set: dotted keys of settings that such training has otherwise, e.g. { "client.learning_rate" = 0.5 }; not of the
            data, nor of the promise itself, nor what is the same for all arms.
    """

    epsilons: tuple[float, ...] = setting((), above=0.0)
    set: Mapping[str, Any] = _table()


@dataclasses.dataclass(frozen=True)
class Leakage:
    """Attacks on the study's own models.

    Attributes:
        attack: whether there are any.
        models: shadow federations of the membership attack, each on a random half of everybody's patients.
        starts: of the search for a row behind an update.
        rows: whose rows are searched for, at each hospital.
        canaries: of the audit of a promise.
    """

    attack: bool = False
    models: int = setting(32, least=8, most=1024)
    starts: int = setting(3, least=1)
    rows: int = setting(1, least=1, most=32)
    canaries: int = setting(1000, least=100)


@dataclasses.dataclass(frozen=True)
class Stress:
    """The federated arm under trouble: standard scenarios, each with several rules of aggregation.

    The default rules ask nothing of the number of hospitals, so that they serve three as well as twenty, and differ in
    what they count: the mean goes by sizes and bounds nobody, the median bounds whoever is among fewer than half of the
    hospitals and goes by heads, and the clipped mean bounds how far each can pull and goes by sizes. A geometric median
    goes by sizes too, but where one hospital has more than half of all rows, as of three one often has, it is that
    hospital's update.

    Attributes:
        run: whether it is done.
        rules: of aggregation; the first, as planned, is what all else is set against.
        scenarios: names of standard ones; all when left out. "as_planned" is always there.
        seeds: of the study's, as many at most; each trains a model for each scenario and rule.
    """

    run: bool = False
    rules: tuple[str, ...] = ("mean", "median", "clipped_mean")
    scenarios: tuple[str, ...] = ()
    seeds: int = setting(3, least=1)


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study trains, compares and shows; `fedmed run` takes no notice of it.

    Attributes:
        question: what the study is to answer, in a sentence for the page.
        seeds: how many; each has its own split and training randomness.
        arms: which of the built-in arms there are. "recalibrated" is made of "federated"; of several classes there is
            none, and the default is then without it.
        leave_one_out: adds that arm: trained without a hospital, tested there.
        metric: the primary one; default AUROC (binary), accuracy (multiclass), loss (others).
        specificity: at which sensitivity is reported.
        threshold: risk at which a patient would be treated, for the verdict's net benefit; default the share of all
            rows with the event.
        margin: of the primary metric, within which a hospital counts as no worse; default 0.02 of what lies between 0
            and 1, else 0.02 of what predicting the mean would score.
        thresholds: of the decision curve; chosen by the prevalence when empty.
        subgroups: columns; default those with the word sex, gender, male, female or age in their name.
        bands: edges that cut a column of numbers into bands, e.g. { age_years = [45, 65] }.
        fine_tune_epochs: passes over a hospital's own rows after federated training, by a fine-tuned model and by the
            part of its own of a hospital that took no part.
        level: of the intervals.
        minimum_events: informative patients below which a hospital gets no figure.
        draws: bootstrap samples.
        target: value of the primary metric whose price is reported; default what pooled training nearly reaches.
        grow: adds the learning curve over the consortium.
        grow_hospital: the hospital that is watched; default the smallest.
        grow_hospitals: sizes of the consortium, the watched hospital included.
        grow_shares: shares of everybody's training patients.
        recalibration: what the arm "recalibrated" fits at each hospital.
        reference: adds, for a table, boosted trees and a penalised regression of scikit-learn, alone and pooled.
        tune: searches each arm's learning rate on validation patients of its training patients, all arms alike.
        compare: algorithms that are set against the first of them and against each hospital alone, each tuned alike.
        stress: the federated arm under standard scenarios and several rules of aggregation.
        privacy: what a promise to patients would cost.
        leakage: attacks on the models.
    """

    question: str = ""
    seeds: int = setting(5, least=1, most=100)
    arms: tuple[Kind, ...] = ("federated", "local", "pooled", "recalibrated")
    leave_one_out: bool = False
    metric: str | None = None
    specificity: float = setting(0.9, above=0.0, below=1.0)
    threshold: float | None = setting(None, above=0.0, below=1.0)
    margin: float | None = setting(None, above=0.0)
    thresholds: tuple[float, ...] = setting((), above=0.0, below=1.0)
    subgroups: tuple[str, ...] | None = None
    bands: Mapping[str, Any] = _table()
    fine_tune_epochs: int = setting(3, least=1)
    level: float = setting(0.95, least=0.5, below=1.0)
    minimum_events: int = setting(10, least=5)
    draws: int = setting(1000, least=100)
    target: float | None = None
    grow: bool = False
    grow_hospital: str | None = None
    grow_hospitals: tuple[int, ...] = setting((1, 2, 3, 5, 8), least=1)
    grow_shares: tuple[float, ...] = setting((0.25, 0.5, 1.0), above=0.0, most=1.0)
    recalibration: Recalibration = "intercept"
    reference: bool = True
    tune: bool = False
    compare: tuple[str, ...] = ()
    stress: Stress = Stress()
    privacy: Price = Price()
    leakage: Leakage = Leakage()


DEFAULT = Study()


@dataclasses.dataclass(frozen=True)
class Arm:
    """A named variant of an arm: the config with some settings replaced.

    An arm that changes the data, the partition or the split has other patients to be tested on. It is a study of its
    own on those data, with the study's built-in arms, and is compared with nothing else.

    Attributes:
        name: letters, digits, space and . _ + - only.
        set: dotted keys of settings and their values, e.g. { "algorithm.name" = "fedprox" }.
        train: what kind of arm it is.
        repeat: any number but 0 gives other training randomness on the same splits.
    """

    name: str
    set: Mapping[str, Any] = _table()
    train: Kind = "federated"
    repeat: int = setting(0, least=0)


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._+-]{0,38}[A-Za-z0-9+])?")
COMPARE, GROW, LEAKAGE, PRIVACY, STRESS = _PARTS = ("compare", "grow", "leakage", "privacy", "stress")
"""What a study calls parts of its own, beside which stand those of arms with other data, by the arm's name."""
_FIXED = ("name", "seed", "plugins", "study", "arms", "runtime", "checkpoint")
_FIXED_BY_A_PROMISE = (
    *("privacy.unit", "privacy.target_epsilon", "privacy.noise_multiplier"),
    *("data", "partition", "model.task", "stop"),  # its price is measured on the study's own patients
)


def check(study: Study, arms: tuple[Arm, ...]) -> None:
    """Checks what the types cannot say; ConfigError in one line."""
    for name, chosen in (("arms", study.arms), ("grow_hospitals", study.grow_hospitals)):
        if not chosen or len(set(chosen)) < len(chosen):
            raise errors.ConfigError(f"study.{name}: expected distinct entries, at least one, got {list(chosen)!r}")
    if len(set(study.compare)) < len(study.compare):
        raise errors.ConfigError(f"study.compare: expected distinct algorithms, got {list(study.compare)!r}")
    if not study.stress.rules or len(set(study.stress.rules)) < len(study.stress.rules):
        raise errors.ConfigError(
            f"study.stress.rules: expected distinct rules, at least one, got {list(study.stress.rules)!r}"
        )
    if "recalibrated" in study.arms and "federated" not in study.arms:
        raise errors.ConfigError("study.arms: 'recalibrated' is made of the arm 'federated', which is not among them")
    if len(set(study.privacy.epsilons)) < len(study.privacy.epsilons):
        raise errors.ConfigError(
            f"study.privacy.epsilons: expected distinct numbers, got {list(study.privacy.epsilons)!r}"
        )
    for key in study.privacy.set:
        if _touches(key, (*_FIXED, *_FIXED_BY_A_PROMISE)):
            raise errors.ConfigError(
                f"study.privacy.set: {key!r} is the study's or the promise's own; expected how models are trained, "
                "e.g. 'client.learning_rate'"
            )
    if study.leakage.models % 2:
        raise errors.ConfigError(f"study.leakage.models: expected an even number, got {study.leakage.models}")
    for column, edges in study.bands.items():
        _check_edges(column, edges)
    taken: set[str] = {*KINDS, *REFERENCES, *_PARTS}
    for number, arm in enumerate(arms):
        if not _NAME.fullmatch(arm.name):
            raise errors.ConfigError(
                f"arms[{number}].name: expected 1 to 40 letters, digits, spaces and . _ + -, got {arm.name!r}"
            )
        if arm.name in taken:
            raise errors.ConfigError(f"arms[{number}].name: {arm.name!r} is taken already")
        taken.add(arm.name)
        if arm.train == "recalibrated":
            raise errors.ConfigError(f"arms[{number}].train: 'recalibrated' trains no model of its own")
        for key in arm.set:
            if _touches(key, _FIXED):
                raise errors.ConfigError(f"arms[{number}].set: {key!r} is the same for all arms of a study")


def _touches(key: str, names: Sequence[str]) -> bool:
    """Returns whether a dotted key is one of the names, lies within one, or is a table that holds one."""
    path = [part.strip() for part in key.split(".")]
    return any(all(a == b for a, b in zip(path, name.split("."), strict=False)) for name in names)


def _check_edges(column: str, edges: Any) -> None:
    numbers = isinstance(edges, list | tuple) and all(
        isinstance(edge, int | float) and not isinstance(edge, bool) for edge in edges
    )
    if not numbers or not edges or any(b <= a for a, b in itertools.pairwise(edges)):
        raise errors.ConfigError(f"study.bands.{column}: expected increasing numbers, at least one, got {edges!r}")
