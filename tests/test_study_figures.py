"""What a study reports equals scikit-learn and statsmodels on the same predictions, and small cells stay hidden."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    log_loss,
    mean_squared_error,
    roc_auc_score,
)

from fedmed.data.examples import Dataset, Examples, Feature, Task
from fedmed.data.splits import ClientRows
from fedmed.settings import config
from fedmed.settings.clock import Clock
from fedmed.settings.study import Study
from fedmed.statistics import ArmTest, decision_curve, influence, metric
from fedmed.statistics import sensitivity_at_specificity as known_sensitivity
from fedmed.study import (
    comparisons,
    measures,
    price,
    report,
    risks,
    risks_by_outcome,
    subgroups,
    suppression,
    table_one,
    views,
)
from fedmed.study.consortium import Consortium
from fedmed.study.estimates import Rules, difference, performance
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan
from fedmed.study.results import Result
from fedmed.study.schema import Findings, Reproduce
from fedmed.system import plain

RULES = Rules(seed=0, level=0.95, draws=200, minimum_events=10)
HOSPITALS = ("a", "b", "tiny")
ROWS = (400, 200, 40)


class Held(Consortium):
    """Hospitals of made-up patients, split in halves at each seed; no config stands behind them."""

    def __init__(self, task: Task = "binary") -> None:
        rng = np.random.default_rng(1)
        count = sum(ROWS)
        self.risk = rng.beta(1, 4, count)
        y = (rng.random(count) < self.risk).astype(np.int64)
        y[-40:] = np.arange(40) < 3  # three events at the last hospital
        if task in ("regression", "count"):
            y = rng.poisson(5 * self.risk).astype(np.float32)
        x = np.column_stack(
            [rng.normal(60, 15, count), rng.integers(0, 2, count).astype(float), rng.integers(0, 3, count)]
        )
        x[:3, 0] = np.nan
        features = (Feature("age_years", "years"), Feature("sex"), Feature("ward", levels=("x", "y", "z")))
        site = np.repeat(HOSPITALS, ROWS)
        truth = {"risk_true": self.risk}
        names = ("well", "ill") if task == "binary" else ()
        self.dataset = Dataset("made", Examples(x, y, site), task, len(names), names, features, truth=truth)
        self.held = {name: np.flatnonzero(site == name) for name in HOSPITALS}
        self.patient, self.own_test = np.arange(count), True

    def rows(self, seed: int) -> dict[str, ClientRows]:
        found = {}
        for number, (name, rows) in enumerate(self.held.items()):
            order = np.random.default_rng([seed, number]).permutation(rows)
            half = len(rows) // 2
            found[name] = ClientRows(np.sort(order[half:]), np.sort(order[:half]))
        return found


def outcomes(task: Task = "binary", seeds: int = 3, better: float = 1.0) -> Outcomes:
    """Returns a federated arm that knows the risk but for some noise, and local ones that know `better` times less."""
    consortium = Held(task)
    data = model = {"name": "x"}
    settings = config.parse({"name": "x", "data": data, "model": model, "client": {"learning_rate": 1.0}, "rounds": 2})
    arms = tuple(ArmPlan(name, name, settings, {}) for name in ("federated", "local"))
    found = {}
    for seed in range(seeds):
        rng = np.random.default_rng([9, seed])
        tests = [own.test for own in consortium.rows(seed).values()]
        curve, sent = np.full((2, 4), 0.5), np.array([[0, 0], [240, 240]])

        def noisy(noise: float, tests: Sequence[Any] = tests, rng: np.random.Generator = rng) -> list[np.ndarray]:
            logits = [np.log(consortium.risk[rows] / (1 - consortium.risk[rows])) for rows in tests]
            return [(1 / (1 + np.exp(-z - noise * rng.normal(size=len(z))))).astype(np.float32) for z in logits]

        found["federated", seed, None] = Result(
            noisy(0.1), np.arange(2), curve, sent, {}, 1.0, 40, clock=np.array([0.0, 60.0])
        )
        for name in HOSPITALS:
            found["local", seed, name] = Result(noisy(0.1 + better), np.arange(2), curve, sent, {}, 1.0, 40)
    return Outcomes(consortium, tuple(range(seeds)), arms, found)


SKLEARN = {
    "auroc": roc_auc_score,
    "auprc": average_precision_score,
    "brier": brier_score_loss,
    "loss": log_loss,
    "accuracy": lambda y, p: accuracy_score(y, p >= 0.5),
    "intercept": lambda y, p: sm.GLM(y, np.ones(len(y)), sm.families.Binomial(), offset=logit(p)).fit().params[0],
    "slope": lambda y, p: sm.Logit(y, sm.add_constant(logit(p))).fit(disp=0).params[1],
}  # fmt: skip


def numbers(values: Sequence[float | None]) -> np.ndarray:
    """Returns values with NaN, which compares with nothing, for what is not told."""
    return np.array([np.nan if value is None else value for value in values])


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


WITHIN = {"auroc": lambda y: y.sum() * (len(y) - y.sum()), "auprc": lambda y: y.sum()}
"""What ranks counts pairs of the same hospital: these are a hospital's weights in the figure of all."""


