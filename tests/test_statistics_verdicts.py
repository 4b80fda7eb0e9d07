"""Verdicts follow their stated rule; evidence of calibration and the consortium's answer equal hand-worked values."""

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests

from fedmed.statistics import (
    Asked,
    Evidence,
    Interval,
    by_size,
    gains_below,
    of_difference,
    of_distances,
    random_effects,
)
from fedmed.statistics.evidence import above
from fedmed.statistics.intervals import student
from fedmed.statistics.verdicts import selected, verdicts


def gain(estimate: float, error: float = 0.01, df: float = 100.0) -> Interval:
    return student(estimate, error, df, 0.95, "")


def asked(ranking: float, benefit: float = 0.0, error: float = 0.01) -> Asked:
    return Asked(
        {"ranking": of_difference(gain(ranking, error)), "usefulness": of_difference(gain(benefit))},
        gain(ranking, error),
        50,
    )


def test_five_words() -> None:
    found = verdicts(
        {
            "better": asked(0.08),
            "useless": asked(0.08, -0.06),
            "alike": asked(0.0, error=0.005),
            "vague": asked(0.0, error=0.05),
            "tiny": None,
        },
        margin=0.02,
    )
    assert {name: verdict.outcome for name, verdict in found.items()} == {
        "better": "gains",
        "useless": "harmed",
        "alike": "no worse",
        "vague": "undecided",
        "tiny": "too few events",
    }
    assert found["useless"].questions["ranking"].claim == "better"
    assert found["tiny"].questions == {}
    assert found["alike"].needed is None
    hardest = 1 - 0.05 / 4 / 2  # of four hospitals asked, by Holm's first step
    factor = (scipy.stats.t.ppf(hardest, 100) + scipy.stats.t.ppf(0.8, 100)) * 0.05 / 0.02
    assert found["vague"].needed == int(np.ceil(50 * factor**2))


def test_claims_are_adjusted_for_questions_and_then_for_hospitals() -> None:
    def of(p: float, q: float) -> Asked:
        return Asked({"ranking": Evidence(p, 1.0), "usefulness": Evidence(1.0, q)}, gain(0.0, 0.05), 50)

    found = verdicts({"a": of(0.004, 0.9), "b": of(0.5, 0.6), "c": of(0.7, 0.8), "d": of(0.9, 0.02)}, margin=0.02)
    # Within hospitals Holm gives smallest 0.008, 1, 1 and 0.04; of these Benjamini and Hochberg select the first alone,
    # so claims there are made at 0.05 / 4.
    assert found["a"].questions["ranking"].p_adjusted == pytest.approx(4 * 0.008)
    assert (found["a"].outcome, found["d"].outcome) == ("gains", "undecided")
    assert found["d"].questions["usefulness"].p_adjusted == pytest.approx(4 * 0.04)


@pytest.mark.parametrize("seed", range(5))
def test_hospitals_are_selected_as_statsmodels_does(seed: int) -> None:
    p = np.random.default_rng(seed).random(20) ** 3
    assert selected(p.tolist(), 0.05) == multipletests(p, 0.05, "fdr_bh")[0].sum()


def test_no_worse_needs_that_nothing_points_the_other_way() -> None:
    one = Asked({"ranking": of_difference(gain(0.0, 0.004)), "usefulness": Evidence(1.0, 0.03)}, gain(0.0, 0.004), 50)
    assert verdicts({"h": one}, margin=0.02)["h"].outcome == "undecided"
    assert verdicts({"h": asked(-0.03, error=0.03)}, margin=0.02)["h"].outcome == "undecided"
    assert verdicts({"h": asked(0.0, error=0.0)}, margin=0.02)["h"].outcome == "undecided"


def test_calibration_is_judged_by_the_distance_from_right() -> None:
    def told(f: float, l_: float, apart: float = 0.02, each: float = 0.1) -> Evidence:
        return of_distances(student(f - l_, apart, 1e9, 0.95, ""), student(f + l_, 2 * each, 1e9, 0.95, ""))

    assert told(0.6, 0.0).worse < 0.01  # it foresees too few, the other is right
    assert told(-0.6, 0.0).worse < 0.01
    assert told(0.0, 0.6).better < 0.01
    assert told(0.0, 0.0).p_value == 1.0
    assert told(0.5, -0.5).p_value > 0.5  # off by as much, to the other side
    assert told(0.6, 0.0).worse == pytest.approx(2 * scipy.stats.norm.sf(0.6 / 0.2), rel=1e-4)


def test_the_null_of_calibration_is_seldom_rejected() -> None:
    draw, false = np.random.default_rng(0), 0
    for _ in range(2000):  # both models right, or both off by as much; noise that they share and their own
        shared, own, other = draw.normal(0, 0.1), draw.normal(0, 0.03), draw.normal(0, 0.03)
        truth = draw.choice([0.0, 0.3])
        f, l_ = truth + shared + own, truth + shared + other
        apart, total = np.hypot(0.03, 0.03), np.sqrt(4 * 0.01 + 2 * 0.03**2)
        evidence = of_distances(student(f - l_, apart, 1e9, 0.95, ""), student(f + l_, total, 1e9, 0.95, ""))
        false += evidence.p_value <= 0.05
    assert false / 2000 <= 0.055


