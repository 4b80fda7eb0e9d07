"""The first screen: what the study says to each hospital, in words for who decides and numbers for who checks."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Finding, Group, Table
from fedmed.reporting.page.replies import reply
from fedmed.reporting.page.view import MANY, OUTCOMES, View

_REPAIRS = ("recalibrated", "fine_tuned")
_READ = {
    "auroc": "AUROC is the share of patient pairs, one with and one without the event, in which the model gives the "
    "one with the event the higher risk: 0.5 is chance, 1 is perfect.",
    "accuracy": "Accuracy is the share of patients whose class the model calls rightly.",
    "loss": "The loss says how far predictions are from what came true; smaller is better.",
    "brier": "The Brier score is the mean squared distance of predicted risks from what came true; smaller is better.",
}
_OTHERS = {
    "ratio": "Observed / expected is the events that came for each that the model expected: 1 is right; at 2 it "
    "foresees half of them.",
    "net_benefit": "Net benefit counts, per 1,000 patients, those rightly treated when all whose risk reaches the "
    "threshold are, less those wrongly treated, weighed by the threshold's odds.",
}
_RULE = (
    "A verdict allows for how many questions were asked at how many hospitals; its rule stands under “What was "
    "compared, and how”. “Undecided” means that these patients are too few to tell, not that there is no difference."
)


def findings(view: View) -> list[Finding]:
    """Returns one finding a hospital, in the order of the study."""
    answer = view.study.get("answer")
    if not answer:
        return [_alone(view, hospital) for hospital in view.hospitals]
    told = _Words(view, answer["comparison"])
    known = [hospital for hospital in view.hospitals if hospital in answer["hospitals"]]
    return [_compared(view, hospital, answer["hospitals"][hospital], told) for hospital in known]


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


def overview(found: Sequence[Finding]) -> Table | None:
    """Returns the findings as a table where there are too many for a list."""
    asked = max((own.replies for own in found), key=len, default=())
    if len(found) <= MANY or not asked:
        return None
    rows = []
    for own in found:
        cells = {one.question: f"{one.mark} {one.short}" for one in own.replies}
        why = words.NONE if own.replies else own.numbers
        rows.append([own.hospital, own.outcome, *(cells.get(one.question, why) for one in asked)])
    header = ["hospital", "verdict", *(one.question for one in asked)]
    near = [own.hospital for own in found if own.replies and own.numbers]
    told = (
        f"At {words.listed(near, 8)} an interval by itself leaves out “no difference”, but not once it is allowed for"
    )
    notes = [("", f"{told} how much was asked.")] if near else []
    return Table("Every hospital's verdict, and the answer to each question", header, rows, notes)


def notes(view: View) -> list[str]:
    """Returns how to read the findings: what is measured, and the rule."""
    name, names = view.metric["name"], view.study["data"].get("class_names") or []
    plain = f"{view.metric['label']}: {view.metric['better']} is better."
    said = plain if view.study["task"] == "multiclass" and name == "auroc" else _READ.get(name, plain)
    asked = {own["measure"] for own in _questions(view)}
    said = " ".join([said, *(text for key, text in _OTHERS.items() if key in asked)])
    if view.study["task"] == "binary" and len(names) > 1:
        said += f" The event is “{names[1]}”."
    return [said, *([_RULE] if view.study.get("answer") else [])]


def _questions(view: View) -> list[Mapping[str, Any]]:
    answer = view.study.get("answer") or {"hospitals": {}}
    return [asked for own in answer["hospitals"].values() for asked in own["questions"].values()]


class _Words:
    """How the primary comparison's two arms are called in a sentence."""

    def __init__(self, view: View, id_: str) -> None:
        found = next((c for c in view.study["comparisons"] if c["id"] == id_), {"of": "federated", "against": "local"})
        self.arms = (found["of"], found["against"])
        self.of, self.against = map(view.label, self.arms)
        self.joining = (view.kind(found["of"]), view.kind(found["against"])) == ("federated", "local")
        self.lacking = "patients" if view.study["task"] == "regression" else "events"
        self.other = "alone" if self.joining else f"“{self.against}”"

    def start(self, outcome: str) -> str:
        """Returns the verdict in words."""
        return {
            "gains": "Joining helps" if self.joining else f"“{self.of}” does better here",
            "harmed": "Joining harms" if self.joining else f"“{self.of}” does worse here",
            "no worse": "No gain from joining is shown, and no loss that matters"
            if self.joining
            else f"“{self.of}” is no worse here",
            "undecided": f"The data do not decide whether {'joining helps' if self.joining else 'one does better'}",
            "too few events": f"Too few {self.lacking} to say" + (" whether joining helps" if self.joining else ""),
        }[outcome]


def _alone(view: View, hospital: str) -> Finding:
    first = view.arms[0] if view.arms else ""
    own = view.study["performance"].get(first, {}).get("hospitals", {}).get(hospital, {}).get(view.metric["name"])
    value = words.estimate(own)
    said = f"{view.metric['label']} {value}" if value != words.NONE else (own or {}).get("reason", "no figure")
    plain = "The study has one arm, so there is nothing to compare it with."
    return Finding(hospital, "not compared", "○", "none", plain, words.sentence(said))


