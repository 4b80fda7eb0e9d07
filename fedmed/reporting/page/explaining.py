"""The null model beside the arms, and how much of what it leaves open each of them explains."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import serving
from fedmed.reporting.page.blocks import Block, Table
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes

HEADER = "no model"
"""What the null model is called beside the arms; its figures are of predictions that look at no column."""

_PLACES = (("all", "all hospitals"), ("mean", "mean over hospitals"))


def null(view: View) -> Mapping[str, Any]:
    """Returns the null model's Performance."""
    return view.study["explained"]["null"]


def is_told(view: View, measure: str) -> bool:
    """Whether the null model has a figure in a measure: an AUROC of 0.5 is no news."""
    return measure in null(view)["all"]


def about(view: View) -> str:
    """Returns what the null model is."""
    return f"“{HEADER}” {view.study['explained']['about']}."


def skills(view: View, arms: Sequence[str]) -> list[Block]:
    """Returns a table a skill: each arm's, by hospital."""
    told = view.study["explained"]
    return [_table(view, told, measure, arms) for measure in told["measures"]]


def _table(view: View, told: Mapping[str, Any], measure: Mapping[str, Any], arms: Sequence[str]) -> Table:
    notes, skill, name = Notes(), told["skill"], measure["name"]
    own = [skill[arm] for arm in arms if arm in skill]
    rows = [
        [hospital, *(notes.estimate(arm["hospitals"].get(hospital, {}).get(name)) for arm in own)]
        for hospital in view.hospitals
    ]
    rows += [[place, *(notes.estimate(arm[key].get(name)) for arm in own)] for key, place in _PLACES]
    rows += [[place, *(serving.cell(notes, arm.get(name)) for arm in arms_)] for place, arms_ in serving.places(own)]
    general = (
        f"1 − loss / loss of a model that {told['about']}: 1 is perfect, 0 no better than that, below 0 worse. A "
        "hospital whose small count would follow is left out, of all together too."
    )
    caption = f"Skill, {measure['label']}, by hospital and arm ({view.level} interval)"
    return Table(caption, ["hospital", *(view.label(arm) for arm in arms if arm in skill)], rows, notes.listed(general))