def test_above_a_margin_equals_scipy() -> None:
    assert above(gain(0.01, 0.02, 7), -0.02) == pytest.approx(scipy.stats.t.sf(1.5, 7))
    with pytest.raises(ValueError, match="no standard error"):
        above(Interval(0.0, -1.0, 1.0, 0.95, "Wilson"))


def test_random_effects_of_published_data_solve_their_equations() -> None:
    """Teacher expectancy on pupil IQ (Raudenbush 1984), 19 studies."""
    effects = np.array(
        [
            0.03,
            0.12,
            -0.14,
            1.18,
            0.26,
            -0.06,
            -0.02,
            -0.32,
            0.27,
            0.80,
            0.54,
            0.18,
            -0.02,
            0.23,
            -0.18,
            -0.06,
            0.30,
            0.07,
            -0.07,
        ]
    )
    variances = np.array(
        [
            0.0156,
            0.0216,
            0.0279,
            0.1391,
            0.1362,
            0.0106,
            0.0106,
            0.0484,
            0.0269,
            0.0630,
            0.0912,
            0.0497,
            0.0835,
            0.0841,
            0.0253,
            0.0279,
            0.0193,
            0.0088,
            0.0303,
        ]
    )
    found = random_effects(effects, np.sqrt(variances))
    assert found is not None
    oracle = combine_effects(effects, variances, method_re="iterated", use_t=False)
    assert found.tau**2 == pytest.approx(oracle.tau2, rel=1e-3)
    assert found.i_squared == pytest.approx(oracle.i2)
    error = np.std(effects, ddof=1) / np.sqrt(19)  # they vary more than their errors say
    assert found.mean.estimate == pytest.approx(effects.mean())
    assert (found.mean.low, found.mean.high) == pytest.approx(scipy.stats.t.interval(0.95, 18, effects.mean(), error))


def test_hospitals_that_vary_less_than_their_errors_have_the_errors_mean() -> None:
    found = random_effects(np.array([0.01, 0.03]), np.array([0.03, 0.04]))
    assert found is not None
    assert found.mean.estimate == pytest.approx(0.02)
    assert found.mean.error == pytest.approx(0.025)  # the root of (0.0009 + 0.0016) / 4
    assert found.mean.df == pytest.approx((0.025**2 / 0.0001) ** 2)  # S^2 is 0.0002, and its half is in doubt
    assert (found.tau, found.i_squared, found.prediction) == (0.0, 0.0, None)


def test_the_mean_of_hospitals_holds_where_the_small_gain_most() -> None:
    draw, held = np.random.default_rng(8), 0
    for _ in range(400):
        events = np.exp(draw.uniform(np.log(10), np.log(200), 6))
        gains, errors = 0.08 * (10 / events) ** 0.7, 0.2 / np.sqrt(events)
        found = random_effects(draw.normal(gains, errors), errors)
        assert found is not None
        held += found.mean.low <= gains.mean() <= found.mean.high
    assert 0.95 <= held / 400 < 1


def test_what_hospitals_share_at_a_seed_widens_the_mean() -> None:
    draw = np.random.default_rng(0)
    own = draw.normal(0, 0.01, (6, 5))
    effects, errors = np.full(6, 0.02), np.full(6, 0.01)
    apart = random_effects(effects + own.mean(axis=1), errors, own)
    together = random_effects(effects + own.mean(axis=1), errors, own + draw.normal(0, 0.05, 5))
    assert apart is not None
    assert together is not None
    assert together.shared > 5 * apart.shared
    assert together.mean.high - together.mean.low > apart.mean.high - apart.mean.low
    assert random_effects(effects[:1], errors[:1]) is None


def test_gain_by_size_equals_weighted_least_squares_and_says_who_gains() -> None:
    sizes = np.array([16.0, 32, 64, 128, 256, 512])
    errors = np.full(6, 0.005)
    effects = 0.10 - 0.02 * (np.log2(sizes) - 4) + np.array([0.004, -0.004, 0.002, -0.002, 0.001, -0.001])
    line = by_size(effects, errors, sizes)
    assert line is not None
    slope, intercept = np.polyfit(np.log2(sizes), effects, 1)
    assert line.slope.estimate == pytest.approx(slope)
    assert line.effect[0] == pytest.approx(intercept + 4 * slope)
    below = gains_below(line)
    assert below is not None
    assert 128 < below < 512
    assert by_size(effects[:4], errors[:4], sizes[:4]) is None
    assert gains_below(by_size(-effects, errors, sizes)) is None  # pyright: ignore[reportArgumentType]
