"""How predicted risks spread among those with and those without the event."""

import dataclasses
from collections.abc import Mapping

from fedmed.study.schema.shapes import Arm, ByUnit


@dataclasses.dataclass(frozen=True)
class OutcomeRisks:
    """Quantiles of an arm's predicted risks, all seeds' test rows together, at each of `levels`.

    Attributes:
        event: among rows with the event; null where fewer than 5 patients lie on either side of the quantile.
        no_event: among rows without it, likewise.
    """

    event: tuple[float | None, ...]
    no_event: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class RiskSpread:
    """Predicted risks by outcome; whom they leave out is as with calibration.

    Attributes:
        levels: of the quantiles, rising, as shares.
        arms: a hospital with too few events is left out.
        about: sentences for the page.
    """

    levels: tuple[float, ...]
    arms: Mapping[Arm, ByUnit[OutcomeRisks]]
    about: str
