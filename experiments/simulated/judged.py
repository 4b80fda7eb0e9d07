"""What a simulated study says beside what is true."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.simulated.hospitals import Cell, WithFresh
from experiments.simulated.worse import AT_MARGIN, with_worse
from fedmed.settings import config
from fedmed.statistics import ArmTest, holm
from fedmed.study import comparisons, estimates, overall, report
from fedmed.study.estimates import Rules
from fedmed.study.measures import NET_BENEFIT, RATIO, Measure, by_name
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema import Comparison, ConsortiumAnswer, Estimate

AUROC, BENEFIT, MEAN = "AUROC difference", "net benefit difference", "consortium mean"
RATIOS = {"federated": "O/E federated", "local": "O/E alone"}
HOSPITAL_FIGURES = (AUROC, *RATIOS.values(), BENEFIT)


@dataclasses.dataclass(frozen=True)
class Told:
    """A figure with its interval, and what the study's own models have on fresh patients (mean over its seeds)."""

    truth: float
    estimate: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class HospitalJudged:
    """What the page says of a hospital.

    Attributes:
        told: each figure that has an interval.
        outcome: the verdict.
        claims: by question, better or worse where claimed.
        before: whether it "gains", or is "harmed", by Holm's procedure over hospitals on the AUROC alone; else "".
        under_line: whether its size is one of those that gain.
        null: the verdict on an arm against itself, by arm.
        at_margin: the verdict on a federated model made worse by the margin.
    """

    told: Mapping[str, Told]
    outcome: str
    claims: Mapping[str, str]
    before: str
    under_line: bool
    null: Mapping[str, str]
    at_margin: str


@dataclasses.dataclass(frozen=True)
class StudyJudged:
    """One simulated study.

    Attributes:
        cell: which hospitals.
        number: of the study in its cell.
        hospitals: what is told to each.
        mean: the consortium's; the truth is the plain mean over hospitals.
        prediction: where another hospital's difference would lie.
        null: the consortium's mean of an arm against itself, by arm.
        anew: whether its hospitals are no other study's.
    """

    cell: str
    number: int
    hospitals: Mapping[str, HospitalJudged]
    mean: Told | None
    prediction: tuple[float, float] | None
    null: Mapping[str, Told]
    anew: bool = False


def judged(cell: Cell, number: int, found: Outcomes, settings: config.RunConfig) -> StudyJudged:
    """Returns what the study's first screen says, by the functions that make it, and what is true."""
    hospitals = found.consortium
    assert isinstance(hospitals, WithFresh)
    rules = report.rules_of(settings)
    scored = {m.name: m for m in report.scored(settings, hospitals, "auroc")}
    measures = (scored["auroc"], scored[NET_BENEFIT], scored[RATIO])
    outcomes = with_worse(found, hospitals, _margin(settings))
    compared = comparisons.compare(outcomes, "federated", "local", measures, rules, primary=True)
    nulls = {arm: comparisons.compare(outcomes, f"{arm} again", arm, measures, rules, primary=False) for arm in RATIOS}
    worse = comparisons.compare(outcomes, AT_MARGIN, "federated", measures, rules, primary=False)
    answer = overall.consortium(outcomes, compared, measures[0], rules)
    before = _before(compared, rules)
    figures = {}
    for name, own in compared.hospitals.items():
        figures[name] = HospitalJudged(
            told=_told(outcomes, compared, name, measures, rules),
            outcome=own.outcome,
            claims={str(question): asked.claim for question, asked in own.questions.items() if asked.claim != "open"},
            before=before.get(name, ""),
            under_line=_is_under(answer, name),
            null={arm: one.hospitals[name].outcome for arm, one in nulls.items()},
            at_margin=worse.hospitals[name].outcome,
        )
    means = {arm: overall.consortium(outcomes, one, measures[0], rules) for arm, one in nulls.items()}
    return StudyJudged(
        cell.name,
        number,
        figures,
        _mean(answer, [_difference(outcomes, measures[0], name) for name in outcomes.hospitals]),
        None if answer is None else answer.prediction,
        {arm: told for arm, one in means.items() if (told := _mean(one, [0.0])) is not None},
        cell.anew,
    )


def _margin(settings: config.RunConfig) -> float:
    assert settings.study.margin is not None
    return settings.study.margin


def _told(
    outcomes: Outcomes, compared: Comparison, name: str, measures: Sequence[Measure], rules: Rules
) -> dict[str, Told]:
    """Returns a hospital's figures that have an interval."""
    auroc, benefit, ratio = (by_name(measures, wanted) for wanted in ("auroc", NET_BENEFIT, RATIO))
    own = compared.hospitals[name].measures
    told: list[tuple[str, Estimate, float]] = [
        (AUROC, own["auroc"], _difference(outcomes, auroc, name)),
        (BENEFIT, own[NET_BENEFIT], _difference(outcomes, benefit, name)),
    ]
    for arm, words in RATIOS.items():
        figure = estimates.performance(outcomes, arm, name, ratio, rules)
        told.append((words, figure, _true(outcomes, ratio, arm, name)))
    return {words: Told(truth, *ends) for words, one, truth in told if (ends := _ends(one)) is not None}


def _ends(one: Estimate) -> tuple[float, float, float] | None:
    if one.estimate is None or one.low is None or one.high is None:
        return None
    return one.estimate, one.low, one.high


def _mean(answer: ConsortiumAnswer | None, truths: Sequence[float]) -> Told | None:
    ends = None if answer is None else _ends(answer.mean)
    return None if ends is None else Told(float(np.mean(truths)), *ends)


def _difference(outcomes: Outcomes, measure: Measure, name: str) -> float:
    return _true(outcomes, measure, "federated", name) - _true(outcomes, measure, "local", name)


def _true(outcomes: Outcomes, measure: Measure, arm: str, name: str) -> float:
    """Returns what an arm scores on fresh patients, mean over seeds."""
    hospitals = outcomes.consortium
    assert isinstance(hospitals, WithFresh)
    y = hospitals.fresh[name].y
    place = len(outcomes.hospitals) + outcomes.hospitals.index(name)
    trained_at = name if arm.startswith("local") else None
    found = []
    for seed in outcomes.seeds:
        p = outcomes.results[arm, seed, trained_at].predictions[place].astype(np.float64)
        found.append(measure.of.value(ArmTest(y, p, np.arange(len(y)))))
    return float(np.mean(found))


def _before(compared: Comparison, rules: Rules) -> dict[str, str]:
    """Returns what the AUROC alone would tell, by Holm's procedure over hospitals."""
    told = {name: own.measures["auroc"] for name, own in compared.hospitals.items()}
    known = {name: one for name, one in told.items() if one.p_value is not None and one.estimate is not None}
    adjusted = holm([one.p_value if one.p_value is not None else math.nan for one in known.values()])
    return {
        name: "gains" if (one.estimate or 0.0) > 0 else "harmed"
        for (name, one), p in zip(known.items(), adjusted, strict=True)
        if p <= 1 - rules.level
    }


def _is_under(answer: ConsortiumAnswer | None, name: str) -> bool:
    line = None if answer is None else answer.by_size
    if line is None or line.gains_below is None or name not in line.hospitals:
        return False
    return line.hospitals[name] <= line.gains_below
