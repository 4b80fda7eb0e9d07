"""Faults put into tables are named, clean tables are left in peace, and what is suggested mends what was found."""

import dataclasses
import io
import pathlib

import numpy as np
import page_sample
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from experiments import faulty_tables
from fedmed.data import clients, faults, registries
from fedmed.data.examples import Array, Dataset, Examples, Feature
from fedmed.data.faults.conversions import CONVERSIONS, words_of
from fedmed.data.faults.leaks import auroc
from fedmed.data.harmonising import harmonised
from fedmed.data.table import table
from fedmed.reporting import fault_lines
from fedmed.reporting.page import suspected
from fedmed.reporting.page.blocks import Table
from fedmed.reporting.page.view import View
from fedmed.settings import config


def of(columns: dict[str, Array], site: Array, y: Array | None = None, levels: tuple[str, ...] = ()) -> Dataset:
    """Returns a table; with `levels` all its columns are categories of them."""
    x = np.stack([np.asarray(values, np.float64) for values in columns.values()], axis=1)
    labels = np.random.default_rng(1).integers(2, size=len(site)) if y is None else y
    features = tuple(Feature(name, levels=levels) for name in columns)
    return Dataset("table", Examples(x, labels, site), "binary", 2, features=features)


def three(values: dict[str, Array]) -> tuple[Array, Array]:
    return np.concatenate(list(values.values())), np.repeat(list(values), [len(own) for own in values.values()])


def test_nearly_all_of_forty_faults_are_named() -> None:
    put = faulty_tables.faulty(100)
    assert len(put) == 40
    assert sum(map(faulty_tables.is_named, put)) >= 38


def test_clean_tables_raise_next_to_no_alarm() -> None:
    alarms = {name: faults.found(make()) for name, make in faulty_tables.CLEAN.items()}
    assert len(alarms) >= 10
    assert sum(map(len, alarms.values())) <= 2


@pytest.mark.parametrize("name", ["heart_disease", "diabetes_ehr"])
def test_what_is_suggested_mends_all_of_a_shipped_data_set(name: str) -> None:
    data = registries.datasets.make(name, {}, "data")
    found = faults.found(data)
    assert {(one.kind, one.column) for one in found} == {
        "heart_disease": {("code", "chol"), ("code", "trestbps")},
        "diabetes_ehr": {
            ("unit", "hdl_mg_dl"),
            ("unit", "triglycerides_mg_dl"),
            ("unit", "fasting_glucose_mg_dl"),
            ("code", "parental_history"),
        },
    }[name]
    assert faults.found(harmonised(data, [change for one in found for change in one.changes])) == ()


def test_the_zeros_of_heart_disease_are_told_without_a_count_of_few() -> None:
    told = {one.column: one.text for one in faults.found(registries.datasets.make("heart_disease", {}, "data"))}
    assert told["chol"] == (
        "chol is 0 in every row at switzerland and in 25 % of rows at va_long_beach: a code for missing?"
    )
    assert told["trestbps"] == "trestbps is 0 in a few rows at va_long_beach: a code for missing?"


def test_the_lines_that_mend_can_be_pasted(tmp_path: pathlib.Path) -> None:
    found = faults.found(registries.datasets.make("diabetes_ehr", {}, "data"))
    head = "rounds = 1\n[data]\nname = 'diabetes_ehr'\n"
    tail = "\n[model]\nname = 'mlp'\n[client]\nlearning_rate = 0.1\n"
    (tmp_path / "own.toml").write_text(head + "\n".join(faults.mending_lines(found)) + tail)
    settings = config.load(tmp_path / "own.toml")
    assert settings.data.harmonise == tuple(change for one in found for change in one.changes)
    assert faults.found(clients.load(settings)) == ()
    (tmp_path / "plain.toml").write_text(head + tail)
    one = config.load(tmp_path / "plain.toml", [found[0].mend.replace(" = ", "=", 1)])
    assert one.data.harmonise == found[0].changes


def test_two_units_in_one_site_are_parted_by_a_limit() -> None:
    rng = np.random.default_rng(0)
    own = {name: np.exp(rng.normal(5.3, 0.2, 300)) for name in "abc"}
    own["b"][:90] /= 38.67
    values, site = three(own)
    (found,) = faults.found(of({"chol": values}, site))
    assert (found.kind, found.sites, found.changes[0].times) == ("unit", ("b",), 38.67)
    assert 10 < (found.changes[0].below or 0) < 80
    mended = harmonised(of({"chol": values}, site), found.changes)
    assert np.asarray(mended.examples.x).min() > 50


