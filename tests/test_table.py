"""The user's own table: what a column becomes, and one line for each way a file can be wrong."""

import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data import columns, faults, labels
from fedmed.data.examples import Dataset
from fedmed.data.table import table
from fedmed.system import errors

HEADER = "hospital,patient,age,sex,smoker,died\n"
ROWS = HEADER + "01,a,60,F,True,no\n01,b,,M,False,yes\n2,c,50.5,,True,no\n2,c,51, F ,,yes\n"


def written(folder: pathlib.Path, text: str, name: str = "own.csv") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def matrix(data: Dataset) -> np.ndarray:
    assert isinstance(data.examples.x, np.ndarray)
    return data.examples.x


def refused(path: str, **args: Any) -> str:
    with pytest.raises(errors.UserError) as caught:
        table(path=path, **({"label": "died", "site": "hospital", "group": "patient"} | args))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_numbers_categories_and_missing_values_are_told_apart(tmp_path: pathlib.Path) -> None:
    data = table(path=written(tmp_path, ROWS), label="died", site="hospital", group="patient")
    assert [(f.name, f.levels) for f in data.features] == [
        ("age", ()),
        ("sex", ("F", "M")),
        ("smoker", ("False", "True")),
    ]
    expected = [[60, 0, 1], [np.nan, 1, 0], [50.5, np.nan, 1], [51, 0, np.nan]]
    np.testing.assert_array_equal(matrix(data), expected)
    assert matrix(data).dtype == np.float64
    assert data.examples.y.tolist() == [0, 1, 0, 1]
    assert data.examples.y.dtype == np.int64
    assert (data.task, data.classes, data.class_names) == ("binary", 2, ("no", "yes"))
    assert data.examples.site is not None
    assert data.examples.group is not None
    assert data.examples.site.tolist() == ["01", "01", "2", "2"]  # as written, not as numbers
    assert data.examples.group.tolist() == ["a", "b", "c", "c"]


def test_parquet_gives_the_same_as_csv(tmp_path: pathlib.Path) -> None:
    csv = written(tmp_path, ROWS)
    frame = pd.read_csv(csv, dtype={"hospital": str})
    frame["sex"] = frame["sex"].astype("category")
    frame.to_parquet(tmp_path / "own.parquet")
    one, other = (
        table(path=str(path), label="died", site="hospital", group="patient")
        for path in (csv, tmp_path / "own.parquet")
    )
    assert one.features == other.features
    assert one.checksums() == other.checksums()


def test_words_and_codes_that_mean_missing(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, "h,a,b,y\nA,1,-9,0\nA,?,2,1\nB,3,4,0\nB,4,5,1\n")
    data = table(path=path, label="y", site="h", missing=["?", "-9"])
    np.testing.assert_array_equal(matrix(data), [[1, np.nan], [np.nan, 2], [3, 4], [4, 5]])
    with pytest.raises(errors.DataError, match="'a' \\(3 numbers and 1 words: name the words"):
        table(path=path, label="y", site="h")


def test_numbers_as_categories_have_levels_sorted_as_text(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, "h,ward,y\nA,10,0\nA,2,1\nB,1,0\nB,,1\n")
    data = table(path=path, label="y", site="h", categories=["ward"])
    assert data.features[0].levels == ("1", "10", "2")
    np.testing.assert_array_equal(matrix(data), [[1], [2], [0], [np.nan]])


def test_semicolons_and_decimal_commas(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, "h;x;z;y\nA;1,5;?;0\nB;2,5;0,25;1\n")
    data = table(path=path, label="y", site="h", separator=";", decimal=",", missing=["?"])
    np.testing.assert_array_equal(matrix(data), [[1.5, np.nan], [2.5, 0.25]])
    with pytest.raises(errors.DataError, match="set separator = ';'"):
        table(path=path, label="y", site="h")


def test_chosen_features_keep_their_order(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, ROWS)
    data = table(path=path, label="died", site="hospital", features=["sex", "age"])
    assert [f.name for f in data.features] == ["sex", "age"]
    data = table(path=path, label="died", site="hospital", ignore=["patient", "smoker"])
    assert [f.name for f in data.features] == ["age", "sex"]


