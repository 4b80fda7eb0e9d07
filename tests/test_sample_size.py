"""The rows that a regression needs are those of Riley et al. 2020, and a hidden count is not told by them."""

import numpy as np
import pytest
from scipy.stats import mstats
from test_study_figures import HOSPITALS, outcomes

from fedmed.statistics import harrell_davis, shrinkage
from fedmed.study import report, sample_size


def test_the_largest_r2_by_hand() -> None:
    """With half of them ill the null log-likelihood is ln(1/2) a row, and 1 - exp(2 ln(1/2)) = 3/4."""
    assert shrinkage.largest_r2(0.5) == pytest.approx(0.75)


def test_rows_needed_by_hand_and_as_pmsampsize_has_them() -> None:
    """10 / (-0.1 ln(1 - 0.15 * 0.75 / 0.9)) = 10 / 0.0133531 = 748.9; the other is from pmsampsize's manual."""
    assert shrinkage.rows_needed(10, 0.5) == 749
    assert shrinkage.rows_needed(24, 0.174, explained=0.288 / shrinkage.largest_r2(0.174)) == 623


def test_rarer_events_and_more_columns_need_more_rows() -> None:
    needed = [shrinkage.rows_needed(10, prevalence) for prevalence in (0.5, 0.2, 0.05, 0.01)]
    assert needed == sorted(needed)
    assert shrinkage.rows_needed(20, 0.2) == pytest.approx(2 * shrinkage.rows_needed(10, 0.2), abs=1)


def test_each_hospital_is_told_by_its_own_share_with_the_event() -> None:
    found = outcomes()
    counts = report.hospitals(found, "auroc", 10)
    told = sample_size.sample_size(found, "federated", counts)
    assert told is not None
    for own in counts:
        if own.event_rate is None or own.train_rows is None:
            continue
        needed = shrinkage.rows_needed(told.parameters, own.event_rate)
        assert (told.hospitals[own.id].needed, told.hospitals[own.id].reached) == (needed, own.train_rows >= needed)
    assert counts[-1].id == HOSPITALS[-1]
    assert counts[-1].events is None  # three events
    assert told.hospitals[HOSPITALS[-1]].needed is None
    assert told.all.needed is None
    assert sample_size.sample_size(outcomes("count"), "federated", counts) is None


def test_quantiles_are_scipys_of_harrell_and_davis() -> None:
    values = np.random.default_rng(0).beta(1, 4, 237)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    np.testing.assert_allclose(harrell_davis(values, levels), mstats.hdquantiles(values, levels), rtol=1e-9)
