"""What the study does not show: what was not done, what a simulation says about privacy, and how to make it again."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import protection, words
from fedmed.reporting.page.blocks import Block, Code, Fold, Items, Section, Table, Text
from fedmed.reporting.page.view import View

_PREPROCESSING = {
    "federated": "Besides updates, each site sent how many rows it has, and sums, sums of squares and counts of each "
    "column, from which one common scaling was made.",
    "by_site": "Besides updates, each site sent how many rows it has, and sums and counts of each column, from which "
    "the common layout was made (which categories are kept); each site scales numbers by its own rows.",
    "none": "Besides updates, each site sent how many rows it has.",
    "bounds": "Besides updates, each site sent how many patients it has. Columns were scaled by public bounds.",
}
_SAME = (
    "The same config, data and versions give the same study.json, byte for byte, on the same machine with the same "
    "kernels (TensorFlow and NumPy choose theirs by processor). On another processor sums round otherwise, and last "
    "digits may differ."
)


def not_done(view: View) -> Section:
    """Returns what the study did not do."""
    return Section(
        "not-done",
        "What was not done",
        [Items([("", words.sentence(text)) for text in view.study["design"]["not_done"]])],
    )


def privacy(view: View) -> Section:
    """Returns what is promised, and what a simulation shows about privacy."""
    data, arms = view.study["data"], view.study["privacy"]["arms"]
    told = arms.get("federated") or next(iter(arms.values()), None)
    what = [("These data.", "They are synthetic: no patient exists whose privacy could be harmed.")] * data["synthetic"]
    shared = _PREPROCESSING["bounds" if told else data.get("preprocessing") or "none"]
    what.append(("What crossed.", shared))
    if any(view.kind(arm) == "pooled" for arm in view.arms):
        text = "It puts all rows in one place, on purpose: it is the yardstick, and what federation is to avoid."
        what.append(("The pooled arm.", text))
    if told and view.study["references"]:
        what.append(("The reference models.", "Nothing was promised for them: they were trained without noise."))
    shown = Text(words.sentence(view.study["design"]["suppression"]), "On this page.")
    items = protection.items(
        told,
        what,
        secure=view.study["privacy"]["secure"],
        attacked=bool(view.study["leakage"]),
        priced=bool(view.study["privacy"]["price"]),
    )
    tables = protection.arms_table(arms, {arm: view.label(arm) for arm in view.arms})
    return Section("privacy", protection.TITLE, [*tables, Items(items), shown])


def again(view: View) -> Section:
    """Returns all that is needed to make the study again."""
    told = view.study["reproduce"]
    blocks: list[Block] = [
        Text(_SAME),
        *([Code("Command", told["command"])] if told["command"] else []),  # Python's settings may be in no file
        Text(", ".join(map(str, told["seeds"])), "Seeds."),
        Fold("Config, versions and checksums", [
            Code("Config, with every default", told["config_toml"]),
            facts("Versions", "package", "version", told["versions"]),
            facts("Checksums of the data", "array", "SHA-256", told["checksums"]),
        ]),
    ]  # fmt: skip
    return Section("reproduce", "To make it again", blocks)


def facts(caption: str, name: str, value: str, told: Mapping[str, Any]) -> Table:
    """Returns a table of names and values."""
    return Table(caption, [name, value], [[str(key), str(own)] for key, own in told.items()], words=True)
