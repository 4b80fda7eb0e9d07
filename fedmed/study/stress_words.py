"""What the federated arm under trouble says: which scenarios are shown to harm which rule, and how it was made."""

from collections.abc import Collection, Mapping, Sequence

from fedmed.study.hardships import PLANNED, Circumstances
from fedmed.study.judged_words import Words, fact, leans
from fedmed.study.schema.stressed import StressRow

_ESTIMAND = (
    "The expected difference in {metric}, on new patients of a hospital, between the model that the federation trains "
    "in a scenario by a rule and the one that it trains as planned by {first}, on as many patients as here and with "
    "the same rates, over splits and training seeds; and the plain mean of that over these hospitals, each counting "
    "alike, the one that a scenario befalls included. It is of these scenarios at this strength. It is not what an "
    "attacker could do: what corrupts here knows neither the rule nor the others' updates, and does not hide. One "
    "that knows them stays within what a rule takes for honest, and does more harm (Baruch et al. 2019, A Little Is "
    "Enough; Fang et al. 2020). Nor does it show whether a hidden aim was reached, such as a backdoor, which a mean "
    "metric does not see."
)
_METHOD = (
    "Each scenario and rule trains the federated arm at {seeds}, with {rates}: nothing is tuned for a rule or a "
    "scenario. Test rows are never changed. Intervals are of level {level:g} %, each by itself: patients come or go "
    "at all seeds together, and {added}. Words are by p-values of Holm's procedure (1979) over all "
    "{tests} differences, with a chance of at most {alpha:g} of any wrong word, so an interval by itself can leave "
    "out 0 where the word is undecided. Undecided means that these patients and seeds cannot tell, not that nothing "
    "happened. Hours are of the virtual clock ([clock] in the config)."
)
_OPEN = "Where nothing is shown, these patients and seeds cannot tell; it is no proof that a rule holds."


def diverged(seeds: Sequence[int]) -> str:
    """Returns why there is no figure, or ""."""
    return f"its training diverged at seed {', '.join(map(str, seeds))}" if seeds else ""


def whom(at: Circumstances, befallen: Collection[str]) -> str:
    """Returns whom the scenarios befall that befall one hospital, and why; "" where none does.

    Args:
        at: where they are made for.
        befallen: the hospitals of those that there are.
    """
    said = []
    if at.largest in befallen:
        said.append(f"What leaves, is late or is slow is {at.largest}, the largest, whose absence costs most.")
    if at.middle in befallen:
        said.append(f"What corrupts is {at.middle}, {_middle(at)}")
    return " ".join(said)


def _middle(at: Circumstances) -> str:
    at_the_largest = "at the largest, which may have more than half of all rows, no rule that goes by sizes can hold"
    if len(at.patients) < _FEWEST:
        return f"the smaller of the two: {at_the_largest}."
    return (
        "the one in the middle by patients: at the smallest a mean, which goes by sizes, should be moved least, and "
        f"{at_the_largest}."
    )


_FEWEST = 3  # hospitals, for one of them to be in the middle


def estimand(words: Words) -> str:
    """Returns what is estimated, and what is not."""
    return _ESTIMAND.format(metric=words.metric.label, first=words.first)


def method(words: Words, tests: int, seeds: int, *, tuned: bool) -> str:
    """Returns how figures, intervals and words are made.

    Args:
        words: of the study.
        tests: differences that are tested.
        seeds: of the whole study.
        tuned: whether the study has searched rates.
    """
    some = f"the first {words.seeds} of the study's {seeds} seeds" if words.seeds < seeds else "the study's seeds"
    some = "the study's first seed" if words.seeds == 1 else some
    rates = "the rates that were searched for the study's federated arm" if tuned else "the config's settings"
    alpha = round(1 - words.level, 6)
    added = "what seeds add is added" if words.seeds > 1 else "what another seed would add is not in them"
    return _METHOD.format(added=added, seeds=some, rates=rates, level=100 * words.level, tests=tests, alpha=alpha)


