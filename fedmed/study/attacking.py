"""Attacks that need TensorFlow: rows rebuilt from updates, and audits of promises. Runs where models are trained."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from fedmed.attacks import audit as audits
from fedmed.attacks import canaries
from fedmed.attacks.audit import Audit
from fedmed.learning import algorithms
from fedmed.learning.algorithm import Training
from fedmed.learning.learner import Anatomy
from fedmed.privacy import accounting
from fedmed.privacy.accounting import Releases
from fedmed.settings import config
from fedmed.settings.privacy import Privacy
from fedmed.study import guarantees, privacy_price, rebuilding
from fedmed.study.consortium import Consortium
from fedmed.study.plan import Job
from fedmed.study.results import Result
from fedmed.study.schema.leaked import Audited
from fedmed.system import seeds

_DELTA = 1e-5  # of the canaries' promise
_SMALL_CLAIM = 1.0  # what the control must refute


def attacked(job: Job, consortium: Consortium) -> Result:
    """Runs an attack and returns what it found as a result without predictions."""
    run: dict[str, Callable[[Job, Consortium], Any]] = {"rebuilding": rebuilding.rebuilt, "auditing": _audited}
    told = {name: [dataclasses.asdict(one) for one in own] for name, own in run[job.attack](job, consortium).items()}
    nothing = np.zeros(0)
    return Result([], nothing, nothing, nothing, {}, 0.0, 0, told=told)


def _audited(job: Job, consortium: Consortium) -> dict[str, list[Audited]]:
    """Audits the promise of the study, or each of those whose price is asked, and one without noise."""
    settings = job.settings
    asked = [("this study", settings)] if settings.privacy.unit == "patient" else []
    asked += [(f"epsilon {e:g}", privacy_price.promised(settings, e)) for e in settings.study.privacy.epsilons]
    if not asked:
        return {}
    found = [audited(name, own, _releases(job, own, consortium), control=False) for name, own in asked]
    name, own = asked[0]
    quiet = dataclasses.replace(_releases(job, own, consortium), noise=0.0)
    return {"audits": [*found, audited(f"{name}, noise off", own, quiet, control=True)]}


def _releases(job: Job, settings: config.RunConfig, consortium: Consortium) -> Releases:
    """Returns what the hospital with the most noisy sums releases in all rounds that the budget allows."""
    told = guarantees.promises_of(dataclasses.replace(job, settings=settings, attack=""), consortium)
    if told is None:
        raise ValueError("nothing is promised")
    return max((promise.trained(told.rounds) for promise in told.by_client.values()), key=lambda own: own.steps)


def audited(promise: str, settings: config.RunConfig, releases: Releases, *, control: bool) -> Audited:
    """Audits a client's own step, with canaries in place of patients, at the rate, noise and number of steps released.

    Args:
        promise: in words.
        settings: of the training; its clip and local optimizer are used.
        releases: of a hospital; the canaries are drawn at the same rate, as far as their number allows.
        control: whether the noise was switched off; the claim is then a small one, which must be refuted.
    """
    count, seed = settings.study.leakage.canaries, settings.seed
    rng = seeds.generator(seed, "study.audit")
    inside = rng.random(count) < 0.5
    rows = int(inside.sum())
    batch = max(1, round(releases.rate * rows))
    own = Releases(min(1.0, batch / rows), releases.noise, releases.steps)
    claim = _SMALL_CLAIM if control else accounting.epsilon([own], _DELTA)
    step = _step(settings, own, batch, count)
    found: Audit = audits.judged(inside, step(inside, int(rng.integers(2**31 - 1))), claim, _DELTA)
    return Audited(promise, control, claim, found.bound, found.ceiling, count, found.finding)


def _step(settings: config.RunConfig, releases: Releases, batch: int, count: int) -> audits.Step:
    client = dataclasses.replace(
        settings.client,
        optimizer="sgd",
        epochs=1,
        steps=releases.steps,
        batch_size="full" if releases.rate == 1 else batch,
    )
    privacy = Privacy(unit="patient", noise_multiplier=releases.noise, clip_norm=settings.privacy.clip_norm)
    training = Training(
        client, config.Server(), config.Aggregation(), Anatomy((), ()), privacy=privacy, clipping="fast"
    )
    algorithm = algorithms.checked("fedavg", {})(training)
    return canaries.client_step(
        algorithm.client, lambda weights: algorithm.broadcast(algorithm.init(weights)), count, noise=releases.noise
    )
