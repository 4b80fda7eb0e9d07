"""What a study's result says under names that sections share: labels, looks and order."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Key
from fedmed.reporting.page.drawing import NARROW, WIDE, Look

_KINDS = {
    "federated": Look("blue", (), "o"),
    "local": Look("orange", (5, 2), "s"),
    "pooled": Look("green", (7, 2, 1.5, 2), "D"),
    "recalibrated": Look("vermillion", (2, 2), "P"),
    "leave_one_out": Look("purple", (1.5, 1.5), "v"),
    "fine_tuned": Look("sky", (3, 1.5), "^"),
}
_OTHERS = (
    Look("vermillion", (8, 2), "P"),
    Look("purple", (4, 1, 1, 1), "X"),
    Look("sky", (1, 2), "<"),
    Look("muted", (5, 1, 1, 1, 1, 1), ">"),
)


MANY = 6
"""Hospitals beyond which a list becomes a table, and only some are shown one by one."""


class View:
    """A study.json as sections read it."""

    def __init__(self, study: Mapping[str, Any]) -> None:
        self.study = study
        self.metric: Mapping[str, Any] = study["metric"]
        self.hospitals: list[str] = [own["id"] for own in study["hospitals"]]
        self.arms: list[str] = [arm["name"] for arm in study["design"]["arms"]]
        self._arms = {arm["name"]: arm for arm in study["design"]["arms"]}
        self._measures = {measure["name"]: measure for measure in study["measures"]}
        self._looks = self._chosen_looks()

    def _chosen_looks(self) -> dict[str, Look]:
        looks, spare = {}, 0
        for name, arm in self._arms.items():
            if name == arm["kind"] and name in _KINDS:
                looks[name] = _KINDS[name]
            else:
                looks[name] = _OTHERS[spare % len(_OTHERS)]
                spare += 1
        return looks

    @property
    def level(self) -> str:
        """The level of the intervals as "95 %"."""
        return f"{100 * self.study['level']:g}\N{NO-BREAK SPACE}%"

    @staticmethod
    def width(panels: int) -> float:
        """Returns the width of a panel in points, so that rows of them are full: three wide or four narrow ones."""
        return WIDE if panels in (1, 2, 3, 5, 6) else NARROW

    def kind(self, arm: str) -> str:
        """What kind of arm it is."""
        return self._arms.get(arm, {}).get("kind", "federated")

    def label(self, arm: str) -> str:
        """An arm's name in words."""
        return self._arms.get(arm, {}).get("label") or arm

    def look(self, arm: str) -> Look:
        """How an arm is drawn."""
        return self._looks.get(arm, _OTHERS[0])

    def keys(self, arms: Sequence[str], *, lines: bool = True, markers: bool = False) -> list[Key]:
        """Returns a legend of these arms."""
        looks = [(self.label(arm), self.look(arm)) for arm in arms]
        return [Key(name, look.colour, dashes(look), look.marker if markers else "", lines) for name, look in looks]

    def measure(self, name: str) -> Mapping[str, Any]:
        """A measure's label and which way is better."""
        primary = self.metric if name == self.metric["name"] else {"name": name, "label": name, "better": "higher"}
        return self._measures.get(name, primary)

    def places(self, of: Mapping[str, Any], everyone: str = "all hospitals") -> Iterator[tuple[str, Any]]:
        """Yields (name, X) of a ByUnit, in the order of the hospitals, all of them together last."""
        for hospital in self.hospitals:
            if hospital in (of.get("hospitals") or {}):
                yield hospital, of["hospitals"][hospital]
        if of.get("all") is not None:
            yield everyone, of["all"]

    def units(self, arms: Mapping[str, Any]) -> list[str | None]:
        """Returns the hospitals that any arm has something for and, last, None for all together."""
        found: list[str | None] = []
        found += [h for h in self.hospitals if any(h in (own.get("hospitals") or {}) for own in arms.values())]
        return [*found, None] if any(own.get("all") for own in arms.values()) else found

    @staticmethod
    def at(of: Mapping[str, Any], unit: str | None) -> Any:
        """Returns a ByUnit's X of a hospital, or of all together for None."""
        return of.get("all") if unit is None else (of.get("hospitals") or {}).get(unit)

    def primary_arms(self) -> tuple[str, ...]:
        """Returns the arms of the primary comparison, or the first two."""
        found = next((c for c in self.study["comparisons"] if c.get("primary")), None)
        return (found["of"], found["against"]) if found else tuple(self.arms[:2])

    def versus(self, comparison: Mapping[str, Any]) -> str:
        """Names a comparison: "federated minus each hospital alone"."""
        return f"{self.label(comparison['of'])} minus {self.label(comparison['against'])}"

    def ends(self, comparison: Mapping[str, Any]) -> tuple[str, str]:
        """Returns what left and right of 0 mean, better for `of` on the right."""
        against, of = (words.short(self.label(comparison[side]), 19) for side in ("against", "of"))
        return f"{against} better", f"{of} better"

    def flips(self, measure: str) -> bool:
        """Whether smaller is better, so that an axis is turned and better is on the right."""
        return self.measure(measure)["better"] == "lower"

    @property
    def patients_told(self) -> str:
        """How many patients there are, in words; "" where the sum would betray how few a small hospital has."""
        sizes = [own["patients"] for own in self.study["hospitals"]]
        small = any(size is None or size < self.study["minimum_cell"] for size in sizes)
        return "" if small else f"{words.count(self.study['data']['patients'])} patients"

    @property
    def rows_told(self) -> str:
        """How many rows there are, in words, where the sum betrays nothing."""
        rows = self.study["data"]["rows"]
        return "rows" if rows is None else f"{words.count(rows)} rows"

    @property
    def seeds_told(self) -> str:
        """Over which seeds, in words."""
        count = len(self.study["seeds"])
        return "at the one seed" if count == 1 else f"over all {count} seeds"

    @property
    def many(self) -> bool:
        """Whether there are too many hospitals to show each."""
        return len(self.hospitals) > MANY

    @functools.cached_property
    def apart(self) -> tuple[str, ...]:
        """The hospitals that are shown one by one: all, or some harmed ones, the largest and the smallest judged."""
        if not self.many:
            return tuple(self.hospitals)
        answered = (self.study.get("answer") or {"hospitals": {}})["hospitals"]
        judged = [own for own in self.study["hospitals"] if own["enough"] and own["patients"] is not None]
        by_size = [own["id"] for own in sorted(judged, key=lambda own: -own["patients"])]
        harmed = [name for name in self.hospitals if answered.get(name, {}).get("outcome") == "harmed"]
        wanted = dict.fromkeys([*by_size[:1], *by_size[-1:], *harmed, *by_size[1:]])
        chosen = set(list(wanted)[:MANY])
        return tuple(name for name in self.hospitals if name in chosen)

    @property
    def apart_told(self) -> str:
        """Which hospitals are shown, in a sentence; "" where all are."""
        said = (
            f"Shown are {words.listed(self.apart)}: the largest, the smallest that is judged, and some of those harmed"
        )
        return f"{said}, if any; the tables have all." if self.many else ""

    @property
    def hospitals_told(self) -> str:
        """How many hospitals there are, in words."""
        return words.plural(len(self.hospitals), "hospital")


def dashes(look: Look) -> str:
    """Returns a look's dashes as SVG takes them."""
    return " ".join(f"{part:g}" for part in look.dash)


Tone = Literal["gains", "harmed", "safe", "open", "none"]
OUTCOMES: dict[str, tuple[Tone, str, Look]] = {
    "gains": ("gains", "▲", Look("green", (), "^")),
    "harmed": ("harmed", "▼", Look("vermillion", (), "v")),
    "no worse": ("safe", "◆", Look("blue", (), "D")),
    "undecided": ("open", "●", Look("muted", (), "o")),
    "too few events": ("none", "○", Look("muted", (), "o")),
}
"""An outcome's tone, its sign without colour, and how it is drawn."""