def test_other_patients_are_no_other_unit() -> None:
    """Children weigh a third of adults, but by a spread of their own."""
    rng = np.random.default_rng(0)
    adults = {name: np.exp(rng.normal(4.3, 0.2, 300)) for name in "abc"}
    children, site = three({**adults, "d": np.exp(rng.normal(3.1, 0.55, 300))})
    assert faults.found(of({"weight": children}, site)) == ()
    stones, site = three({**adults, "d": np.exp(rng.normal(4.3, 0.2, 300)) / 2.2046})
    (found,) = faults.found(of({"weight": stones}, site))
    assert found.changes[0].times == 2.2046


def test_degrees_are_told_by_their_offset_without_a_name() -> None:
    rng = np.random.default_rng(0)
    values, site = three({name: rng.normal(37, 0.6, 200) for name in "abc"})
    values = np.where(site == "c", values * 1.8 + 32, values)
    (found,) = faults.found(of({"t0": values}, site))
    assert (found.changes[0].times, found.changes[0].plus) == pytest.approx((1 / 1.8, -32 / 1.8), rel=1e-3)


@pytest.mark.parametrize(
    ("words", "recode"),
    [
        ({"a": ("male", "female"), "b": ("male", "female"), "c": ("m", "f")}, {"m": "male", "f": "female"}),
        ({"a": ("male", "female"), "b": ("male", "female"), "c": ("1", "2")}, {"1": "male", "2": "female"}),
        ({"a": ("yes", "no"), "b": ("yes", "no"), "c": ("Y", "N")}, {"Y": "yes", "N": "no"}),
        ({"a": ("Male", "female"), "b": ("male", "female "), "c": ("male", "female")}, {"Male": "male"}),
        ({"a": ("positive", "other"), "b": ("positive", "other"), "c": ("pos", "oth")}, {"pos": "positive"}),
    ],
    ids=["letters", "numbers", "yes", "spelling", "beginnings"],
)
def test_levels_of_the_same_meaning_are_named(words: dict[str, tuple[str, str]], recode: dict[str, str]) -> None:
    text, site = three({name: np.array([*pair] * 30) for name, pair in words.items()})
    levels, codes = np.unique(text, return_inverse=True)
    found = faults.found(of({"sex": codes}, site, levels=tuple(levels)))
    assert {one.kind for one in found} == {"level"}
    assert any(recode.items() <= dict(one.changes[0].recode).items() for one in found)
    data = of({"sex": codes}, site, levels=tuple(levels))
    mended = harmonised(data, [change for one in found for change in one.changes])
    assert len(mended.features[0].levels) == 2
    assert faults.found(mended) == ()


@pytest.mark.parametrize("pair", [("<50", ">50"), ("A+", "A-"), ("1.5", "15"), ("0-4", "04")])
def test_levels_that_differ_by_a_sign_are_two(pair: tuple[str, str]) -> None:
    text, site = three(dict.fromkeys("abc", np.array([*pair] * 30)))
    levels, codes = np.unique(text, return_inverse=True)
    assert faults.found(of({"x": codes}, site, levels=tuple(levels))) == ()


