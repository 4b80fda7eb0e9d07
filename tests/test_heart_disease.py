"""The four hospitals are those of the published benchmark, row for row."""

import numpy as np
import pytest

from fedmed.data import registries
from fedmed.data.datasheet import datasheet, datasheets
from fedmed.data.examples import Array, Dataset
from fedmed.data.heart_disease import heart_disease
from fedmed.system import errors

ROWS = {"cleveland": 303, "hungary": 261, "switzerland": 46, "va_long_beach": 130}


@pytest.fixture(scope="module")
def heart() -> Dataset:
    return heart_disease()


def table(data: Dataset) -> Array:
    assert isinstance(data.examples.x, np.ndarray)
    return data.examples.x


def test_hospitals_have_the_published_sizes_and_shares_of_disease(heart: Dataset) -> None:
    site, y = heart.examples.site, heart.examples.y
    assert site is not None
    assert {name: int((site == name).sum()) for name in ROWS} == ROWS
    shares = [y[site == name].mean() for name in ROWS]
    np.testing.assert_allclose(shares, [0.46, 0.38, 0.98, 0.78], atol=0.005)
    assert (y[site == "switzerland"] == 0).sum() == 1


def test_the_test_fraction_gives_the_published_split(heart: Dataset) -> None:
    train = [int((1 - heart.site_test_fraction[name]) * rows) for name, rows in ROWS.items()]
    assert train == [199, 172, 30, 85]
    assert [rows - kept for rows, kept in zip(ROWS.values(), train, strict=True)] == [104, 89, 16, 45]


def test_the_first_patient_worked_by_hand(heart: Dataset) -> None:
    # 63, Male, typical angina, 145, 233, TRUE, lv hypertrophy, 150, FALSE, 2.3, num 0
    np.testing.assert_array_equal(table(heart)[0], [63, 1, 145, 233, 1, 150, 0, 2.3, 0, 0, 0, 0, 1])
    assert heart.examples.y[0] == 0
    assert table(heart).shape == (740, 13)
    assert len(heart.features) == 13


def test_nothing_is_missing_and_each_patient_is_one_row(heart: Dataset) -> None:
    assert not np.isnan(table(heart)).any()
    assert heart.examples.group is not None
    assert len(np.unique(heart.examples.group)) == 740


def test_the_mistagged_patient_is_hungarian(heart: Dataset) -> None:
    assert heart.examples.site is not None
    assert heart.examples.site[heart.examples.group == 304] == ["hungary"]


def test_masking_turns_impossible_zeros_into_missing_and_keeps_the_rows(heart: Dataset) -> None:
    masked = registries.datasets.make("heart_disease", {"mask_impossible": True}, "data")
    gaps = np.isnan(table(masked))
    by_site = {name: int(gaps[masked.examples.site == name].sum()) for name in ROWS}
    assert by_site == {"cleveland": 0, "hungary": 0, "switzerland": 46, "va_long_beach": 33 + 1}
    np.testing.assert_array_equal(np.where(gaps, 0, table(masked)), table(heart))


def test_every_built_in_data_set_has_a_datasheet_that_names_its_columns_and_sites() -> None:
    names = registries.datasets.names()
    built_in = [name for name in names if registries.datasets.get(name).__module__.startswith("fedmed.data.")]
    assert datasheets() == built_in
    for name in ("diabetes_ehr", "heart_disease"):
        data, text = registries.datasets.make(name, {}, "data"), datasheet(name)
        assert text.startswith(f"# {name}: ")
        missing = [f.name for f in data.features if f.name not in text]
        assert missing == []
        assert all(site in text for site in np.unique(data.examples.site))


def test_an_unknown_datasheet_names_the_nearest() -> None:
    with pytest.raises(errors.DataError, match="did you mean 'mnist'"):
        datasheet("mnits")
