"""How well an attack tells who was trained on, for each hospital and for all, with intervals over models."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from fedmed.attacks import membership
from fedmed.attacks.membership import Patients, Shadows
from fedmed.statistics.intervals import Interval, student, wilson
from fedmed.statistics.ranking import auroc

Array: TypeAlias = np.ndarray
Scoring = Callable[[Array, Array], Array]
"""(inside [K, n], score [K, n]) of some of the models -> [K, p] of patients; higher speaks for membership."""

FALSE_ALARMS = (0.01, 0.001)
"""Shares of non-members that may be taken for members."""


@dataclasses.dataclass(frozen=True)
class Caught:
    """Share of members recognised when few non-members are taken for members.

    Attributes:
        false_alarms: the share of non-members allowed.
        share: of members, with its 95 % interval; None where it cannot be told.
        reason: why not, "" otherwise.
    """

    false_alarms: float
    share: Interval | None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Exposure:
    """How far the patients of a hospital, or of all (hospital None), can be told from others like them.

    Attributes:
        hospital: its name.
        patients: how many were attacked.
        auc: chance that a member is ranked above a non-member of the same model, mean over models; 0.5 is guessing.
        caught: for each of FALSE_ALARMS, one threshold for all models.
    """

    hospital: str | None
    patients: int
    auc: Interval
    caught: tuple[Caught, ...]


@dataclasses.dataclass(frozen=True)
class MembershipAttack:
    """What an attack on K models found.

    Attributes:
        attack: which.
        models: K. A result depends on it: the more models, the stronger the likelihood ratio.
        variances: of the likelihood ratio, "shared" or "each row's"; "" for the loss.
        overall: of all patients together.
        hospitals: of each one's patients, by name.
    """

    attack: Literal["likelihood ratio", "loss"]
    models: int
    variances: str
    overall: Exposure
    hospitals: tuple[Exposure, ...]


def lira(shadows: Shadows) -> MembershipAttack:
    """Attacks by the likelihood ratio; the rows of a patient are taken as independent, so their logarithms add up."""
    patients = Patients.of(shadows)

    def scored(inside: Array, score: Array) -> Array:
        return patients.sums(membership.likelihood_ratios(inside, score))

    models = len(shadows.score)
    return _attack("likelihood ratio", membership.variances(models), shadows, patients, scored)


def loss_threshold(shadows: Shadows) -> MembershipAttack:
    """Attacks by the score alone (Yeom et al. 2018): who is fitted well was in. It needs no shadow models."""
    patients = Patients.of(shadows)
    return _attack("loss", "", shadows, patients, lambda inside, score: patients.means(score))


def _attack(
    name: Literal["likelihood ratio", "loss"], variances: str, shadows: Shadows, patients: Patients, scored: Scoring
) -> MembershipAttack:
    """Each pair of models is left out once as what is attacked and as reference of the others: a jackknife.

    A t interval over the models' own values would take them for independent, which the shared references forbid.
    """
    hospital = np.asarray(shadows.hospital)[patients.first]
    names = sorted(set(hospital.tolist()))
    groups = [np.arange(len(hospital)), *(np.flatnonzero(hospital == name) for name in names)]

    def values(inside: Array, score: Array) -> Array:
        by_patient = scored(inside, score)
        member = inside[:, patients.first]
        return np.stack([_statistics(member[:, group], by_patient[:, group]) for group in groups])

    whole = values(shadows.inside, shadows.score)
    left = np.stack([values(*shadows.without(pair)) for pair in range(shadows.pairs)])
    found = [
        _exposure(who, len(group), len(shadows.score), whole[g], left[:, g])
        for g, (who, group) in enumerate(zip([None, *names], groups, strict=True))
    ]
    return MembershipAttack(name, len(shadows.score), variances, found[0], tuple(found[1:]))


def _statistics(member: Array, score: Array) -> Array:
    """Returns the mean AUC over models and the share caught at each of FALSE_ALARMS, [3]; NaN where undefined."""
    areas = [auroc(m, s) for m, s in zip(member, score, strict=True)]
    known = [area for area in areas if np.isfinite(area)]
    others, members = np.sort(score[~member])[::-1], score[member]
    shares = [(members > others[int(rate * len(others) + 1e-9)]).mean() for rate in FALSE_ALARMS]
    return np.array([np.mean(known) if known else np.nan, *shares])


def _exposure(hospital: str | None, patients: int, models: int, whole: Array, left: Array) -> Exposure:
    scores = models * patients // 2  # of members, and as many of non-members
    caught = [_caught(rate, scores, whole[1 + k], left[:, 1 + k]) for k, rate in enumerate(FALSE_ALARMS)]
    return Exposure(hospital, patients, _jackknife(whole[0], left[:, 0]), tuple(caught))


def _caught(rate: float, scores: int, whole: float, left: Array) -> Caught:
    if scores * rate < 1:
        needed = f"{1 / rate:,.0f}"
        return Caught(rate, None, f"{scores:,} scores of non-members over all models, and {needed} are needed")
    found = _jackknife(whole, left)
    binomial = wilson(round(whole * scores), scores)  # so that none caught, or all, is not taken for certain
    return Caught(
        rate,
        dataclasses.replace(found, low=min(found.low, binomial.low), high=max(found.high, binomial.high)),
    )


def _jackknife(whole: float, left: Sequence[float] | Array) -> Interval:
    """Returns a statistic with its t interval from J values, each without one pair (Efron & Stein 1981), in [0, 1]."""
    left = np.asarray(left)
    pairs = len(left)
    error = float(np.sqrt((pairs - 1) / pairs * np.square(left - left.mean()).sum()))
    found = student(float(whole), error, pairs - 1, 0.95, "jackknife over pairs of models")
    return dataclasses.replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
