"""Whom an arm serves worse: subgroups by a column, over all hospitals' test rows."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmed.data.examples import Array, Dataset, Feature
from fedmed.settings.study import Study
from fedmed.statistics import (
    ArmTest,
    PairedTest,
    by_subgroup,
    informative_patients,
    metric_interval,
    p_value,
    paired_difference,
    subgroup_gap,
)
from fedmed.study.estimates import Rules, estimate, estimate_difference, number
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.schema import Estimate, Gap, Subgroup, Subgroups, TestedDifference
from fedmed.study.suppression import MINIMUM_CELL, coded, few, hidden_levels, small_hospitals, without_rare
from fedmed.system import errors

_BY_DEFAULT = frozenset({"sex", "gender", "male", "female", "age"})
_AGE_BANDS = (45.0, 65.0)
_MOST_LEVELS = 8


def columns(dataset: Dataset, study: Study) -> list[str]:
    """Returns the columns to look at; ConfigError when one that was asked for is not there."""
    names = [feature.name for feature in dataset.features]
    if study.subgroups is None:
        return [name for name in names if _BY_DEFAULT & _words(name)]
    for where, asked in (("subgroups", study.subgroups), ("bands", study.bands)):
        for name in asked:
            if name not in names:
                raise errors.ConfigError(errors.unknown(f"study.{where}", "column", name, names))
    return list(study.subgroups)


def _words(name: str) -> frozenset[str]:
    """Returns the words of a column's name: "Age (years)" has age and years."""
    return frozenset(re.split(r"[\W\d_]+", name.lower()))


def levelled(feature: Feature, values: Array, bands: Mapping[str, Any]) -> tuple[Feature, Array]:
    """Returns a number of few values as a category of these, with its codes; anything else as it is."""
    absent = np.isnan(values)
    levels = np.unique(values[~absent])
    if feature.is_category or feature.name in bands or len(levels) > _MOST_LEVELS:
        return feature, values
    codes = np.where(absent, np.nan, np.searchsorted(levels, values))
    return dataclasses.replace(feature, levels=tuple(f"{level:g}" for level in levels)), codes


def labels(feature: Feature, values: Array, bands: Mapping[str, Any]) -> tuple[Array, list[str]]:
    """Returns the subgroup of each row, and the subgroups in order: levels, or bands of numbers."""
    absent = np.isnan(values)
    if feature.is_category or absent.all():
        names = [f"{feature.name} = {level}" for level in feature.levels]
        found = np.array([*names, ""], dtype=object)[np.where(absent, len(names), values).astype(int)]
    else:
        edges = _edges(feature.name, values[~absent], bands)
        names = _band_names(edges, feature)
        found = np.array(names, dtype=object)[np.searchsorted(edges, np.where(absent, 0, values), side="right")]
    found[absent] = f"{feature.name} missing"
    return found.astype(str), [*names, *([f"{feature.name} missing"] if absent.any() else [])]


def _edges(name: str, values: Array, bands: Mapping[str, Any]) -> Array:
    if name in bands:
        return np.asarray(bands[name], dtype=np.float64)
    if "age" in _words(name):
        return np.asarray(_AGE_BANDS)
    thirds = np.quantile(values, [1 / 3, 2 / 3])
    return np.unique([float(f"{edge:.2g}") for edge in thirds])


def _band_names(edges: Array, feature: Feature) -> list[str]:
    middle = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    words = [f"under {edges[0]:g}", *middle, f"{edges[-1]:g} and over"]
    return [f"{feature.name} {word}" for word in words]


@dataclasses.dataclass(frozen=True)
class _Grouped:
    """A column's groups and the rows of the data set that are in each."""

    feature: Feature
    of_row: Array
    names: list[str]


def subgroups(
    outcomes: Outcomes, study: Study, metric: Measure, comparisons: Sequence[tuple[str, str]], rules: Rules
) -> tuple[Subgroups, ...]:
    """Returns whom arms serve worse, by each column."""
    dataset, found = outcomes.consortium.dataset, []
    for name in columns(dataset, study):
        place = next(k for k, feature in enumerate(dataset.features) if feature.name == name)
        feature, values = levelled(dataset.features[place], np.asarray(dataset.examples.x)[:, place], study.bands)
        if feature.is_category:
            feature, values = without_rare(outcomes.consortium, feature, values)
        grouped = _Grouped(dataset.features[place], *labels(feature, values, study.bands))
        found.append(_column(outcomes, grouped, metric, comparisons, rules))
    return tuple(found)


def _column(
    outcomes: Outcomes, grouped: _Grouped, metric: Measure, comparisons: Sequence[tuple[str, str]], rules: Rules
) -> Subgroups:
    rows = np.concatenate([outcomes.rows(seed, None) for seed in outcomes.seeds])
    y, patient = outcomes.consortium.dataset.examples.y[rows], outcomes.consortium.patient[rows]
    group = grouped.of_row[rows]
    p = np.concatenate([outcomes.predictions(outcomes.arms[0].name, seed, None) for seed in outcomes.seeds])
    shown = {g.name: g.patients for g in by_subgroup(outcomes.task, y, p, group, patient) if g.patients is not None}
    events = _events(outcomes, y, group, patient, list(shown))
    told_patients = {} if _betrayed(outcomes, grouped.feature) else shown
    groups = []
    for name in (name for name in grouped.names if name in set(group.tolist())):
        told = Subgroup(
            name=name,
            patients=told_patients.get(name),
            events=events.get(name),
            suppressed=name not in shown,
            reason="" if name in shown else f"fewer than {MINIMUM_CELL} patients",
            performance=_performance(outcomes, grouped, name, metric, rules) if name in shown else {},
            differences=_differences(outcomes, grouped, name, metric, comparisons, rules) if name in shown else {},
        )
        groups.append(told)
    gap = {arm.name: _gap(outcomes, arm.name, grouped, metric, rules) for arm in outcomes.arms}
    feature = grouped.feature
    return Subgroups(feature.name, feature.name, feature.unit, tuple(groups), gap)