def scored(found: Outcomes, seed: int, hospital: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and the federated model's predictions."""
    rows = found.consortium.rows(seed)[hospital].test
    p = found.results["federated", seed, None].predictions[HOSPITALS.index(hospital)].astype(float)
    return found.consortium.dataset.examples.y[rows], p


@pytest.mark.parametrize("name", SKLEARN)
@pytest.mark.parametrize("unit", ["a", None])
def test_a_figure_is_the_mean_over_seeds_of_an_independent_one(name: str, unit: str | None) -> None:
    found = outcomes()
    measure = measures.by_name(measures.measures("binary", 0.9, "auroc"), name)
    told = performance(found, "federated", unit, measure, RULES)
    by_seed = []
    for seed in found.seeds:
        parts = [scored(found, seed, h) for h in (HOSPITALS if unit is None else (unit,))]
        if name in WITHIN and unit is None:
            weights = [WITHIN[name](y) for y, _ in parts]
            by_seed.append(np.average([SKLEARN[name](y, p) for y, p in parts], weights=weights))
        else:
            by_seed.append(SKLEARN[name](*map(np.concatenate, zip(*parts, strict=True))))
    np.testing.assert_allclose(numbers(told.by_seed), by_seed, rtol=1e-6)
    assert told.estimate == pytest.approx(np.mean(by_seed), rel=1e-6)
    low, middle, high = numbers((told.low, told.estimate, told.high))
    assert low < middle < high


def test_the_worst_hospital_has_its_own_interval_and_a_withheld_one_is_counted() -> None:
    """Of three hospitals the one with three events has no figure, so the mean is withheld and one is without."""
    found = outcomes()
    scored_by = measures.measures("binary", 0.9, "auroc")
    own = report.performances(found, scored_by, RULES)["federated"]
    assert set(own.worst) == set(own.mean)
    for name, pick in (("auroc", min), ("loss", max)):
        values = {h: e.estimate for h in HOSPITALS if (e := own.hospitals[h][name]).estimate is not None}
        assert set(values) == {"a", "b"}
        worst = own.worst[name]
        expected = pick(values, key=lambda h: values[h])
        its = own.hospitals[expected][name]
        assert worst.hospital == expected
        assert (worst.estimate, worst.low, worst.high) == (its.estimate, its.low, its.high)
        assert (worst.without, worst.decile) == (1, None)
        assert own.mean[name].estimate is None


def test_a_difference_is_b_minus_a_with_everybodys_own_model() -> None:
    found = outcomes()
    measure = measures.measures("binary", 0.9, "brier")[0]
    told = difference(found, "federated", "local", "b", measure, RULES)
    y = [found.consortium.dataset.examples.y[found.consortium.rows(seed)["b"].test] for seed in found.seeds]
    ours = [brier_score_loss(y[s], found.results["federated", s, None].predictions[1]) for s in found.seeds]
    own = [brier_score_loss(y[s], found.results["local", s, "b"].predictions[1]) for s in found.seeds]
    np.testing.assert_allclose(numbers(told.by_seed), np.subtract(ours, own), rtol=1e-5)
    assert told.estimate is not None
    assert told.estimate < 0
    assert told.p_value is not None
    assert 0 <= told.p_value <= 1


def test_weighted_measures_are_those_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    p, weights = np.round(rng.random(200), 2), rng.integers(0, 4, (3, 200))  # rounded, so that there are ties
    p = np.clip(p, 0.01, 0.99)
    y = (rng.random(200) < p).astype(np.int64)
    for row, w in enumerate(weights):
        many_y, many_p = np.repeat(y, w), np.repeat(p, w)
        point = known_sensitivity(many_y, many_p, 0.9)
        assert point is not None
        assert measures.sensitivity(0.9, y, p, weights)[row] == pytest.approx(point.sensitivity)


def test_fits_without_an_answer_are_not_numbers() -> None:
    y, p = np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    assert np.isnan(influence.logistic(y, p, slope=True).value)  # separated
    assert np.isnan(influence.logistic(y, np.full(6, 0.5), slope=True).value)
    assert np.isnan(measures.sensitivity(0.9, np.ones(6), p, None))


def test_a_hospital_with_too_few_events_gets_no_figure() -> None:
    found = outcomes()
    auroc, accuracy = (measures.by_name(measures.measures("binary", 0.9, "auroc"), n) for n in ("auroc", "accuracy"))
    told = performance(found, "federated", "tiny", auroc, RULES)
    assert told.estimate is None
    assert told.by_seed == (None,) * 3
    assert "too few events" in told.reason
    assert "too few events" in performance(found, "federated", "tiny", accuracy, RULES).reason
    verdict = comparisons.compare(found, "federated", "local", [auroc], RULES, primary=True).hospitals["tiny"]
    assert verdict.outcome == "too few events"
    assert "tiny" not in risks.calibration(found, RULES).arms["federated"].hospitals
    hospital = report.hospitals(found, "auroc", 10)[2]
    assert hospital.events is None
    assert hospital.informative is None
    assert not hospital.enough


def test_a_better_arm_gains_and_the_answer_says_so() -> None:
    found = outcomes(seeds=10, better=3.0)
    scored = measures.measures("binary", 0.9, "auroc")[:1]
    arms = report.performances(found, scored, RULES)
    compared = comparisons.compare(found, "federated", "local", scored, RULES, primary=True)
    answer = comparisons.answer(found, compared, arms, scored, RULES)
    assert answer.hospitals["a"].outcome == "gains"
    assert answer.hospitals["a"].sentence.startswith("a: gains in the primary metric. AUROC 0.")
    assert "too few events" in answer.hospitals["tiny"].sentence
    assert "1 has too few events" in answer.summary
    assert "2 gain" in answer.summary
    own = views.seed_sensitivity(answer, found.seeds)
    assert own is not None
    assert own.hospitals["a"].signs_agree


def test_decision_curves_are_those_of_each_seed() -> None:
    found, at = outcomes(), np.array([0.1, 0.3])
    told = risks.decision(found, at.tolist(), [("federated", "local")], RULES)
    tests = found.tests("federated", "a")
    expected = np.mean([decision_curve(t.y, t.p, at).model for t in tests], axis=0)
    curve = told.arms["federated"].hospitals["a"]
    np.testing.assert_allclose(numbers(curve.net_benefit), expected)
    everybody = np.mean([decision_curve(t.y, t.p, at).treat_all for t in tests], axis=0)
    np.testing.assert_allclose(told.treat_all.hospitals["a"], everybody)
    other = told.arms["local"].hospitals["a"].net_benefit
    apart = told.differences["federated-local"].hospitals["a"].net_benefit
    np.testing.assert_allclose(numbers(apart), np.subtract(numbers(curve.net_benefit), numbers(other)))


def test_calibration_bins_hold_no_small_cell() -> None:
    found = outcomes(seeds=1)
    for unit, within in (("a", "a"), (None, ("a", "b"))):  # tiny's few events would follow
        curve = risks._curve(found, "federated", unit, RULES)
        assert curve is not None
        test = found.test("federated", 0, within)
        assert sum(b.patients for b in curve.bins) == len(test.y)
        for one in curve.bins:
            assert 5 <= round(one.observed * one.patients) <= one.patients - 5
            assert one.low < one.observed < one.high


def test_table_one_hides_small_cells_and_what_would_betray_them() -> None:
    table = table_one.table_one(outcomes().consortium)
    outcome = next(row for row in table.rows if row.name == "outcome")
    assert outcome.cells["tiny"].text == "< 5"
    assert outcome.all.text == "hidden"
    assert outcome.cells["a"].text.endswith(" %)")
    age = next(row for row in table.rows if row.name == "age_years")
    assert age.cells["a"].missing is None  # three patients
    assert age.all.missing is None
    for row in table.rows:
        if row.statistic == "n (%)":
            for cell in row.cells.values():
                assert cell.text in ("< 5", "hidden") or int(cell.text.split()[0]) >= 5 or cell.text[0] == "0"


def test_a_lone_small_level_takes_the_next_one_with_it() -> None:
    assert suppression.hidden(np.array([100, 3, 20, 0])).tolist() == [False, True, True, False]
    assert suppression.hidden(np.array([100, 3, 4, 0])).tolist() == [False, True, True, False]
    assert suppression.hidden(np.array([100, 0, 20])).tolist() == [False, False, False]


@pytest.mark.parametrize(
    ("patients", "hidden"),
    [
        ([60, 38, 1, 1], [False, True, True, True]),  # 1 and 1 by themselves sum to 2
        ([60, 38, 4, 4], [False, True, True, True]),  # and 4 and 4 to 8
        ([60, 30, 1, 1, 1], [False, True, True, True, True]),
        ([60, 5, 1], [True, True, True]),  # hidden but not small is 5 at least, and so the other is 1
        ([60, 6, 1], [False, True, True]),  # 5 and 2 are 7 too
        ([60, 38, 2, 2], [False, False, True, True]),  # 1 and 3 are 4 too
        ([50, 50, 4], [True, False, True]),
    ],
)
def test_no_small_count_can_be_worked_out_from_what_is_shown(patients: list[int], hidden: list[bool]) -> None:
    assert suppression.hidden(np.array(patients)).tolist() == hidden


def test_a_number_that_one_patient_has_is_not_shown() -> None:
    """A's ferritin is known in six rows, all of one patient."""
    values = np.full(106, np.nan)
    values[:6] = [71.0, 72.0, 71.5, 70.9, 71.2, 71.8]
    patient = np.concatenate([np.zeros(6), np.arange(1, 101)])
    assert table_one._amount_cell(values, patient, quartiles=False).text == "hidden"
    assert table_one._amount_cell(values, np.arange(106), quartiles=False).text.startswith("71.4 (")


def pairs_within(y: np.ndarray, p: np.ndarray, site: np.ndarray) -> float:
    """Counts every pair of one with and one without the event at the same hospital, one by one."""
    right = [
        float(p[i] > p[j]) + 0.5 * float(p[i] == p[j])
        for i in np.flatnonzero(y == 1)
        for j in np.flatnonzero((y == 0) & (site == site[i]))
    ]
    return float(np.mean(right))


def test_subgroups_are_cut_as_asked_and_measured_within() -> None:
    found = outcomes()
    auroc = measures.measures("binary", 0.9, "auroc")[0]
    study = Study(bands={"age_years": [50, 70]}, subgroups=("sex", "age_years", "ward"))
    sex, age, ward = subgroups.subgroups(found, study, auroc, [("federated", "local")], RULES)
    assert [g.name for g in age.groups][:3] == [
        "age_years under 50",
        "age_years 50 to 70",
        "age_years 70 and over",
    ]
    assert [g.name for g in ward.groups] == ["ward = x", "ward = y", "ward = z"]
    assert age.groups[-1].suppressed
    x, site = np.asarray(found.consortium.dataset.examples.x), np.repeat(HOSPITALS, ROWS)
    values = []
    for seed in found.seeds:
        test, rows = found.test("federated", seed, None), found.rows(seed, None)
        here = x[rows, 1] == 1
        values.append(pairs_within(test.y[here], test.p[here], site[rows][here]))
    assert sex.groups[1].performance["federated"].estimate == pytest.approx(np.mean(values))
    gap = sex.gap["federated"]
    assert gap is not None
    assert gap.estimate is not None
    assert gap.estimate >= 0
    assert set(sex.groups[0].differences) == {"federated-local"}


def test_the_truth_is_the_mean_distance_to_it() -> None:
    found = outcomes(seeds=1)
    told = views.truth(found)
    assert told is not None
    rows = found.rows(0, "a")
    p = found.results["federated", 0, None].predictions[0].astype(float)
    distance = np.abs(p - found.consortium.dataset.truth["risk_true"][rows]).mean()
    assert told.arms["federated"].hospitals["a"].mean_absolute == pytest.approx(distance)


def test_sending_costs_what_the_weights_weigh() -> None:
    found = outcomes()
    auroc = measures.measures("binary", 0.9, "auroc")[0]
    slow = dataclasses.replace(found.arms[0].settings, clock=Clock(uplink="1kbit"))
    found = dataclasses.replace(found, arms=(dataclasses.replace(found.arms[0], settings=slow), *found.arms[1:]))
    cost = price.communication(found, Study(target=0.4), auroc, {})
    assert cost is not None
    assert cost.bytes_per_hospital == 2 * 40 * 2
    assert cost.bytes_all == 3 * 2 * 40 * 2
    assert cost.clock_seconds == 60
    assert cost.seconds_all == pytest.approx(2 * 40 * 8 / 1000)
    assert cost.target is not None
    assert cost.target.arms["federated"].rounds == 0
    assert cost.pooled_data_bytes == 320 * (3 * 8 + 8)


@pytest.mark.parametrize("task", ["regression", "count"])
def test_amounts_and_counts_are_scored_as_such(task: Task) -> None:
    found = outcomes(task)
    scored = measures.measures(task, 0.9, "loss")
    told = {m.name: performance(found, "federated", "a", m, RULES) for m in scored}
    assert all(one.estimate is not None for one in told.values())
    tests = found.tests("federated", "a")
    if task == "regression":
        assert told["loss"].estimate == pytest.approx(np.mean([mean_squared_error(t.y, t.p) for t in tests]), rel=1e-5)
        lines = [np.polyfit(t.p, t.y, 1)[0] for t in tests]
        assert told["slope"].estimate == pytest.approx(np.mean(lines), rel=1e-5)
    else:
        assert told["ratio"].estimate == pytest.approx(np.mean([t.y.sum() / t.p.sum() for t in tests]), rel=1e-5)


REPRODUCE = Reproduce("", "", (0,), {}, {}, None)


@pytest.mark.parametrize("task", ["binary", "regression", "count"])
def test_everything_together_is_strict_json_of_the_types(task: Task) -> None:
    found, name = outcomes(task), "auroc" if task == "binary" else "loss"
    settings = dataclasses.replace(found.arms[0].settings, study=Study(seeds=3, draws=100))
    told = report.findings(settings, found, name, reproduce=REPRODUCE)
    assert metric(task, told.metric.name).label == told.metric.label
    tree = json.loads(json.dumps(plain.checked(told), allow_nan=False))
    assert plain.from_plain(Findings, tree) == told
    assert isinstance(found.test("local", 0, None), ArmTest)


def test_no_quantile_of_risk_has_a_few_patients_beyond_it() -> None:
    rng = np.random.default_rng(0)
    risk, patient = rng.random(300), np.arange(300)
    assert None not in risks_by_outcome.without_few(risk, patient)
    few = risks_by_outcome.without_few(risk[:40], patient[:40])
    assert (few[0], few[-1]) == (None, None)  # 2 patients lie beyond either
    assert None not in few[1:-1]
    seen_often = risks_by_outcome.without_few(np.tile(risk[:40], 9), np.tile(patient[:40], 9))
    assert (seen_often[0], seen_often[-1]) == (None, None)  # rows of the same patients are no more patients
    assert risks_by_outcome.without_few(np.full(300, 0.2), patient) == (None,) * 5
    assert risks_by_outcome.without_few(risk[:8], patient[:8]) == (None,) * 5


def test_risks_by_outcome_leave_out_who_is_hidden() -> None:
    found = outcomes()
    told = risks_by_outcome.risk_spread(found, RULES)
    own = told.arms["federated"]
    assert set(own.hospitals) == {"a", "b"}
    rows = [
        (found.consortium.dataset.examples.y[found.rows(s, "a")], found.test("federated", s, "a").p) for s in range(3)
    ]
    y, p = (np.concatenate(part) for part in zip(*rows, strict=True))
    for label, side in ((1, own.hospitals["a"].event), (0, own.hospitals["a"].no_event)):
        assert side[2] == pytest.approx(np.median(p[y == label]), abs=0.01)
    assert own.all is not None
    assert "without tiny" in told.about
