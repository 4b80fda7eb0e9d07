"""What a study promises, and what promises cost."""

import dataclasses
from collections.abc import Mapping

from fedmed.engine.promises import PromisesTold
from fedmed.statistics.verdicts import Outcome
from fedmed.study.schema.shapes import Arm, Difference, Hospital, MeasureKey, SeededEstimate


@dataclasses.dataclass(frozen=True)
class PricePoint:
    """Federated and local training at one promise.

    Attributes:
        epsilon: of the promise; null for none.
        federated: figures at each hospital.
        local: of each hospital alone.
        difference: federated minus local.
        outcome: whether joining pays there, of the primary metric alone.
        cost_federated: at the promise minus without one, federated; empty without a promise.
        cost_local: the same for each hospital alone.
    """

    epsilon: float | None
    federated: Mapping[Hospital, SeededEstimate]
    local: Mapping[Hospital, SeededEstimate]
    difference: Mapping[Hospital, Difference]
    outcome: Mapping[Hospital, Outcome]
    cost_federated: Mapping[Hospital, Difference]
    cost_local: Mapping[Hospital, Difference]


@dataclasses.dataclass(frozen=True)
class PrivacyPrice:
    """What a promise to patients costs each hospital.

    Attributes:
        metric: the primary one.
        points: without a promise first, then from the weakest to the strongest.
        sentences: at which promises joining pays.
        about: sentences for the page.
        promises: of each arm that is trained with one, what is promised at the first seed.
    """

    metric: MeasureKey
    points: tuple[PricePoint, ...]
    sentences: Mapping[Hospital, str]
    about: str
    promises: Mapping[Arm, PromisesTold]


@dataclasses.dataclass(frozen=True)
class StudyPrivacy:
    """What the study's models promise, and what promises would cost.

    Attributes:
        arms: of each arm that is trained with a promise, what is promised at the first seed; empty where none is.
        price: null where none was asked for.
        secure: whether the server saw secure sums of updates only.
    """

    arms: Mapping[Arm, PromisesTold]
    price: PrivacyPrice | None
    secure: bool


NOTHING_PROMISED = StudyPrivacy({}, None, False)
