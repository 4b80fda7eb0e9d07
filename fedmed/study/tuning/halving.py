"""Successive halving over rounds: which candidates are trained how far, given what is known. Pure: no training.

Many candidates train a few rounds, and the best third goes on to three times as many, until some have all rounds
(Jamieson & Talwalkar 2016, Algorithm 1; Li et al. 2018, section 3, without its outer loop over budgets). A few rounds
favour rates that are large, so the rule has two ends of its own: while the best of a few rounds lies at the end of the
grid, the grid grows there; and the best of all rounds must be better than its neighbours of all rounds, which are
trained on where they were not.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

STEPS_AN_ORDER = 3
"""Learning rates are 10^(1/3) apart, as in McMahan et al. 2017."""

_KEPT = 3  # one of so many goes on
_LEAST_ROUNDS = 2
_GROWN, _MOST = 2, 18  # steps to either side: at a time, and at most


class Effort(NamedTuple):
    """How much a search tries.

    Attributes:
        steps: to either side of the config's rate, at first.
        parts: candidates are compared after a part of all rounds, 1 / each of these, the last of which chooses.
        beside: whether the best must also beat its neighbours after as many rounds.
    """

    steps: int
    parts: tuple[int, ...]
    beside: bool


FULL = Effort(4, (9, 3, 1), beside=True)
SHORT = Effort(2, (8, 2), beside=False)
"""For many algorithms at many seeds: it costs a third of the full search, and chooses after half of the rounds."""


class Candidate(NamedTuple):
    """A combination of other settings, by its number, and how many steps its learning rate is from the config's."""

    combination: int
    step: int


class Trial(NamedTuple):
    """A candidate and after how many rounds it is scored."""

    candidate: Candidate
    rounds: int


Losses: TypeAlias = Mapping[Trial, float]
"""The loss of each trial that was made; infinite for one that diverged."""


def budgets(rounds: int, effort: Effort = FULL) -> tuple[int, ...]:
    """Returns after how many rounds candidates are scored; of a full search the last is after all of them."""
    least = min(rounds, _LEAST_ROUNDS)
    return tuple(sorted({max(least, math.ceil(rounds / part)) for part in effort.parts}))


@dataclasses.dataclass(frozen=True)
class Halving:
    """A search among combinations of settings, each with a grid of learning rates.

    Attributes:
        combinations: how many there are.
        budgets: rounds, increasing.
        effort: how much is tried.
    """

    combinations: int
    budgets: tuple[int, ...]
    effort: Effort = FULL

    def next(self, known: Losses) -> list[Trial]:
        """Returns the trials that are to be made next, none when the search is over."""
        return self._first(known) or self._halved(known) or self._last(known)

    def chosen(self, known: Losses) -> Candidate | None:
        """Returns the best after the last budget, the smaller rate where two are equal; None where all diverged."""
        return _best([c for c in _candidates(known) if math.isfinite(known.get(Trial(c, self.budgets[-1]), math.inf))],
                     self.budgets[-1], known)  # fmt: skip

    def at_end(self, candidate: Candidate) -> bool:
        """Whether a candidate lies where no further rate was allowed to be tried."""
        return abs(candidate.step) == _MOST

    def _first(self, known: Losses) -> list[Trial]:
        """Returns what is missing of the few rounds of all candidates."""
        found = []
        for combination in range(self.combinations):
            low, high = -self.effort.steps, self.effort.steps
            while True:
                grid = [Candidate(combination, step) for step in range(low, high + 1)]
                missing = [trial for c in grid if (trial := Trial(c, self.budgets[0])) not in known]
                wider = _wider(low, high, _best(grid, self.budgets[0], known)) if not missing else (low, high)
                found += missing
                if missing or wider == (low, high):
                    break
                low, high = wider
        return found

    def _halved(self, known: Losses) -> list[Trial]:
        """Returns what is missing of the first rung, beyond the few rounds, that is not complete."""
        rung = [trial.candidate for trial in known if trial.rounds == self.budgets[0]]
        for before, rounds in zip(self.budgets, self.budgets[1:], strict=False):
            rung = _sorted(rung, before, known)[: math.ceil(len(rung) / _KEPT)]
            rung = [candidate for candidate in rung if math.isfinite(known[Trial(candidate, before)])]
            missing = [trial for candidate in rung if (trial := Trial(candidate, rounds)) not in known]
            if missing:
                return missing
        return []

    def _last(self, known: Losses) -> list[Trial]:
        """Returns neighbours of the best, or where all that went on diverged, the best of those that did not."""
        best = self.chosen(known)
        if best is not None and not self.effort.beside:
            return []
        if best is not None:
            return [trial for way in (-1, 1) for trial in self._beside(best, way, known)]
        left = [c for c in _candidates(known) if not _diverged(c, known)]
        untried = _best(left, self.budgets[0], known)
        return [] if untried is None else [Trial(untried, self.budgets[-1])]

    def _beside(self, best: Candidate, way: int, known: Losses) -> list[Trial]:
        """Returns what is to be known next of a neighbour of the best; nothing more where it is out of the running.

        A larger rate that is worse after fewer rounds, which favour it, is out; a smaller one must train them all.
        """
        beside = best._replace(step=best.step + way)
        if abs(beside.step) > _MOST or _diverged(beside, known):
            return []
        for rounds in self.budgets if way > 0 else self.budgets[-1:]:
            own = Trial(beside, rounds)
            if own not in known:
                return [own]
            if known[own] > known.get(Trial(best, rounds), math.inf):
                return []
        return []


def _wider(low: int, high: int, best: Candidate | None) -> tuple[int, int]:
    """Returns the grid's ends, moved out where the best lies at one; where all diverge, smaller rates are tried."""
    if best is None or best.step == low:
        return max(low - _GROWN, -_MOST), high
    return low, min(high + _GROWN, _MOST) if best.step == high else high


def _candidates(known: Losses) -> list[Candidate]:
    return sorted({trial.candidate for trial in known})


def _diverged(candidate: Candidate, known: Losses) -> bool:
    return any(not math.isfinite(loss) for trial, loss in known.items() if trial.candidate == candidate)


def _sorted(candidates: Sequence[Candidate], rounds: int, known: Losses) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (known.get(Trial(c, rounds), math.inf), c.step, c.combination))


def _best(candidates: Sequence[Candidate], rounds: int, known: Losses) -> Candidate | None:
    found = _sorted(candidates, rounds, known)
    return found[0] if found and math.isfinite(known.get(Trial(found[0], rounds), math.inf)) else None
