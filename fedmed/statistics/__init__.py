"""Statistics of a comparison between hospitals: arrays in, numbers out."""

from fedmed.statistics.calibration import (
    CalibrationBin,
    calibration_curve,
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
    smooth_calibration,
)
from fedmed.statistics.comparison import ArmTest, PairedTest, informative_patients, metric_interval, paired_difference
from fedmed.statistics.decision import DecisionCurve, decision_curve, net_benefit
from fedmed.statistics.discrimination import OperatingPoint, Roc, operating_point, roc, sensitivity_at_specificity
from fedmed.statistics.intervals import Interval, corrected_resampled_t, percentile_interval, wilson
from fedmed.statistics.metrics import METRICS, Metric, evaluate, metric, score, undefined
from fedmed.statistics.populations import (
    ColumnShift,
    LabelShift,
    feature_shift,
    label_shift,
    standardised_mean_difference,
    total_variation,
)
from fedmed.statistics.ranking import auroc
from fedmed.statistics.subgroups import Gap, Subgroup, by_subgroup, subgroup_gap, worst_subgroup
from fedmed.statistics.truth import Truth, against_truth, expected_auroc
from fedmed.statistics.verdicts import Verdict, detectable_difference, holm, p_value, verdicts

__all__ = [
    "METRICS",
    "ArmTest",
    "CalibrationBin",
    "ColumnShift",
    "DecisionCurve",
    "Gap",
    "Interval",
    "LabelShift",
    "Metric",
    "OperatingPoint",
    "PairedTest",
    "Roc",
    "Subgroup",
    "Truth",
    "Verdict",
    "against_truth",
    "auroc",
    "by_subgroup",
    "calibration_curve",
    "calibration_intercept",
    "calibration_slope",
    "corrected_resampled_t",
    "decision_curve",
    "detectable_difference",
    "evaluate",
    "expected_auroc",
    "expected_calibration_error",
    "feature_shift",
    "holm",
    "informative_patients",
    "label_shift",
    "metric",
    "metric_interval",
    "net_benefit",
    "operating_point",
    "p_value",
    "paired_difference",
    "percentile_interval",
    "roc",
    "score",
    "sensitivity_at_specificity",
    "smooth_calibration",
    "standardised_mean_difference",
    "subgroup_gap",
    "total_variation",
    "undefined",
    "verdicts",
    "wilson",
    "worst_subgroup",
]
