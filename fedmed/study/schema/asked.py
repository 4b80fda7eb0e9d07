"""What a study asked and of whom: its data, design, hospitals and what makes it again."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

from fedmed.runs.summary import ArrayName, Package
from fedmed.settings.study import Kind
from fedmed.study.schema.shapes import Arm, Better, ComparisonId, Hospital, MeasureKey, Settings
from fedmed.study.schema.tuned import TunedArm

Role: TypeAlias = Literal["features", "label", "site", "group", "ignore"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """The primary metric, by which verdicts are.

    Attributes:
        name: its key.
        label: for pages.
        better: which way is better.
    """

    name: MeasureKey
    label: str
    better: Better


@dataclasses.dataclass(frozen=True)
class Scored:
    """A measure that the study scores.

    Attributes:
        name: its key.
        label: for pages.
        better: which way is better, or that there is a value to reach.
        target: that value: 1 for the calibration slope, 0 for its intercept.
    """

    name: MeasureKey
    label: str
    better: Better
    target: float | None


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as in the data set.
        unit: "" where it has none.
        levels: of a category; empty for a number. Those that 1 to 4 patients of all hospitals hold are one, the last,
            "other, rare".
    """

    name: str
    unit: str
    levels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class DataFault:
    """What is probably wrong with a column, as the detector sees it.

    Attributes:
        kind: another unit, a code for missing, a level under two names, a column that knows the outcome, one that
            numbers rows or patients, or one of a single value.
        column: its name.
        hospitals: those concerned; empty where it is no matter of hospitals.
        text: a sentence for the page.
        mend: the line of the config that mends it, or "".
    """

    kind: Literal["unit", "code", "level", "outcome", "identifier", "constant"]
    column: str
    hospitals: tuple[str, ...]
    text: str
    mend: str


@dataclasses.dataclass(frozen=True)
class Data:
    """The data set.

    Attributes:
        name: of the data set.
        rows: all of them; null with `patients`.
        patients: distinct; null where a hospital has 1 to 4: its number would follow from the others'.
        classes: of the label; 0 for a number.
        class_names: in order; the second is the event of a binary task.
        features: of a table; empty for anything else.
        synthetic: whether the patients are made up, so that their true risks are known.
        test: where test rows come from, in words.
        preprocessing: how a table was scaled; null for anything else.
        roles: which of these the config sets for a user's own table; null for any other data set.
        faults: what is probably wrong with a table after `data.harmonise`; units stand among the warnings too.
    """

    name: str
    rows: int | None
    patients: int | None
    classes: int
    class_names: tuple[str, ...]
    features: tuple[Column, ...]
    synthetic: bool
    test: str
    preprocessing: Literal["federated", "by_site", "none"] | None
    roles: tuple[Role, ...] | None
    faults: tuple[DataFault, ...]


@dataclasses.dataclass(frozen=True)
class ArmDesign:
    """An arm: one way to train.

    Attributes:
        name: its key.
        kind: who trains with whom.
        label: for pages.
        about: one sentence.
        set: what a variant changes in the config.
    """

    name: Arm
    kind: Kind
    label: str
    about: str
    set: Settings


@dataclasses.dataclass(frozen=True)
class Design:
    """How the study was made, mostly in sentences for the page.

    Attributes:
        arms: in display order.
        comparisons: the primary one first.
        estimand: what a difference means.
        splits: how patients became test patients.
        verdict_rule: when a hospital gains or is harmed.
        interval_method: how intervals were made.
        suppression: which counts are not shown.
        subgroups_asked: whether the config names the subgroups.
        not_done: what this study did not do.
        tuning: how learning rates were searched, in words; "" where they are the config's.
        tuned: what arms were given by the search; empty without one.
    """

    arms: tuple[ArmDesign, ...]
    comparisons: tuple[ComparisonId, ...]
    estimand: str
    splits: str
    verdict_rule: str
    interval_method: str
    suppression: str
    subgroups_asked: bool
    not_done: tuple[str, ...]
    tuning: str
    tuned: tuple[TunedArm, ...]


@dataclasses.dataclass(frozen=True)
class HospitalCounts:
    """What there is of rows, patients and events at a hospital.

    Attributes:
        id: the hospital.
        rows: all of them; null with `patients`.
        patients: distinct; null when 1 to 4.
        train_rows: at a seed: the mean over seeds as a whole number; null where `patients` is, and where 1 to 4
            patients train, or are tested, at a seed: their number would follow.
        test_rows: likewise.
        tested_patients: distinct over all seeds; null when 1 to 4, and where `patients` is.
        events: patients with the event (binary); null when 1 to 4 have it or lack it.
        event_rate: their share; null with `events`.
        informative: distinct tested patients that carry the information, for a binary task the rarer of events and
            non-events; null when 1 to 4.
        enough: whether `informative` is at least `minimum_events`, known also where it is not shown.
        reason: why not, or "".
    """

    id: Hospital
    rows: int | None
    patients: int | None
    train_rows: int | None
    test_rows: int | None
    tested_patients: int | None
    events: int | None
    event_rate: float | None
    informative: int | None
    enough: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """What makes the study again.

    Attributes:
        config_toml: the whole config as it was.
        command: the command line; "" from Python.
        seeds: of the study.
        versions: of what results depend on, and the platform.
        checksums: the SHA-256 of each array of the data set.
        weights: models are not kept.
    """

    config_toml: str
    command: str
    seeds: tuple[int, ...]
    versions: Mapping[Package, str]
    checksums: Mapping[ArrayName, str]
    weights: None
