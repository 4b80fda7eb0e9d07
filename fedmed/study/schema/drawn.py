"""What is drawn: learning curves, calibration, decision curves, subgroups, truth and transfer."""

import dataclasses
from collections.abc import Mapping

from fedmed.study.schema.shapes import (
    Arm,
    ByUnit,
    ComparisonId,
    Estimate,
    Hospital,
    MeasureKey,
    Spread,
    TestedDifference,
)


@dataclasses.dataclass(frozen=True)
class ArmCurves:
    """An arm's learning curves.

    Attributes:
        rounds: at which it was scored; the first and the last only where each hospital trains on by itself at the end.
        hospitals: without those with 1 to 4 patients, or 1 to 4 with, or without, the event.
        all: over all hospitals, rankings by pairs of patients of the same one; null where it is not there, or, with the
            accuracy as metric, where a hospital is left out.
    """

    rounds: tuple[int, ...]
    hospitals: Mapping[Hospital, Spread]
    all: Spread | None


@dataclasses.dataclass(frozen=True)
class Curves:
    """Learning curves.

    Attributes:
        metric: what is drawn.
        arms: each arm's.
    """

    metric: MeasureKey
    arms: Mapping[Arm, ArmCurves]


@dataclasses.dataclass(frozen=True)
class Bin:
    """Rows of similar prediction: at least 5 patients with and 5 without the event.

    Attributes:
        predicted: mean prediction.
        observed: share with the event. Of several classes, predicted is the probability of the class called and
            observed the share right; of numbers both are means.
        low: lower end of `observed`.
        high: upper end.
        patients: distinct.
    """

    predicted: float
    observed: float
    low: float
    high: float
    patients: int


@dataclasses.dataclass(frozen=True)
class Smooth:
    """A lowess curve; both lists are empty where there is none.

    Attributes:
        predicted: along the axis.
        observed: at each of these.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class CalibrationCurve:
    """Predictions against what happened, all seeds' test rows together.

    Attributes:
        bins: by rising prediction.
        smooth: the same without bins.
    """

    bins: tuple[Bin, ...]
    smooth: Smooth


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Curves of risk.

    Of all hospitals together, those with 1 to 4 patients, or 1 to 4 with, or without, the event are left out.

    Attributes:
        about: a sentence for the page.
        arms: a hospital with too few events is left out.
    """

    about: str
    arms: Mapping[Arm, ByUnit[CalibrationCurve]]


@dataclasses.dataclass(frozen=True)
class BenefitCurve:
    """Net benefit in true positives per patient at each threshold.

    Attributes:
        net_benefit: mean over seeds.
        low: lower ends.
        high: upper ends.
    """

    net_benefit: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class Decision:
    """Decision curves; whom they leave out is as with calibration. Treating nobody is 0.

    Attributes:
        thresholds: of the predicted risk, rising.
        arms: treating those whom the arm's model calls.
        treat_all: net benefit of treating everybody.
        differences: of two arms.
        about: a sentence for the page.
    """

    thresholds: tuple[float, ...]
    arms: Mapping[Arm, ByUnit[BenefitCurve]]
    treat_all: ByUnit[tuple[float, ...]]
    differences: Mapping[ComparisonId, ByUnit[BenefitCurve]]
    about: str


@dataclasses.dataclass(frozen=True)
class Subgroup:
    """The patients of one level or band, over all hospitals' test rows.

    Attributes:
        name: in words; of levels that 1 to 4 patients of all hospitals hold, as one, "other, rare".
        patients: distinct; null where few, or where a hospital's small count would follow.
        events: those with the event, likewise.
        suppressed: whether there are too few patients for any figure.
        reason: why, or "".
        performance: each arm's primary metric; empty if suppressed.
        differences: of arms; empty if suppressed.
    """

    name: str
    patients: int | None
    events: int | None
    suppressed: bool
    reason: str
    performance: Mapping[Arm, Estimate]
    differences: Mapping[ComparisonId, TestedDifference]


@dataclasses.dataclass(frozen=True)
class Gap:
    """How far the worst served subgroup is behind the best, at the first seed.

    Attributes:
        worst: its name.
        best: its name.
        estimate: the gap, never below 0.
        low: lower end.
        high: upper end.
        method: how the interval was made.
        p_value: how often a gap as wide comes about when groups are dealt to patients by chance.
    """

    worst: str
    best: str
    estimate: float | None
    low: float | None
    high: float | None
    method: str
    p_value: float | None


@dataclasses.dataclass(frozen=True)
class Subgroups:
    """Whom arms serve worse, by a column.

    Attributes:
        column: its name.
        label: for pages.
        unit: "" where it has none.
        groups: in order.
        gap: of each arm; null where fewer than two groups have a figure.
    """

    column: str
    label: str
    unit: str
    groups: tuple[Subgroup, ...]
    gap: Mapping[Arm, Gap | None]


@dataclasses.dataclass(frozen=True)
class TrueDistance:
    """Distances to the patients' true risks, means over seeds; 0 is perfect.

    Attributes:
        mean_absolute: of risks.
        root_mean_square: of risks.
        loss_regret: expected log loss beyond that of the true risks.
        brier_regret: expected Brier score beyond theirs.
        auroc_regret: expected AUROC short of theirs.
    """

    mean_absolute: float | None
    root_mean_square: float | None
    loss_regret: float | None
    brier_regret: float | None
    auroc_regret: float | None


@dataclasses.dataclass(frozen=True)
class Truth:
    """Scores against the known risk of synthetic data.

    Attributes:
        about: a sentence for the page.
        arms: each arm's distances.
    """

    about: str
    arms: Mapping[Arm, ByUnit[TrueDistance]]


@dataclasses.dataclass(frozen=True)
class Transfer:
    """Models trained at one hospital, tested at the others.

    Attributes:
        metric: the primary one.
        trained_at: the rows of `values`.
        tested_at: its columns.
        values: mean over seeds; null where there are too few events.
    """

    metric: MeasureKey
    trained_at: tuple[Hospital, ...]
    tested_at: tuple[Hospital, ...]
    values: tuple[tuple[float | None, ...], ...]
