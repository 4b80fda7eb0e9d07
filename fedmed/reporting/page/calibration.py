"""Whether predicted figures can be believed."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.reporting.page import by_outcome, words
from fedmed.reporting.page.blocks import Figure, Key, Section, Table
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.panels import ALL, panels
from fedmed.reporting.page.plots import Frame, Line
from fedmed.reporting.page.view import View, dashes

_PERFECT = Look("muted", (2, 2))


def calibration(view: View) -> Section | None:
    """Returns predicted against observed, a panel a hospital: points are bins, lines are smoothed."""
    found = view.study["calibration"]
    if not found:
        return None
    by = {arm: found["arms"][arm] for arm in view.arms if arm in found["arms"]}
    units, main = view.units(by), view.primary_arms()
    limits = _limits(view, by, units)
    frame = Frame("predicted", "observed", limits, limits, square=True)

    def draw(unit: str | None) -> tuple[list[Line], Frame]:
        lines = [line for arm in reversed(by) for line in _lines(view, arm, view.at(by[arm], unit), arm in main)]
        return [Line(limits, limits, _PERFECT, width=1.0), *lines] if lines else [], frame

    shown, absent = panels(view, units, draw, "Calibration, observed against predicted")
    read = (
        "On the dotted diagonal, predictions come true as often as they say; above it, the model says too little; "
        f"below it, too much. Curves are smoothed; points, of the first comparison's arms, are groups of patients with "
        f"{view.level} intervals.{absent}"
    )
    keys = [*view.keys(list(by), markers=True), Key("perfect", "muted", dashes(_PERFECT))]
    read = f"{words.sentence(found['about'])} {read}"
    figure = Figure("Predicted against observed", read, shown, [_table(view, by, units)], keys)
    return Section(
        "calibration", "Calibration: can the predicted figures be believed", [figure, *by_outcome.blocks(view)]
    )


def _limits(view: View, by: Mapping[str, Any], units: Sequence[str | None]) -> tuple[float, float]:
    """Returns one scale for both axes of all panels, from 0 to a little more than is seen."""
    seen = [0.0]
    for own in [view.at(of, unit) for of in by.values() for unit in units]:
        for bin_ in (own or {}).get("bins", []):
            seen += [bin_["predicted"], bin_["observed"]]
        for values in ((own or {}).get("smooth") or {}).values():
            seen += values
    most = 1.15 * max(seen) or 1.0
    return min(seen), min(most, 1.0) if view.study["task"] in ("binary", "multiclass") else most


def _lines(view: View, arm: str, own: Mapping[str, Any] | None, with_bins: bool) -> list[Line]:
    if not own:
        return []
    smooth, bins, look = own["smooth"], own["bins"], view.look(arm)
    lines = [Line(smooth["predicted"], smooth["observed"], look)] if smooth["predicted"] else []
    if bins and (with_bins or not lines):
        x, y, low, high = ([bin_[key] for bin_ in bins] for key in ("predicted", "observed", "low", "high"))
        lines.append(Line(x, y, look, low, high, bars=True, line=False))
    return lines


def _table(view: View, by: Mapping[str, Any], units: Sequence[str | None]) -> Table:
    rows = []
    for unit in units:
        for arm, of in by.items():
            for bin_ in (view.at(of, unit) or {}).get("bins", []):
                observed = words.estimate({"estimate": bin_["observed"], "low": bin_["low"], "high": bin_["high"]})
                predicted, patients = words.number(bin_["predicted"]), words.count(bin_["patients"])
                rows.append([unit or ALL, view.label(arm), predicted, observed, patients])
    header = ["hospital", "arm", "predicted", f"observed ({view.level} interval)", "patients"]
    return Table("Groups of patients by predicted value", header, rows)
