"""Epsilon is dp-accounting's own, noise and steps never exceed a budget, and answers on disk change nothing."""

import itertools
import json
import math
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp

from fedmed.privacy import accounting, cache, losses
from fedmed.privacy.accounting import Releases
from fedmed.system import errors

DELTA = 1e-5


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMED_CACHE", "")


def drawn(count: int, seed: int) -> list[tuple[Releases, float]]:
    """Returns settings of few steps, which are quick to account for, each with a delta."""
    rng = np.random.default_rng(seed)
    settings = []
    for number in range(count):
        rate = 1.0 if number % 5 == 0 else float(10 ** rng.uniform(-4, -0.2))
        releases = Releases(rate, float(10 ** rng.uniform(0, 1)), int(rng.integers(1, 30)))
        settings.append((releases, rate * float(10 ** rng.uniform(-5, -1))))
    return settings


def event(releases: Releases) -> dp_accounting.DpEvent:
    gaussian = dp_accounting.GaussianDpEvent(releases.noise)
    sampled = dp_accounting.PoissonSampledDpEvent(releases.rate, gaussian)
    return dp_accounting.SelfComposedDpEvent(gaussian if releases.rate == 1 else sampled, releases.steps)


def test_known_answers() -> None:
    assert accounting.epsilon([Releases(1.0, 1.0, 1)], DELTA) == pytest.approx(4.3771781, abs=1e-6)
    mnist = [Releases(256 / 60_000, 1.1, 14_062)]
    assert accounting.epsilon(mnist, DELTA) == pytest.approx(2.3816860, abs=1e-6)
    assert accounting.epsilon_rdp(mnist, DELTA) == pytest.approx(2.5965559, abs=1e-6)


def test_one_gaussian_by_its_closed_form() -> None:
    """delta = Phi(1/2s - es) - exp(e) Phi(-1/2s - es) (Balle and Wang 2018, theorem 8)."""
    noise, delta = 2.0, 1e-4
    got = accounting.epsilon([Releases(1.0, noise, 1)], delta)
    at_most, at_least = (0.5 * math.erfc(-z / math.sqrt(2)) for z in (0.25 - got * noise, -0.25 - got * noise))
    assert at_most - math.exp(got) * at_least == pytest.approx(delta, rel=1e-3)


def some(count: int, fast: int, seed: int) -> list[Any]:
    """Returns what is `drawn`, each setting to be tried; all but the first few slowly."""
    return [pytest.param(*one, marks=[pytest.mark.slow] * (i >= fast)) for i, one in enumerate(drawn(count, seed))]


@pytest.mark.parametrize(("releases", "delta"), some(30, fast=10, seed=11))
def test_it_is_what_dp_accounting_says(releases: Releases, delta: float) -> None:
    told = pld.PLDAccountant().compose(event(releases)).get_epsilon(delta)
    assert told < losses.LARGE
    assert accounting.epsilon([releases], delta) == pytest.approx(told, abs=1e-6)
    by_rdp = rdp.RdpAccountant().compose(event(releases)).get_epsilon(delta)
    assert accounting.epsilon_rdp([releases], delta) == pytest.approx(by_rdp, abs=1e-6)


def test_two_releases_compose_in_any_order_and_split_as_one_likes() -> None:
    first, second = Releases(0.1, 1.0, 20), Releases(1.0, 5.0, 2)
    both = dp_accounting.ComposedDpEvent([event(first), event(second)])
    told = pld.PLDAccountant().compose(both).get_epsilon(DELTA)
    spent = accounting.epsilon([first, second], DELTA)
    assert spent == pytest.approx(told, abs=1e-6)
    parts = [Releases(1.0, 5.0, 1), Releases(0.1, 1.0, 15), Releases(1.0, 5.0, 1), Releases(0.1, 1.0, 5)]
    assert accounting.epsilon(parts, DELTA) == spent
    alone = [accounting.epsilon([one], DELTA) for one in (first, second)]
    assert max(alone) < spent < sum(alone)


@pytest.mark.parametrize("spent", [accounting.epsilon, accounting.epsilon_rdp])
def test_less_noise_more_sampling_and_more_steps_reveal_more(spent: Callable[..., float]) -> None:
    base = Releases(0.1, 2.0, 10)
    ladders = (
        [Releases(0.1, noise, 10) for noise in (8.0, 2.0, 1.2)],
        [Releases(rate, 2.0, 10) for rate in (0.001, 0.05, 0.1, 0.3, 1.0)],
        [Releases(0.1, 2.0, steps) for steps in (0, 1, 10, 40)],
    )
    known = {one: spent([one], DELTA) for one in {one for ladder in ladders for one in ladder}}
    for ladder in ladders:
        assert base in ladder
        answers = [known[one] for one in ladder]
        assert all(low < high for low, high in itertools.pairwise(answers))


