"""The values that study.json is made of; docs/results.md is generated from them."""

from fedmed.study.schema.asked import ArmDesign, Column, Data, Design, HospitalCounts, Metric, Reproduce, Role, Scored
from fedmed.study.schema.cohort import Cell, ColumnShifts, FeatureShift, LabelShift, Shift, TableOne, TableRow
from fedmed.study.schema.compared import (
    Answer,
    Comparison,
    ComparisonOfAll,
    Grow,
    GrowPoint,
    HospitalAnswer,
    HospitalComparison,
    Performance,
    Scenario,
    SeedSensitivity,
    SeedSpread,
)
from fedmed.study.schema.drawn import (
    ArmCurves,
    BenefitCurve,
    Bin,
    Calibration,
    CalibrationCurve,
    Curves,
    Decision,
    Gap,
    Smooth,
    Subgroup,
    Subgroups,
    Transfer,
    TrueDistance,
    Truth,
)
from fedmed.study.schema.explained import Explained
from fedmed.study.schema.findings import Findings
from fedmed.study.schema.price import Communication, Reached, Target
from fedmed.study.schema.shapes import (
    ByUnit,
    Difference,
    Estimate,
    SeededEstimate,
    Spread,
    TestedDifference,
)

__all__ = [
    "Answer", "ArmCurves", "ArmDesign", "BenefitCurve", "Bin", "ByUnit", "Calibration", "CalibrationCurve", "Cell",
    "Column", "ColumnShifts", "Communication", "Comparison", "ComparisonOfAll", "Curves", "Data", "Decision", "Design",
    "Difference", "Estimate", "Explained", "FeatureShift", "Findings", "Gap", "Grow", "GrowPoint", "HospitalAnswer",
    "HospitalComparison", "HospitalCounts", "LabelShift", "Metric", "Performance", "Reached", "Reproduce", "Role",
    "Scenario", "Scored", "SeedSensitivity", "SeedSpread", "SeededEstimate", "Shift", "Smooth", "Spread", "Subgroup",
    "Subgroups", "TableOne", "TableRow", "Target", "TestedDifference", "Transfer", "TrueDistance", "Truth",
]  # fmt: skip
