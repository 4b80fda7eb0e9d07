"""All of study.json."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from fedmed.data.examples import Task
from fedmed.engine.contributions import Contribution
from fedmed.study.schema.alternatives import RecalibrationFound, References
from fedmed.study.schema.answered import Answer
from fedmed.study.schema.asked import Data, Design, HospitalCounts, Metric, Reproduce, Scored
from fedmed.study.schema.cohort import Shift, TableOne
from fedmed.study.schema.compared import Comparison, Grow, Performance, Scenario, SeedSensitivity
from fedmed.study.schema.contested import Contest
from fedmed.study.schema.drawn import Calibration, Curves, Decision, Subgroups, Transfer, Truth
from fedmed.study.schema.explained import Explained
from fedmed.study.schema.leaked import Leakage
from fedmed.study.schema.needed import SampleSize
from fedmed.study.schema.price import Communication
from fedmed.study.schema.promised import StudyPrivacy
from fedmed.study.schema.risk_spread import RiskSpread
from fedmed.study.schema.shapes import Arm, Hospital
from fedmed.study.schema.stressed import Stress


@dataclasses.dataclass(frozen=True)
class Findings:
    """What `fedmed study` finds, for whoever renders it.

    Aggregates only: no row, no label, no prediction, no patient identifier; a count of 1 to 4 patients is null ("fewer
    than 5"), and so is whatever one would follow from. The file holds no time of day and no duration, so that the same
    study gives the same bytes; durations are in `timing.json` beside it.

    Attributes:
        schema: of this page.
        name: of the config.
        question: the config's `study.question`, or "".
        task: what kind of label.
        metric: the primary one.
        level: of all intervals.
        specificity: at which sensitivity is given; null but for a binary task.
        minimum_events: informative patients below which there is no figure, no rank, no verdict.
        minimum_cell: patients below which a count is not shown.
        seeds: seed s has a split and a training randomness of its own.
        measures: in display order, the primary metric first.
        data: the data set.
        design: how the study was made.
        hospitals: in the order of the partition.
        answer: the verdicts: the first screen; null where there are no two arms to compare.
        refused: of each arm the clients whose update was not finite and was not used, and in how many rounds of all
            seeds together, those of training on at one hospital too; arms without any are left out.
        contributions: of each arm with a scenario or a deadline, what each hospital was to contribute and did, over
            all seeds together.
        warnings: sentences for the top of the page on what makes an arm's figures worthless or doubtful.
        table1: characteristics by hospital.
        shift: how different the hospitals are.
        performance: each arm's figures.
        comparisons: the primary one first.
        curves: learning curves.
        calibration: curves of risk.
        risk_spread: predicted risks by outcome; null but for a binary task.
        decision: decision curves; null but for a binary task.
        subgroups: by column.
        truth: scores against the known risk of synthetic data; else null.
        transfer: of models trained at one hospital; null without local arms.
        communication: null without a federated arm.
        seed_sensitivity: null with one seed, or nothing to compare.
        scenarios: of arms that change the data.
        grow: the learning curve over the consortium (`--grow`), or null.
        reproduce: config, versions, checksums, command.
        recalibration: what the arm "recalibrated" buys each hospital; null without it.
        references: what one would do instead; null without reference models.
        explained: the null model, and each arm's skill beyond it.
        sample_size: the rows that a model needs; null but for a table and a binary task.
        notes: sentences on how the data were taken.
        privacy: what is promised to patients or hospitals, and what a promise costs.
        leakage: what attacks on the models found; null where none were made.
        contest: algorithms compared (`--compare`), or null.
        stress: the federated arm under trouble, by rules of aggregation (`--stress`), or null.
    """

    schema: Literal[1]
    name: str
    question: str
    task: Task
    metric: Metric
    level: float
    specificity: float | None
    minimum_events: int
    minimum_cell: int
    seeds: tuple[int, ...]
    measures: tuple[Scored, ...]
    data: Data
    design: Design
    hospitals: tuple[HospitalCounts, ...]
    answer: Answer | None
    refused: Mapping[Arm, Mapping[Hospital, int]]
    contributions: Mapping[Arm, Mapping[Hospital, Contribution]]
    warnings: tuple[str, ...]
    table1: TableOne
    shift: Shift
    performance: Mapping[Arm, Performance]
    comparisons: tuple[Comparison, ...]
    curves: Curves
    calibration: Calibration
    risk_spread: RiskSpread | None
    decision: Decision | None
    subgroups: tuple[Subgroups, ...]
    truth: Truth | None
    transfer: Transfer | None
    communication: Communication | None
    seed_sensitivity: SeedSensitivity | None
    scenarios: tuple[Scenario, ...]
    grow: Grow | None
    reproduce: Reproduce
    recalibration: RecalibrationFound | None
    references: References | None
    explained: Explained
    sample_size: SampleSize | None
    notes: tuple[str, ...]
    privacy: StudyPrivacy
    leakage: Leakage | None
    contest: Contest | None
    stress: Stress | None
