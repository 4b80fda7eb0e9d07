"""The attacks on membership: halves, likelihood ratios, and intervals that hold the truth, on scores of known laws."""

from statistics import NormalDist

import numpy as np
import pytest

from fedmed.attacks.exposure import MembershipAttack, lira, loss_threshold
from fedmed.attacks.membership import Patients, Shadows, halves, likelihood_ratios

NORMAL = NormalDist()


def drawn(models: int, patients: int, shift: float, seed: int, levels: float = 0.0) -> Shadows:
    """Draws scores N(level of the patient + shift if in, 1) at two hospitals, a row a patient."""
    rng = np.random.default_rng(seed)
    inside = np.concatenate([*halves({"a": patients // 2, "b": patients - patients // 2}, models, rng).values()], 1)
    level = levels * np.random.default_rng(1).normal(size=patients)  # the same patients, whatever the seed
    score = level + shift * inside + rng.normal(size=inside.shape)
    return Shadows(inside, score, np.repeat(["a", "b"], [patients // 2, patients - patients // 2]), np.arange(patients))


def test_each_patient_is_in_exactly_half_of_the_models_and_in_one_of_each_pair() -> None:
    for count in (2, 7, 40):
        inside = halves({"a": count, "b": 5}, 10, np.random.default_rng(count))["a"]
        assert (inside.sum(axis=0) == 5).all()
        assert (inside[0::2] != inside[1::2]).all()
        assert set(inside.sum(axis=1)) <= {count // 2, count - count // 2}


def test_halves_follow_the_generator_and_refuse_what_cannot_be_halved() -> None:
    one, same, other = (halves({"a": 30}, 6, np.random.default_rng(seed))["a"] for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()
    with pytest.raises(ValueError, match="an even number, got 5"):
        halves({"a": 30}, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="'b' has 1"):
        halves({"a": 30, "b": 1}, 4, np.random.default_rng(0))


def test_a_ratio_worked_by_hand() -> None:
    # Three pairs of models and one row. The first pair is attacked: the others' scores are 1 and 3 with the row,
    # -1 and 1 without. Means 2 and 0, variances 2; with the doubt in a mean of two, 3.
    inside = np.array([[True], [False]] * 3)
    score = np.array([[2.0], [0.5], [1.0], [-1.0], [3.0], [1.0]])
    ratios = likelihood_ratios(inside, score)
    assert ratios[0, 0] == pytest.approx(4 / 6)  # (2 - 0)^2 / (2 x 3) less (2 - 2)^2 / (2 x 3)
    assert ratios[1, 0] == pytest.approx((0.5**2 - 1.5**2) / 6)


def test_a_models_own_pair_says_nothing_about_it() -> None:
    shadows = drawn(8, 20, 1.0, 0)
    changed = shadows.score.copy()
    changed[1] += 100.0
    before, after = (likelihood_ratios(shadows.inside, score)[0] for score in (shadows.score, changed))
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("models", [8, 64])
def test_what_was_not_learned_is_not_found(models: int) -> None:
    for attack in (lira, loss_threshold):
        overall = attack(drawn(models, 400, 0.0, 3, levels=2.0)).overall
        assert overall.auc.estimate == pytest.approx(0.5, abs=0.03)
        assert overall.auc.low < 0.5 < overall.auc.high


@pytest.mark.parametrize("shift", [0.5, pytest.param(1.5, marks=pytest.mark.slow)])
def test_a_shift_gives_the_area_and_the_share_caught_that_it_must(shift: float) -> None:
    area = NORMAL.cdf(shift / 2**0.5)
    plain = loss_threshold(drawn(32, 2000, shift, 0)).overall
    assert plain.auc.estimate == pytest.approx(area, abs=0.005)
    for caught in plain.caught:
        expected = 1 - NORMAL.cdf(NORMAL.inv_cdf(1 - caught.false_alarms) - shift)
        assert caught.share is not None
        assert caught.share.estimate == pytest.approx(expected, abs=0.01)
    # Where patients differ, only the ratio sees it; its means come of 63 models each.
    mixed = drawn(128, 300, shift, 0, levels=3.0)
    assert lira(mixed).overall.auc.estimate == pytest.approx(area, abs=0.02)
    assert loss_threshold(mixed).overall.auc.estimate < area - 0.05


def test_rows_of_a_patient_add_up() -> None:
    one = drawn(16, 60, 0.7, 2)
    rng = np.random.default_rng(0)
    # As many rows again, as informative as the first: two looks at a patient.
    more = np.concatenate([one.score, 0.7 * one.inside + rng.normal(size=one.score.shape)], axis=1)
    two = Shadows(np.tile(one.inside, 2), more, np.tile(one.hospital, 2), np.tile(one.patient, 2))
    patients = Patients.of(two)
    ratios = likelihood_ratios(two.inside, two.score)
    order = patients.place[:60]
    np.testing.assert_allclose(patients.sums(ratios)[:, order], ratios[:, :60] + ratios[:, 60:])
    assert lira(two).overall.patients == 60
    assert lira(two).overall.auc.estimate > lira(one).overall.auc.estimate + 0.03


def test_the_same_identifier_at_two_hospitals_is_two_patients() -> None:
    shadows = drawn(8, 10, 0.0, 0)
    twice = Shadows(shadows.inside, shadows.score, shadows.hospital, np.tile(np.arange(5), 2))
    assert [exposure.patients for exposure in lira(twice).hospitals] == [5, 5]


def test_a_hospital_is_judged_by_its_own_patients() -> None:
    shadows = drawn(16, 200, 0.0, 0)
    score = shadows.score + 2.0 * (shadows.inside & (shadows.hospital == "b"))
    a, b = lira(Shadows(shadows.inside, score, shadows.hospital, shadows.patient)).hospitals
    assert (a.hospital, b.hospital) == ("a", "b")
    assert a.auc.high < b.auc.low


def test_what_too_few_scores_cannot_tell_is_not_told() -> None:
    one_percent, per_mille = lira(drawn(8, 100, 1.0, 0)).overall.caught
    assert one_percent.share is not None
    assert per_mille.share is None
    assert per_mille.reason == "400 scores of non-members over all models, and 1,000 are needed"


def test_none_caught_is_not_taken_for_certain() -> None:
    shadows = drawn(8, 100, 0.0, 0)
    share = loss_threshold(Shadows(shadows.inside, 0.0 * shadows.score, shadows.hospital, shadows.patient))
    caught = share.overall.caught[0].share
    assert caught is not None
    assert (caught.estimate, caught.low) == (0.0, 0.0)
    assert caught.high == pytest.approx(0.0095, abs=1e-4)  # Wilson: z^2 / (400 + z^2)


def test_few_models_share_a_variance() -> None:
    found: list[MembershipAttack] = [lira(drawn(models, 20, 0.0, 0)) for models in (62, 64)]
    assert [attack.variances for attack in found] == ["shared", "each row's"]


def test_equal_scores_do_no_harm() -> None:
    shadows = drawn(64, 20, 1.0, 0)
    score = shadows.score.copy()
    score[:, 3] = 16.0  # probabilities cut at the same value
    assert np.isfinite(likelihood_ratios(shadows.inside, score)).all()
    assert np.isfinite(likelihood_ratios(shadows.inside, np.zeros_like(score))).all()


def test_what_would_answer_another_question_is_refused() -> None:
    good = drawn(8, 10, 0.0, 0)
    with pytest.raises(ValueError, match="all together or not at all"):
        Patients.of(Shadows(good.inside, good.score, good.hospital, np.repeat(np.arange(5), 2)))
    with pytest.raises(ValueError, match="two halves"):
        Shadows(np.roll(good.inside, 1, axis=0), good.score, good.hospital, good.patient)
    with pytest.raises(ValueError, match="80 values are not finite"):
        Shadows(good.inside, good.score + np.nan, good.hospital, good.patient)
    with pytest.raises(ValueError, match="at least 8, got 4"):
        Shadows(good.inside[:4], good.score[:4], good.hospital, good.patient)


@pytest.mark.parametrize("shift", [0.0, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.6, 2.0))])
def test_intervals_hold_the_mean_over_models(shift: float) -> None:
    """Over draws of models with the patients held; the jackknife is known to be too wide where little is found."""
    found = [lira(drawn(12, 60, shift, seed, levels=1.0)).overall.auc for seed in range(100)]
    truth = np.mean([one.estimate for one in found])
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.92
    spread = np.std([one.estimate for one in found])
    assert np.mean([one.error for one in found if one.error is not None]) < 2 * spread
