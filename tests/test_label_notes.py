"""Whole numbers can be classes, amounts or counts: which they were taken for is said, with the line that changes it."""

import pathlib

import numpy as np
import pytest

from fedmed.commands import listing
from fedmed.data import clients, labels
from fedmed.data.examples import Examples, Feature
from fedmed.data.preprocessing import prepare
from fedmed.data.table import table
from fedmed.models import Spec, fits, models
from fedmed.settings import config
from fedmed.system import errors

MANY, SCORE = np.arange(300) % 60, np.arange(300) % 12


def noted(values: np.ndarray, task: labels.TaskChoice = "auto", **how: bool) -> tuple[str, ...]:
    values = values.astype(np.float64)
    return labels.notes(values, labels.encode(values, task, "y"), task, "visits", **how)


def test_many_whole_numbers_are_said_to_be_an_amount() -> None:
    assert noted(MANY) == (
        "label visits has 60 whole-number values: taken as an amount (regression); "
        'for counts: data.args.task = "count"',
    )


def test_some_whole_numbers_are_said_to_be_classes() -> None:
    assert noted(SCORE) == (
        'label visits has 12 whole-number values: taken as 12 classes; for an amount: data.args.task = "regression", '
        'for counts: data.args.task = "count"',
    )
    assert "counts" not in noted(SCORE - 3)[0]


@pytest.mark.parametrize("values", [MANY % 2, MANY % 4, 1 + MANY % 5, MANY / 7, MANY - 20])
def test_what_can_hardly_be_meant_otherwise_needs_no_word(values: np.ndarray) -> None:
    assert noted(values) == ()


def test_codes_of_arrays_need_no_word_nor_does_what_was_asked_for() -> None:
    assert noted(SCORE, codes_are_usual=True) == ()
    assert noted(SCORE + 1, codes_are_usual=True) != ()
    assert noted(MANY, "count") == noted(SCORE, "regression") == ()


def csv(folder: pathlib.Path) -> str:
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.3f},{'ab'[k % 2]},{MANY[k]}" for k in range(300)]
    (folder / "own.csv").write_text("\n".join(["age,site,visits", *rows]) + "\n")
    return str(folder / "own.csv")


def test_a_table_says_so_until_the_task_is_chosen(tmp_path: pathlib.Path) -> None:
    path = csv(tmp_path)
    dataset = table(path=path, label="visits", site="site")
    assert len(dataset.notes) == 1
    assert table(path=path, label="visits", site="site", task="count").notes == ()
    args = {"path": path, "label": "visits", "site": "site"}
    tree = {"name": "x", "data": {"name": "table", "args": args}, "client": {"learning_rate": 0.1}, "rounds": 1}
    chosen = config.parse({**tree, "model": {"name": "mlp", "task": "count"}})
    assert clients.deal(chosen)[0].notes == ()


def test_a_value_that_nothing_can_be_scaled_with_is_refused() -> None:
    x = np.array([[1.0, 1e300], [2.0, 3.0], [4.0, 5.0]])
    features = [Feature("age"), Feature("pressure")]
    with pytest.raises(errors.DataError, match=r"^preprocessing: 'pressure': a value is so large") as caught:
        prepare({"a": Examples(x, np.zeros(3)), "b": Examples(x[1:], np.zeros(2))}, features, "by_site")
    assert "e+" not in str(caught.value)
    fitted = prepare({"b": Examples(x[1:], np.zeros(2))}, features, "federated")
    with pytest.raises(errors.DataError, match=r"^preprocessing: 'pressure': a value is so large"):
        fitted.apply(None, Examples(x, np.zeros(3)))  # in a test row
    with pytest.raises(errors.DataError, match="1 labels are beyond"):
        labels.encode(np.array([1.5, 2.5, 1e300]), "auto", "y")


def test_the_list_says_which_model_fits_which_data() -> None:
    told = "\n".join([*listing.lines("models"), *listing.lines("data")])
    assert told.count("goes with") == len(fits.MODELS) + len(fits.DATA)
    table_spec, image = Spec((7,), "binary"), Spec((8, 8, 1), "multiclass", 10)
    for name in fits.MODELS:
        factory = models.get(name)
        assert factory(table_spec if name in fits.TABULAR else image) is not None
        with pytest.raises(errors.ModelError):
            factory(image if name in fits.TABULAR else table_spec)
