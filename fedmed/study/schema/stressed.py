"""What the federated arm is worth under trouble, by rule of aggregation."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from fedmed.study.schema.contested import ContestTarget, Judged, Worst
from fedmed.study.schema.price import Reached
from fedmed.study.schema.shapes import Estimate, Hospital, MeasureKey, SeededEstimate, Settings

Rule: TypeAlias = Annotated[str, "RULE", "a rule of aggregation"]
Trouble: TypeAlias = Annotated[str, "TROUBLE", "a standard scenario's name"]


@dataclasses.dataclass(frozen=True)
class StressCell:
    """The federated arm under a scenario, by a rule.

    Attributes:
        hospitals: the primary metric at each hospital.
        mean: over the hospitals in `over`.
        worst: whom it serves worst; null where no hospital has a figure.
        difference: of the mean from that as planned by the first rule; null for that itself.
        diverged: seeds at which training diverged; there is no figure then.
        reached: what it takes to reach the target; null without one.
        clock_seconds: of all rounds on the virtual clock, mean over seeds.
        missed: sentences on who was to contribute and did not.
    """

    hospitals: Mapping[Hospital, SeededEstimate]
    mean: Estimate
    worst: Worst | None
    difference: Judged | None
    diverged: tuple[int, ...]
    reached: Reached | None
    clock_seconds: float
    missed: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class StressRow:
    """A standard scenario.

    Attributes:
        label: a few words.
        about: a sentence.
        hospital: whom it befalls; null for everybody.
        set: what it changes of the config.
        rules: what it does to each.
    """

    label: str
    about: str
    hospital: Hospital | None
    set: Settings
    rules: Mapping[Rule, StressCell]


@dataclasses.dataclass(frozen=True)
class Stress:
    """The federated arm under standard scenarios, by several rules of aggregation.

    Attributes:
        metric: the primary one.
        first: the rule that, as planned, all else is set against.
        rules: in the order asked for, and what each is.
        over: the hospitals with a figure, which means are over.
        seeds: of the study's, those that were trained.
        scenarios: "as_planned" first.
        left_out: scenarios that these data have no place for, and why.
        target: null where there is neither a target in the config nor pooled training.
        summary: what is shown, in a few sentences.
        whom: whom scenarios befall, and why.
        estimand: what is estimated, and what is not.
        method: how the intervals and words are made.
    """

    metric: MeasureKey
    first: Rule
    rules: Mapping[Rule, str]
    over: tuple[Hospital, ...]
    seeds: tuple[int, ...]
    scenarios: Mapping[Trouble, StressRow]
    left_out: Mapping[Trouble, str]
    target: ContestTarget | None
    summary: str
    whom: str
    estimand: str
    method: str