def test_nothing_released_is_nothing_and_nothing_added_is_everything() -> None:
    for spent in (accounting.epsilon, accounting.epsilon_rdp):
        assert spent([], DELTA) == spent([Releases(0.5, 0.0, 0)], DELTA) == 0.0
        assert spent([Releases(0.1, 0.0, 1), Releases(0.1, 1.0, 1)], DELTA) == math.inf
    assert accounting.epsilon_fixed_cohort(5, 10, 1.0, 0, DELTA) == 0.0
    assert accounting.epsilon_fixed_cohort(5, 10, 0.0, 1, DELTA) == math.inf


def test_a_worthless_epsilon_is_told_soon_and_from_above() -> None:
    worthless = [Releases(1.0, 0.01, 10)]
    assert accounting.epsilon(worthless, DELTA) == accounting.epsilon_rdp(worthless, DELTA)
    assert accounting.epsilon(worthless, DELTA) > 5e4  # 10 / (2 * 0.01**2) and more


def test_where_rdp_is_lost_in_rounding_pld_answers() -> None:
    releases = Releases(1.4860542989023466e-05, 8113.970135959236, 12216)
    with pytest.raises(ValueError, match="negative"):
        rdp.RdpAccountant().compose(event(releases)).get_epsilon(1e-8)
    assert accounting.epsilon_rdp([releases], 1e-8) == accounting.epsilon([releases], 1e-8) < 1e-3


def test_fixed_cohorts_are_replace_one_with_two_clips() -> None:
    delta = 1000**-1.1
    assert accounting.epsilon_fixed_cohort(50, 1000, 1.0, 100, delta) == pytest.approx(30.3491418, abs=1e-6)
    # everyone in each round: a plain Gaussian of half the noise
    everyone = accounting.epsilon_rdp([Releases(1.0, 2.0, 7)], DELTA)
    assert accounting.epsilon_fixed_cohort(10, 10, 4.0, 7, DELTA) == pytest.approx(everyone, rel=1e-9)
    with pytest.raises(errors.UserError, match="expected a cohort of 1 to 10 clients, got 11"):
        accounting.epsilon_fixed_cohort(11, 10, 1.0, 1, DELTA)


@pytest.mark.parametrize("settings", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_the_noise_is_never_too_little_and_hardly_too_much(settings: int) -> None:
    rng = np.random.default_rng(5)
    for number in range(settings):
        rate = 1.0 if number % 3 == 0 else float(10 ** rng.uniform(-1.3, 0))
        steps, delta = int(rng.integers(1, 60)), float(10 ** rng.uniform(-7, -3))
        target = float(rng.choice([0.2, 0.5, 1.0]))
        noise = accounting.noise_for(rate, steps, target, delta)
        assert accounting.epsilon([Releases(rate, noise, steps)], delta) <= target
        assert accounting.epsilon([Releases(rate, 0.99 * noise, steps)], delta) > target


def test_the_noise_makes_room_for_what_else_is_released() -> None:
    also = [Releases(1.0, 6.0, 1)]
    noise = accounting.noise_for(0.1, 20, 1.2, DELTA, also)
    assert noise > accounting.noise_for(0.1, 20, 1.2, DELTA)
    assert accounting.epsilon([*also, Releases(0.1, noise, 20)], DELTA) <= 1.2
    assert accounting.epsilon([*also, Releases(0.1, 0.99 * noise, 20)], DELTA) > 1.2
    assert accounting.noise_for(0.1, 0, 1.2, DELTA, also) == 0.0


@pytest.mark.parametrize(("rate", "noise", "also"), [(0.1, 2.0, ()), (1.0, 6.0, ()), (0.05, 3.0, (Releases(1, 9, 1),))])
def test_one_step_more_does_not_fit(rate: float, noise: float, also: tuple[Releases, ...]) -> None:
    steps = accounting.max_steps(rate, noise, 2.0, DELTA, also)
    assert steps > 1
    assert accounting.epsilon([*also, Releases(rate, noise, steps)], DELTA) <= 2.0
    assert accounting.epsilon([*also, Releases(rate, noise, steps + 1)], DELTA) > 2.0


def test_no_step_fits_without_noise_nor_where_one_is_too_much() -> None:
    assert accounting.max_steps(0.1, 0.0, 1.0, DELTA) == 0
    assert accounting.max_steps(1.0, 1.0, 1.0, DELTA) == 0  # one step is 4.38


def test_what_cannot_be_met_is_said_in_one_line() -> None:
    with pytest.raises(errors.UserError, match=r"^privacy: epsilon 0.0001 .* even with noise 10000; take fewer steps"):
        accounting.noise_for(0.01, 100_000, 1e-4, DELTA)
    also = [Releases(1.0, 1.0, 1)]
    for call in (
        lambda: accounting.noise_for(0.1, 1, 3.0, DELTA, also),
        lambda: accounting.max_steps(0.1, 1, 3, DELTA, also),
    ):
        with pytest.raises(errors.UserError, match=r"^privacy: epsilon 3 .* exceeded before .* reveals 4.377; [^\n]*$"):
            call()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Releases(0.0, 1.0, 1), "rate > 0 and <= 1, got 0.0"),
        (lambda: Releases(math.nan, 1.0, 1), "rate > 0 and <= 1, got nan"),
        (lambda: Releases(0.1, -1.0, 1), "noise multiplier >= 0, got -1.0"),
        (lambda: Releases(0.1, 1.0, -1), "steps >= 0, got -1"),
        (lambda: accounting.epsilon([], 0.0), "delta > 0 and < 1, got 0.0"),
        (lambda: accounting.epsilon_rdp([], 1.0), "delta > 0 and < 1, got 1.0"),
        (lambda: accounting.noise_for(0.1, 1, 0.0, DELTA), "epsilon > 0, got 0.0"),
        (lambda: accounting.noise_for(1.5, 1, 1.0, DELTA), "rate > 0 and <= 1, got 1.5"),
    ],
)
def test_numbers_out_of_range(call: Callable[[], object], match: str) -> None:
    with pytest.raises(errors.UserError, match=match):
        call()


