"""What the study does not show: what was not done, what a simulation says about privacy, and how to make it again."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Block, Code, Fold, Items, Section, Table, Text
from fedmed.reporting.page.view import View

NOT_PRIVATE = (
    (
        "What is shown.",
        "Federated training was simulated on one machine, where all rows were at hand. Within the simulation no row "
        "left the simulated site it belongs to: sites sent model updates and sums, not rows.",
    ),
    (
        "What is not shown.",
        "That this protects patients. No differential privacy was used, so no bound on what updates tell can be "
        "stated. No secure aggregation was used, so the server saw every site's update by itself. No attack was tried.",
    ),
    (
        "Updates can leak.",
        "From updates or from the trained model, an attacker may infer whether a patient was among the training rows "
        "(membership inference) or rebuild features of patients (gradient inversion). Small sites, many passes over "
        "few rows and large models make this easier. A trained model is to be guarded as data derived from patients.",
    ),
    (
        "Who is trusted.",
        "The server: to follow the protocol and not to look into single updates. Every site: to send honest updates, "
        "as none was checked for poisoning. Every site, again: to keep to itself what the shared model may tell of "
        "others. Whoever ran this simulation: with all rows. The network: taken to be encrypted and authenticated.",
    ),
    (
        "Before patients' data are used for real.",
        "A data protection impact assessment, secure aggregation, a privacy budget that is agreed on, and contracts "
        "between the sites. This page replaces none of them.",
    ),
)
_PREPROCESSING = {
    "federated": "Besides updates, each site sent how many rows it has, and sums, sums of squares and counts of each "
    "column, from which one common scaling was made.",
    "by_site": "Besides updates, each site sent how many rows it has, and sums and counts of each column, from which "
    "the common layout was made (which categories are kept); each site scales numbers by its own rows.",
    "none": "Besides updates, each site sent how many rows it has.",
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
    """Returns the statement of what a simulation shows about privacy."""
    data = view.study["data"]
    items = list(NOT_PRIVATE)
    shared = _PREPROCESSING.get(data.get("preprocessing") or "none")
    if shared:
        items.insert(1, ("What crossed.", shared))
    if any(view.kind(arm) == "pooled" for arm in view.arms):
        text = "It puts all rows in one place, on purpose: it is the yardstick, and what federation is to avoid."
        items.insert(2, ("The pooled arm.", text))
    if data["synthetic"]:
        items.insert(0, ("These data.", "They are synthetic: no patient exists whose privacy could be harmed."))
    shown = Text(words.sentence(view.study["design"]["suppression"]), "On this page.")
    return Section("privacy", "What this shows about privacy, and what it does not", [Items(items), shown])


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
