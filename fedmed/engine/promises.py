"""What a run promises to patients or hospitals, round by round: solved from the settings alone, without TensorFlow."""

import bisect
import dataclasses
import math
from collections.abc import Mapping, Sequence

from fedmed.engine import attendance
from fedmed.engine.fates import Fates
from fedmed.privacy import accounting, shares
from fedmed.privacy.accounting import Releases
from fedmed.settings import config
from fedmed.settings.privacy import Privacy, Unit
from fedmed.system import errors

EVERYBODY = "all hospitals"
_MANY = 50
_LEAST: Mapping[Unit, int] = {"none": 0, "patient": 5, "hospital": 2}
_MARKS = 20  # of longer runs the ledger tells what is spent after each twentieth


@dataclasses.dataclass(frozen=True)
class Promise:
    """To the patients of one hospital, or to all hospitals alike.

    Attributes:
        units: how many patients, or hospitals; taken as public.
        delta: of the promise.
        rate: with which chance a unit is drawn at a step (Poisson).
        noise: SD of the noise over the clip.
        steps: noisy sums a round.
        attended: numbers of the rounds, from 0, in which there are such sums.
        before: what was released before the first round.
        rounds: of the run.
    """

    units: int
    delta: float
    rate: float
    noise: float
    steps: int
    attended: Sequence[int]
    before: tuple[Releases, ...] = ()
    rounds: int = 0

    def trained(self, done: int) -> Releases:
        """Returns the noisy sums of so many rounds, perhaps none."""
        return Releases(self.rate, self.noise, self.steps * bisect.bisect_left(self.attended, done))

    def releases(self, done: int) -> tuple[Releases, ...]:
        """Returns what has been released when so many rounds are done."""
        own = self.trained(done)
        return (*self.before, *((own,) if own.steps else ()))

    def spent(self, done: int) -> float:
        """Returns the epsilon of all that has been released when so many rounds are done."""
        return accounting.epsilon(self.releases(done), self.delta)

    def at_most(self, done: int) -> float:
        """Returns the same, found faster and less than 1 % too large, but for what all rounds are known to spend."""
        quickly = accounting.epsilon_at_most(self.releases(done), self.delta)
        return min(quickly, self.spent(self.rounds)) if done <= self.rounds else quickly

    def with_one_more(self) -> float:
        """Returns the epsilon of all rounds and one more like them."""
        count = self.steps * (bisect.bisect_left(self.attended, self.rounds) + 1)
        releases = (*self.before, Releases(self.rate, self.noise, count))
        return max(accounting.epsilon_at_most(releases, self.delta), self.spent(self.rounds))

    def ledger(self, done: int) -> float:
        """Returns an epsilon that is not exceeded when so many rounds are done: in long runs that of a later round."""
        stride = max(1, -(-self.rounds // _MARKS))
        return self.at_most(min(-(-done // stride) * stride, max(self.rounds, done)))


@dataclasses.dataclass(frozen=True)
class PromiseTold:
    """What is promised to the patients of a hospital, or to hospitals, after the rounds that were done.

    Attributes:
        units: how many patients, or hospitals.
        delta: of the promise.
        sampling_rate: the chance with which one is drawn at a step.
        noise_multiplier: SD of the noise over the clip.
        steps: noisy sums that were released.
        epsilon: by privacy loss distributions; null without noise.
        epsilon_rdp: by Renyi differential privacy, to stand beside it.
        preprocessing_noise: of the means and SDs of columns, over their bounds; null where none were released.
    """

    units: int
    delta: float
    sampling_rate: float
    noise_multiplier: float
    steps: int
    epsilon: float | None
    epsilon_rdp: float | None
    preprocessing_noise: float | None


@dataclasses.dataclass(frozen=True)
class PromisesTold:
    """What a run promises, adding or removing one unit, to whoever sees all that is sent or the model.

    Attributes:
        unit: whom it is promised to.
        clip_norm: the most that one's gradient or update weighs.
        target_epsilon: that was asked for; null where the noise was given.
        promises: by hospital, or under "all hospitals".
    """

    unit: Unit
    clip_norm: float
    target_epsilon: float | None
    promises: Mapping[str, PromiseTold]


@dataclasses.dataclass(frozen=True)
class Promises:
    """All promises of a run.

    Attributes:
        unit: whom they are made to.
        clip_norm: the most that a unit's gradient or update weighs.
        target_epsilon: of each, None where the noise was given.
        by_client: hospital to promise; EVERYBODY alone where it is made to hospitals.
        rounds: after how many the budget is spent, or the settings' rounds are done.
        planned: the settings' rounds.
    """

    unit: Unit
    clip_norm: float
    target_epsilon: float | None
    by_client: Mapping[str, Promise]
    rounds: int
    planned: int

    def noise(self, client: str) -> float:
        """Returns the noise multiplier that a client, or the server, trains with."""
        found = self.by_client.get(client) or self.by_client.get(EVERYBODY)
        return 0.0 if found is None else found.noise

    def fixed_cohort(self) -> float | None:
        """Returns what cohorts of a fixed size would spend; None where patients are promised or all hospitals train."""
        promise = self.by_client.get(EVERYBODY)
        if promise is None or promise.rate == 1 or promise.noise == 0:
            return None
        cohort = round(promise.rate * promise.units)
        return accounting.epsilon_fixed_cohort(cohort, promise.units, promise.noise, self.rounds, promise.delta)

    def ledger(self, done: int) -> dict[str, float | None]:
        """Returns, for each promise, an epsilon that is not exceeded when so many rounds are done; None: not finite.

        Of many promises nothing is told but at the end, since each takes a while to count.
        """
        if len(self.by_client) > _MANY:
            return {}
        return {client: _finite(promise.ledger(done)) for client, promise in self.by_client.items()}

    def told(self, done: int) -> PromisesTold:
        """Returns what is promised when so many rounds are done."""
        found = {client: _told(promise, done) for client, promise in self.by_client.items()}
        return PromisesTold(self.unit, self.clip_norm, self.target_epsilon, found)


def _told(promise: Promise, done: int) -> PromiseTold:
    releases = promise.releases(done)
    return PromiseTold(
        units=promise.units,
        delta=promise.delta,
        sampling_rate=promise.rate,
        noise_multiplier=promise.noise,
        steps=sum(own.steps for own in releases[len(promise.before) :]),
        epsilon=_finite(accounting.epsilon(releases, promise.delta)),
        epsilon_rdp=_finite(accounting.epsilon_rdp(releases, promise.delta)),
        preprocessing_noise=promise.before[0].noise if promise.before else None,
    )


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None


def made(settings: config.RunConfig, units: Mapping[str, int]) -> Promises | None:
    """Returns what is promised, None where nothing is.

    Args:
        settings: of the run.
        units: each client's training patients; of a promise to hospitals only their number counts.

    Raises:
        ConfigError: the promise cannot be kept, or not for one round.
    """
    privacy, rounds = settings.privacy, settings.rounds
    if not privacy.is_on:
        return None
    asked = _asked(settings, units)
    before: tuple[Releases, ...] = ()
    if privacy.preprocessing_share:
        before = (Releases(1.0, shares.preprocessing_noise(privacy, units), 1),)
    stated = {client: _solved(privacy, promise, client, before) for client, promise in asked.items()}
    if privacy.target_epsilon is not None and privacy.noise_multiplier is not None:
        rounds = min(_affordable(promise, privacy.target_epsilon, rounds) for promise in stated.values())
        if rounds == 0:
            raise errors.ConfigError(
                f"privacy.noise_multiplier: {privacy.noise_multiplier:g} spends more than target_epsilon "
                f"{privacy.target_epsilon:g} in the first round; give more noise, or leave it out to have it chosen"
            )
    stated = {client: dataclasses.replace(promise, rounds=rounds) for client, promise in stated.items()}
    return Promises(privacy.unit, privacy.clip_norm, privacy.target_epsilon, stated, rounds, settings.rounds)


def _asked(settings: config.RunConfig, units: Mapping[str, int]) -> dict[str, Promise]:
    """Returns what is promised, without the noise."""
    privacy, clients = settings.privacy, list(units)
    size = attendance.cohort_size(settings.cohort, len(clients))
    if privacy.unit == "hospital":
        count = len(clients)
        delta = privacy.delta or accounting.default_delta(count)
        return {EVERYBODY: Promise(count, delta, size / count, 0.0, 1, range(settings.rounds))}
    attended = _attended(settings, units, size)
    found = {}
    for client, count in units.items():
        batch = settings.client.batch_size
        batch = count if batch == "full" else min(batch, count)
        steps = settings.client.steps or settings.client.epochs * -(-count // max(1, batch))
        delta = privacy.delta or accounting.default_delta(count)
        found[client] = Promise(count, delta, batch / max(1, count), 0.0, steps, attended[client])
    return found


def _attended(settings: config.RunConfig, units: Mapping[str, int], size: int) -> dict[str, list[int]]:
    """Returns the rounds in which each client trains; cohorts and absences are drawn by seed and round alone.

    Who misses a deadline has trained all the same, and counts.
    """
    clients = list(units)
    found: dict[str, list[int]] = {client: [] for client in clients}
    numbers = {client: number for number, client in enumerate(clients)}
    fates = Fates(settings, units)
    for round_ in range(settings.rounds):
        for client in attendance.cohort(settings.seed, round_, clients, size):
            if not fates.of(round_, numbers[client]).absent:
                found[client].append(round_)
    return found


def _solved(privacy: Privacy, promise: Promise, client: str, before: tuple[Releases, ...]) -> Promise:
    """Returns the promise with its noise, given what is released before training."""
    least = _LEAST[privacy.unit]
    if promise.units < least:
        raise errors.ConfigError(
            f"privacy: {client} has fewer than {least} {privacy.unit}s to promise anything to, and a promise to so few "
            "is worth nothing; leave it out"
        )
    if privacy.noise_multiplier is not None:
        return dataclasses.replace(promise, noise=privacy.noise_multiplier, before=before)
    target, steps = privacy.target_epsilon or 0.0, promise.steps * len(promise.attended)
    noise = accounting.noise_for(promise.rate, steps, target, promise.delta, before) if steps else 0.0
    return dataclasses.replace(promise, noise=noise, before=before)


def _affordable(promise: Promise, target: float, rounds: int) -> int:
    """Returns after how many rounds, at most `rounds`, the next one would exceed the target."""
    steps = accounting.max_steps(promise.rate, promise.noise, target, promise.delta, promise.before)
    fits = steps // max(1, promise.steps)
    return rounds if fits >= len(promise.attended) else promise.attended[fits]


def in_words(epsilons: Sequence[float | None]) -> str:
    """Returns promises by their epsilons, None being no promise: "without a promise and at epsilon 8 and 1"."""
    told = [f"{epsilon:g}" for epsilon in epsilons if epsilon is not None]
    listed = " and ".join(part for part in (", ".join(told[:-1]), *told[-1:]) if part)
    parts = [*(["without a promise"] if None in epsilons else []), *([f"at epsilon {listed}"] if told else [])]
    return " and ".join(parts)