def summary(rows: Mapping[str, StressRow], words: Words) -> str:
    """Returns what is shown, by adjusted evidence only: whom it harms by the first rule, and whether by others too."""
    first, *others = rows[PLANNED].rules
    if rows[PLANNED].rules[first].diverged:
        return f"As planned by {first}, training diverged, so nothing is said of what goes wrong."
    if not words.hospitals:
        return "No hospital has a figure, so nothing is said of what goes wrong."
    said = [_of_first(rows, first, words)]
    said += [_of_other(rows, first, other, words) for other in others]
    return " ".join([*said, *_pointing(rows, words), _OPEN])


def _pointing(rows: Mapping[str, StressRow], words: Words) -> list[str]:
    """Returns where harm is not shown, but the interval by itself has it: it is not to be passed over."""
    told = []
    for rule in rows[PLANNED].rules:
        found = [name for name, row in rows.items() if leans(row.rules[rule].difference, words) == "worse"]
        if found:
            told.append(f"by {rule} in {_listed(rows, found, rule, words)}")
    if not told:
        return []
    return [
        f"The interval by itself has harm {' and '.join(told)}, which is not enough once it is allowed for all that "
        "was asked; more seeds may tell."
    ]


def _of_first(rows: Mapping[str, StressRow], first: str, words: Words) -> str:
    harmed, lost = _harmed(rows, first), _lost(rows, first)
    parts = [f"training diverged in {_listed(rows, lost, first, words)}"] if lost else []
    worse = f"{words.mean} is shown to be worse than as planned"
    if harmed:
        parts.append(f"{worse} in {_listed(rows, harmed, first, words)}")
    else:
        rest = len(rows) - 1 - len(lost)
        parts.append(f"{worse} in none of {rest}{' other' if lost else ''} scenario{'' if rest == 1 else 's'}")
    return f"By {first}, {'; '.join(parts)}."


def _of_other(rows: Mapping[str, StressRow], first: str, other: str, words: Words) -> str:
    """Returns how another rule does: as planned, where the first is harmed, and where only this one is."""
    said, own = [], rows[PLANNED].rules[other].difference
    if own is not None and own.word in ("better", "worse"):
        figure = _figure(rows[PLANNED], other, words)
        said.append(f"as planned it is shown to be {own.word} than {first}, {figure}")
    bad, mine = [*_harmed(rows, first), *_lost(rows, first)], [*_harmed(rows, other), *_lost(rows, other)]
    both, spared = ([name for name in bad if (name in mine) == is_bad] for is_bad in (True, False))
    more = [name for name in mine if name not in bad]
    if spared:
        said.append(f"it is not shown to be worse in {_listed(rows, spared, other, words)}")
    if both:
        said.append(f"it is worse too, or diverged, in {_listed(rows, both, other, words)}")
    if more:
        said.append(f"it is worse, or diverged, where {first} is not shown to be: {_listed(rows, more, other, words)}")
    return f"By {other}, {'; '.join(said) or 'it is shown to be worse in none'}."


def _listed(rows: Mapping[str, StressRow], names: Sequence[str], rule: str, words: Words) -> str:
    return " and ".join(f"“{rows[name].label}” ({_figure(rows[name], rule, words)})" for name in names)


def _harmed(rows: Mapping[str, StressRow], rule: str) -> list[str]:
    return [
        name
        for name, row in rows.items()
        if (told := row.rules[rule].difference) is not None and told.word == "worse" and name != PLANNED
    ]


def _lost(rows: Mapping[str, StressRow], rule: str) -> list[str]:
    return [name for name, row in rows.items() if row.rules[rule].diverged and name != PLANNED]


def _figure(row: StressRow, rule: str, words: Words) -> str:
    """Returns a cell's difference with its interval and word, or at how many seeds it diverged."""
    own = row.rules[rule]
    if own.diverged:
        return f"at {len(own.diverged)} of {words.seeds} seed{'' if words.seeds == 1 else 's'}"
    return "no figure" if own.difference is None else fact(own.difference, words.seeds)
