"""What a hospital could do besides: recalibrate the federated model, or do without federated training."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from fedmed.settings.study import Recalibration
from fedmed.study.schema.shapes import Arm, Difference, Estimate, Hospital, MeasureKey, SeededEstimate


@dataclasses.dataclass(frozen=True)
class Recalibrated:
    """What recalibration buys a hospital, and what it takes.

    Attributes:
        agreement_before: of the federated model: observed over expected events, or, for a number, the mean residual.
        agreement_after: the same after recalibration.
        benefit_before: net benefit at `threshold`; null but for a binary task and where it is withheld.
        benefit_after: the same after recalibration.
        benefit_difference: after minus before, with its interval.
        labelled: patients whose outcomes it took, at a seed on average; null where a small count would follow.
        left: seeds at which a part of the patients was left as it was, since too few others had, or lacked, the event.
        sentence: for the page.
    """

    agreement_before: SeededEstimate
    agreement_after: SeededEstimate
    benefit_before: float | None
    benefit_after: float | None
    benefit_difference: Estimate | None
    labelled: int | None
    left: int
    sentence: str


@dataclasses.dataclass(frozen=True)
class RecalibrationFound:
    """The arm "recalibrated" against the federated model it is made of.

    Attributes:
        how: what is fitted.
        agreement: what agreement is called.
        threshold: of the decision curves, the nearest to the share with the event; null but for a binary task.
        hospitals: of each.
        about: sentences for the page.
    """

    how: Recalibration
    agreement: str
    threshold: float | None
    hospitals: Mapping[Hospital, Recalibrated]
    about: str


@dataclasses.dataclass(frozen=True)
class ReferenceArm:
    """A way to do without federated training, or one that it is set beside.

    Attributes:
        name: its key.
        label: for pages.
        about: one sentence.
        reference: whether it is a reference, or an arm of the study.
    """

    name: Arm
    label: str
    about: str
    reference: bool


@dataclasses.dataclass(frozen=True)
class Choice:
    """The better of the reference models of one kind, as a hospital would choose it.

    Attributes:
        arm: the one of the least mean loss in cross-validation on the hospital's training rows, over seeds; no test row
            was looked at.
        difference: of the primary metric, federated minus it; its interval is not adjusted for several hospitals.
        outcome: which of the two the interval speaks for.
    """

    arm: Arm
    difference: Difference
    outcome: Literal["federated better", "reference better", "no evidence", "no figure"]


@dataclasses.dataclass(frozen=True)
class Instead:
    """A hospital's references.

    Attributes:
        figures: of each arm the primary metric, the loss and the agreement.
        alone: the choice among models of its own rows.
        pooled: the choice among models of everybody's rows.
        sentence: for the page.
    """

    figures: Mapping[Arm, Mapping[MeasureKey, SeededEstimate]]
    alone: Choice
    pooled: Choice
    sentence: str


@dataclasses.dataclass(frozen=True)
class References:
    """What one would do instead: models of scikit-learn, tuned, without federated training.

    Attributes:
        arms: in display order.
        measures: the keys in `figures` with what they are called, in order.
        hospitals: of each.
        all: figures over all hospitals' test rows together.
        about: sentences for the page.
    """

    arms: tuple[ReferenceArm, ...]
    measures: Mapping[MeasureKey, str]
    hospitals: Mapping[Hospital, Instead]
    all: Mapping[Arm, Mapping[MeasureKey, SeededEstimate]]
    about: str
