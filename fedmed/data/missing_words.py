"""Words that people write where a value is missing."""

_TOLD = """
    . .. - -- --- ? ?? na na? n/a n.a. null nil nan #n/a nr nd n.d. unknown unk unkn unbekannt inconnu desconocido
    missing unspecified undetermined
"""
_NOT = ("known", "recorded", "available", "done", "stated", "reported", "applicable")
_WORDS = frozenset(_TOLD.split()) | {f"not {said}" for said in _NOT}


def means_missing(word: str) -> bool:
    """Returns whether a word, in whatever letters, is one that nobody writes for a value."""
    return word.strip().casefold() in _WORDS