def test_rows_without_a_label(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, ROWS + "2,d,1,M,True,\n")
    assert "'died' is missing in 1 of 5 rows; set drop_missing_label = true" in refused(path)
    data = table(path=path, label="died", site="hospital", group="patient", drop_missing_label=True)
    assert len(data.examples) == 4


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            {"label": "dies"},
            "data.args.label: unknown column 'dies' (did you mean 'died'?); allowed: hospital, patient",
        ),
        ({"site": "clinic"}, "data.args.site: unknown column 'clinic'"),
        ({"features": ["age", "age"]}, "data.args.features: column 'age' is already listed as features"),
        ({"features": ["age", "died"]}, "data.args.features: column 'died' is already listed as label"),
        ({"site": "died"}, "data.args.site: column 'died' is already listed as label"),
        ({"categories": ["died"]}, "data.args.categories: 'died' is not one of the features"),
        ({"ignore": ["age", "sex", "smoker"]}, "no column is left to learn from"),
        ({"task": "regression"}, "task 'regression' needs numbers, got text"),
        ({"task": "count", "label": "age", "drop_missing_label": True}, "whole numbers >= 0; 1 rows have others"),
        ({"task": "binary", "label": "age", "drop_missing_label": True}, "needs two distinct values, got 3"),
        ({"positive": "dead"}, "`positive` is 'dead', which is neither of the label's two values"),
    ],
)
def test_wrong_arguments_end_in_one_line(tmp_path: pathlib.Path, args: dict[str, Any], expected: str) -> None:
    assert expected in refused(written(tmp_path, ROWS), **args)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        (HEADER, "has column names but no rows"),
        (HEADER + "1,a,2,3\n1,2,3,4,5,6,7,8\n", "no CSV whose rows all have the same columns (line 3)"),
        (HEADER + "1,a,60,F,True,no,x\n1,b,61,F,True,yes,x\n", "more columns in its rows than names"),
        ("61,Miller,1,0\n62,Smith,0,1\n", "must have column names in its first row"),
        ("A,Miller,yes\nB,Smith,no\n", "allowed: the names in the file's first row"),
        ("hospital,,died\nA,1,no\nB,2,yes\n", "column 2 has no name"),
        ("hospital,x,x,died\nA,1,2,no\nB,2,3,yes\n", "two columns called 'x"),
        (HEADER + ",a,60,F,True,no\n,b,1,M,False,yes\n", "data.args.site: column 'hospital' is missing in 2 of 2 rows"),
        (HEADER + "A,a,60,F,True,no\nA,,1,M,False,yes\n", "data.args.group: column 'patient' is missing in 1 of 2"),
        (HEADER + "A,a,60,F,True,no\nA,b,1,M,False,no\n", "every one of 2 rows has the same label"),
        (HEADER + "A,a,60,F,True,\nA,b,1,M,False,\n", "column 'died' has no values at all"),
        (HEADER + "A,a,inf,F,True,no\nA,b,1,M,False,yes\n", "'age' (1 infinite numbers)"),
        (HEADER + "A,a,,F,True,no\nA,b,,M,False,yes\n", "'age' (no values at all)"),
        (HEADER + "A,a,2020-01-31,F,True,no\nA,b,2021-02-01,M,False,yes\n", "'age' (dates"),
    ],
)
def test_wrong_files_end_in_one_line(tmp_path: pathlib.Path, text: str, expected: str) -> None:
    message = refused(written(tmp_path, text))
    assert expected in message
    assert "Miller" not in message


