"""Values with fields become plain trees and come back; a tree that is not of the type says where it is not."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest

from fedmed.system import plain

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Leaf:
    name: str
    value: float | None


@dataclasses.dataclass(frozen=True)
class Both(Generic[T]):
    parts: Mapping[Annotated[str, "KEY"], T]
    all: T | None


@dataclasses.dataclass(frozen=True)
class Root:
    number: int
    word: Literal["a", "b"]
    leaves: tuple[Leaf, ...]
    both: Both[tuple[float, ...]]
    scores: Mapping[str, float | None] = dataclasses.field(metadata=plain.INLINE)
    anything: Any


ROOT = Root(1, "a", (Leaf("x", 0.5), Leaf("y", None)), Both({"k": (1.0, 2.0)}, None), {"auroc": 0.7, "loss": None}, [1])
TREE = {
    "number": 1,
    "word": "a",
    "leaves": [{"name": "x", "value": 0.5}, {"name": "y", "value": None}],
    "both": {"parts": {"k": [1.0, 2.0]}, "all": None},
    "auroc": 0.7,
    "loss": None,
    "anything": [1],
}


def test_a_value_is_a_tree_in_the_order_of_its_fields_and_comes_back() -> None:
    assert plain.to_plain(ROOT) == TREE
    assert list(plain.to_plain(ROOT)) == list(TREE)
    assert plain.from_plain(Root, TREE) == ROOT
    assert plain.checked(ROOT) == TREE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"number": True}, "Root.number: expected int, got True"),
        ({"number": 1.5}, "Root.number: expected int"),
        ({"word": "c"}, "Root.word"),
        ({"leaves": [{"name": "x"}]}, r"Root.leaves\[0\]: 'value' is missing"),
        ({"leaves": [{"name": "x", "value": 1, "more": 2}]}, r"Root.leaves\[0\]: unknown 'more'"),
        ({"leaves": [{"name": "x", "value": float("nan")}]}, r"Root.leaves\[0\].value: expected float, got nan"),
        ({"leaves": {}}, "Root.leaves"),
        ({"both": {"parts": {"k": ["1"]}, "all": None}}, r"Root.both.parts.k\[0\]: expected float, got '1'"),
        ({"both": None}, "Root.both"),
        ({"more": "text"}, "Root.more: expected float"),
    ],
)
def test_what_is_not_of_the_type_is_told_with_its_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plain.from_plain(Root, {**TREE, **change})


def test_a_whole_number_is_a_number() -> None:
    assert plain.from_plain(Leaf, {"name": "x", "value": 1}).value == 1
