"""What the hospitals' differences come to over the consortium, and who should join."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import replies, words
from fedmed.reporting.page.blocks import Block, Figure, Fold, Panel, Section, Table, Text
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Frame, Line, lines_chart
from fedmed.reporting.page.view import View


def headline(view: View) -> str:
    """Returns the consortium's answer in a sentence for the first screen, "" where there is none."""
    found = _consortium(view)
    if found is None:
        return ""
    label, arm = view.metric["label"], view.study["performance"].get(view.primary_arms()[0], {"all": {}})
    mean = replies.told(view, found["mean"], replies.scale(view.metric["name"], [arm["all"].get(view.metric["name"])]))
    if mean is not found["mean"]:
        few = f"the mean difference in {label} is {words.estimate(mean, sign=True)} ({replies.TOO_FEW})"
        return f"Over hospitals such as these, {few}."
    text = f"Over hospitals such as these, the mean difference in {label} is {words.estimate(mean, sign=True)}"
    told = _toward(view, mean)
    return f"{text}: {told}.{_who(view, found)}"


def section(view: View) -> Section | None:
    """Returns the consortium's answer with its heterogeneity and the gain by number of events."""
    found = _consortium(view)
    if found is None:
        return None
    rows = [
        ["mean over hospitals such as these", words.estimate(found["mean"], sign=True)],
        ["p-value", words.p_value(found["mean"]["p_value"])],
        ["hospitals with a figure", f"{found['hospitals']}"],
        ["spread of true differences between hospitals (SD)", words.number(found["tau"])],
        ["share of the estimates' variance that is not chance", words.percent(found["i_squared"], 0)],
    ]
    if found["prediction"]:
        rows.append(["where another such hospital's difference would lie", words.span(*found["prediction"], sign=True)])
    caption = f"{words.capital(view.metric['label'])}: all hospitals' differences together"
    table = Table(caption, ["", "value"], rows, [("", found["about"])])
    blocks: list[Block] = [Text(_spread(view, found))]
    if found["by_size"]:
        blocks.append(_figure(view, found["by_size"]))
    return Section("together", "All hospitals together", [*blocks, Fold("How the hospitals' answers combine", [table])])


def _spread(view: View, found: Mapping[str, Any]) -> str:
    """Returns how far hospitals differ from that mean."""
    spread = words.number(found["tau"])
    said = f"True differences between hospitals vary by {spread} (SD) about the mean above"
    if not found["prediction"]:
        return f"{said}; {found['hospitals']} hospitals are too few to say where another's would lie."
    return f"{said}; another such hospital's would lie from {words.span(*found['prediction'], sign=True)}."


def _consortium(view: View) -> Mapping[str, Any] | None:
    return (view.study.get("answer") or {}).get("consortium")


def _toward(view: View, mean: Mapping[str, Any]) -> str:
    sign = -1 if view.flips(view.metric["name"]) else 1
    low, high = sorted((sign * mean["low"], sign * mean["high"]))
    of, against = view.primary_arms()
    if low > 0:
        return f"{view.label(of)} is better on average"
    if high < 0:
        return f"{view.label(against)} is better on average"
    margin = view.study["answer"]["margin"]
    if low > -margin:
        return f"on average {view.label(of)} is less than {margin:g} worse, and whether it is better is open"
    return "which is better on average is open"


def _who(view: View, found: Mapping[str, Any]) -> str:
    told = found["by_size"]
    if told is None or told["gains_below"] is None:
        return ""
    whom = "patients" if view.study["task"] == "regression" else "events"
    below = f"{told['gains_below']:,.0f}"
    if told["gains_below"] >= 0.99 * told["events"][-1]:
        return f" On average hospitals of every size seen here gain (up to {below} {whom} among their training rows)."
    return f" On average hospitals with fewer than about {below} {whom} among their training rows gain."


def _figure(view: View, told: Mapping[str, Any]) -> Figure:
    whom = "patients" if view.study["task"] == "regression" else "events"
    comparison = next(c for c in view.study["comparisons"] if c["primary"])
    sign = -1 if view.flips(view.metric["name"]) else 1
    own = [comparison["hospitals"][hospital]["measures"][view.metric["name"]] for hospital in told["hospitals"]]
    label = f"gain in {view.metric['label']}"
    title = f"{words.capital(label)} by {whom} to train on; each dot is a hospital"
    values = [sign * one["estimate"] for one in own]
    drawn = [
        Line([told["events"][0], told["events"][-1]], [0.0, 0.0], Look("ink"), width=0.9),
        Line(told["events"], told["gain"], Look("blue"), told["low"], told["high"]),
        Line(list(told["hospitals"].values()), values, Look("muted"), bars=True, line=False),
    ]
    svg = lines_chart(drawn, Frame(f"{whom} to train on", label, log=True), title)
    rows = [
        [f"{size:.3g}", words.estimate({"estimate": g, "low": low, "high": high}, sign=True)]
        for size, g, low, high in list(zip(told["events"], told["gain"], told["low"], told["high"], strict=True))[::6]
    ]
    read = (
        f"The line is the mean gain of hospitals of that size (random-effects meta-regression on the logarithm of the "
        f"{whom} among a hospital's training rows), the band its {view.level} interval at each size by itself. For "
        f"each doubling the gain changes by {words.estimate(told['per_doubling'], sign=True)}."
    )
    table = Table(title, [f"{whom} to train on", f"{label} ({view.level} interval)"], rows)
    return Figure(f"Who gains: by {whom} to train on", read, [Panel("", svg)], [table])
