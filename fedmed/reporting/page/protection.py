"""What is promised to patients or hospitals, against whom, and what is outside: made from the facts of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.engine.masking import SECURE_NOT
from fedmed.reporting.budget_table import number
from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Block, Fold, Items, Section, Table

_SHORT = 6  # rows of a table that is open
TITLE = "What this shows about privacy, and what it does not"

_SHOWN = (
    "What is shown.",
    "Federated training was simulated on one machine, where all rows were at hand. Within the simulation no row "
    "left the simulated site it belongs to: sites sent model updates and sums, not rows.",
)
_UPDATES_LEAK = (
    "Updates can leak.",
    "From updates or from the trained model, an attacker may infer whether a patient was among the training rows "
    "(membership inference) or rebuild features of patients (gradient inversion). Small sites, many passes over few "
    "rows and large models make this easier. A trained model is to be guarded as data derived from patients.",
)
_BEFORE = (
    "Before patients' data are used for real.",
    "A data protection impact assessment, secure aggregation, a privacy budget that is agreed on, and contracts "
    "between the sites. This page replaces none of them.",
)
_NOTHING_PROMISED = (
    "What is not shown.",
    "That this protects patients. No differential privacy was used, so no bound on what updates tell can be stated.",
)
_BUT_PRICED = " The one exception is “What a promise to patients would cost”, which has trainings of its own."
_PROMISED = {
    "patient": (
        "What is promised.",
        "Differential privacy to each patient, with all of its training rows at a hospital: whether a patient is added "
        "or removed changes the chance of anything that its hospital sends, and so of the model, by at most a factor "
        "e^epsilon, but for a chance delta: 2.7 times at epsilon 1, 20 times at 3, 3,000 times at 8. The table has "
        "both for each hospital.",
    ),
    "hospital": (
        "What is promised.",
        "Differential privacy to each hospital as a whole: whether a hospital is added or removed changes the chance "
        "of any model that the server gives out by at most a factor e^epsilon, but for a chance delta.",
    ),
}
_HOW = {
    "patient": "By DP-SGD inside each hospital: at each step patients are drawn by themselves (Poisson sampling), each "
    "drawn patient's gradient is scaled down to norm {clip:g}, and Gaussian noise is added to their sum before it "
    "leaves. Moves between rounds, the server's step and the model are made of such sums alone.",
    "hospital": "By noise at the server: in each round hospitals are drawn by themselves (Poisson sampling), each "
    "update is scaled down to norm {clip:g}, and Gaussian noise is added to their sum, over a denominator that does "
    "not depend on who came. Updates count alike.",
}
_AGAINST = {
    "patient": "Against the server, the other hospitals, and whoever reads the model: each hospital adds its own "
    "noise, and none of them needs to be trusted with its patients. A patient's own hospital holds its rows anyway.",
    "hospital": "Against the other hospitals and whoever reads the models. The server is trusted: it sees each update "
    "before noise is added.",
}
_OUTSIDE = {
    "patient": (
        "how many patients a hospital trains on, which is taken as public and weighs its update",
        "rows of one patient at two hospitals, to whom each promise holds apart",
        "names of columns and of a category's levels, and the bounds of columns, which are taken as public",
        "scores on test patients, counts, tables of characteristics, curves and everything else on this page: they are "
        "computed without noise, for those who plan the federation",
    ),
    "hospital": (
        "how many hospitals there are",
        "names of columns and of a category's levels, and the bounds of columns, which are taken as public",
        "scores on test patients, counts, tables of characteristics, curves and everything else on this page: they are "
        "computed without noise, for those who plan the federation",
        "single patients of a hospital against their hospital or the server",
    ),
}
_SIMULATED = (
    "It is a simulation.",
    "Noise came from a seeded generator, so whoever knows the seed can take it off again. The figures say what such a "
    "promise costs; they do not protect anybody whose data went into this run.",
)


def items(
    told: Mapping[str, Any] | None,
    what: Sequence[tuple[str, str]] = (),
    secure: bool = False,
    attacked: bool = False,
    priced: bool = False,
) -> list[tuple[str, str]]:
    """Returns the statements on privacy as (lead, text).

    Args:
        told: what is promised, as `PromisesTold`; None for nothing.
        what: more statements, on what crossed and the like.
        secure: whether sums were secure.
        attacked: whether attacks were tried, which the page has a section on.
        priced: whether the page has a section on what promises would cost.
    """
    if told is None:
        trusted = _trusted(secure)
        lead, text = _NOTHING_PROMISED
        tried = "“What leaks” tells of the attacks that were tried." if attacked else "No attack was tried."
        but = _BUT_PRICED if priced else ""
        said = (lead, f"{text}{but} {_SECURE[secure]} {tried}")
        return [_SHOWN, *what, said, *_not_hidden(secure), _UPDATES_LEAK, trusted, _BEFORE]
    unit = told["unit"]
    kept = _how(told)
    outside = f"Not covered: {'; '.join(_OUTSIDE[unit])}."
    return [
        _SHOWN, *what, _PROMISED[unit], ("How.", kept), ("Against whom.", f"{_AGAINST[unit]} {_SECURE[secure]}"),
        ("What is outside.", outside), *_not_hidden(secure), _SIMULATED, _BEFORE,
    ]  # fmt: skip


_SECURE = {
    False: "No secure aggregation was used, so the server saw every site's update by itself.",
    True: "Secure aggregation was simulated: the server saw sums of updates alone.",
}


def _not_hidden(secure: bool) -> list[tuple[str, str]]:
    return [("What secure sums do not hide.", " ".join(SECURE_NOT))] if secure else []


def _trusted(secure: bool) -> tuple[str, str]:
    look = "not to look into single updates" if not secure else "not to make up sites of its own"
    return (
        "Who is trusted.",
        f"The server: to follow the protocol and {look}. Every site: to send honest updates, as none was checked for "
        "poisoning. Every site, again: to keep to itself what the shared model may tell of others. Whoever ran this "
        "simulation: with all rows. The network: taken to be encrypted and authenticated.",
    )


def _how(told: Mapping[str, Any]) -> str:
    text = _HOW[told["unit"]].format(clip=told["clip_norm"])
    noises = [own["noise_multiplier"] for own in told["promises"].values()]
    if not max(noises, default=0.0):
        return f"{text} The noise was switched off, so nothing is promised: epsilon is infinite."
    large = (
        " The noise exceeds the clip: a single step hardly tells of anyone, nor of much else."
        if max(noises) > 1
        else ""
    )
    if any(own["preprocessing_noise"] is not None for own in told["promises"].values()):
        text += " Means and SDs of columns were taken within their bounds with noise, as a part of the budget."
    return text + large


def table(told: Mapping[str, Any], caption: str = "What is promised") -> Table:
    """Returns the promise to each hospital's patients, or to all hospitals."""
    rows = [
        [
            client,
            words.count(own["units"]),
            "none" if own["epsilon"] is None else number(own["epsilon"]),
            f"{own['delta']:.2g}",
            f"{100 * own['sampling_rate']:.3g} %",
            f"{own['noise_multiplier']:.3g}",
            f"{own['steps']:,}",
            words.NONE if own["epsilon_rdp"] is None else number(own["epsilon_rdp"]),
        ]
        for client, own in told["promises"].items()
    ]
    unit = "patients" if told["unit"] == "patient" else "hospitals"
    header = ["promised to", unit, "epsilon", "delta", "drawn at a step", "noise / clip", "steps", "epsilon by RDP"]
    note = (
        f"For adding or removing one {told['unit']}. Epsilon is the promise: it is counted by privacy loss "
        "distributions and rounded up. By RDP, an older and looser way of counting, it is never less; that stands "
        "beside it as a check."
    )
    return Table(caption, header, rows, (("", note),))


def section(told: Mapping[str, Any] | None, what: Sequence[tuple[str, str]] = (), **how: bool) -> Section:
    """Returns the section of a page that has one promise or none."""
    blocks: list[Block] = [Items(items(told, what, **how))]
    return Section("privacy", TITLE, [*([table(told)] if told else []), *blocks])


def arms_table(arms: Mapping[str, Mapping[str, Any]], label: Mapping[str, str]) -> list[Block]:
    """Returns the promises of several arms, the first in full unless it is long, the others folded."""
    tables = [table(told, f"What is promised: {label.get(arm, arm)}") for arm, told in arms.items()]
    if tables and len(tables[0].rows) > _SHORT:
        return [Fold("What is promised, hospital by hospital", tables)]
    return [*tables[:1], *([Fold("Promises of the other arms", tables[1:])] if tables[1:] else [])]
