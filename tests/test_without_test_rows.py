"""A run that keeps no test rows trains all the same, and says why it has no metric."""

import pathlib

import numpy as np
import pytest
import tiny

from fedmed.reporting import tables
from fedmed.runs import experiment


@pytest.mark.parametrize(
    ("labels", "fraction"),
    [(np.arange(24) % 2, 0.0), (np.arange(24) % 3, 0.0), (np.arange(24) / 7, 0.0), (np.arange(24) % 3, 1e-320)],
)
def test_a_run_without_test_rows_ends_with_a_reason_for_each_metric(
    tmp_path: pathlib.Path, labels: np.ndarray, fraction: float
) -> None:
    x = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=x, y=labels, site=np.repeat(["a", "b"], 12))
    data = {"args": {"path": str(tmp_path / "own.npz")}, "test_fraction": fraction}
    summary = experiment.run(tiny.settings("tiny_models:linear", data=data), tmp_path / "out")
    for own in summary["final"]["clients"].values():
        assert (own["train_rows"], own["test_rows"]) == (12, 0)
        assert all(own[name] is None and "there are no test rows" in why for name, why in own["undefined"].items())
    assert "there are no test rows" in "\n".join(tables.final_table(summary))