def test_a_missing_file_names_the_nearest(tmp_path: pathlib.Path) -> None:
    written(tmp_path, ROWS, "stroke.csv")
    assert "(did you mean 'stroke.csv'?)" in refused(str(tmp_path / "stroke.cvs"))
    assert "its folder does not exist" in refused(str(tmp_path / "there" / "stroke.csv"))
    assert "is a folder" in refused(str(tmp_path))
    (tmp_path / "x.csv").write_bytes(b"PK\x03\x04 a spreadsheet")
    assert "neither CSV nor Parquet" in refused(str(tmp_path / "x.csv"))
    (tmp_path / "x.csv").write_bytes("hospital,patient,died\nZürich,1,no\n".encode("latin-1"))
    assert "not UTF-8" in refused(str(tmp_path / "x.csv"))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 cut off")
    assert "damaged Parquet" in refused(str(tmp_path / "x.parquet"))


def test_names_are_no_label_and_no_feature_and_are_never_shown(tmp_path: pathlib.Path) -> None:
    rows = "".join(f"{'AB'[i % 2]},Surname{i},{i % 3},{i % 2},{i + 7}\n" for i in range(60))
    path = written(tmp_path, "hospital,name,ward,died,number\n" + rows)
    message = refused(path, label="name", group=None)
    assert "column 'name' is text with 60 distinct values in 60 rows, no class" in message
    assert "columns that could be a label: ward, died" in message
    assert "Surname" not in message
    message = refused(path, group=None)
    assert "'name' (text with 60 distinct values in 60 rows), 'number' (numbers the rows)" in message
    assert "Surname" not in message
    data = table(path=path, label="died", site="hospital", categories=["name"], ignore=["number"])
    assert len(data.features[0].levels) == 60


def test_a_stray_value_makes_no_class_and_is_not_shown(tmp_path: pathlib.Path) -> None:
    rows = "".join(f"{'AB'[i % 2]},{i % 7},{'yes' if i % 3 else 'no'}\n" for i in range(30))
    path = written(tmp_path, "hospital,age,died\n" + rows + "A,3,maybe on Monday\n")
    for task in ("auto", "multiclass", "binary"):
        message = refused(path, group=None, task=task)
        assert "data.args.label: column 'died': 1 of 31 rows hold values that fewer than 5 rows share" in message
        assert "aybe" not in message
    data = table(path=path, label="died", site="hospital", missing=["maybe on Monday"], drop_missing_label=True)
    assert (data.task, len(data.examples), data.rows_left_out) == ("binary", 30, 1)


@pytest.mark.parametrize("value", ["-9", "10", "1e30", "0.5"])
def test_a_stray_number_makes_no_class_and_is_not_shown(tmp_path: pathlib.Path, value: str) -> None:
    rows = "".join(f"{'AB'[i % 2]},{i % 7},{int(i % 3 > 0)}\n" for i in range(30))
    path = written(tmp_path, "hospital,age,died\n" + rows + f"A,3,{value}\n")
    for task in ("auto", "multiclass", "binary"):
        message = refused(path, group=None, task=task)
        assert "data.args.label: column 'died': 1 of 31 rows hold values that fewer than 5 rows share" in message
        assert value not in message
    data = table(path=path, label="died", site="hospital", missing=[value], drop_missing_label=True)
    assert (data.task, len(data.examples)) == ("binary", 30)
    assert table(path=path, label="died", site="hospital", task="regression").task == "regression"


def test_decimal_commas_are_told_by_the_setting_they_need(tmp_path: pathlib.Path) -> None:
    rows = "".join(f"A;{60 + i},{i % 4};{i % 2};1,{i % 100:03}\n" for i in range(30))
    path = written(tmp_path, "hospital;age;died;drug\n" + rows)
    args = {"group": None, "separator": ";"}
    expected = "data.args.features: numbers with a decimal comma in 'age'; set data.args.decimal = \",\""
    assert refused(path, **args) == expected
    assert "data.args.label: numbers with a decimal comma in 'age'" in refused(path, **args, label="age")
    data = table(path=path, label="died", site="hospital", separator=";", decimal=",")
    assert matrix(data)[1, 0] == 61.1
    assert not columns.has_decimal_commas(np.array(["1,234", "2,000", "", "a,b"], dtype=object))