def _compared(view: View, hospital: str, own: Mapping[str, Any], told: _Words) -> Finding:
    tone, mark, _ = OUTCOMES[own["outcome"]]
    difference = own["difference"] or {}
    start = told.start(own["outcome"])
    if difference.get("estimate") is None:
        plain = f"{start}: no figure is given, and none should be inferred."
        reason = difference.get("reason") or own["sentence"].removeprefix(f"{hospital}: ")
        return Finding(hospital, own["outcome"], mark, tone, plain, words.sentence(reason))
    if words.alike(difference) and all(one["claim"] == "open" for one in own["questions"].values()):
        same = "the two models score on these test patients exactly alike, so nothing can be said of others"
        return Finding(hospital, own["outcome"], mark, tone, f"{start}: {same}.", "")
    asked = own["questions"].items()
    replies = tuple(reply(view, hospital, key, one, told.arms, told.other) for key, one in asked)
    said = [
        f"{start}{_why(view, hospital, own, told)}.",
        _repair(view, hospital, own),
        _caution(view, hospital, own, told),
    ]
    plain = " ".join(filter(None, said))
    return Finding(hospital, own["outcome"], mark, tone, plain, _doubt(view, own), replies)


def _why(view: View, hospital: str, own: Mapping[str, Any], told: _Words) -> str:
    side = {"gains": "better", "harmed": "worse"}.get(own["outcome"])
    names = {"ranking": _name(view, "ranking"), "calibration": "calibration", "usefulness": "net benefit"}
    claimed = [names[key] for key, asked in own["questions"].items() if side and asked["claim"] == side]
    if claimed:
        return f": {words.listed(claimed)} {'is' if len(claimed) == 1 else 'are'} {side} than {told.other}"
    margin = f"{view.study['answer']['margin']:g}"
    if own["outcome"] == "no worse":
        return f": {view.metric['label']} is less than {margin} worse than {told.other}"
    if own["outcome"] == "undecided" and own["needed"]:
        whom = "patients" if view.study["task"] == "regression" else "patients of the rarer outcome"
        count = f"{float(format(own['needed'], '.2g')):,.0f}"
        here = next(one["informative"] for one in view.study["hospitals"] if one["id"] == hospital)
        whom += f" ({here:,} here)" if here else ""
        return f"; about {count} tested {whom} would decide whether {view.metric['label']} is less than {margin} worse"
    return ""


def _name(view: View, key: str) -> str:
    return view.metric["label"] if key == "ranking" else key


def _repair(view: View, hospital: str, own: Mapping[str, Any]) -> str:
    """Says of a harmed hospital which arm of the study mends it."""
    if own["outcome"] != "harmed":
        return ""
    against = next(c for c in view.study["comparisons"] if c["id"] == view.study["answer"]["comparison"])["against"]
    for name in _REPAIRS:
        found = next((c for c in view.study["comparisons"] if (c["of"], c["against"]) == (name, against)), None)
        if found is None or hospital not in found["hospitals"]:
            continue
        outcome = found["hospitals"][hospital]["outcome"]
        if outcome in ("gains", "no worse", "undecided"):
            after = view.study["performance"][name]["hospitals"].get(hospital, {})
            ratio = words.estimate(after.get("ratio"))
            figure = f", observed / expected {ratio}" if ratio != words.NONE else ""
            verdict = {"gains": "it gains", "no worse": "it is no worse off", "undecided": "no harm is told"}[outcome]
            return f"What mends it: {view.label(name)}{figure}; {verdict}."
    return "No arm of this study mends it." if any(n in view.arms for n in _REPAIRS) else ""


def _caution(view: View, hospital: str, own: Mapping[str, Any], told: _Words) -> str:
    """Says where a model's own risks are off, which a comparison with another model's does not tell."""
    asked, ratio = own["questions"].get("calibration"), _off(view, hospital, told.arms[0])
    if asked is None or asked["claim"] == "worse" or ratio is None:
        return ""
    found = f"{ratio['estimate']:.2f} events came for each that it expected"
    return f"Before use here the model would have to be recalibrated: {found}."


def _off(view: View, hospital: str, arm: str) -> Mapping[str, Any] | None:
    """Returns a model's observed / expected where its interval leaves out 1."""
    ratio = (view.study["performance"].get(arm, {"hospitals": {}})["hospitals"].get(hospital) or {}).get("ratio") or {}
    low, high = ratio.get("low"), ratio.get("high")
    return None if low is None or high is None or low <= 1 <= high else ratio


def miscalibrated(view: View) -> str:
    """Names, where there are too many hospitals for a sentence each, those at which the model's own risks are off."""
    arm = view.primary_arms()[0] if view.study.get("answer") and view.many else ""
    off = [hospital for hospital in view.hospitals if _off(view, hospital, arm)]
    if not off:
        return ""
    label = view.label(arm)
    return f"The risks of “{label}” are off and would have to be recalibrated before use at {words.listed(off, 8)}."


def _doubt(view: View, own: Mapping[str, Any]) -> str:
    """Says which question's own interval leaves out 0 and yet is not claimed."""
    alpha = 1 - view.study["level"]
    near = [view.measure(a["measure"])["label"] for a in own["questions"].values()
            if a["claim"] == "open" and a["p_value"] <= alpha]  # fmt: skip
    if not near:
        return ""
    verb = "leaves" if len(near) == 1 else "leave"
    what = words.capital(words.listed(near))
    alone = "itself" if len(near) == 1 else "themselves"
    return f"{what} by {alone} {verb} out “no difference”, but not once it is allowed for how much was asked."
