"""What a comparison of algorithms says: of each algorithm, of all of them, and of how it was made."""

import inspect
from collections.abc import Sequence

from fedmed.learning.algorithms import algorithms
from fedmed.study import judged_words
from fedmed.study.judged_words import Words, leans, named, verb
from fedmed.study.plan import ABOUT, ArmPlan
from fedmed.study.presets import SERVERS
from fedmed.study.schema.contested import Contrast
from fedmed.study.tuning.halving import STEPS_AN_ORDER, Effort, budgets
from fedmed.study.tuning.search import FRACTION

ESTIMAND = (
    "The expected difference in {metric}, on new patients of a hospital, between the models that two algorithms train "
    "on as many patients as here, each with rates that are searched as here, over splits and training seeds; and the "
    "plain mean of that over these hospitals, each counting alike. Where clients keep weights of their own, a hospital "
    "is tested with its own."
)
_TUNING = (
    "All algorithms, and each hospital alone, are tuned alike, anew at each seed: {percent:g} % of each hospital's "
    "training patients at that seed validate, and no test row is looked at. {rates} learning rates of the clients, "
    "10^(1/{steps}) apart around the config's, and more where the best lies at an end, train {first} of the {all} "
    "rounds{goes_on}; the one with the least loss on validation patients then trains all rounds on all training "
    "patients. {short}A server with an optimizer (fedavgm, fedadam, fedyogi, "
    "fedadagrad) has three rates of its own, a half order apart, each crossed with the clients' rates, so it is tried "
    "more often; the table has how often. Nothing else was tuned: an argument such as FedProx's mu, and the rounds, "
    "are as given. By few validation patients, as a small hospital alone has, a search can choose a rate that does "
    "worse than the config's; that too is part of what is compared."
)
_SHORT = (
    "That is less than study.tune and fedmed tune try, so that many algorithms can be compared: it ends before the "
    "last round, which favours rates that are fast early on, with every algorithm alike; study.tune = true searches in "
    "full. "
)
_BESIDE = "The best must also beat its neighbours after as many rounds. "
_SEARCHED = "Learning rates were searched for each alike."
_HERE_ONLY = "That is for this comparison alone: the verdicts are of other models, trained at the config's rates."
_THESE = "The mean is of these hospitals; what is said of hospitals such as these allows for others too."
_METHOD = (
    "Intervals are of level {level:g} %, each by itself: patients come or go at all seeds together, and what seeds add "
    "is added. Words are by p-values of Holm's procedure (1979; for algorithms against one, Demšar 2006), in four "
    "families, each with a chance of at most {alpha:g} of any wrong word: the means against {first} ({means} tests), "
    "the hospitals' differences from {first} ({at} tests, algorithms times hospitals), and the same two against each "
    "hospital alone. So an interval by itself can leave out 0 where the word is undecided. Algorithms are not ranked: "
    "undecided means that these patients cannot tell, not that two do alike."
)


def about(arm: ArmPlan) -> str:
    """Returns what an algorithm is, in a sentence."""
    if arm.kind == "local":
        return ABOUT["local"]
    if arm.name in SERVERS:
        return f"FedAvg whose server takes steps by {SERVERS[arm.name].optimizer} along the mean update (FedOpt)."
    return (inspect.getdoc(algorithms.get(arm.settings.algorithm.name)) or "").partition("\n")[0]


def tuning(effort: Effort, rounds: int) -> str:
    """Returns how the algorithms were tuned."""
    first, *more = budgets(rounds, effort)
    last = more[-1] if more else first
    goes_on = f"; the best third, rounded up, goes on to {' and of those to '.join(map(str, more))}" if more else ""
    short = _BESIDE if effort.beside else _SHORT if last < rounds else ""
    return _TUNING.format(
        percent=100 * FRACTION,
        rates=2 * effort.steps + 1,
        steps=STEPS_AN_ORDER,
        first=first,
        all=rounds,
        goes_on=goes_on,
        short=short,
    )


def method(level: float, others: int, hospitals: int, first: str) -> str:
    """Returns how intervals and words are made."""
    alpha = round(1 - level, 6)
    return _METHOD.format(level=100 * level, alpha=alpha, first=first, means=others, at=others * hospitals)


def sentence(arm: str, to_first: Sequence[Contrast], to_local: Sequence[Contrast], words: Words) -> str:
    """Returns what is shown of an algorithm, against the first one and against each hospital alone."""
    said = []
    for found, against in ((to_first, words.first), (to_local, "each hospital alone")):
        own = next((one for one in found if one.arm == arm), None)
        if own is not None:
            said.append(f"against {against} {judged_words.fact(own.mean, words.seeds)}{_where(own)}")
    return f"{words.mean[:1].upper()}{words.mean[1:]} {'; '.join(said)}."


def _where(own: Contrast) -> str:
    """Returns at which hospitals something is shown."""
    by = {word: [name for name, one in own.hospitals.items() if one.word == word] for word in ("better", "worse")}
    shown = [f"{word} at {_listed(names)}" for word, names in by.items() if names]
    return f" (at hospitals: {', '.join(shown)})" if shown else ""


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names) if len(names) <= most else f"{len(names)} hospitals"


def summary(to_first: Sequence[Contrast], to_local: Sequence[Contrast], words: Words, *, tuned: bool) -> str:
    """Returns what is shown in the mean, and what only intervals by themselves have; nothing is ranked.

    Args:
        to_first: algorithms against the first one.
        to_local: algorithms against each hospital alone.
        words: of the study.
        tuned: whether the study's own arms were tuned too.
    """
    pairs = ((to_first, f"than {words.first}"), (to_local, "than each hospital alone"))
    told = [
        said for found, than in pairs if found for said in (_shown(found, than, words), *_leaning(found, than, words))
    ]
    return " ".join([*told, _SEARCHED, *([] if tuned else [_HERE_ONLY]), _THESE])


def _leaning(found: Sequence[Contrast], than: str, words: Words) -> list[str]:
    """Returns what is not shown, but is not to be passed over either."""
    by = {word: [one.arm for one in found if leans(one.mean, words) == word] for word in ("better", "worse")}
    told = [f"{named(arms)} {word} {than}" for word, arms in by.items() if arms]
    if not told:
        return []
    return [
        f"The interval by itself has {' and '.join(told)}, which is not enough once it is allowed for all that was "
        "asked; more seeds may tell."
    ]


def _shown(found: Sequence[Contrast], than: str, words: Words) -> str:
    by: dict[str, list[str]] = {}
    for one in found:
        by.setdefault(one.mean.word, []).append(one.arm)
    if set(by) == {"no figure"}:
        return f"No hospital has a figure, so nothing is said of algorithms being better or worse {than}."
    parts = [f"{named(by[word])} {verb(by[word])} shown to be {word} {than}" for word in ("better", "worse")
             if word in by]  # fmt: skip
    open_ = by.get("undecided", [])
    if not parts:
        none = f"none of {named(open_)} is" if len(open_) > 1 else f"{named(open_)} is not"
        return f"In {words.mean} {none} shown to be better or worse {than}."
    rest = f"; of {named(open_)} it is undecided" if open_ else ""
    return f"In {words.mean} {' and '.join(parts)}{rest}."
