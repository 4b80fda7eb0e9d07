"""What the federated arm is worth under each standard scenario and rule: figures, and differences with Holm's words."""

import inspect

from fedmed.engine import attendance
from fedmed.learning import aggregators
from fedmed.settings import config
from fedmed.settings.mishaps import Mishap
from fedmed.study import attended, estimates, judging, price, stress_words, trouble
from fedmed.study.estimates import Rules
from fedmed.study.hardships import PLANNED, Hardship
from fedmed.study.judged_words import Words
from fedmed.study.judging import Judge
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema.contested import ContestTarget, Judged
from fedmed.study.schema.shapes import SeededEstimate
from fedmed.study.schema.stressed import Stress, StressCell, StressRow
from fedmed.study.stress import Standing, aggregation, arm_name


def stress(
    outcomes: Outcomes,
    standing: Standing,
    metric: Measure,
    rules: Rules,
    *,
    ceiling: float | None,
) -> Stress:
    """Returns what the scenarios do to each rule.

    Args:
        outcomes: of the arms that `stress.scenario` gives.
        standing: the scenarios, and the study's settings.
        metric: the primary one.
        rules: of the intervals.
        ceiling: what the study's pooled training reaches over all test rows, if it was trained.
    """
    settings = standing.at.settings
    first = settings.study.stress.rules[0]
    base = arm_name(PLANNED, first)
    over = judging.with_figures(outcomes, base, metric, rules)
    aim = price.aim(settings.study, metric, ceiling)
    cells = _Cells(outcomes, metric, rules, over, base, aim)
    rows = {
        name: StressRow(
            label=hardship.label,
            about=hardship.about,
            hospital=hardship.hospital,
            set=_changes(hardship),
            rules={rule: cells.of(arm_name(name, rule)) for rule in settings.study.stress.rules},
        )
        for name, hardship in standing.hardships.items()
    }
    said = Words(metric, rules.level, first, len(over), len(outcomes.seeds))
    return Stress(
        metric=metric.name,
        first=first,
        rules={rule: _about(rule) for rule in settings.study.stress.rules},
        over=over,
        seeds=outcomes.seeds,
        scenarios=rows,
        left_out=standing.left_out,
        target=None if aim is None else ContestTarget(*aim),
        summary=" ".join([stress_words.summary(rows, said), *_doubts(standing)]),
        whom=stress_words.whom(standing.at, {own.hospital for own in standing.hardships.values() if own.hospital}),
        estimand=stress_words.estimand(said),
        method=stress_words.method(said, len(cells.tested), settings.study.seeds, tuned=settings.study.tune),
    )


def _doubts(standing: Standing) -> list[str]:
    own, cohort = standing.at.settings, attendance.cohort_size(standing.at.settings.cohort, len(standing.at.patients))
    asked = [aggregation(own.aggregation, rule) for rule in own.study.stress.rules]
    return [doubt for one in asked for doubt in aggregators.doubts(one, cohort)]


class _Cells:
    """What is found for each arm: figures of those whose training did not diverge, and the one family of tests."""

    def __init__(
        self,
        outcomes: Outcomes,
        metric: Measure,
        rules: Rules,
        over: tuple[str, ...],
        base: str,
        aim: tuple[float, str] | None,
    ) -> None:
        self._outcomes, self._metric, self._base, self._aim = outcomes, metric, base, aim
        self._diverged = {arm.name: _diverged(outcomes, arm.name) for arm in outcomes.arms}
        finite = [arm.name for arm in outcomes.arms if not self._diverged[arm.name]]
        self._judge = Judge(outcomes, metric, rules, over, finite)
        self.tested = [arm for arm in finite if arm != base and base in finite]
        self._differences = self._judge.means([(arm, base) for arm in self.tested])
        self._contributed = attended.contributed(outcomes)

    def of(self, arm: str) -> StressCell:
        """Returns what is found for an arm."""
        outcomes, why = self._outcomes, stress_words.diverged(self._diverged[arm])
        figures = {name: _none(outcomes, why) for name in outcomes.hospitals} if why else self._judge.figures(arm)
        return StressCell(
            hospitals=figures,
            mean=estimates.estimate(None, why) if why else self._judge.mean(arm),
            worst=judging.worst(figures, self._metric),
            difference=self._difference(arm),
            diverged=self._diverged[arm],
            reached=None if self._aim is None else price.reached(outcomes, arm, self._metric, self._aim[0]),
            clock_seconds=price.clock_seconds(outcomes, arm),
            missed=attended.shortfalls(self._contributed.get(arm, {}), outcomes.seeds)
            or tuple(filter(None, [trouble.refusals(outcomes, arm)])),
        )

    def _difference(self, arm: str) -> Judged | None:
        if arm == self._base or arm in self.tested:
            return self._differences.get((arm, self._base))
        why = stress_words.diverged(self._diverged[arm] or self._diverged[self._base])
        return Judged(**vars(estimates.estimate(None, why)), p_value=None, p_adjusted=None, word="no figure")


def _diverged(outcomes: Outcomes, arm: str) -> tuple[int, ...]:
    """Returns the seeds at which an arm has no figure: where the rule's training as planned diverged, all that did.

    Elsewhere what a scenario does to training is a finding, however bad, as long as there are predictions.
    """
    planned = arm_name(PLANNED, arm.rpartition("+")[2])
    found = judging.lost if judging.lost(outcomes, planned) else judging.diverged
    return found(outcomes, arm)


def _none(outcomes: Outcomes, why: str) -> SeededEstimate:
    return SeededEstimate(**vars(estimates.estimate(None, why)), by_seed=(None,) * len(outcomes.seeds))


def _changes(hardship: Hardship) -> dict[str, object]:
    """Returns what a scenario changes of the config, by dotted keys."""
    entries = [_given(mishap) for mishap in hardship.mishaps]
    added: dict[str, object] = {"scenario": entries} if entries else {}
    return {**added, **{f"clock.{name}": value for name, value in hardship.clock.items()}}


def _given(mishap: Mishap) -> dict[str, object]:
    unsaid = config.to_tree(Mishap(mishap.name))
    return {key: value for key, value in config.to_tree(mishap).items() if key == "name" or value != unsaid.get(key)}


def _about(rule: str) -> str:
    return (inspect.getdoc(aggregators.aggregators.get(rule)) or "").partition("\n")[0]
