"""The budget of a promise as text: how each hospital trains, and what is spent after each tenth of the rounds."""

from collections.abc import Callable, Mapping, Sequence

from fedmed.engine import worth
from fedmed.engine.promises import Promise, Promises
from fedmed.reporting.tables import aligned, printable
from fedmed.settings import config

MOST = 20
"""Hospitals that are shown; of more, those with the fewest patients."""

_TENTHS = 10


def lines(settings: config.RunConfig, promises: Promises) -> list[str]:
    """Returns a title, the table of how each hospital trains, that of what is spent, and what it means."""
    shown = _shown(promises.by_client)
    more = len(promises.by_client) - len(shown)
    return [
        _title(settings, promises),
        "",
        *aligned(_training(shown, promises.unit)),
        "",
        "epsilon after so many rounds, and after one more than all",
        "",
        *aligned(_spending(shown, promises.rounds)),
        "",
        *([f"{more} more hospitals, all with more patients, are not shown."] if more else []),
        *_notes(settings, promises),
    ]


def _shown(by_client: Mapping[str, Promise]) -> dict[str, Promise]:
    named = list(by_client.items())
    few = sorted(named, key=lambda one: one[1].units)[:MOST]
    return {client: promise for client, promise in named if (client, promise) in few}


def _title(settings: config.RunConfig, promises: Promises) -> str:
    to = "the patients of each hospital" if promises.unit == "patient" else "each hospital as a whole"
    asked = settings.privacy.target_epsilon
    target = f", target epsilon {asked:g}" if asked is not None else ""
    ends = ""
    if promises.rounds < promises.planned:
        ends = f"; the budget is spent after round {promises.rounds} of {promises.planned}"
    return f"{printable(settings.name)}: a promise to {to}{target}, {promises.rounds} rounds{ends}"


def _training(shown: Mapping[str, Promise], unit: str) -> list[list[str]]:
    def column(header: str, write: Callable[[Promise], str]) -> list[str]:
        return [header, *map(write, shown.values())]

    return [
        ["hospital", *map(printable, shown)],
        column("patients" if unit == "patient" else "hospitals", lambda p: f"{p.units:,}"),
        column("delta", lambda p: f"{p.delta:.3g}"),
        column("drawn at a step", lambda p: f"{100 * p.rate:.3g} %"),
        column("steps a round", lambda p: f"{p.steps:,}"),
        column("rounds", lambda p: f"{len([r for r in p.attended if r < p.rounds]):,}"),
        column("noise / clip", lambda p: f"{p.noise:.4g}"),
        column("epsilon", lambda p: number(p.spent(p.rounds))),
    ]


def _spending(shown: Mapping[str, Promise], rounds: int) -> list[list[str]]:
    """Returns what is spent by rounds: where there are fewer than ten, after each of them."""
    marks = sorted({max(1, round(rounds * tenth / _TENTHS)) for tenth in range(1, _TENTHS + 1)})
    columns = [["hospital", *map(printable, shown)]]
    for mark in marks:
        columns.append([f"{mark:,}", *(number(promise.at_most(mark)) for promise in shown.values())])
    columns.append(["one more", *(number(promise.with_one_more()) for promise in shown.values())])
    return columns


def number(epsilon: float) -> str:
    """Returns an epsilon rounded up in its last digit, so that what is shown is never less than it is."""
    if epsilon == float("inf"):
        return "none"
    if 0 < epsilon < 0.001:
        return "< 0.001"
    digits = 3 if epsilon < 1 else 2
    return f"{-(-epsilon * 10**digits // 1) / 10**digits:.{digits}f}"


def _notes(settings: config.RunConfig, promises: Promises) -> Sequence[str]:
    if promises.unit == "patient":
        who = (
            "Adding or removing one patient, with all of its rows at a hospital, changes the chance of anything that "
            "leaves the hospital by at most a factor e^epsilon, but for a chance delta."
        )
        trust = "Each hospital adds its own noise: neither the server nor the other hospitals need to be trusted."
    else:
        who = (
            "Adding or removing one hospital changes the chance of any model that the server gives out by at most a "
            "factor e^epsilon, but for a chance delta."
        )
        trust = "The server adds the noise and sees each clipped update before it: it must be trusted."
    public = "how many patients a hospital has" if promises.unit == "patient" else "how many hospitals there are"
    counted = f"Counted by privacy loss distributions (dp-accounting); {public} is public."
    model = "Whether the model can be trained so is found when it is built: fedmed run refuses one that cannot."
    return [who, trust, counted, model, *worth.doubts(promises), *_fixed_cohort(promises)]


def _fixed_cohort(promises: Promises) -> list[str]:
    """Returns what a cohort of fixed size would cost, where the cohort is a part of the hospitals."""
    fixed = promises.fixed_cohort()
    if fixed is None:
        return []
    return [
        f"Hospitals are drawn each by itself (Poisson). Cohorts of a fixed size would cost epsilon {number(fixed)}, by "
        "the one method that counts them (RDP, replacing one hospital)."
    ]
