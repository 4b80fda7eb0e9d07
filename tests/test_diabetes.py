"""The synthetic hospitals keep the laws they promise; the tolerances are those of the specification."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fedmed.data import diabetes_patients, diabetes_sites, registries
from fedmed.data.diabetes import Cohort, diabetes_ehr, fresh
from fedmed.data.diabetes_patients import BETAS, INTERCEPT, Patients
from fedmed.data.diabetes_records import FEATURES
from fedmed.data.diabetes_sites import Dials
from fedmed.data.examples import Array, Dataset
from fedmed.system import errors

COLUMN = {feature.name: place for place, feature in enumerate(FEATURES)}
MANY = 200_000


@pytest.fixture(scope="module")
def populations() -> list[Cohort]:
    """200,000 patients of each named hospital."""
    return [fresh(hospital, MANY) for hospital in range(3)]


def column(cohort: Cohort, name: str) -> Array:
    return cohort.x[:, COLUMN[name]]


def table(data: Dataset) -> Array:
    assert isinstance(data.examples.x, np.ndarray)
    return data.examples.x


def one_patient(**changed: float) -> Patients:
    healthy = {"age": 40.0, "male": 0.0, "parental": 0.0, "sbp": 120.0, "treated": 0.0, "hdl": 60.0}
    healthy |= {"triglycerides": 100.0, "glucose": 90.0, "bmi": 22.0, "glucose_z": 0.0}
    return Patients(**{name: np.array([value]) for name, value in (healthy | changed).items()})


def fitted(design: Array, y: Array) -> tuple[Array, Array]:
    """Returns the maximum-likelihood coefficients of a logistic regression and their standard errors."""
    beta = np.zeros(design.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-design @ beta))
        information = design.T @ (design * (p * (1 - p))[:, np.newaxis])
        beta += np.linalg.solve(information, design.T @ (y - p))
    return beta, np.sqrt(np.diag(np.linalg.inv(information)))


# The risk


def test_a_logistic_fit_recovers_every_published_coefficient(populations: list[Cohort]) -> None:
    urban = populations[0]
    design = np.column_stack([np.ones(MANY), diabetes_patients.terms(urban.people)])
    beta, error = fitted(design, urban.y_true)
    truth = np.array([INTERCEPT, *BETAS.values()])
    assert np.all(np.abs(beta - truth) < 3 * error), np.round((beta - truth) / error, 2)


def test_risk_worked_by_hand() -> None:
    healthy = diabetes_patients.risk(diabetes_sites.URBAN_TEACHING, one_patient())
    np.testing.assert_allclose(healthy, 1 / (1 + np.exp(5.517)))
    ill = one_patient(age=70, male=1, parental=1, sbp=131, hdl=39, triglycerides=150, glucose=100, bmi=30)
    at_urban = -5.517 - 0.081 - 0.010 + 0.565 + 0.498 + 0.944 + 0.575 + 1.980 + 0.920
    at_safety_net = at_urban + 0.45 + 0.30
    at_rural = at_urban + 0.25 - 0.35 - 0.40
    for law, log_odds in zip(diabetes_sites.NAMED, (at_urban, at_safety_net, at_rural), strict=True):
        np.testing.assert_allclose(diabetes_patients.risk(law, ill), 1 / (1 + np.exp(-log_odds)))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"age": 49.9}, set()),
        ({"age": 50}, {"age 50-64"}),
        ({"age": 64.9}, {"age 50-64"}),
        ({"age": 65}, {"age >= 65"}),
        ({"sbp": 130}, set()),
        ({"sbp": 130.1}, {"BP > 130/85 or treated"}),
        ({"treated": 1}, {"BP > 130/85 or treated"}),
        ({"hdl": 45}, {"low HDL"}),
        ({"hdl": 45, "male": 1}, {"male"}),
        ({"hdl": 39.9, "male": 1}, {"male", "low HDL"}),
        ({"triglycerides": 149.9}, set()),
        ({"glucose": 99.9}, set()),
        ({"glucose": 125.9}, {"glucose 100-126"}),
        ({"bmi": 29.95}, {"BMI 25-29.9"}),
        ({"bmi": 30}, {"BMI >= 30"}),
    ],
)
def test_terms_change_at_the_published_limits(changed: dict[str, float], expected: set[str]) -> None:
    row = diabetes_patients.terms(one_patient(**changed))[0]
    assert {name for name, value in zip(BETAS, row, strict=True) if value} == expected


def test_the_oracle_discriminates_as_published_and_prevalence_is_as_specified(populations: list[Cohort]) -> None:
    aurocs = [float(roc_auc_score(c.y_true, c.risk_true)) for c in populations]
    np.testing.assert_allclose(aurocs, [0.853, 0.836, 0.805], atol=0.01)
    assert 0.84 < aurocs[0] < 0.86
    np.testing.assert_allclose([c.y_true.mean() for c in populations], [0.045, 0.142, 0.050], atol=0.005)
    for cohort in populations:
        assert cohort.y_true.mean() == pytest.approx(cohort.risk_true.mean(), abs=0.003)


# The patients


def test_margins_agree_with_the_table(populations: list[Cohort]) -> None:
    for law, cohort in zip(diabetes_sites.NAMED, populations, strict=True):
        table, people = law.covariate, cohort.people
        margins = {
            "age": (people.age, table.age_mean, table.age_sd),
            "bmi": (people.bmi, table.bmi_mean, table.bmi_sd),
            "sbp": (people.sbp, table.sbp_mean, table.sbp_sd),
            "hdl": (people.hdl, table.hdl_mean, table.hdl_sd),
            "ln_tg": (np.log(people.triglycerides), table.ln_tg_mean, table.ln_tg_sd),
            "glucose": (people.glucose, table.glucose_mean, table.glucose_sd),
        }
        for name, (values, mean, sd) in margins.items():
            assert values.mean() == pytest.approx(mean, rel=0.02), (law.name, name)
            assert values.std() == pytest.approx(sd, rel=0.05), (law.name, name)
        assert people.male.mean() == pytest.approx(table.male, abs=0.01)
        assert people.parental.mean() == pytest.approx(table.parental, abs=0.01)
        assert people.hdl[people.male == 0].mean() - people.hdl[people.male == 1].mean() == pytest.approx(10, abs=0.3)


def test_values_are_clipped_and_nobody_has_diabetes_yet(populations: list[Cohort]) -> None:
    for people in (cohort.people for cohort in populations):
        for values, low, high in ((people.age, 18, 90), (people.hdl, 15, 120), (people.glucose, 60, 125.9)):
            assert low <= values.min()
            assert values.max() <= high


def test_margins_have_the_correlation_of_the_copula(populations: list[Cohort]) -> None:
    people = populations[0].people
    centred_hdl = people.hdl + 10 * people.male  # without the sexes' difference, which is not the copula's
    margins = [people.age, np.log(people.bmi), people.sbp, centred_hdl, np.log(people.triglycerides), people.glucose]
    np.testing.assert_allclose(np.corrcoef(margins), diabetes_patients.CORRELATION, atol=0.015)
    assert np.linalg.eigvalsh(diabetes_patients.CORRELATION)[0] == pytest.approx(0.48, abs=0.005)


# The records


def test_the_urban_record_is_true_except_for_gaps_and_labels(populations: list[Cohort]) -> None:
    urban = populations[0]
    np.testing.assert_array_equal(column(urban, "fasting_glucose_mg_dl"), urban.people.glucose)
    np.testing.assert_array_equal(column(urban, "parental_history"), urban.people.parental)
    np.testing.assert_array_equal(column(urban, "systolic_bp_mmhg"), urban.people.sbp)
    lipids = np.isnan(column(urban, "hdl_mg_dl"))
    np.testing.assert_array_equal(lipids, np.isnan(column(urban, "triglycerides_mg_dl")))
    assert lipids.mean() == pytest.approx(0.05, abs=0.003)


def test_the_safety_net_records_mmol_rounds_pressure_and_forgets_parents(populations: list[Cohort]) -> None:
    net = populations[1]
    np.testing.assert_allclose(column(net, "fasting_glucose_mg_dl") * 18.016, net.people.glucose)
    known = ~np.isnan(column(net, "hdl_mg_dl"))
    np.testing.assert_allclose(column(net, "hdl_mg_dl")[known] * 38.67, net.people.hdl[known])
    np.testing.assert_allclose(column(net, "triglycerides_mg_dl")[known] * 88.57, net.people.triglycerides[known])
    young = net.people.age < 45
    assert (~known)[young].mean() == pytest.approx(0.25, abs=0.01)
    assert known[~young].all()
    assert np.all(column(net, "systolic_bp_mmhg") % 10 == 0)
    assert np.abs(column(net, "systolic_bp_mmhg") - net.people.sbp).max() <= 5
    parental = net.people.parental == 1
    assert (column(net, "parental_history")[parental] == 0).mean() == pytest.approx(0.20, abs=0.01)
    assert np.all(column(net, "parental_history")[~parental] == 0)


def test_the_rural_glucometer_reads_high_and_unknown_is_minus_nine(populations: list[Cohort]) -> None:
    rural = populations[2]
    bias = column(rural, "fasting_glucose_mg_dl") - rural.people.glucose
    assert bias.mean() == pytest.approx(4, abs=0.05)
    assert bias.std() == pytest.approx(5, abs=0.05)
    assert np.isnan(column(rural, "hdl_mg_dl")).mean() == pytest.approx(0.10, abs=0.005)
    unknown = column(rural, "parental_history") == FEATURES[COLUMN["parental_history"]].levels.index("-9")
    assert unknown.mean() == pytest.approx(0.20, abs=0.005)
    np.testing.assert_array_equal(column(rural, "parental_history")[~unknown], rural.people.parental[~unknown])


def test_hba1c_is_measured_in_18_percent_and_more_often_when_glucose_is_high(populations: list[Cohort]) -> None:
    for cohort in populations:
        measured = ~np.isnan(column(cohort, "hba1c_percent"))
        assert measured.mean() == pytest.approx(0.18, abs=0.005)
        assert cohort.people.glucose[measured].mean() > cohort.people.glucose[~measured].mean() + 5
        noise = column(cohort, "hba1c_percent")[measured] - (cohort.people.glucose[measured] + 46.7) / 28.7
        assert noise.mean() == pytest.approx(0, abs=0.01)
        assert noise.std() == pytest.approx(0.25, abs=0.01)


def test_labels_have_each_hospitals_sensitivity(populations: list[Cohort]) -> None:
    for cohort, sensitivity in zip(populations, (0.95, 0.75, 0.85), strict=True):
        assert cohort.y[cohort.y_true == 1].mean() == pytest.approx(sensitivity, abs=0.015)
        assert cohort.y[cohort.y_true == 0].mean() == pytest.approx(0.005, abs=0.001)


# The dials


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_hospitals() -> None:
    few, many = diabetes_ehr(hospitals=3), diabetes_ehr(hospitals=8)
    rows = np.arange(len(few.examples))
    assert dataclasses.replace(many, examples=many.examples.take(rows)).checksums() == few.checksums()
    np.testing.assert_array_equal(many.truth["risk_true"][rows], few.truth["risk_true"])
    assert diabetes_ehr(hospitals=3).checksums() == few.checksums()
    assert diabetes_ehr(hospitals=3, seed=1).checksums()["train.x"] != few.checksums()["train.x"]


def test_another_process_draws_the_same_bytes() -> None:
    program = (
        "from fedmed.data.diabetes import diabetes_ehr; print(diabetes_ehr(hospitals=4, patients=0.1).checksums())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(diabetes_ehr(hospitals=4, patients=0.1).checksums())


def test_the_default_data_set() -> None:
    data = registries.datasets.make("diabetes_ehr", {}, "data")
    examples = data.examples
    assert table(data).shape == (9400, 10)
    assert table(data).dtype == np.float64
    assert examples.site is not None
    assert examples.group is not None
    names, counts = np.unique(examples.site, return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"urban_teaching": 6000, "safety_net": 2500, "small_rural": 900}
    assert len(np.unique(examples.group)) == 9400
    assert set(data.truth) == {"risk_true", "y_true"}
    assert all(len(hidden) == 9400 for hidden in data.truth.values())
    assert data.test is None


def test_without_severity_every_hospital_is_the_urban_one() -> None:
    dials = Dials(severity=0, quantity=False)
    for hospital in range(6):
        law = diabetes_sites.profile(hospital, dials=dials)
        assert dataclasses.replace(law, name="urban_teaching") == diabetes_sites.URBAN_TEACHING


@pytest.mark.parametrize("kind", diabetes_sites.SHIFTS)
def test_a_switch_removes_its_kind_of_shift_and_no_other(kind: str) -> None:
    for hospital in range(5):
        law = diabetes_sites.profile(hospital)
        switched = diabetes_sites.profile(hospital, dials=Dials(**{kind: False}))
        assert switched == dataclasses.replace(law, **{kind: getattr(diabetes_sites.URBAN_TEACHING, kind)})


def test_half_severity_is_half_way() -> None:
    half = diabetes_sites.profile(1, dials=Dials(severity=0.5))
    assert half.covariate.age_mean == pytest.approx((52 + 44) / 2)
    assert half.prior.intercept == pytest.approx(0.45 / 2)
    assert half.patients == 2500
    mmol = column(fresh(1, 20_000, dials=Dials(severity=0.5)), "fasting_glucose_mg_dl") < 20
    assert mmol.mean() == pytest.approx(0.5, abs=0.02)


def test_a_perfect_record_is_the_truth() -> None:
    perfect = Dials(units=False, bias=False, missing=False, coding=False, label_noise=False)
    for hospital in range(4):
        cohort = fresh(hospital, 500, dials=perfect)
        people = cohort.people
        true = [people.age, people.male, people.parental, people.sbp, people.treated, people.hdl]
        true += [people.triglycerides, people.glucose, people.bmi]
        np.testing.assert_array_equal(cohort.x[:, :-1], np.column_stack(true))
        assert not np.isnan(column(cohort, "hba1c_percent")).any()
        np.testing.assert_array_equal(cohort.y, cohort.y_true)


def test_drawn_hospitals_lie_between_the_named_ones() -> None:
    laws = [diabetes_sites.profile(hospital) for hospital in range(3, 103)]
    assert len({law.patients for law in laws}) == 100
    assert all(900 <= law.patients <= 6000 for law in laws)
    ages = [law.covariate.age_mean for law in laws]
    assert 44 <= min(ages) < 50
    assert 58 < max(ages) <= 66
    assert {law.measurement.mmol for law in laws} == {0.0, 1.0}
    assert laws[0].name == "hospital_004"


def test_fresh_patients_are_new_and_of_the_same_law() -> None:
    trained_on = table(diabetes_ehr(hospitals=1))
    first, again, other = fresh(0, 6000), fresh(0, 6000), fresh(0, 6000, replicate=1)
    np.testing.assert_array_equal(first.x, again.x)
    bmi = COLUMN["bmi_kg_m2"]  # continuous and never clipped: no two patients share one
    assert len(np.unique(np.concatenate([trained_on[:, bmi], first.x[:, bmi], other.x[:, bmi]]))) == 18_000
    np.testing.assert_allclose(np.nanmean(first.x, axis=0), np.nanmean(trained_on, axis=0), rtol=0.1, atol=0.02)


@pytest.mark.parametrize(
    "args",
    [{"severity": 1.5}, {"severity": -0.1}, {"hospitals": 0}, {"patients": 0}, {"patients": 1e-6}, {"seed": -1}],
)
def test_a_number_out_of_range_is_an_error_of_one_line(args: dict[str, float]) -> None:
    with pytest.raises(errors.ConfigError, match=rf"^data\.args\.{next(iter(args))}: [^\n]+$"):
        registries.datasets.make("diabetes_ehr", args, "data")


# What federation can win


def test_the_small_hospital_gains_from_everybodys_data_and_the_large_one_does_not() -> None:
    targets = [fresh(hospital, 20_000, replicate=100) for hospital in range(3)]
    gains = []
    for replicate in range(6):
        cohorts = [fresh(k, n, replicate=replicate) for k, n in enumerate((4000, 1700, 600))]
        pooled = auroc_at(targets, *cohorts)
        own = [auroc_at([target], cohort)[0] for target, cohort in zip(targets, cohorts, strict=True)]
        gains.append(np.subtract(pooled, own))
    urban, _, rural = np.mean(gains, axis=0)
    assert rural > 0.01
    assert abs(urban) < 0.005


def auroc_at(targets: list[Cohort], *cohorts: Cohort) -> list[float]:
    """Fits true values and recorded labels of the cohorts together; returns the AUROC at each target."""
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(np.concatenate([true_values(c) for c in cohorts]), np.concatenate([c.y for c in cohorts]))
    return [float(roc_auc_score(t.y_true, model.predict_proba(true_values(t))[:, 1])) for t in targets]


def true_values(cohort: Cohort) -> Array:
    people = cohort.people
    columns = [people.age, people.male, people.parental, people.sbp, people.treated, people.hdl]
    return np.column_stack([*columns, np.log(people.triglycerides), people.glucose, people.bmi])