def _betrayed(outcomes: Outcomes, feature: Feature) -> bool:
    """Whether the sums over hospitals, with Table 1, would tell a hospital's small count, of all or of a level."""
    if any(few(outcomes.consortium.patient[rows]) for rows in _tested(outcomes)):
        return True
    dataset = outcomes.consortium.dataset
    place = next(k for k, other in enumerate(dataset.features) if other.name == feature.name)
    known = coded(feature, np.asarray(dataset.examples.x)[:, place])
    if known is None:
        return False
    return any(own.any() for own in hidden_levels(outcomes.consortium, known[0], len(known[1])).values())


def _tested(outcomes: Outcomes) -> list[Array]:
    """Returns each hospital's test rows of all seeds."""
    return [np.concatenate([outcomes.rows(seed, name) for seed in outcomes.seeds]) for name in outcomes.hospitals]


def _events(outcomes: Outcomes, y: Array, group: Array, patient: Array, shown: Sequence[str]) -> dict[str, int | None]:
    """Returns patients with the event in each group; small counts are hidden, and one more if it would betray them."""
    if outcomes.task != "binary" or small_hospitals(outcomes):
        return {}  # a small hospital's events would follow from all events and the others'
    counts = {name: len(np.unique(patient[(group == name) & (y == 1)])) for name in shown}
    hidden = {name for name, count in counts.items() if 0 < count < MINIMUM_CELL}
    if hidden:
        others = sorted((name for name in counts if name not in hidden), key=lambda name: counts[name])
        hidden |= set(others[:1])
    return {name: None if name in hidden else count for name, count in counts.items()}


def _too_few(metric: Measure, rules: Rules) -> str:
    return f"{metric.label}: fewer than {rules.minimum_events} informative patients"


def _performance(
    outcomes: Outcomes, grouped: _Grouped, name: str, metric: Measure, rules: Rules
) -> dict[str, Estimate]:
    task, found = outcomes.task, {}
    for arm in outcomes.arms:
        tests = [_only(outcomes.test(arm.name, seed, None), grouped, outcomes, seed, name) for seed in outcomes.seeds]
        tests = [test for test in tests if len(test.y)]
        enough = informative_patients(task, tests, metric.name) >= rules.minimum_events
        interval = None
        if enough:
            rng = rules.rng("subgroup", grouped.feature.name, name, arm.name)
            interval = metric_interval(task, metric.name, tests, rng=rng, level=rules.level, draws=rules.draws)
        found[arm.name] = estimate(interval, "" if enough else _too_few(metric, rules))
    return found


def _differences(
    outcomes: Outcomes,
    grouped: _Grouped,
    name: str,
    metric: Measure,
    comparisons: Sequence[tuple[str, str]],
    rules: Rules,
) -> dict[str, TestedDifference]:
    task, found = outcomes.task, {}
    for of, against in comparisons:
        pairs = _pairs(outcomes, grouped, name, of, against)
        enough = informative_patients(task, pairs, metric.name) >= rules.minimum_events
        interval = None
        if enough:
            rng = rules.rng("subgroup", grouped.feature.name, name, of, against)
            interval = paired_difference(task, metric.name, pairs, rng=rng, level=rules.level, draws=rules.draws)
        p = None if interval is None else number(p_value(interval))
        told = estimate_difference(interval, "" if enough else _too_few(metric, rules))
        found[f"{of}-{against}"] = TestedDifference(**vars(told), p_value=p)
    return found


def _only(test: ArmTest, grouped: _Grouped, outcomes: Outcomes, seed: int, name: str) -> ArmTest:
    here = grouped.of_row[outcomes.rows(seed, None)] == name
    site = None if test.site is None else test.site[here]
    return ArmTest(test.y[here], test.p[here], test.patient[here], site)


def _pairs(outcomes: Outcomes, grouped: _Grouped, name: str, of: str, against: str) -> list[PairedTest]:
    found = []
    for seed in outcomes.seeds:
        b, a = (_only(outcomes.test(arm, seed, None), grouped, outcomes, seed, name) for arm in (of, against))
        if len(a.y):
            found.append(PairedTest(a.y, a.p, b.p, a.patient, a.site))
    return found


def _gap(outcomes: Outcomes, arm: str, grouped: _Grouped, metric: Measure, rules: Rules) -> Gap | None:
    """Returns how far the worst served group is behind, at the first seed: the test of it deals labels to patients."""
    seed = outcomes.seeds[0]
    test, group = outcomes.test(arm, seed, None), grouped.of_row[outcomes.rows(seed, None)]
    found = subgroup_gap(
        outcomes.task,
        metric.name,
        test.y,
        test.p,
        group,
        test.patient,
        rng=rules.rng("gap", grouped.feature.name, arm),
        level=rules.level,
        draws=min(rules.draws, 400),
        minimum_events=rules.minimum_events,
        site=test.site,
    )
    if found is None:
        return None
    told = estimate(found.interval)
    method = f"{told.method}, first seed"
    return Gap(found.worst, found.best, told.estimate, told.low, told.high, method, number(found.p_value))