@pytest.mark.parametrize(("label", "telling"), [("died", ["copy", "recoded"]), ("days", ["hours"])])
def test_columns_that_tell_the_label_or_nothing_are_noted(
    tmp_path: pathlib.Path, label: str, telling: list[str]
) -> None:
    frame = pd.DataFrame({"hospital": ["A", "B"] * 20, "died": np.arange(40) % 3 % 2, "days": np.arange(40) ** 0.5})
    frame["copy"], frame["recoded"] = frame["died"], np.where(frame["died"] == 1, "grave", "home")
    frame["hours"], frame["age"], frame["always"] = frame["days"] * 24, np.arange(40) * 7 % 31, 1
    frame.to_csv(tmp_path / "own.csv", index=False)
    ignored = {"died": ["days"], "days": ["died"]}[label]
    found = faults.found(table(path=str(tmp_path / "own.csv"), label=label, site="hospital", ignore=ignored))
    assert [(one.column, one.kind) for one in found if one.column not in ("age", "days")] == [
        *((name, "outcome") for name in telling),
        ("always", "constant"),
    ]
    assert {one.mend for one in found if one.kind == "constant"} == {'data.args.ignore = ["always"]'}


@pytest.mark.parametrize(
    ("values", "task", "classes", "names"),
    [
        ([1.0, 2.0, 2.0], "binary", 2, ("1", "2")),
        ([3.0, 1.0, 2.0], "multiclass", 3, ("1", "2", "3")),
        ([0.5, 1.0, 2.0], "regression", 0, ()),
        (list(map(float, range(21))), "regression", 0, ()),
        (["no", "yes", "no"], "binary", 2, ("no", "yes")),
        (["a", "b", "c", "a", "b", "c"], "multiclass", 3, ("a", "b", "c")),
    ],
)
def test_auto_tells_the_task_by_the_labels_values(values: list[Any], task: str, classes: int, names: tuple) -> None:
    array = np.array(values, dtype=object if isinstance(values[0], str) else float)
    result = labels.encode(array, "auto", "label")
    assert (result.task, result.classes, result.class_names) == (task, classes, names)
    assert result.y.dtype == (np.float32 if task == "regression" else np.int64)


@pytest.mark.parametrize(
    ("names", "doubled"),
    [
        (["no", "yes", "Yes"], 2),
        (["No", "no", "yes", "Yes "], 4),
        (["n", "no", "y", "yes"], 4),
        (["mild", "type_2", "Type 2"], 2),
        (["yes", "Yes"], 2),
        (["<=50K", ">50K"], 0),
        (["A+", "A-", "B+"], 0),
        (["female", "m", "x"], 0),
    ],
)
@pytest.mark.parametrize("task", ["auto", "binary"])
def test_a_class_under_two_names_is_refused(names: list[str], doubled: int, task: labels.TaskChoice) -> None:
    """One hospital writes Yes and another yes: as classes of their own they would say where a patient is."""
    array = np.array(names * 5, dtype=object)
    if doubled:
        with pytest.raises(errors.DataError, match=f"^label: {doubled} of its {len(names)} values share their meaning"):
            labels.encode(array, task, "label")
    elif task == "auto":
        assert labels.encode(array, task, "label").classes == len(names)
    assert labels.encode(array, "multiclass", "label").classes == len(names)


def test_positive_names_class_one() -> None:
    array = np.array(["case", "control", "case"], dtype=object)
    assert labels.encode(array, "auto", "label").y.tolist() == [0, 1, 0]
    result = labels.encode(array, "auto", "label", positive="case")
    assert (result.y.tolist(), result.class_names) == ([1, 0, 1], ("control", "case"))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["", "b", "a", "Ä", "10", "9", "z z"]), min_size=1))
def test_a_categorys_codes_give_back_its_words(words: list[str]) -> None:
    feature, codes = columns.encoded("c", np.array(words, dtype=object))
    assert list(feature.levels) == sorted(set(words) - {""})
    assert ["" if np.isnan(code) else feature.levels[int(code)] for code in codes] == words