def test_default_delta() -> None:
    assert accounting.default_delta(1000) == pytest.approx(0.000501187, rel=1e-6)
    assert accounting.default_delta(1) == accounting.default_delta(2) < 0.5
    assert all(accounting.default_delta(units) < 1 / units for units in (2, 3, 10**6))


def test_an_answer_is_worked_out_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMED_CACHE", str(tmp_path / "new" / "folder"))
    asked: list[int] = []

    def answer() -> float:
        asked.append(1)
        return 0.1 + 0.2

    for _ in range(2):
        assert cache.remembered(["q", 1, [0.1]], answer) == 0.1 + 0.2
    assert len(asked) == 1
    cache.remembered(["q", 2, [0.1]], answer)
    assert len(asked) == 2
    file = tmp_path / "new" / "folder" / cache.FILE
    assert len(json.loads(file.read_text())) == 2
    assert file.stat().st_mode & 0o777 == 0o600
    assert cache.remembered(["infinite"], lambda: math.inf) == math.inf
    assert len(json.loads(file.read_text())) == 2


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"[\\"q\\"]": "2"}', '{"[\\"q\\"]": -1}', '{"[\\"q\\"]": NaN}', "\x00\xff"]
)
def test_a_damaged_file_is_ignored_and_mended(
    content: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDMED_CACHE", str(tmp_path))
    (tmp_path / cache.FILE).write_bytes(content.encode("latin-1"))
    assert cache.remembered(["q"], lambda: 2.0) == 2.0
    assert json.loads((tmp_path / cache.FILE).read_text()) == {'["q"]': 2.0}


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEDMED_CACHE", str(tmp_path / "file" / "below"))
    assert cache.remembered(["q"], lambda: 2.0) == 2.0


def test_where_answers_are_kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.folder() is None
    monkeypatch.delenv("FEDMED_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "fedmed"
    for base in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        assert cache.folder() == pathlib.Path.home() / ".cache" / "fedmed"


def test_the_oldest_answers_go(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMED_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "MOST", 3)
    for number in range(5):
        cache.remembered([number], lambda: 1.0)
    assert list(json.loads((tmp_path / cache.FILE).read_text())) == ["[2]", "[3]", "[4]"]


def test_a_second_process_needs_no_dp_accounting_and_none_needs_tensorflow(tmp_path: pathlib.Path) -> None:
    program = (
        "import sys\n"
        "from fedmed.privacy import accounting\n"
        "noise = accounting.noise_for(0.1, 5, 1.0, 1e-5)\n"
        "spent = accounting.epsilon([accounting.Releases(0.1, noise, 5)], 1e-5)\n"
        "print(repr((noise, spent)), 'tensorflow' in sys.modules, 'dp_accounting' in sys.modules)"
    )
    environment = {**os.environ, "FEDMED_CACHE": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    )
    assert first.endswith("False True\n")
    assert second == first.replace("False True", "False False")
