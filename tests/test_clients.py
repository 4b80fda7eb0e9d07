"""From settings to clients: the published cohort, shared test rows, preprocessing, and what may never leak into x."""

import pathlib
from typing import Any

import numpy as np
import pytest

from fedmed.data import clients
from fedmed.settings import config
from fedmed.system import errors


def settings(data: dict[str, Any], **changes: Any) -> config.RunConfig:
    tree = {"name": "t", "data": data, "model": {"name": "mlp"}, "client": {"learning_rate": 0.1}, "rounds": 1}
    return config.parse(tree | changes)


def dealt(count: int) -> dict[str, Any]:
    return {"name": "iid", "args": {"clients": count}}


def test_heart_disease_trains_on_the_published_rows() -> None:
    prepared = clients.prepare(settings({"name": "heart_disease"}))
    sizes = {client: (len(rows.train), len(rows.test)) for client, rows in prepared.rows.items()}
    assert sizes == {
        "cleveland": (199, 104),
        "hungary": (172, 89),
        "switzerland": (30, 16),
        "va_long_beach": (85, 45),
    }
    assert {client: len(own) for client, own in prepared.test.items()} == {c: n for c, (_, n) in sizes.items()}


@pytest.mark.parametrize(
    ("data", "partition", "expected"),
    [({"test_fraction": 0.5}, {}, 152), ({}, dealt(4), 47)],
    ids=["a fraction of one's own", "clients that are no sites"],
)
def test_the_published_split_gives_way_to(data: dict[str, Any], partition: dict[str, Any], expected: int) -> None:
    config_ = settings({"name": "heart_disease", **data}, **({"partition": partition} if partition else {}))
    assert len(next(iter(clients.prepare(config_).rows.values())).test) == expected


def test_a_table_comes_out_standardised_over_all_training_rows() -> None:
    prepared = clients.prepare(settings({"name": "diabetes_ehr"}))
    assert prepared.preprocessing is not None
    x = np.concatenate([np.asarray(own.x) for own in prepared.train.values()])
    assert x.dtype == np.float32
    assert x.shape[1] == len(prepared.preprocessing.output_names)
    assert np.isfinite(x).all()
    place = prepared.preprocessing.output_names.index("age_years")
    assert x[:, place].mean() == pytest.approx(0, abs=1e-4)
    assert x[:, place].std() == pytest.approx(1, abs=1e-4)


def test_hidden_truth_never_enters_x() -> None:
    prepared = clients.prepare(settings({"name": "diabetes_ehr"}))
    truth = prepared.dataset.truth["risk_true"]
    for client, rows in prepared.rows.items():
        x = np.asarray(prepared.train[client].x)
        correlation = [abs(np.corrcoef(column, truth[rows.train])[0, 1]) for column in x.T if np.ptp(column) > 0]
        assert max(correlation) < 0.99


def test_images_stay_as_they_are_stored() -> None:
    prepared = clients.prepare(settings({"name": "digits"}, partition=dealt(5)))
    assert prepared.preprocessing is None
    assert all(np.asarray(own.x).dtype == np.uint8 for own in prepared.train.values())
    assert sum(len(own) for own in [*prepared.train.values(), *prepared.test.values()]) == 1797


def test_a_test_set_of_its_own_is_shared_and_costs_no_client_a_row(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    np.savez(tmp_path / "own.npz", x=x, y=y, x_test=x[:6], y_test=y[:6])
    data = {"name": "arrays", "args": {"path": str(tmp_path / "own.npz")}}
    prepared = clients.prepare(settings(data, partition=dealt(4)))
    assert prepared.test == {}
    assert prepared.shared_test is not None
    assert len(prepared.shared_test) == 6
    assert {client: len(own) for client, own in prepared.train.items()} == {f"client_{n:04d}": 10 for n in range(4)}
    assert all(len(rows.test) == 0 for rows in prepared.rows.values())


def test_the_same_seed_deals_the_same_rows_and_another_does_not() -> None:
    def held(seed: int) -> np.ndarray:
        return clients.prepare(settings({"name": "digits"}, partition=dealt(3), seed=seed)).rows["client_0000"].train

    np.testing.assert_array_equal(held(1), held(1))
    assert set(held(1)) != set(held(2))


PLUGIN = '''
"""A data set of one's own."""
import numpy as np
from fedmed.data import registries
from fedmed.data.examples import Dataset, Examples

@registries.datasets.register("{name}")
def ours(*, rows: int) -> Dataset:
    x = np.zeros((rows, 2), np.float32)
    return Dataset("ours", Examples(x, np.arange(rows) % 2), task="binary", classes=2)
'''


def test_a_plugin_brings_a_data_set_from_the_current_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours_of_test_clients.py").write_text(PLUGIN.replace("{name}", "ours_of_test_clients"))
    monkeypatch.chdir(tmp_path)
    data = {"name": "ours_of_test_clients", "args": {"rows": 12}}
    prepared = clients.prepare(settings(data, plugins=["ours_of_test_clients"], partition=dealt(3)))
    assert len(prepared.rows) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plugins": ["nowhere_to_be_found"]}, r"plugins\[0\]: cannot import 'nowhere_to_be_found': ModuleNotFound"),
        ({"plugins": ["../evil.py"]}, r"plugins\[0\]: expected a module's name"),
        ({"data": {"name": "heart_diseas"}}, r"data.name: unknown data set 'heart_diseas' \(did you mean"),
        ({"data": {"name": "digits", "args": {"a": 1}}, "partition": dealt(3)}, r"data.args: unknown argument 'a'"),
        ({"partition": {"name": "idd"}}, r"partition.name: unknown partition 'idd' \(did you mean 'iid'"),
        ({"partition": {"name": "iid"}}, r"partition.args.clients: required"),
        ({"partition": dealt(741)}, r"741 clients cannot share 740 groups; at most 740"),
        ({"data": {"name": "digits"}}, r"'by_site' needs data with sites"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.UserError, match=message) as caught:
        clients.prepare(settings(**({"data": {"name": "heart_disease"}} | changes)))
    assert "\n" not in str(caught.value)


def test_a_plugin_that_fails_is_told_from_one_that_is_missing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_of_test_clients.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.ConfigError, match="ZeroDivisionError: division by zero"):
        clients.prepare(settings({"name": "digits"}, plugins=["broken_of_test_clients"]))
