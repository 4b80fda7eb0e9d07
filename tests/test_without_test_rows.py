"""A run that keeps no test rows trains all the same, and says why it has no metric."""

import pathlib
import re

import numpy as np
import pytest
import tiny

from fedmed.reporting import tables
from fedmed.runs import experiment
from fedmed.runs.best import Best
from fedmed.settings import config
from fedmed.statistics import metrics


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


def test_where_nothing_is_scored_no_round_is_called_the_best_and_none_is_stale(tmp_path: pathlib.Path) -> None:
    """The last round stands for the best, not the untrained model, and patience does not stop what is not seen."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", x=rng.normal(size=(24, 3)), y=np.arange(24) % 2, site=np.repeat(["a", "b"], 12))
    data = {"args": {"path": str(tmp_path / "own.npz")}, "test_fraction": 0.0}
    settings = tiny.settings("tiny_models:linear", data=data, rounds=4, stop={"patience": 2})
    out = tmp_path / "out"
    summary = experiment.run(settings, out)
    assert (summary["rounds"], summary["stopped"], summary["best"]["round"]) == (4, "rounds", 4)
    final, best = (np.load(out / name) for name in ("weights.npz", "weights_best.npz"))
    for name in final.files:
        np.testing.assert_array_equal(final[name], best[name])
    said = "\n".join([*tables.final_table(summary), (out / "report.html").read_text()])
    assert not re.search(r"\bbest\b", said, re.IGNORECASE)
    assert "best" not in (out / "learning_curves.svg").read_text()


def test_a_value_that_comes_late_is_the_best_until_a_better_one() -> None:
    best = Best(metrics.metric("binary", "auroc"), config.Stop(patience=2))
    assert [best.improves(number, value) for number, value in enumerate([None, None, 0.6, None, 0.5])] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert (best.round, best.value, best.stale, best.stopped) == (2, 0.6, 2, "patience")
