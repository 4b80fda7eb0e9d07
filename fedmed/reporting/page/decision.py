"""Whether acting on a model does more good than acting on everybody or on nobody."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Figure, Fold, Key, Section, Table
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.panels import ALL, panels
from fedmed.reporting.page.plots import Frame, Line
from fedmed.reporting.page.view import View, dashes

_EVERYBODY, _NOBODY = Look("muted", (4, 3)), Look("ink")
_TOLD = 5


def decision(view: View) -> Section | None:
    """Returns net benefit by threshold, a panel a hospital."""
    found = view.study["decision"]
    if not found:
        return None
    by = {arm: found["arms"][arm] for arm in view.arms if arm in found["arms"]}
    units, thresholds = view.units(by), found["thresholds"]

    def draw(unit: str | None) -> tuple[list[Line], Frame]:
        curves = [(arm, own) for arm in reversed(by) if (own := view.at(by[arm], unit))]
        everybody = view.at(found["treat_all"], unit)
        lines = [Line(thresholds, [0.0] * len(thresholds), _NOBODY, width=0.9)]
        lines += [Line(thresholds, everybody, _EVERYBODY, width=1.2)] if everybody else []
        lines += [Line(thresholds, own["net_benefit"], view.look(arm)) for arm, own in curves]
        return lines if curves else [], Frame("threshold", "net benefit", ylim=_limits([own for _, own in curves]))

    shown, absent = panels(view, units, draw, "Decision curve, net benefit by threshold, a line for each arm")
    read = (
        "Choose the risk at which you would act; there, the highest line does most good. False positives are weighed "
        "by that threshold. Where a model is below the dashed line (act on everybody) or below 0 (act on nobody), it "
        f"is better not to use it.{absent}"
    )
    keys = [*view.keys(list(by)), Key("act on everybody", "muted", dashes(_EVERYBODY)), Key("act on nobody", "ink")]
    tables = [_benefits(view, found, by, units), *_differences(view, found, units)]
    read = f"{words.sentence(found['about'])} {read}"
    figure = Figure("Net benefit by threshold", read, shown, tables, keys)
    folded = Fold("Net benefit by threshold, hospital by hospital", [figure])
    return Section("decision", "Decision curves: does acting on the model do good", [folded], printed=False)


def _limits(curves: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Returns a scale that shows the models, not how far acting on everybody falls."""
    seen = [value for own in curves for value in own["net_benefit"] if value is not None]
    most = max(seen, default=0.0)
    return (max(min([*seen, 0.0]), -0.25 * most) - 0.05 * most, 1.1 * most) if most > 0 else None


def _places(found: Mapping[str, Any]) -> tuple[list[int], list[str]]:
    """Returns which thresholds the tables show, spread over all of them, and their headings."""
    last = len(found["thresholds"]) - 1
    places = sorted({round(k * last / (_TOLD - 1)) for k in range(_TOLD)}) if last >= 0 else []
    return places, [f"at {found['thresholds'][place]:.3g}" for place in places]


def _benefits(view: View, found: Mapping[str, Any], by: Mapping[str, Any], units: Sequence[str | None]) -> Table:
    (places, headings), rows = _places(found), []
    for unit in units:
        told = [(view.label(arm), view.at(of, unit)) for arm, of in by.items()]
        rows += [[unit or ALL, label, *(_at(own, place) for place in places)] for label, own in told if own]
        everybody = view.at(found["treat_all"], unit)
        if everybody:
            rows.append([unit or ALL, "act on everybody", *(words.number(everybody[place]) for place in places)])
    return Table(f"Net benefit at thresholds ({view.level} interval)", ["hospital", "policy", *headings], rows)


def _differences(view: View, found: Mapping[str, Any], units: Sequence[str | None]) -> list[Table]:
    tables, (places, headings) = [], _places(found)
    for comparison in view.study["comparisons"]:
        of = (found.get("differences") or {}).get(comparison["id"])
        told = [(unit, view.at(of, unit)) for unit in units] if of else []
        rows = [[unit or ALL, *(_at(own, place, sign=True) for place in places)] for unit, own in told if own]
        if rows:
            title = f"Difference in net benefit: {view.versus(comparison)}"
            tables.append(Table(title, ["hospital", *headings], rows))
    return tables


def _at(own: Mapping[str, Any], place: int, sign: bool = False) -> str:
    low, high = (None if own.get(end) is None else own[end][place] for end in ("low", "high"))
    return words.estimate({"estimate": own["net_benefit"][place], "low": low, "high": high}, sign)