def test_one_and_two_for_nought_and_one_are_named() -> None:
    values, site = three({"a": np.arange(40) % 2, "b": np.arange(40) // 2 % 2, "c": np.arange(40) % 3 % 2 + 1})
    (found,) = faults.found(of({"sex": values}, site))
    assert (found.kind, found.sites, dict(found.changes[0].recode)) == ("level", ("c",), {"1": "0", "2": "1"})


def test_a_level_of_few_rows_is_not_named() -> None:
    text, site = three({"a": np.array(["yes", "no"] * 30), "b": np.array(["yes", "no"] * 30 + ["YES"] * 3)})
    levels, codes = np.unique(text, return_inverse=True)
    found = faults.found(of({"x": codes}, site, levels=tuple(levels)))
    assert "YES" not in " ".join(one.text + one.mend for one in found)


@pytest.mark.parametrize("missing", [".", "unknown", "-9"])
def test_a_level_that_means_missing_is_named(missing: str) -> None:
    text, site = three({"a": np.array(["0", "1"] * 30), "b": np.array(["0", "1", missing] * 20)})
    levels, codes = np.unique(text, return_inverse=True)
    (found,) = faults.found(of({"family": codes}, site, levels=tuple(levels)))
    assert (found.kind, found.changes[0].sites, found.changes[0].missing) == ("code", ("b",), (missing,))


def test_a_word_for_missing_among_numbers_is_named_when_the_table_is_read(tmp_path: pathlib.Path) -> None:
    frame = pd.DataFrame({"died": [0, 1] * 20, "hospital": ["A", "B"] * 20, "crp": ["3.5", "4", "12", "."] * 10})
    frame.to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(ValueError, match=r"30 numbers and 10 words: name the words .* in `missing`, as in '\.'"):
        table(path=str(tmp_path / "own.csv"), label="died", site="hospital")


def test_a_column_present_with_one_outcome_only_is_named_but_not_one_of_one_site() -> None:
    y = np.arange(400) * 7919 // 3 % 2
    site = np.repeat(list("abcd"), 100)
    there = np.where(y == 1, np.arange(400.0) % 53 + 0.5, np.nan)
    (found,) = faults.found(of({"icu_days": there}, site, y))
    assert (found.kind, found.text) == (
        "outcome", "icu_days is recorded only with the outcome: a copy of it, or recorded after it?"
    )  # fmt: skip
    assert found.mend == 'data.args.ignore = ["icu_days"]'
    all_sick = np.where(site == "d", 1, y)
    only_there = np.where(site == "d", np.arange(400.0) % 53 + 0.5, np.nan)
    assert faults.found(of({"icu_days": only_there}, site, all_sick)) == ()


def test_auroc_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    values, y = np.round(rng.normal(size=200), 1), rng.integers(2, size=200)
    assert auroc(values, y) == pytest.approx(roc_auc_score(y, values))


def test_conversions_go_there_and_back() -> None:
    for one in CONVERSIONS:
        (times, plus), (back, off) = one.way(up=True), one.way(up=False)
        assert (7.0 * times + plus) * back + off == pytest.approx(7.0)
    assert words_of("fastingGlucose_mg.dL") == ["fasting", "glucose", "mg", "d", "l"]


def test_units_are_a_warning_unless_sites_are_scaled_apart() -> None:
    found = faults.found(registries.datasets.make("diabetes_ehr", {}, "data"))
    (warned,) = faults.warnings(found, "federated")
    assert "these figures are worthless" in warned
    assert warned.endswith(found[2].mend.partition("[")[2])
    assert faults.warnings(found, "by_site") == ()
    mixed = faults.found(registries.datasets.make("diabetes_ehr", {"severity": 0.5}, "data"))
    assert faults.warnings(mixed, "by_site") != ()


def test_arrays_have_no_columns_to_be_at_fault() -> None:
    data = of({"a": np.arange(30)}, np.repeat("a", 30))
    assert faults.found(dataclasses.replace(data, features=())) == ()


def test_the_console_tells_a_fault_and_its_line_and_quiet_nothing() -> None:
    found = faults.found(registries.datasets.make("heart_disease", {}, "data"))
    stream = io.StringIO()
    fault_lines.tell(found, stream=stream)
    assert stream.getvalue().splitlines()[:2] == [
        "data, code: trestbps is 0 in a few rows at va_long_beach: a code for missing?",
        f"    To mend it: {found[0].mend}",
    ]
    quiet = io.StringIO()
    fault_lines.tell(found, quiet=True, stream=quiet)
    assert quiet.getvalue() == ""


def test_the_page_lists_faults_and_has_no_section_without_any() -> None:
    fault = {"kind": "unit", "column": "chol", "hospitals": ["north"], "text": "chol is odd", "mend": "data.x = 1"}
    study = page_sample.study()
    assert suspected.doubts(View(study)) is None
    section = suspected.doubts(View({**study, "data": {**study["data"], "faults": [fault]}}))
    assert section is not None
    table_of = section.blocks[1]
    assert isinstance(table_of, Table)
    assert list(table_of.rows[0]) == ["chol", "unit", "chol is odd", "data.x = 1"]


def test_a_huge_value_of_few_rows_is_told_without_the_value() -> None:
    rng = np.random.default_rng(0)
    site, values = np.repeat(["a", "b", "c"], 50), rng.normal(5, 1, 150)
    values[7] = 98765432109876.0
    (told,) = faults.found(of({"chol": values}, site))
    assert (told.kind, told.column, told.sites, told.changes) == ("code", "chol", ("a",), ())
    assert told.text == "chol is beyond 1e+10 in a few rows at a: a code for missing, or a typing error?"
    values[:6] = values[7]  # a code of the house, rather
    assert "9.87654e+13" in faults.found(of({"chol": values}, site))[0].text
