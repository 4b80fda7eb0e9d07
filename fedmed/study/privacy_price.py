"""What a promise to patients costs each hospital: federated and alone, trained at the same epsilon."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.engine.promises import PromisesTold, in_words
from fedmed.settings import config
from fedmed.settings.privacy import NONE
from fedmed.settings.study import PRIVACY, Kind
from fedmed.statistics.verdicts import Outcome
from fedmed.study import comparisons, estimates, plan
from fedmed.study.consortium import Consortium
from fedmed.study.estimates import Rules
from fedmed.study.measures import Measure
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan, Job, Scenario
from fedmed.study.schema import Difference, SeededEstimate
from fedmed.study.schema.promised import PricePoint, PrivacyPrice
from fedmed.system import errors

NAME = PRIVACY
_KINDS: tuple[Kind, ...] = ("federated", "local")


def scenario(settings: config.RunConfig) -> Scenario:
    """Returns federated and local arms: without a promise, then at each epsilon, the weakest promise first."""
    arms = [arm for epsilon in epsilons(settings) for arm in _arms(settings, epsilon)]
    return Scenario(NAME, settings, tuple(arms), {})


def epsilons(settings: config.RunConfig) -> list[float | None]:
    """Returns the promises in order, None for no promise first."""
    return [None, *sorted(settings.study.privacy.epsilons, reverse=True)]


def _arms(settings: config.RunConfig, epsilon: float | None) -> list[ArmPlan]:
    own = unpromised(settings) if epsilon is None else promised(settings, epsilon)
    return [ArmPlan(_name(kind, epsilon), kind, own, {}) for kind in _KINDS]


def _name(kind: Kind, epsilon: float | None) -> str:
    return kind if epsilon is None else f"{kind} at {epsilon:g}"


def unpromised(settings: config.RunConfig) -> config.RunConfig:
    """Returns the settings without a promise."""
    return dataclasses.replace(settings, privacy=NONE)


def promised(settings: config.RunConfig, epsilon: float) -> config.RunConfig:
    """Returns the settings with a promise to patients, and all that it needs: scaling by bounds, no early stop.

    Raises:
        ConfigError: what `study.privacy.set` changes cannot be, or not with a promise.
    """
    changes = {"privacy.target_epsilon": epsilon, "privacy.noise_multiplier": None}
    return _changed(settings, f"at epsilon {epsilon:g}", changes)


def without_noise(settings: config.RunConfig) -> config.RunConfig:
    """Returns the settings with all that a promise needs but the noise, to tell what the noise does from the rest."""
    changes = {
        "privacy.target_epsilon": None,
        "privacy.noise_multiplier": 0.0,
        "privacy.preprocessing_share": 0.0,
    }
    return _changed(settings, "without noise", changes)


def _changed(settings: config.RunConfig, what: str, changes: Mapping[str, Any]) -> config.RunConfig:
    needed = {"privacy.unit": "patient", "data.preprocessing": "federated", "data.standardise_label": False}
    try:
        own = config.changed(
            dataclasses.replace(settings, stop=config.Stop()), {**settings.study.privacy.set, **needed, **changes}
        )
    except errors.ConfigError as error:
        raise errors.ConfigError(f"study.privacy, {what}: {error}") from None
    return dataclasses.replace(own, study=settings.study)


def jobs(found: Scenario, consortium: Consortium, metric: str, trained: Sequence[Job]) -> list[Job]:
    """Returns the jobs; an arm that the study has trained already is not trained again."""
    known = {_training(job): job for job in trained}
    own = plan.jobs(found, consortium.hospitals, metric)
    return [dataclasses.replace(known.get(_training(job), job), arm=job.arm) for job in own]


def _training(job: Job) -> tuple[str, ...]:
    """Returns what tells trainings apart within a study."""
    return job.kind, job.hospital or "", repr(job.settings)


def price(
    settings: config.RunConfig,
    outcomes: Outcomes,
    metric: Measure,
    rules: Rules,
    promises: Mapping[str, PromisesTold],
) -> PrivacyPrice:
    """Returns the curves and what they say; claims are adjusted for how many promises are compared, by Bonferroni."""
    asked = epsilons(settings)
    adjusted = dataclasses.replace(rules, level=1 - (1 - rules.level) / len(asked))
    points = tuple(_point(outcomes, epsilon, metric, rules, adjusted) for epsilon in asked)
    return PrivacyPrice(
        metric=metric.name,
        points=points,
        sentences={name: sentence(name, points) for name in outcomes.hospitals},
        promises=promises,
        about=_ABOUT.format(level=f"{100 * adjusted.level:.3g} %"),
    )


def _point(outcomes: Outcomes, epsilon: float | None, metric: Measure, rules: Rules, adjusted: Rules) -> PricePoint:
    of, against = (_name(kind, epsilon) for kind in _KINDS)
    found = comparisons.compare(outcomes, of, against, [metric], adjusted, primary=False)

    def performed(arm: str) -> dict[str, SeededEstimate]:
        return {name: estimates.performance(outcomes, arm, name, metric, rules) for name in outcomes.hospitals}

    def cost(kind: Kind) -> dict[str, Difference]:
        if epsilon is None:
            return {}
        pair = (_name(kind, epsilon), _name(kind, None))
        return {name: estimates.difference(outcomes, *pair, name, metric, rules) for name in outcomes.hospitals}

    return PricePoint(
        epsilon=epsilon,
        federated=performed(of),
        local=performed(against),
        difference={name: own.measures[metric.name] for name, own in found.hospitals.items()},
        outcome={name: own.outcome for name, own in found.hospitals.items()},
        cost_federated=cost("federated"),
        cost_local=cost("local"),
    )


_ABOUT = (
    "The same training with a promise to each hospital's patients: federated, and each hospital alone, at the same "
    "epsilon and delta. A promise is kept by clipping each patient's gradient and by noise, and its columns are scaled "
    "by bounds instead of by sums; all of that is in its price. Whether joining pays is asked at each promise in the "
    "primary metric alone, by intervals of level {level}, so that all of them together hold."
)


def sentence(hospital: str, points: Sequence[PricePoint]) -> str:
    """Returns at which promises joining pays for a hospital, as far as its patients can tell."""
    by: dict[Outcome, list[float | None]] = {}
    for point in points:
        by.setdefault(point.outcome[hospital], []).append(point.epsilon)
    if set(by) == {"too few events"}:
        return "too few events to tell at any promise"
    said = [f"{_WORDS[outcome]} {in_words(by[outcome])}" for outcome in _WORDS if outcome in by]
    return "; ".join(said)


_WORDS: dict[Outcome, str] = {
    "gains": "joining pays",
    "harmed": "joining harms",
    "no worse": "joining is shown to be no worse",
    "undecided": "undecided",
}
