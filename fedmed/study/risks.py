"""Pictures of risk as numbers: calibration curves and decision curves, from all seeds' test predictions together."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from scipy import stats

from fedmed.data.examples import Array
from fedmed.statistics import (
    ArmTest,
    PairedTest,
    difference_interval,
    informative_patients,
    smooth_calibration,
    wilson,
)
from fedmed.statistics.decision import benefit_of_rows
from fedmed.statistics.influence import mean
from fedmed.statistics.resampling import spread_of
from fedmed.study.estimates import Rules, number
from fedmed.study.outcomes import Outcomes, Unit
from fedmed.study.schema import BenefitCurve, Bin, ByUnit, Calibration, CalibrationCurve, Decision, Smooth
from fedmed.study.suppression import MINIMUM_CELL, left_out, pooled

_BINS, _SMOOTH_POINTS, _SMOOTH_ROWS = 10, 41, 5000
_THRESHOLDS = 20

_ABOUT = {
    True: "Predictions of all seeds' test rows, in bins of similar prediction of at least {least} patients {of}; "
    "Wilson's interval of the share, counting each patient once. The smooth curve is lowess.",
    False: "Predictions of all seeds' test rows, in bins of similar prediction of at least {least} patients; the "
    "interval is the mean's, by the normal distribution, counting each patient once.",
}
_OF = {
    "binary": "with the event and as many without",
    "multiclass": "whose class the model names and as many whose it does not",
    "regression": "",
    "count": "",
}

X = TypeVar("X")


def calibration(outcomes: Outcomes, rules: Rules) -> Calibration:
    """Returns the calibration curves of each arm at each unit."""
    arms = {arm.name: by_unit(outcomes, lambda unit, a=arm.name: _curve(outcomes, a, unit, rules))
            for arm in outcomes.arms}  # fmt: skip
    about = _ABOUT[outcomes.task in ("binary", "multiclass")].format(of=_OF[outcomes.task], least=MINIMUM_CELL)
    return Calibration(about + left_out(outcomes), arms)


def by_unit(outcomes: Outcomes, make: Callable[[Unit], X | None]) -> ByUnit[X]:
    """Returns what there is for each unit; what is None is left out at a hospital."""
    found = {name: make(name) for name in outcomes.hospitals}
    return ByUnit({name: x for name, x in found.items() if x is not None}, make(None))


def _curve(outcomes: Outcomes, arm: str, unit: Unit, rules: Rules) -> CalibrationCurve | None:
    tests = outcomes.tests(arm, pooled(outcomes, unit))
    if not tests or informative_patients(outcomes.task, tests) < rules.minimum_events:
        return None
    y, p = _together(outcomes, tests)
    if not np.isfinite(p).all():  # training diverged
        return None
    patient = np.concatenate([test.patient for test in tests])
    is_share = outcomes.task in ("binary", "multiclass")
    bins = (_bin(y[rows], p[rows], patient[rows], rules.level, is_share) for rows in _bins(y, p, patient, is_share))
    smooth = Smooth((), ())
    if is_share and len(np.unique(p)) > 10:
        at = np.linspace(np.quantile(p, 0.01), np.quantile(p, 0.99), _SMOOTH_POINTS)
        kept = np.linspace(0, len(p) - 1, min(len(p), _SMOOTH_ROWS)).round().astype(int)
        order = np.argsort(p, kind="stable")[kept]  # lowess looks at every row for every point
        smooth = Smooth(tuple(at.tolist()), tuple(smooth_calibration(y[order], p[order], at).tolist()))
    return CalibrationCurve(tuple(bins), smooth)


def _together(outcomes: Outcomes, tests: Sequence[ArmTest]) -> tuple[Array, Array]:
    y, p = np.concatenate([test.y for test in tests]), np.concatenate([test.p for test in tests])
    return ((p.argmax(axis=1) == y).astype(np.int64), p.max(axis=1)) if outcomes.task == "multiclass" else (y, p)


def _bins(y: Array, p: Array, patient: Array, is_share: bool) -> list[Array]:
    """Returns the rows of each bin, by rising prediction; a bin grows until no cell of it is small."""
    order = np.argsort(p, kind="stable")
    wanted = len(p) / _BINS
    found, current = [], []
    for piece in np.array_split(order, 20 * _BINS):
        current.append(piece)
        rows = np.concatenate(current)
        if len(rows) >= wanted and _is_large(y[rows], patient[rows], is_share):
            found.append(rows)
            current = []
    rest = np.concatenate(current) if current else np.zeros(0, np.int64)
    if len(rest) and found and not (len(rest) >= wanted / 2 and _is_large(y[rest], patient[rest], is_share)):
        found[-1] = np.concatenate([found[-1], rest])
    elif len(rest) and _is_large(y[rest], patient[rest], is_share):
        found.append(rest)
    return found


def _is_large(y: Array, patient: Array, is_share: bool) -> bool:
    parts = [patient[y == 1], patient[y == 0]] if is_share else [patient]
    return all(len(np.unique(part)) >= MINIMUM_CELL for part in parts)


def _bin(y: Array, p: Array, patient: Array, level: float, is_share: bool) -> Bin:
    patients = len(np.unique(patient))
    if is_share:
        share = wilson(round(float(y.mean()) * patients), patients, level)
        low, high = share.low, share.high
    else:
        half = float(stats.norm.ppf((1 + level) / 2)) * float(y.std()) / np.sqrt(patients)
        low, high = float(y.mean()) - half, float(y.mean()) + half
    return Bin(float(p.mean()), float(y.mean()), low, high, patients)


def thresholds(outcomes: Outcomes, asked: Sequence[float]) -> Array:
    """Returns the thresholds asked for, else 20 up to about three times the prevalence."""
    if asked:
        return np.sort(np.asarray(asked, dtype=np.float64))
    prevalence = float(np.mean(outcomes.consortium.dataset.examples.y))
    top = np.clip(np.ceil(30 * prevalence) / 10, 0.2, 0.9)
    return np.round(np.linspace(top / _THRESHOLDS, top, _THRESHOLDS), 4)


def decision(
    outcomes: Outcomes, asked: Sequence[float], comparisons: Sequence[tuple[str, str]], rules: Rules
) -> Decision:
    """Returns decision curves of each arm, and how far two arms are apart."""
    at = thresholds(outcomes, asked)
    about = (
        "Net benefit in true positives per patient (Vickers and Elkin 2006), mean over seeds; intervals over "
        "patients and seeds, as of all differences. Treating nobody has a net benefit of 0."
    ) + left_out(outcomes)

    def of_arm(arm: str, unit: Unit) -> BenefitCurve | None:
        found = known(arm, unit)
        return _curve_of([(t.patient, benefit_of_rows(t.y, t.p, at)) for t in found], found, rules)

    def of_pair(of: str, against: str, unit: Unit) -> BenefitCurve | None:
        found = outcomes.pairs(of, against, pooled(outcomes, unit))
        found = found if enough(found) else []
        apart = [(t.patient, benefit_of_rows(t.y, t.b, at) - benefit_of_rows(t.y, t.a, at)) for t in found]
        return _curve_of(apart, found, rules)

    def everybody(unit: Unit) -> tuple[float, ...] | None:
        found = known(outcomes.arms[0].name, unit)
        parts = [benefit_of_rows(t.y, np.ones(len(t.y)), at).mean(axis=0) for t in found]
        return tuple(np.mean(parts, axis=0).tolist()) if parts else None

    def known(arm: str, unit: Unit) -> Sequence[ArmTest]:
        found = outcomes.tests(arm, pooled(outcomes, unit))
        return found if enough(found) else ()

    def enough(tests: Sequence[ArmTest] | Sequence[PairedTest]) -> bool:
        return informative_patients("binary", tests) >= rules.minimum_events

    return Decision(
        thresholds=tuple(at.tolist()),
        arms={arm.name: by_unit(outcomes, lambda u, a=arm.name: of_arm(a, u)) for arm in outcomes.arms},
        treat_all=by_unit(outcomes, everybody),
        differences={f"{b}-{a}": by_unit(outcomes, lambda u, b=b, a=a: of_pair(b, a, u)) for b, a in comparisons},
        about=about,
    )


def _curve_of(
    rows: Sequence[tuple[Array, Array]], tests: Sequence[ArmTest] | Sequence[PairedTest], rules: Rules
) -> BenefitCurve | None:
    """Returns mean net benefit over seeds, from (patient [n], net benefit [n, k]) of each, by threshold."""
    if not rows:
        return None
    informative, patients = informative_patients("binary", tests), [patient for patient, _ in rows]
    points = []
    for k in range(rows[0][1].shape[1]):
        spread = spread_of([mean(values[:, k]) for _, values in rows], patients)
        told = difference_interval(spread, informative, rules.level)
        points.append((spread.estimate, told.low, told.high) if told else (spread.estimate, None, None))
    return BenefitCurve(*(tuple(map(number, values)) for values in zip(*points, strict=True)))
