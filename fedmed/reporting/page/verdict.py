"""The first screen: what the study says to each hospital, in words for who decides and numbers for who checks."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Finding, Group
from fedmed.reporting.page.view import OUTCOMES, View

MANY = 6
"""Hospitals beyond which the page first lists their names by outcome."""

_PER_HUNDRED = {
    "auroc": ("puts", "of every 100 patient pairs in the right order"),
    "accuracy": ("classes", "of every 100 patients rightly"),
}
_READ = {
    "auroc": "A patient pair is one patient with and one without the event; it is in the right order when the model "
    "gives the one with the event the higher risk. AUROC is the share of pairs in the right order: 0.5 is chance, 1 is "
    "perfect.",
    "accuracy": "Accuracy is the share of patients whose class the model calls rightly.",
    "loss": "The loss says how far predictions are from what came true; smaller is better.",
    "brier": "The Brier score is the mean squared distance of predicted risks from what came true; smaller is better.",
}


def findings(view: View) -> list[Finding]:
    """Returns one finding a hospital, in the order of the study."""
    answer = view.study.get("answer")
    if not answer:
        return [_alone(view, hospital) for hospital in view.hospitals]
    words_, most = _Words(view, answer["comparison"]), _most(answer)
    return [
        _compared(view, hospital, answer["hospitals"][hospital], words_, most)
        for hospital in view.hospitals
        if hospital in answer["hospitals"]
    ]


def groups(found: Sequence[Finding]) -> list[Group]:
    """Returns the hospitals of each outcome where there are too many to take in at a glance."""
    if len(found) <= MANY:
        return []
    names = {outcome: [own.hospital for own in found if own.outcome == outcome] for outcome in OUTCOMES}
    return [
        Group(outcome, OUTCOMES[outcome][1], OUTCOMES[outcome][0], words.listed(who, len(who) + 1))
        for outcome, who in names.items()
        if who
    ]


def ends(view: View) -> tuple[str, str]:
    """Returns what left and right of 0 mean in the small drawings; empty where nothing was compared."""
    answer = view.study.get("answer")
    if not answer:
        return "", ""
    told = _Words(view, answer["comparison"])
    return (
        ("alone better", "joining better")
        if told.joining
        else (f"{words.short(told.against, 16)} better", f"{words.short(told.of, 16)} better")
    )


def notes(view: View) -> list[str]:
    """Returns how to read the findings: the metric and the rule."""
    name, names = view.metric["name"], view.study["data"].get("class_names") or []
    plain = f"{view.metric['label']}: {view.metric['better']} is better."
    said = plain if view.study["task"] == "multiclass" and name == "auroc" else _READ.get(name, plain)
    if view.study["task"] == "binary" and len(names) > 1:
        said += f" The event is “{names[1]}”."
    rule = view.study["design"]["verdict_rule"] if view.study.get("answer") else ""
    return [words.sentence(text) for text in (said, rule) if text]


class _Words:
    """How the primary comparison's two arms are called in a sentence."""

    def __init__(self, view: View, id_: str) -> None:
        found = next((c for c in view.study["comparisons"] if c["id"] == id_), {"of": "federated", "against": "local"})
        self.of, self.against = view.label(found["of"]), view.label(found["against"])
        self.joining = (view.kind(found["of"]), view.kind(found["against"])) == ("federated", "local")
        self.lacking = "patients" if view.study["task"] == "regression" else "events"
        self.subject = "the federated model" if self.joining else f"“{self.of}”"
        self.other = "the hospital's own" if self.joining else f"“{self.against}”"

    def start(self, outcome: str) -> str:
        """Returns the verdict in words."""
        return {
            "gains": "Joining helps" if self.joining else f"“{self.of}” does better here",
            "harmed": "Joining harms" if self.joining else f"“{self.of}” does worse here",
            "no evidence": f"The data cannot tell whether {'joining helps' if self.joining else 'one does better'}",
            "too few events": f"Too few {self.lacking} to say" + (" whether joining helps" if self.joining else ""),
        }[outcome]


def _alone(view: View, hospital: str) -> Finding:
    first = view.arms[0] if view.arms else ""
    own = view.study["performance"].get(first, {}).get("hospitals", {}).get(hospital, {}).get(view.metric["name"])
    value = words.estimate(own)
    said = f"{view.metric['label']} {value}" if value != words.NONE else (own or {}).get("reason", "no figure")
    plain = "The study has one arm, so there is nothing to compare it with."
    return Finding(hospital, "not compared", "○", "none", plain, words.sentence(said))


def _compared(view: View, hospital: str, own: Mapping[str, Any], told: _Words, most: float) -> Finding:
    tone, mark, _ = OUTCOMES[own["outcome"]]
    difference = own["difference"] or {}
    if difference.get("estimate") is None:
        plain = f"{told.start(own['outcome'])}: no figure is given, and none should be inferred."
        reason = difference.get("reason") or own["sentence"].removeprefix(f"{hospital}: ")
        return Finding(hospital, own["outcome"], mark, tone, plain, words.sentence(reason))
    if words.alike(difference):
        plain = f"{told.start(own['outcome'])}: {_same(view)}."
        return Finding(hospital, own["outcome"], mark, tone, plain, _numbers(view, own, told))
    plain = f"{told.start(own['outcome'])}: {_size(view, difference, told)}{_findable(view, own)}."
    svg = _strip(view, own["outcome"], difference, most)
    return Finding(hospital, own["outcome"], mark, tone, plain, _numbers(view, own, told), svg)


