"""Statistics of a comparison between hospitals: arrays in, numbers out."""

from fedmed.statistics.calibration import (
    CalibrationBin,
    calibration_curve,
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
    smooth_calibration,
)
from fedmed.statistics.comparison import (
    difference_interval,
    mean_interval,
    metric_interval,
    paired_difference,
    scaled_interval,
    standard_error,
)
from fedmed.statistics.decision import DecisionCurve, decision_curve, net_benefit
from fedmed.statistics.discrimination import OperatingPoint, Roc, operating_point, roc, sensitivity_at_specificity
from fedmed.statistics.evidence import Evidence, of_difference, of_distances
from fedmed.statistics.influence import Influence
from fedmed.statistics.intervals import (
    ENOUGH_SEEDS,
    Interval,
    corrected_resampled_t,
    percentile_interval,
    says_nothing,
    wilson,
)
from fedmed.statistics.meta import Line, RandomEffects, by_size, gains_below, random_effects
from fedmed.statistics.metrics import METRICS, Metric, evaluate, metric, score, undefined
from fedmed.statistics.populations import (
    ColumnShift,
    LabelShift,
    feature_shift,
    label_shift,
    standardised_mean_difference,
    total_variation,
)
from fedmed.statistics.quantile import harrell_davis
from fedmed.statistics.ranking import auroc
from fedmed.statistics.statistic import Statistic, arm_spread, difference_spread, statistic
from fedmed.statistics.subgroups import Gap, Subgroup, by_subgroup, subgroup_gap, worst_subgroup
from fedmed.statistics.tested import ArmTest, PairedTest, informative_patients
from fedmed.statistics.truth import Truth, against_truth, expected_auroc
from fedmed.statistics.verdicts import (
    Answered,
    Asked,
    Outcome,
    Question,
    Verdict,
    detectable_difference,
    holm,
    p_value,
    verdicts,
)
from fedmed.statistics.worst_served import WorstServed, worst_served

__all__ = [
    "ENOUGH_SEEDS",
    "METRICS",
    "Answered",
    "ArmTest",
    "Asked",
    "CalibrationBin",
    "ColumnShift",
    "DecisionCurve",
    "Evidence",
    "Gap",
    "Influence",
    "Interval",
    "LabelShift",
    "Line",
    "Metric",
    "OperatingPoint",
    "Outcome",
    "PairedTest",
    "Question",
    "RandomEffects",
    "Roc",
    "Statistic",
    "Subgroup",
    "Truth",
    "Verdict",
    "WorstServed",
    "against_truth",
    "arm_spread",
    "auroc",
    "by_size",
    "by_subgroup",
    "calibration_curve",
    "calibration_intercept",
    "calibration_slope",
    "corrected_resampled_t",
    "decision_curve",
    "detectable_difference",
    "difference_interval",
    "difference_spread",
    "evaluate",
    "expected_auroc",
    "expected_calibration_error",
    "feature_shift",
    "gains_below",
    "harrell_davis",
    "holm",
    "informative_patients",
    "label_shift",
    "mean_interval",
    "metric",
    "metric_interval",
    "net_benefit",
    "of_difference",
    "of_distances",
    "operating_point",
    "p_value",
    "paired_difference",
    "percentile_interval",
    "random_effects",
    "roc",
    "says_nothing",
    "scaled_interval",
    "score",
    "sensitivity_at_specificity",
    "smooth_calibration",
    "standard_error",
    "standardised_mean_difference",
    "statistic",
    "subgroup_gap",
    "total_variation",
    "undefined",
    "verdicts",
    "wilson",
    "worst_served",
    "worst_subgroup",
]
