"""The worst client and the worst decile beside the mean: by hand."""

import math

import numpy as np
import pytest

from fedmed.statistics import WorstServed, worst_served
from fedmed.study.measures import measures
from fedmed.study.schema import Estimate
from fedmed.study.worst_hospital import ALONE, worst_hospitals


def test_the_worst_client_has_the_lowest_auroc_and_the_highest_loss() -> None:
    figures = {"a": 0.7, "b": 0.5, "c": 0.9}
    mean = math.fsum(figures.values()) / 3
    assert worst_served(figures, "higher") == WorstServed(3, 0, mean, "b", 0.5, None)
    assert worst_served(figures, "lower") == WorstServed(3, 0, mean, "c", 0.9, None)


def test_the_worst_decile_is_rounded_up_to_whole_clients() -> None:
    """11 clients: the mean of the worst two, of losses 0 to 10 that is 9.5; ten have one, which is the worst."""
    eleven = {f"client {loss}": float(loss) for loss in range(11)}
    assert worst_served(eleven, "lower") == WorstServed(11, 0, 5.0, "client 10", 10.0, 9.5)
    assert worst_served(eleven, "higher") == WorstServed(11, 0, 5.0, "client 0", 0.0, 0.5)
    ten = {name: eleven[name] for name in list(eleven)[:10]}
    assert worst_served(ten, "lower") == WorstServed(10, 0, 4.5, "client 9", 9.0, 9.0)
    nine = worst_served({name: eleven[name] for name in list(eleven)[:9]}, "lower")
    assert nine is not None
    assert nine.worst_decile is None


def test_clients_without_a_figure_are_counted_and_take_no_part() -> None:
    figures = {"a": None, "b": 2.0, "c": float("nan"), "d": 1.0}
    assert worst_served(figures, "higher") == WorstServed(2, 2, 1.5, "d", 1.0, None)
    assert worst_served({"a": None}, "higher") is None
    assert worst_served({}, "lower") is None


def test_of_equal_clients_the_first_is_named() -> None:
    for better in ("higher", "lower"):
        found = worst_served({"a": 1.0, "b": 1.0}, better)
        assert found is not None
        assert found.worst == "a"


def test_the_worst_of_noisy_figures_is_worse_than_any_client_is() -> None:
    """20 clients of one accuracy, 0.8, each on 50 rows: the worst is on average 1.87 standard errors (0.0566) below."""
    draws = np.random.default_rng(0).binomial(50, 0.8, size=(2000, 20)) / 50
    found = [worst_served({str(k): value for k, value in enumerate(row)}, "higher") for row in draws]
    worst = np.mean([own.value for own in found if own])
    decile = np.mean([own.worst_decile for own in found if own and own.worst_decile is not None])
    assert worst == pytest.approx(0.8 - 1.87 * np.sqrt(0.8 * 0.2 / 50), abs=0.01)
    assert worst < decile < 0.75


def test_a_study_tells_the_worst_of_what_is_told() -> None:
    """Twelve hospitals of AUROC 0.60 to 0.71; the worst is withheld, so that of eleven 0.61 and the two worst count."""
    names = [f"hospital {k}" for k in range(12)]
    figures = {name: {"auroc": Estimate(0.60 + k / 100, 0.5, 0.8, "m", "")} for k, name in enumerate(names)}
    figures[names[0]] = {"auroc": Estimate(None, None, None, "", "too few events")}
    found = measures("binary", 0.9, "auroc")[:1]
    worst = worst_hospitals(names, figures, found)["auroc"]
    assert (worst.hospital, worst.estimate, worst.low, worst.high) == (names[1], 0.61, 0.5, 0.8)
    assert (worst.without, worst.reason) == (1, "")
    assert worst.decile == pytest.approx(0.615)
    alone = worst_hospitals(names, {names[1]: figures[names[1]]}, found)["auroc"]
    assert (alone.hospital, alone.estimate, alone.reason, alone.without) == (None, None, ALONE, 11)