def _same(view: View) -> str:
    verb = "rank these test patients" if view.metric["name"] in ("auroc", "auprc") else "score on these test patients"
    return f"the two models {verb} exactly alike, so nothing can be said of others from so few"


def _size(view: View, difference: Mapping[str, Any], told: _Words) -> str:
    value, low, high = (difference.get(key) for key in ("estimate", "low", "high"))
    digits = _digits(difference)
    if (hundred := _hundred(view)) is None:
        text = f"the {view.metric['label']} of {told.subject} is {words.number(abs(value or 0.0))} "
        text += f"{'higher' if (value or 0) >= 0 else 'lower'} than that of {told.other}"
        within = words.span(low, high, sign=True)
        better = f"{view.metric['better']} is better"
        return f"{text} ({view.level} interval {within}; {better})" if within else f"{text} ({better})"
    text = f"{told.subject} {hundred[0]} {_more(value or 0.0, digits)} {hundred[1]} than {told.other}"
    within = "" if low is None or high is None else f" ({view.level} interval {_range(low, high, digits)})"
    return text + within


def _hundred(view: View) -> tuple[str, str] | None:
    """Returns the verb and the hundred of a metric that is a share of something countable."""
    if view.metric["name"] == "auroc" and view.study["task"] != "binary":
        return None
    return _PER_HUNDRED.get(view.metric["name"])


def _findable(view: View, own: Mapping[str, Any]) -> str:
    """Says how large a difference would have been found, where none was."""
    detectable = own.get("detectable")
    if own["outcome"] != "no evidence" or detectable is None:
        return ""
    hundred = _hundred(view) is not None
    if hundred and detectable >= 1:
        return "; with so few patients or seeds no difference at all would have been found"
    shown = f"{words.points(detectable, _digits(own['difference']))} of 100" if hundred else words.number(detectable)
    return f"; a true difference of {shown} would have been found 4\N{NO-BREAK SPACE}times in\N{NO-BREAK SPACE}5"


def _numbers(view: View, own: Mapping[str, Any], told: _Words) -> str:
    label, difference = view.metric["label"], own["difference"]
    sides = [words.estimate({**(own[side] or {}), "low": None}) for side in ("of", "against")]
    text = f"{label} {sides[0]} ({told.of}) against {sides[1]} ({told.against}); difference "
    text += words.signed(difference["estimate"])
    within = words.span(difference.get("low"), difference.get("high"), sign=True)
    text += f" ({view.level} interval {within})" if within else ""
    text += "" if own.get("p_adjusted") is None else f", adjusted p {words.p_value(own['p_adjusted'])}"
    apart = own["outcome"] == "no evidence" and within and difference["low"] * difference["high"] > 0
    because = ". The interval leaves out 0, but not once it is allowed for that several hospitals were asked"
    return words.sentence(text + (because if apart else ""))


def _digits(told: Mapping[str, Any]) -> int:
    width = 100 * abs((told.get("high") or 0.0) - (told.get("low") or 0.0))
    return 0 if width >= 10 else 1 if width >= 0.5 else 2


def _more(value: float, digits: int) -> str:
    return f"{words.points(value, digits)} {'more' if value >= 0 else 'fewer'}"


def _range(low: float, high: float, digits: int) -> str:
    low, high = max(low, -1.0), min(high, 1.0)  # an interval may reach farther than a share can
    if (low < 0) == (high < 0):
        near, far = sorted((low, high), key=abs)
        return f"{words.points(near, digits)} to {_more(far, digits)}"
    return f"{_more(low, digits)} to {_more(high, digits)}"


def _most(answer: Mapping[str, Any]) -> float:
    told = [own["difference"] for own in answer["hospitals"].values() if own["difference"]]
    seen = [abs(v) for e in told for v in (e["estimate"], e["low"], e["high"]) if v is not None]
    return max(seen, default=1.0) or 1.0


def _strip(view: View, outcome: str, told: Mapping[str, Any], most: float) -> str:
    """Draws the interval around 0 on a scale that all hospitals share, with better on the right."""
    sign = -1.0 if view.flips(view.metric["name"]) else 1.0
    colour = {"gains": "green", "harmed": "vermillion"}.get(outcome, "muted")

    def place(value: float) -> float:
        return round(100 + 94 * sign * value / most, 1)

    parts = ['<line x1="100" x2="100" y1="0" y2="22" class="zero"/>']
    if told["low"] is not None and told["high"] is not None:
        left, right = sorted((place(told["low"]), place(told["high"])))
        parts.append(f'<line x1="{left}" x2="{right}" y1="11" y2="11" style="stroke:var(--{colour})"/>')
    parts.append(f'<circle cx="{place(told["estimate"])}" cy="11" r="4.5" style="fill:var(--{colour})"/>')
    return f'<svg class="strip" viewBox="0 0 200 22" width="200" height="22" aria-hidden="true">{"".join(parts)}</svg>'
