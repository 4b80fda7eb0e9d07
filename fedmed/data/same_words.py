"""Words that mean one thing: m and male, Y and yes, "Male " and "male"."""

import re
from collections.abc import Iterator, Mapping, Sequence

_VOCABULARIES: tuple[Mapping[str, str], ...] = (
    {
        **dict.fromkeys(("m", "male", "man", "men", "boy", "1", "männlich", "mann"), "male"),
        **dict.fromkeys(("f", "female", "woman", "women", "girl", "2", "w", "weiblich", "frau"), "female"),
    },
    {
        **dict.fromkeys(("y", "yes", "true", "t", "1", "j", "ja", "oui", "si", "present", "positive", "pos"), "yes"),
        **dict.fromkeys(("n", "no", "false", "f", "0", "nein", "non", "absent", "negative", "neg"), "no"),
    },
    {
        **dict.fromkeys(("y", "yes", "1"), "yes"),
        **dict.fromkeys(("n", "no", "2"), "no"),
    },
)


_SEPARATOR = re.compile(r"[\s_]+|(?<=[^\W\d_])[-./]+(?=[^\W\d_])")


def key(word: str) -> str:
    """Returns a word without what spelling may change: its case, what separates its parts, and quotes about it.

    Other signs count: <50 and >50 differ, and so do A+ and A-.
    """
    return _SEPARATOR.sub(" ", word.casefold()).strip(" .'\"")


def alike(words: Sequence[str]) -> list[list[int]]:
    """Returns the places of words that mean the same, a list for each meaning that has several; none where all differ.

    By spelling; where all differ in that, by the first of the usual vocabularies that knows them all.
    """
    keys = [key(word) or word for word in words]
    for vocabulary in _knowing(keys):
        meanings: dict[str, list[int]] = {}
        for place, own in enumerate(keys):
            meanings.setdefault(vocabulary.get(own, own), []).append(place)
        if several := [places for places in meanings.values() if len(places) > 1]:
            return several
    return []


def _knowing(keys: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Yields the vocabularies that know every one of the words, after the one that knows none."""
    yield {}
    for words in _VOCABULARIES:
        if set(keys) <= set(words):
            yield words
